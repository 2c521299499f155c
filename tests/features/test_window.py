"""Windows, rows and pictures of arrays: what is filled in, filtered and scaled, on signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.features.clip import Clip, ClipOptions
from pkdot.features.vector import Vector, VectorOptions
from pkdot.features.window import Window, WindowOptions

RATE = 50
TIME = np.arange(500) / RATE


def extract(path, array=None, start=2.0, stop=6.0, rate=RATE, part=None, **options):
    if array is not None:
        np.save(path, array)
    feature = Window(WindowOptions(**{"channels": 1, "length": 200, **options}))
    return feature.extract(Source("a", path, start, stop, rate, None, part))


def test_a_missing_moment_is_filled_in_masked_and_told(tmp_path):
    array = np.stack([TIME, 2 * TIME], axis=1)
    array[150, 0], array[151] = np.nan, np.inf
    got = extract(tmp_path / "a.npy", array, channels=2)
    np.testing.assert_allclose(got.array, np.stack([TIME, 2 * TIME])[:, 100:300], atol=1e-6)
    assert np.flatnonzero(~got.mask).tolist() == [50, 51]
    assert got.note == f"{tmp_path / 'a.npy'}, row 150: 2 of 200 moments are not finite numbers and are filled in"


def test_a_signal_that_never_changes_is_told(tmp_path):
    still = np.where(TIME < 2.0, TIME, 7.0)  # it moves before the window alone
    got = extract(tmp_path / "a.npy", still)
    assert (got.mask, got.note) == (None, f"{tmp_path / 'a.npy'}: the signal never changes from 2 to 6 s")
    got = extract(tmp_path / "b.npy", np.stack([TIME, still, TIME], axis=1), channels=3)
    assert got.note == f"{tmp_path / 'b.npy'}: channel 2 of 3 never changes from 2 to 6 s"
    assert extract(tmp_path / "c.npy", TIME).note == ""


@pytest.mark.parametrize(
    ("lost", "most", "kept"), [(20, 0.1, True), (21, 0.1, False), (1, 0.0, False), (198, 0.99, True)]
)
def test_too_many_missing_moments_lose_the_window(tmp_path, lost, most, kept):
    array = np.where(np.arange(500) < 100 + lost, np.nan, TIME)
    if kept:
        got = extract(tmp_path / "a.npy", array, max_missing=most)
        assert (~got.mask).sum() == lost
        return
    with pytest.raises(DataError, match=rf"row 100: a value .* {lost / 200:.0%} of .* \(at most {most:.0%} may be\)"):
        extract(tmp_path / "a.npy", array, max_missing=most)


@pytest.mark.parametrize(
    ("band", "kept"), [((None, 2.0), [1.0]), ((8.0, None), [12.0]), ((3.0, 6.0), [4.5]), ((0.5, 6.0), [1.0, 4.5])]
)
def test_a_band_keeps_its_waves_and_no_others(tmp_path, band, kept):
    waves = {frequency: np.sin(2 * np.pi * frequency * TIME) for frequency in (1.0, 4.5, 12.0)}
    got = extract(tmp_path / "a.npy", 3.0 + sum(waves.values()), band=band).array[0]
    want = sum(waves[frequency] for frequency in kept)[100:300] + (3.0 if band[0] is None else 0.0)
    assert np.abs(got - want).max() < 0.15, "no transient at the edges: the recording goes on beyond its windows"


def test_a_filter_leaves_a_slope_at_the_ends_of_a_recording(tmp_path):
    noise = 0.1 * np.sin(2 * np.pi * 15 * TIME)
    got = extract(tmp_path / "a.npy", TIME + noise, 0.0, 10.0, length=500, band=(None, 5.0)).array[0]
    np.testing.assert_allclose(got, TIME, atol=0.1)


def test_a_filter_needs_a_rate_that_holds_its_band(tmp_path):
    with pytest.raises(DataError, match="50 Hz hold frequencies up to 25 Hz; lower the band"):
        extract(tmp_path / "a.npy", TIME, band=(1.0, 25.0))
    with pytest.raises(DataError, match="does not say its rate, which a filter must know"):
        extract(tmp_path / "a.npy", start=None, stop=None, rate=None, band=(1.0, 2.0))
    for wrong in ((2.0, 1.0), (None, None), (0.0, 1.0), (1.0, 1.0)):
        with pytest.raises(ValueError, match="band takes the lowest frequency"):
            WindowOptions(channels=1, length=8, band=wrong)


def test_scaling_brings_each_channel_to_its_own_unit(tmp_path):
    array = np.stack([1000 + 5 * np.sin(TIME), 0 * TIME + 7], axis=1)
    got = extract(tmp_path / "a.npy", array, channels=2, scaling="per_window").array
    np.testing.assert_allclose([got[0].mean(), got[0].std()], [0, 1], atol=1e-4)
    assert not got[1].any(), "what never changes is zero"


def test_a_whole_recording_of_any_length_is_a_sample(tmp_path):
    for count in (2, 37, 500):
        array = np.linspace(0, 1, count)
        got = extract(tmp_path / "a.npy", array, start=None, stop=None, rate=None)
        np.testing.assert_allclose(got.array[0], np.linspace(0, 1, 200), atol=1e-6)
    with pytest.raises(DataError, match="has 1 moments; a signal takes two"):
        extract(tmp_path / "a.npy", np.ones(1), start=None, stop=None)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "b.csv", "a.parquet", "a.npz"])
def test_the_kind_of_file_changes_nothing(tmp_path, name):
    """Also a table of a spreadsheet with semicolons and decimal commas."""
    array = np.stack([np.sin(TIME), np.cos(TIME)], axis=1)
    table = pd.DataFrame({"t": TIME, "x": array[:, 0], "y": array[:, 1], "who": "anna"})
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, motion=array, other=TIME)
    elif name == "a.parquet":
        table.to_parquet(path)
    elif name == "b.csv":
        table.to_csv(path, sep=";", decimal=",", index=False)
    else:
        table.to_csv(path, sep="," if name == "a.csv" else "\t", index=False)
    got = extract(path, part="motion" if name == "a.npz" else "x, y", channels=2)
    want = extract(tmp_path / "want.npy", array, channels=2)
    np.testing.assert_allclose(got.array, want.array, atol=1e-6)


def test_what_a_file_does_not_hold_is_told(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"x": [1, 2, 3], "y": ["4", "five", "6"]}).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"a.csv: has no column 'z'; it has x, y$"):
        extract(path, part="z")
    with pytest.raises(DataError, match=r"a.csv, row 3: 'five' in the column 'y' is no number; mend it"):
        extract(path, channels=2)
    np.savez(tmp_path / "a.npz", x=TIME, y=TIME)
    with pytest.raises(DataError, match=r"name one of its arrays in brackets, as a.npz\[x\]"):
        extract(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.array([{}]))
    with pytest.raises(DataError, match=r"not a whole .npz file"):
        extract(tmp_path / "b.npz")


def test_a_table_without_a_header_keeps_its_first_row(tmp_path):
    path = tmp_path / "a.csv"
    np.savetxt(path, np.stack([TIME, -TIME], axis=1), delimiter=",")
    got = extract(path, start=None, stop=None, channels=2, length=500)
    np.testing.assert_allclose(got.array, np.stack([TIME, -TIME]), atol=1e-6)


def test_a_vector_is_a_row(tmp_path):
    table = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    table.to_csv(tmp_path / "a.csv", index=False)
    feature = Vector(VectorOptions(size=2))
    got = feature.extract(Source("a", tmp_path / "a.csv", 2.0, 3.0, 1.0, None, "c,a"))
    assert got.array.tolist() == [8, 6]
    assert feature.seconds(Source("a", tmp_path / "a.csv", None, None)) == 4
    table.loc[2, "a"] = np.nan
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="row 2, column 1: the value is not a finite number"):
        feature.extract(Source("a", tmp_path / "a.csv", 2.0, 3.0, 1.0, None, "c,a"))
    with pytest.raises(DataError, match="row 0: has 3 numbers, not the 2"):
        feature.extract(Source("a", tmp_path / "a.csv", 0.0, 1.0, 1.0))


def test_pictures_and_films_are_arrays_too(tmp_path):
    film = np.zeros((10, 16, 24, 3), dtype=np.uint8)
    film[:, :, :, 0] = 10 * np.arange(10)[:, None, None]
    np.save(tmp_path / "film.npy", film)
    got = Clip(ClipOptions(frames=3, size=8)).extract(Source("a", tmp_path / "film.npy", 0.4, 1.0, 10.0)).array
    assert got.shape == (3, 8, 8, 3)
    assert got[:, 0, 0, 0].tolist() == [40, 60, 90]
    one = Clip(ClipOptions(size=16, white=1.0))
    assert one.seconds(Source("a", tmp_path / "film.npy", None, None, 10.0)) == 1
    np.save(tmp_path / "grey.npy", np.full((20, 16), 0.5))
    whole = one.extract(Source("a", tmp_path / "grey.npy", None, None)).array
    assert (whole.shape, np.unique(whole).tolist()) == ((1, 16, 16, 3), [128])
    with pytest.raises(DataError, match="holds float64, not uint8; the option white"):
        Clip(ClipOptions(size=16)).extract(Source("a", tmp_path / "grey.npy", None, None))
    with pytest.raises(DataError, match="has 10 frames, not 9 to 12"):
        one.extract(Source("a", tmp_path / "film.npy", 0.9, 1.2, 10.0))
