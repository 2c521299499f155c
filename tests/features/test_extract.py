"""The feature stage: what fails is in the ledger and masked, the rest goes on, and shards share the subjects out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import write_manifest

from pkdot.data import Features, Samples, feature_files
from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.features.extract import (
    FeatureParams,
    IndexParams,
    LedgerParams,
    extract_features,
    index_features,
    merge_ledgers,
)
from pkdot.features.window import Window, WindowOptions
from pkdot.layout import shard_samples
from pkdot.ledger import Ledger
from pkdot.shards import samples_of_shard

RATE, WINDOW = 20, {"name": "window", "channels": 2, "length": 16}


def recording(rows=80):
    time = np.arange(rows) / RATE
    return np.stack([np.sin(time), time], axis=1).astype(np.float32)


@pytest.fixture
def world(tmp_path):
    """Five subjects with two windows each; the paths of some samples are spoilt by the tests."""
    rows = []
    for subject in range(5):
        path = tmp_path / f"r{subject}.npy"
        np.save(path, recording())
        for window in range(2):
            row = {
                "sample_id": f"s{subject}-{window}",
                "subject_id": f"s{subject}",
                "group_id": f"s{subject}",
                "y": "a",
            }
            times = {"eda_start": 2.0 * window, "eda_stop": 2.0 * window + 2, "eda_rate": RATE}
            rows.append({**row, "eda_path": str(path), **times})
    return pd.DataFrame(rows)


def extract(tmp_path, table, shards=1, feature=WINDOW):
    manifest = write_manifest(tmp_path / "data", table, {"y": ["a", "b"]})
    out = tmp_path / "data" / "eda"
    for shard in range(shards):
        params = FeatureParams(modality="eda", feature=feature, shard=shard)
        samples = tmp_path / "data" / shard_samples("eda", shard)
        samples_of_shard(table, "eda", shard, shards).to_parquet(samples)
        extract_features(samples, out, params)
    index_features([out / f"shard_{i}.parquet" for i in range(shards)], out, IndexParams(modality="eda"))
    merge_ledgers([out / "index.ledger.csv"], tmp_path / "data", LedgerParams())
    samples = Samples.load(manifest)
    return Features(out, samples), Ledger.read([tmp_path / "data" / "ledger.csv"]).entries


def test_good_samples_are_as_the_feature_gives_them(tmp_path, world):
    features, ledger = extract(tmp_path, world)
    assert ledger == []
    assert features.valid.all()
    assert features.shape == (2, 16)
    feature = Window(WindowOptions(channels=2, length=16))
    for row in (0, 7, 9):
        sample = world.iloc[row]
        want = feature.extract(Source("x", sample["eda_path"], sample["eda_start"], sample["eda_stop"], RATE)).array
        np.testing.assert_array_equal(features[np.array([row])][0], want)


def test_a_window_is_its_part_of_the_recording(tmp_path, world):
    features, _ = extract(tmp_path, world, feature={**WINDOW, "length": 40})
    np.testing.assert_allclose(features[np.array([0, 1])], recording().reshape(2, 40, 2).transpose(0, 2, 1), atol=1e-6)


def test_a_recording_of_another_rate_is_cut_at_its_own_times(tmp_path, world):
    fine = np.repeat(recording(), 2, axis=0)
    np.save(tmp_path / "fine.npy", fine)
    world.loc[0, ["eda_path", "eda_rate"]] = [str(tmp_path / "fine.npy"), 2 * RATE]
    features, ledger = extract(tmp_path, world, feature={**WINDOW, "length": 40})
    assert ledger == []
    np.testing.assert_allclose(features[np.array([0])][0], features[np.array([2])][0], atol=0.06)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"not numpy"), "is not a whole .npy file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is not a whole .npy file"),
        (lambda path: np.save(path, recording()[:30]), "ends before 4 s at 20 Hz"),
        (lambda path: np.save(path, recording()[:, 0]), "has shape (80,), not (time, 2)"),
        (lambda path: np.save(path, recording()[:, :1]), "has shape (80, 1), not (time, 2)"),
        (lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True), "is not a whole .npy file"),
        (lambda path: np.save(path, recording().astype("U9")), "not an array of real numbers"),
        (
            lambda path: np.save(path, np.where(recording() > 3.4, np.nan, recording())),
            ", row 69: a value is not a finite",
        ),
        (lambda path: np.save(path, recording().astype(float) * 1e300), "values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_sample_that_fails_is_in_the_ledger_and_the_run_goes_on(tmp_path, world, spoil, said):
    own = tmp_path / "own.npy"
    np.save(own, recording())
    spoil(own)
    world.loc[5, "eda_path"] = str(own)
    features, ledger = extract(tmp_path, world)
    assert len(ledger) == 1
    assert (ledger[0].sample_id, ledger[0].modality, ledger[0].stage) == ("s2-1", "eda", "features")
    assert ledger[0].action == "dropped"
    assert ledger[0].problem.startswith(str(own))
    assert said in ledger[0].problem
    np.testing.assert_array_equal(features.valid, [True] * 5 + [False] + [True] * 4)
    assert not features[np.array([5])].any()
    index = pd.read_parquet(tmp_path / "data" / "eda" / "index.parquet").set_index("sample_id")
    assert index.loc["s2-1", "coverage"] == 0


def test_a_sample_without_the_modality_is_masked_and_ingestion_has_said_why(tmp_path, world):
    world.loc[[2, 3], "eda_path"] = None
    features, ledger = extract(tmp_path, world)
    assert ledger == []
    assert not features.valid[[2, 3]].any()
    assert features.valid.sum() == 8


def test_a_modality_that_fails_throughout_is_still_an_index(tmp_path, world):
    world["eda_path"] = str(tmp_path / "nothing.npy")
    features, ledger = extract(tmp_path, world, shards=2)
    assert len(ledger) == 10
    assert not features.valid.any()


def test_a_data_set_that_does_not_say_the_rate_is_told(tmp_path, world):
    _, ledger = extract(tmp_path, world.drop(columns="eda_rate"))
    assert len(ledger) == 10
    assert "does not say the rate" in ledger[0].problem


@pytest.mark.parametrize("shards", [2, 3, 5, 8])
def test_shards_share_the_subjects_out(tmp_path, world, shards):
    """Also more shards than subjects: some are empty then."""
    whole, _ = extract(tmp_path / "one", world)
    shared, _ = extract(tmp_path / "many", world, shards)
    rows = np.array([9, 0, 3, 3])
    np.testing.assert_array_equal(whole[rows], shared[rows])
    folder = tmp_path / "many" / "data" / "eda"
    parts = [pd.read_parquet(folder / f"shard_{i}.parquet")["sample_id"] for i in range(shards)]
    assert sorted(pd.concat(parts)) == sorted(world["sample_id"])
    owners = [set(part.str[:2]) for part in parts]
    assert sum(map(len, owners)) == 5, "a subject is in two shards"
    assert pd.read_parquet(folder / "index.parquet").dtypes["valid"].kind == "b"
    assert len(feature_files(folder)) == 1 + min(shards, 5)


def test_an_array_of_another_shape_is_not_spread(tmp_path, world, monkeypatch):
    """One channel is not silently copied to all."""
    extracted = Window.extract

    def short(self, source):
        got = extracted(self, source)
        return replace(got, array=got.array[:1]) if source.sample_id == "s1-0" else got

    monkeypatch.setattr(Window, "extract", short)
    features, ledger = extract(tmp_path, world)
    assert len(ledger) == 1
    assert "has shape (1, 16), not (2, 16)" in ledger[0].problem
    assert features.valid.sum() == 9


def test_a_manifest_that_was_damaged_stops_the_stage(tmp_path, world):
    extract(tmp_path, world)
    path = tmp_path / "data" / "eda" / "shard_0.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"shard_0.parquet: its content"):
        index_features([path], tmp_path / "data" / "eda", IndexParams(modality="eda"))


def test_the_ledger_keeps_what_it_is_told(tmp_path):
    ledger = Ledger()
    ledger.add('odd, "name"', "eda", "features", "two\nlines,  and; commas")
    ledger.add("b", "", "ingest", "kept", "kept with mask")
    ledger.write(tmp_path / "ledger.csv")
    again = Ledger.read([tmp_path / "ledger.csv"])
    assert again == ledger
    assert again.entries[0].problem == "two lines, and; commas"
    Ledger().write(tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text() == "sample_id,modality,stage,problem,action\n"
    assert Ledger.read([tmp_path / "empty.csv"]).entries == []
