"""Tables of arrays in all their forms: what a sample is, whose it is, and which label it gets."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pkdot.datasets.arrays import ArraysOptions
from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.ingest import IngestParams, ingest
from pkdot.errors import DataError
from pkdot.features.audio import Audio, AudioOptions
from pkdot.features.base import Source
from pkdot.features.window import Window, WindowOptions
from pkdot.ledger import Ledger

RATE, SECONDS = 10, 6


def read(root, streams=("a", "b"), **options):
    dataset = DatasetChoice(name="arrays", options={"streams": list(streams), "seconds": 2, "step": 2, **options})
    out = root.parent / "out"
    ingest(out, IngestParams(dataset=dataset, root=str(root), sources={"face": "a", "eda": streams[-1]}))
    entries = Ledger.read([out / "ingest.ledger.csv"]).entries
    return pd.read_parquet(out / "manifest.parquet"), entries, json.loads((out / "dataset.json").read_text())


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def write(root, **columns):
    """Write recordings.csv; an array in the place of a cell goes to a file of its own."""
    table = pd.DataFrame({name: list(cells) for name, cells in columns.items()}).astype(object)
    for name in table:
        for row, cell in enumerate(table[name]):
            if isinstance(cell, np.ndarray):
                np.save(root / f"{name}{row}.npy", cell)
                table.loc[row, name] = f"{name}{row}.npy"
    table.to_csv(root / "recordings.csv", index=False)


def signal(seed, rate=RATE, seconds=SECONDS):
    return np.random.default_rng(seed).normal(size=(round(rate * seconds), 2))


def two(root, target, **more):
    """Two recordings of six seconds, of a subject each."""
    streams = {"a": [signal(0), signal(1)], "b": [signal(2), signal(3)]}
    columns = {"recording_id": ["r0", "r1"], "subject_id": ["s0", "s1"], "target": target, "rate": [RATE, RATE]}
    write(root, **columns | streams | more)


def test_an_empty_target_is_an_unlabelled_sample(root):
    two(root, ["calm", ""])
    manifest, ledger, _ = read(root, classes=["calm", "tense"])
    assert ledger == []
    assert manifest["class"].tolist() == ["calm"] * 3 + [None] * 3
    two(root, ["1.5", ""])
    manifest, ledger, about = read(root, target="stress")
    assert (ledger, about["targets"]) == ([], {"stress": None})
    np.testing.assert_array_equal(manifest["stress"], [1.5] * 3 + [np.nan] * 3)


def test_several_targets_are_columns(root):
    two(root, ["", ""], valence=["0.5", ""], arousal=["-1", "2"])
    manifest, _, about = read(root, target=["valence", "arousal"])
    assert about["targets"] == {"valence": None, "arousal": None}
    np.testing.assert_array_equal(manifest["valence"], [0.5] * 3 + [np.nan] * 3)
    np.testing.assert_array_equal(manifest["arousal"], [-1.0] * 3 + [2.0] * 3)
    two(root, ["", ""], valence=["0.5", "high"], arousal=["-1", "2"])
    manifest, ledger, _ = read(root, target=["valence", "arousal"])
    assert [(e.sample_id, e.action) for e in ledger] == [("r1", "dropped")]
    assert "recordings.csv, row 3: the valence 'high' is not a number" in ledger[0].problem
    with pytest.raises(ValueError, match="several targets are real numbers"):
        ArraysOptions(streams=["a"], target=["x", "y"], classes=["c", "d"])


def test_a_window_has_the_class_of_most_of_its_moments(root):
    """A label stream of its own rate and offset; ties, too few and other classes have rules."""
    labels = np.array(["a", "a", "b", "", "", "c"])  # one a second
    tied = np.array([0, 1, 1, 0, 1, 1])
    two(root, [labels, tied], target_rate=[1, 1])
    manifest, ledger, _ = read(root, classes=["a", "b"], labels="file")
    assert manifest["class"].tolist()[:2] == ["a", "b"]
    assert manifest["sample_id"].tolist()[:2] == ["r0-0000", "r0-0001"]
    told = [(e.sample_id, e.problem.partition("row ")[2], e.action) for e in ledger]
    assert told == [
        ("r0", "2: the target of 1 samples is 'c', which is not in dataset.classes", "as configured"),
        ("r1", "3: the target of 1 samples is '1', which is not in dataset.classes", "as configured"),
        ("r1", "3: 2 of 2 samples have no label that counts, and are unlabelled", "as configured"),
    ]
    manifest, _, _ = read(root, classes=["a", "b"], labels="file", label_share=0.6)
    assert manifest["class"].tolist()[:2] == ["a", None], "half of the window is too little"
    two(root, [labels, tied], target_rate=[1, 1], target_offset=[2, 0])
    manifest, _, _ = read(root, classes=["a", "b"], labels="file")
    assert manifest["class"].tolist()[:3] == [None, "a", "b"], "labels that begin later"


def test_a_window_has_the_mean_of_its_numbers(root):
    values = np.arange(60.0)
    values[25:] = np.nan
    two(root, [values, ""])
    manifest, _, _ = read(root, labels="file")
    assert manifest["class"].tolist()[0] == np.arange(20).mean()
    assert manifest["class"].isna().tolist() == [False, True, True, True, True, True]
    manifest, _, _ = read(root, labels="file", label_share=0.25)
    assert manifest["class"].tolist()[1] == np.arange(20, 25).mean()


def test_streams_of_other_rates_and_offsets_are_cut_at_the_same_time(root):
    """A common clock in every stream: its windows hold the same moments."""
    fine, coarse = np.arange(0, 8, 1 / 50), np.arange(1.5, 9.5, 1 / 10)
    write(
        root,
        recording_id=["r"],
        subject_id=["s"],
        target=["x"],
        rate=[10],
        a=[fine[:, None]],
        a_rate=[50],
        b=[coarse[:, None]],
        b_offset=[1.5],
    )
    manifest, ledger, _ = read(root, classes=["x", "y"])
    assert len(manifest) == 3, "they share 1.5 to 8 s"
    assert "the streams last 6.5 to 8.0 s" in ledger[0].problem
    feature = Window(WindowOptions(channels=1, length=8))
    for row in manifest.to_dict("records"):
        spans = [[row[f"{name}_{part}"] for part in ("path", "start", "stop", "rate")] for name in ("face", "eda")]
        first, second = (feature.extract(Source("", *span)).array[0] for span in spans)
        np.testing.assert_allclose(first, second, atol=0.1)
    assert manifest["face_start"].tolist() == [1.5, 3.5, 5.5]


def test_rows_are_samples_of_the_subjects_that_a_file_names(root):
    table = pd.DataFrame(
        {"who": ["s0", "s1", None, "s1"], "x": [1, 2, 3, 4], "y": [5, 6, 7, 8], "z": [0.5, 1, 2, None]}
    )
    table.to_csv(root / "all.csv", index=False)
    cells = {"recording_id": ["all"], "subject_id": ["all.csv[who]"], "target": ["all.csv[z]"]}
    write(root, **cells, a=["all.csv[x]"], b=["all.csv[y,x]"])
    options = {"sample": "row", "labels": "file", "subjects": "file"}
    with pytest.raises(DataError, match=r"the file 'all.csv' is that of two streams; name different parts"):
        read(root, **options)
    write(root, **cells, a=["all.csv[x]"], b=["all.csv[y]"])
    manifest, ledger, _ = read(root, **options)
    assert manifest["sample_id"].tolist() == ["all-0000", "all-0001", "all-0003"]
    assert manifest["subject_id"].tolist() == ["s0", "s1", "s1"]
    np.testing.assert_array_equal(manifest["class"], [0.5, 1, np.nan])
    assert manifest["face_part"].tolist() == ["x"] * 3
    problems = [e.problem.partition("row ")[2] for e in ledger]
    assert problems[0] == "2: 1 of 4 rows have no subject"
    np.save(root / "short.npy", np.zeros(3))
    write(root, **cells, a=["all.csv[x]"], b=["short.npy"])
    with pytest.raises(DataError, match="the streams have 3 and 4 rows, but a row is a sample of all"):
        read(root, **options)


def test_a_whole_recording_is_a_sample(root):
    two(root, ["calm", "tense"])
    manifest, _, _ = read(root, classes=["calm", "tense"], sample="recording")
    assert manifest["sample_id"].tolist() == ["r0", "r1"]
    assert manifest["face_start"].isna().all()
    assert read(root, classes=["calm", "tense"], sample="recording", subjects="own")[0]["subject_id"].tolist() == [
        "r0",
        "r1",
    ]
    with pytest.raises(ValueError, match="subjects: own is for rows or recordings"):
        ArraysOptions(streams=["a"], subjects="own")


def test_groups_stay_apart_from_subjects(root):
    two(root, ["calm", "tense"], group_id=["family", "family"])
    manifest, _, _ = read(root, classes=["calm", "tense"])
    assert manifest["group_id"].unique().tolist() == ["family"]
    assert manifest["subject_id"].nunique() == 2


def test_the_user_may_name_the_folds(root):
    two(root, ["calm", "tense"], fold=["x", ""])
    manifest, _, _ = read(root, classes=["calm", "tense"])
    assert manifest["fold"].tolist() == ["x"] * 3 + [""] * 3
    np.save(root / "folds.npy", np.arange(60) % 3)
    two(root, ["", ""], fold=["folds.npy", "folds.npy"])
    manifest, _, _ = read(root, sample="row", subjects="own")
    assert manifest["fold"].tolist()[:4] == ["0", "1", "2", "0"]


def test_recordings_may_share_a_file_by_its_parts(root):
    np.savez(root / "all.npz", r0=signal(0), r1=signal(1))
    two(root, ["calm", "tense"], a=["all.npz[r0]", "all.npz[r1]"])
    manifest, ledger, _ = read(root, classes=["calm", "tense"])
    assert (len(manifest), ledger) == (6, [])
    two(root, ["calm", "tense"], a=["all.npz[r0]", "all.npz[r0]"])
    _, ledger, _ = read(root, classes=["calm", "tense"])
    assert "the file 'all.npz' is that of the recording 'r0' already" in ledger[0].problem


def write_sound(path, seconds, rate=8000):
    samples = (3000 * np.sin(np.arange(round(rate * seconds)) / 5)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def test_videos_and_sounds_say_their_own_rate(root):
    """Beside arrays of another clock; the feature of the sound reads the span that the window has."""
    write_sound(root / "r0.wav", 7)
    (root / "r1.wav").write_bytes(b"RIFF no sound")
    two(root, ["calm", "tense"], b=["r0.wav", "r1.wav"], b_offset=[-1, 0])
    manifest, ledger, _ = read(root, classes=["calm", "tense"])
    assert manifest["eda_start"].tolist() == [1, 3, 5], "the sound began a second before the array"
    assert manifest["eda_rate"].isna().all()
    assert [(e.sample_id, e.action) for e in ledger if e.action == "dropped"] == [("r1", "dropped")]
    assert "r1.wav: is not a whole video or sound" in ledger[-1].problem
    feature = Audio(AudioOptions(steps=8, rate=8000, n_fft=256, window=200, hop=100, bands=16))
    row = manifest.iloc[0]
    got = feature.extract(Source("", Path(row["eda_path"]), row["eda_start"], row["eda_stop"]))
    assert got.array.shape == feature.shape
    with pytest.raises(DataError, match=r"r0.wav has no rows and no parts; it serves windows and wholes"):
        read(root, sample="row", subjects="own", classes=["calm", "tense"])
