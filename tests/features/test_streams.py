"""Many spans of a long recording, decoded once: each gives the very array that it gives by itself."""

import gc
from pathlib import Path

import numpy as np
import pytest

from pkdot.errors import DataError
from pkdot.features.audio import Audio, AudioOptions
from pkdot.features.base import Source, TooFewFaces
from pkdot.features.decoding import Decoding, Pictures
from pkdot.features.faces import Faces, FacesOptions
from pkdot.features.physiology import Physiology, PhysiologyOptions
from pkdot.features.video import open_frames
from pkdot.features.window import Window, WindowOptions
from pkdot.simulation.video import write_h264
from tests.features.conftest import FACE, motion, moved, write_video
from tests.features.test_video import FORMATS, numbered

STARTS = np.arange(0, 4.4, 0.35)


def spans(path, length, starts=STARTS, rate=None):
    return [Source(f"{start:.2f}", Path(path), float(start), float(start + length), rate) for start in starts]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Ten seconds of the moving face, gone for two of them, with a noise that swells."""
    images = [moved(*motion(number))[0] for number in range(250)]
    for number in range(100, 150):
        images[number] = np.full_like(images[0], number % 7 * 20)
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    sound = 0.1 * np.random.default_rng(0).standard_normal(10 * 16000) * (1 + np.linspace(0, 1, 160000))
    write_h264(path, np.stack(images), 25, sound=(sound, 16000))
    return path


def reasons(results):
    return [str(result) if isinstance(result, DataError) else None for result in results]


def one_by_one(feature, sources):
    """What each span gives by itself, from a file that is opened anew."""
    for source in sources:
        try:
            yield type(feature)(feature.options).extract(source)
        except DataError as problem:
            yield problem


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("step", [0.2, 0.9])
def test_spans_of_every_format_are_decoded_once_to_the_same_bits(tmp_path, name, step):
    file, codec, options = FORMATS[name]
    write_video(tmp_path / file, numbered(120), codec, **options)
    times = [start + np.array([0.05, 0.21, 0.4]) for start in np.arange(-0.2, 6.0, step)]
    along = list(open_frames(tmp_path / file).along(times))
    for at, frames in zip(times, along, strict=True):
        for image, alone in zip(frames, open_frames(tmp_path / file).at(at), strict=True):
            assert (image is None) == (alone is None)
            np.testing.assert_array_equal(image, alone)
    assert along[-1][-1] is None
    assert along[3][1] is not None


def test_a_long_way_between_spans_is_not_decoded(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", numbered(200), g=10, bf=0)
    decoded = []
    video = open_frames(tmp_path / "a.mp4")
    true = Pictures.of
    monkeypatch.setattr(Pictures, "of", lambda self, frame: decoded.append(frame.pts) or true(self, frame))
    frames = list(video.along([np.array([0.1]), np.array([7.1])]))
    assert len(decoded) == 2
    assert frames[1][0] is not None


@pytest.mark.parametrize("step", [0.1, 1.0], ids=["one way", "leaps"])
def test_frames_that_no_later_span_needs_are_let_go(tmp_path, step):
    write_video(tmp_path / "a.mp4", numbered(400), g=10, bf=0)
    starts = np.arange(0, 15.5, step)
    passed = open_frames(tmp_path / "a.mp4").along(start + np.arange(5) / 25 for start in starts)
    gc.collect()
    gc.freeze()  # what other tests have left is not looked through
    gc.disable()  # it would find them, some time later
    most = 0
    for frames in passed:
        assert frames[0] is not None
        held = [one for one in gc.get_objects() if type(one) is Decoding]
        most = max(most, sum(len(one._images) for one in held))
    gc.enable()
    gc.unfreeze()
    assert 5 <= most <= 10


def test_damage_costs_the_same_spans_as_one_by_one(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, numbered(120), g=12, bf=0)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    times = [start + np.arange(8) / 25 for start in np.arange(0, 4.4, 0.2)]
    along = list(open_frames(path).along(times))
    lost = 0
    for at, frames in zip(times, along, strict=True):
        for image, alone in zip(frames, open_frames(path).at(at), strict=True):
            lost += image is None
            assert (image is None) == (alone is None)
            np.testing.assert_array_equal(image, alone)
    assert lost > 0


def test_windows_of_a_long_video_are_those_of_training(film):
    feature = Faces(FacesOptions(frames=6, window=(0.5, 2.0), size=64))
    sources = spans(film, 2.0, np.arange(0, 8.2, 0.5))
    along, alone = list(feature.along(sources)), list(one_by_one(feature, sources))
    assert reasons(along) == reasons(alone)
    kept = [pair for pair in zip(along, alone, strict=True) if not isinstance(pair[0], DataError)]
    assert 8 < len(kept) < len(sources)
    assert any(one.mask is not None for one, _ in kept)
    for one, other in kept:
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        assert one.note == other.note
        assert one.mask is other.mask is None or (one.mask == other.mask).all()
    refused = [result for result in along if isinstance(result, TooFewFaces)]
    assert 0 in [result.share for result in refused]


def test_a_box_lies_about_the_face(film):
    (got,) = Faces(FacesOptions(frames=6, window=None, size=64)).along(spans(film, 2.0, [0.0]))
    for time, box in zip(got.times, got.boxes, strict=True):
        x, y = motion(round(time * 25))[2:]
        assert box[0] < x < box[2]
        assert box[1] < y < box[3]


def test_all_people_are_followed_and_keep_their_numbers(tmp_path):
    """Two people; a third comes, the first goes and comes back to the same place."""
    stranger, images = FACE[:, ::-1, ::-1], []
    for number in range(150):
        image = np.full((240, 480, 3), 90, np.uint8)
        if not 50 <= number < 75:
            image = moved(0, 0.8 + 0.02 * np.sin(number), 110, 120 + number % 5, 480, 240, image)[0]
        image = _put(stranger, image, 0.6, 350 + 10 * np.sin(number / 9), 130)
        images.append(image)
    write_video(tmp_path / "a.mp4", images)
    feature = Faces(FacesOptions(frames=5, window=None, size=64))
    sources = spans(tmp_path / "a.mp4", 1.0, np.arange(0, 5.0, 0.5))
    seen = list(feature.everyone(sources))
    assert [sorted(people) for people in seen] == [[1, 2]] * 3 + [[1, 2]] + [[2]] + [[1, 2]] * 5
    subject = list(feature.along(sources))
    for people, alone in zip(seen[:3], subject[:3], strict=True):
        np.testing.assert_array_equal(people[1].array, alone.array)
        assert np.nanmean(people[1].boxes[:, 0]) < 200 < np.nanmean(people[2].boxes[:, 0])


def _put(face, canvas, scale, x, y):
    import tests.features.conftest as clips

    subject, clips.FACE = clips.FACE, face
    try:
        return moved(0, scale, x, y, canvas.shape[1], canvas.shape[0], canvas)[0]
    finally:
        clips.FACE = subject


def test_where_nobody_is_everyone_gives_the_reason(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(60))
    (people,) = Faces(FacesOptions(frames=5, window=None)).everyone(spans(tmp_path / "a.mp4", 1.0, [0.0]))
    assert list(people) == [0]
    assert "0 with the subject's face" in str(people[0])


def test_spans_of_sound_are_those_of_training(film):
    feature = Audio(AudioOptions(steps=16, rate=16000, n_fft=512, window=320, hop=160))
    sources = spans(film, 2.0, [0.0, 0.5, 1.0, 9.5])
    along, alone = list(feature.along(sources)), list(one_by_one(feature, sources))
    for one, other in zip(along, alone, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    assert feature.seconds(sources[0]) == pytest.approx(10, abs=0.1)
    assert feature.span is None


def test_spans_of_arrays_and_of_biosignals_are_those_of_training(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(size=(1000, 2)))
    feature = Window(WindowOptions(channels=2, length=50))
    sources = spans(tmp_path / "a.npy", 2.0, [0, 0.5, 8.0, 9.5], rate=100.0)
    along = list(feature.along(sources))
    for one, other in zip(along[:3], one_by_one(feature, sources[:3]), strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    assert "ends before 11.5 s" in str(along[3])
    assert feature.seconds(sources[0]) == 10
    with pytest.raises(DataError, match="give it in Hz"):
        feature.seconds(Source("a", tmp_path / "a.npy", None, None))

    time = np.arange(0, 12_000_000, 10_000)
    level = 5 + np.sin(time / 2e6) + 0.01 * rng.normal(size=len(time))
    rows = "\n".join(f"{t}\t{v:.6f}" for t, v in zip(time, level, strict=True))
    (tmp_path / "a.csv").write_text(f"time\tgsr\n{rows}\n")
    eda = Physiology(PhysiologyOptions(signal="eda", window=(0.0, 5.0)))
    sources = spans(tmp_path / "a.csv", 5.5, [0, 2.0, 6.0, 8.0])
    along, alone = list(eda.along(sources)), list(one_by_one(eda, sources))
    assert reasons(along) == reasons(alone)
    assert "but the window is 8.00 to 13.00 s" in str(along[3])
    for one, other in zip(along[:3], alone[:3], strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    assert (eda.span, round(eda.seconds(sources[0]), 2)) == (5.0, 11.99)
