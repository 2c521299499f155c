"""Spans that a list of recordings calls absent: nothing behind them reaches a feature, and its mask shows them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from pkdot.errors import DataError
from pkdot.features.audio import Audio, AudioOptions
from pkdot.features.base import Source
from pkdot.features.clip import Clip, ClipOptions
from pkdot.features.faces import Faces, FacesOptions
from pkdot.features.physiology import Physiology, PhysiologyOptions
from pkdot.features.vector import Vector, VectorOptions
from pkdot.features.window import Window, WindowOptions
from tests.features.conftest import motion, moved, write_video

RNG = np.random.default_rng(0)
TIME = np.arange(600) / 100
WAVES = np.stack([np.sin(9 * TIME), np.cos(4 * TIME)], axis=1)
ABSENT = (1.2, 2.1, 3.9, 4.5)


def with_noise(values, rows):
    """The values with others in the place of some rows."""
    noisy = values.copy()
    noisy[rows] = RNG.integers(1, 99, noisy[rows].shape)
    return noisy


def saved(path, values):
    np.save(path, values)
    return path


def same(one, other):
    """Check that two samples are equal to the bit; return the mask."""
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_array_equal(one.mask, other.mask)
    return one.mask


@pytest.mark.parametrize("band", [None, [None, 20]])
def test_seconds_of_an_array_are_what_nan_in_their_place_is(tmp_path, band):
    rows = [*range(120, 210), *range(390, 450)]
    holes = WAVES.copy()
    holes[rows] = np.nan
    feature = Window(WindowOptions(channels=2, length=300, max_missing=0.6, band=band))
    paths = [saved(tmp_path / f"{number}.npy", x) for number, x in enumerate((WAVES, with_noise(WAVES, rows), holes))]
    got = [feature.extract(Source("s", path, 1.0, 4.0, 100.0, absent=ABSENT)) for path in paths]
    mask = same(got[0], got[1])
    assert same(got[0], feature.extract(Source("s", paths[2], 1.0, 4.0, 100.0))) is mask is not None
    assert mask.mean() == pytest.approx(2 / 3, abs=0.01), "90 of 300 rows and 10 more"
    assert "row 120: 100 of 300 moments are absent or not finite numbers" in got[0].note


def test_rows_and_frames_of_an_array_may_be_absent(tmp_path):
    numbers = saved(tmp_path / "numbers.npy", RNG.normal(size=(6, 3)))
    feature = Vector(VectorOptions(size=3))
    sources = [Source("s", numbers, row, row + 1, 1.0, absent=(2, 4)) for row in range(6)]
    kept = [not isinstance(got, DataError) for got in feature.along(sources)]
    assert kept == [True, True, False, False, True, True]
    film = RNG.integers(0, 255, (8, 16, 16, 3)).astype(np.uint8)
    clip = Clip(ClipOptions(frames=8, size=16))
    files = [saved(tmp_path / f"{number}.npy", x) for number, x in enumerate((film, with_noise(film, [2, 3, 7])))]
    got = [clip.extract(Source("s", path, 0, 2, 4.0, absent=(0.5, 1.0, 1.75, 9.0))) for path in files]
    assert np.flatnonzero(~same(*got)).tolist() == [2, 3, 7]
    assert "5 of 8 frames are there" in got[0].note
    np.testing.assert_array_equal(got[0].array[7], got[0].array[6])
    shares = film / 255
    shares[[2, 3, 7]] = np.nan
    nothing = saved(tmp_path / "nan.npy", shares)
    same(got[0], Clip(ClipOptions(frames=8, size=16, white=1)).extract(Source("s", nothing, 0, 2, 4.0)))
    with pytest.raises(DataError, match="3 of 8 frames are there; at least 50% must be"):
        clip.extract(Source("s", files[0], 0, 2, 4.0, absent=(0.0, 1.25)))


def test_an_array_without_a_rate_has_no_seconds(tmp_path):
    feature = Window(WindowOptions(channels=2, length=64))
    with pytest.raises(DataError, match="seconds of it are absent, which takes its rate; give it in Hz"):
        feature.extract(Source("s", saved(tmp_path / "a.npy", WAVES), None, None, absent=ABSENT))


def test_frames_of_a_video_may_be_absent(tmp_path):
    images = [moved(*motion(number))[0] for number in range(138)]
    lost = [np.full_like(image, 30) if 60 <= number < 80 else image for number, image in enumerate(images)]
    for name, frames in (("a", images), ("b", lost)):
        write_video(tmp_path / f"{name}.mp4", frames, g=1, qp=0)
    feature = Faces(FacesOptions(frames=16, size=32))
    sources = [Source("s", tmp_path / f"{name}.mp4", None, None, absent=(2.4, 3.2)) for name in "ab"]
    got = [feature.extract(source) for source in sources]
    mask = same(*got)
    times = 2.0 + (np.arange(16) + 0.5) * 3.5 / 16
    np.testing.assert_array_equal(mask, (times < 2.4) | (times >= 3.2))
    assert "3 absent as told" in got[0].note
    same(got[0], next(iter(feature.along(sources))))
    same(got[0], next(feature.everyone(sources))[1])


def test_columns_of_a_sound_may_be_absent(tmp_path):
    sound = (9000 * np.sin(np.arange(3 * 16000) / 6)).astype(np.int16)
    for name, values in (("a", sound), ("b", with_noise(sound, slice(16000, 32000)))):
        wavfile.write(tmp_path / f"{name}.wav", 16000, values)
    feature = Audio(AudioOptions(steps=30, rate=16000))
    got = [feature.extract(Source("s", tmp_path / f"{name}.wav", 0, 3, absent=(1.0, 2.0))) for name in "ab"]
    assert np.flatnonzero(~same(*got)).tolist() == list(range(10, 20))
    with pytest.raises(DataError, match="the sound track is absent here"):
        feature.extract(Source("s", tmp_path / "a.wav", 1, 2, absent=(1.0, 2.0)))


def test_seconds_of_a_biosignal_may_be_absent(tmp_path):
    time = np.arange(6 * 512) / 512
    level = 5 + np.sin(time) + 0.01 * RNG.normal(size=len(time))
    rows = slice(1024, 1034 + 70)
    for name, values in (("a", level), ("b", with_noise(level, rows)), ("c", with_noise(level, rows))):
        values[rows] = np.nan if name == "c" else values[rows]
        table = pd.DataFrame({"time": np.round(time * 1e6).astype(int), "gsr": values})
        table.to_csv(tmp_path / f"{name}.csv", sep="\t", index=False)
    feature = Physiology(PhysiologyOptions())
    got = [
        feature.extract(Source("s", tmp_path / f"{name}.csv", None, None, absent=(2.0, 1104 / 512))) for name in "ab"
    ]
    mask = same(*got)
    assert np.flatnonzero(~mask).tolist() == [64, 65, 66, 67, 68]
    same(got[0], feature.extract(Source("s", tmp_path / "c.csv", None, None)))
