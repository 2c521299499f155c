"""Windows of recordings: as long as a sample of the training, and the same arrays as in training."""

from pathlib import Path

import numpy as np
import pytest

from pkdot.errors import ConfigError
from pkdot.features.base import FeatureChoice, Source
from pkdot.inference.sources import Raw, Recording
from pkdot.inference.windows import Windows
from tests.features.conftest import motion, moved, write_video


def feature(name, **options):
    cls, values = FeatureChoice(name=name, options=options).load()
    return cls(values)


@pytest.fixture(scope="module")
def faces():
    return {"face": feature("faces", frames=4, window=(0.5, 2.0), size=48)}


def recording(path, modality="face", rate=None, **more):
    return Recording(str(path), {modality: Raw(Path(path), rate=rate)}, **more)


def places(windows):
    return [(window.start, window.stop) for window in windows]


def test_windows_follow_one_another_or_overlap_and_never_go_beyond_the_end(faces, clip):
    assert places(Windows(faces, None).of(recording(clip))) == [(0, 2), (2, 4)]  # of 5.52 s
    overlapping = list(Windows(faces, None, every=1.5).of(recording(clip)))
    assert places(overlapping) == [(0, 2), (1.5, 3.5), (3, 5)]
    assert [window.share for window in overlapping] == pytest.approx([1 / 3, 2 / 3, 1])
    assert places(Windows(faces, None).of(recording(clip, start=1.0, stop=5.1))) == [(1, 3), (3, 5)]
    assert places(Windows(faces, None).of(recording(clip, start=1.0, stop=3.5))) == [(1, 3.5)]  # one sample
    assert places(Windows(faces, 2.75).of(recording(clip))) == [(0, 2.75), (2.75, 5.5)]


def test_arrays_are_those_of_training(faces, clip):
    for window in Windows(faces, None, every=1.0).of(recording(clip)):
        alone = feature("faces", frames=4, window=(0.5, 2.0), size=48)
        truth = alone.extract(Source("sample", clip, window.start, window.stop))
        np.testing.assert_array_equal(window.arrays["face"], truth.array)
        assert (window.face, window.note) == (1.0, "")
        np.testing.assert_array_equal(window.boxes, truth.boxes)


def test_a_file_that_is_one_sample_is_read_to_its_end_as_in_training(clip):
    whole = {"face": feature("faces", frames=4, window=None, size=48)}
    (window,) = Windows(whole, None).of(recording(clip))
    assert (window.start, window.stop) == (0, pytest.approx(5.52))
    truth = feature("faces", frames=4, window=None, size=48).extract(Source("sample", clip, None, None))
    np.testing.assert_array_equal(window.arrays["face"], truth.array)
    with pytest.raises(ConfigError, match="--every"):
        Windows(whole, None, every=1.0)


def test_biosignals_of_one_sample_are_read_to_their_end_as_in_training(tmp_path):
    """What lies behind the window matters to the filters, and a sample whose length nobody gives has all of it."""
    time = np.arange(0, 7_000_000, 15_625)
    level = 5 + np.sin(time / 2e6) + 2 * (time > 5.6e6)
    rows = "\n".join(f"{t}\t{v:.6f}" for t, v in zip(time, level, strict=True))
    (tmp_path / "a.csv").write_text(f"time\tgsr\n{rows}\n")
    eda = {"eda": feature("physiology", signal="eda")}
    (window,) = Windows(eda, None).of(recording(tmp_path / "a.csv", "eda"))
    truth, cut = (eda["eda"].extract(Source("a", tmp_path / "a.csv", None, stop)).array for stop in (None, 5.5))
    np.testing.assert_array_equal(window.arrays["eda"], truth)
    assert np.abs(truth - cut).max() > 1e-3


def test_what_is_shorter_than_a_window_is_refused_and_half_a_step_is_nothing(faces, tmp_path):
    images = [moved(*motion(number))[0] for number in range(50)]
    for count, windows in ((50, 1), (48, 1), (40, 0)):
        write_video(tmp_path / "a.mp4", images[:count])
        (window,) = Windows(faces, None).of(recording(tmp_path / "a.mp4"))
        assert len(window.arrays) == windows
    assert "lasts 1.60 s, and a window of this bundle is 2 s long" in window.note
    assert window.start is None


def test_what_is_as_short_as_a_sample_of_the_training_is_one_window(clip):
    frames = {"face": feature("faces", frames=4, window=None, size=48)}
    assert places(Windows(frames, 6.0, shortest=5.0).of(recording(clip))) == [(0, pytest.approx(5.52))]
    (window,) = Windows(frames, 6.0, shortest=5.0).of(recording(clip, start=0.5))
    truth = feature("faces", frames=4, window=None, size=48).extract(Source("a", clip, 0.5, window.stop))
    np.testing.assert_array_equal(window.arrays["face"], truth.array)
    (window,) = Windows(frames, 6.0, shortest=5.7).of(recording(clip))
    assert not window.arrays
    assert places(Windows(frames, 2.5, shortest=1.0).of(recording(clip))) == [(0, 2.5), (2.5, 5.0)]


def test_a_window_without_a_face_says_so_and_the_others_go_on(faces, tmp_path):
    images = [moved(*motion(number))[0] if number < 60 else np.zeros((240, 320, 3), np.uint8) for number in range(150)]
    write_video(tmp_path / "a.mp4", images)
    first, second, third = Windows(faces, None).of(recording(tmp_path / "a.mp4"))
    assert first.arrays
    assert (second.arrays, second.face, second.start) == ({}, 0, 2)
    assert "0 with the subject's face" in third.note


def test_arrays_are_cut_at_their_rate_and_end_where_they_end(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(950, 2)))
    window = {"motion": feature("window", channels=2, length=20)}
    got = list(Windows(window, 2.0, every=1.0).of(recording(tmp_path / "a.npy", "motion", rate=100.0)))
    assert places(got) == [(start, start + 2) for start in range(8)]
    assert all(one.arrays and one.face is None for one in got)
    (one,) = Windows(window, 2.0).of(recording(tmp_path / "a.npy", "motion"))
    assert "give it in Hz" in one.note


def test_a_bundle_without_a_face_has_no_people():
    with pytest.raises(ConfigError, match="--subject all"):
        Windows({"motion": feature("window", channels=2, length=20)}, 2.0, everyone=True)


def test_streams_with_clocks_of_their_own_are_cut_at_the_same_moments(tmp_path):
    for name, rate, count in (("motion", 10, 100), ("pulse", 20, 160)):
        np.save(tmp_path / f"{name}.npy", np.arange(count)[:, None] / rate)
    raws = {
        "motion": Raw(tmp_path / "motion.npy", rate=10.0),
        "pulse": Raw(tmp_path / "pulse.npy", rate=20.0, offset=1.5),
    }
    features = {name: feature("window", channels=1, length=8) for name in raws}
    got = list(Windows(features, 2.0).of(Recording("both", raws)))
    assert places(got) == [(1.5, 3.5), (3.5, 5.5), (5.5, 7.5), (7.5, 9.5)]  # both are there from 1.5 to 9.5 s
    for window in got:
        assert window.arrays["motion"][0, 0] == pytest.approx(window.start, abs=0.06)
        assert window.arrays["pulse"][0, 0] == pytest.approx(window.start - 1.5)
