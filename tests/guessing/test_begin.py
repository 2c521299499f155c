"""``pkdot init``: folders as people have them become a list of recordings and a configuration that pass the check."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pkdot import jobs
from pkdot.cli import main
from pkdot.datasets.ingest import read_dataset
from pkdot.experiment import load
from pkdot.features.extract import first_problems

RATE = 20
RNG = np.random.default_rng(0)


def signal(channels, seconds=9):
    return RNG.normal(size=(RATE * seconds, channels))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("mine")
    folder.mkdir()
    return folder


def begin(capsys, *more):
    """Run the verb, and read the data by what it wrote."""
    main(["init", "own", "--from", "mine", *more])
    said = capsys.readouterr().out
    experiment = load(Path("config/own.yaml"))
    params = jobs.ingest(experiment)
    found = read_dataset(params)
    assert [entry for entry in found.ledger.entries if entry.action != "as configured"] == []
    found.manifest.to_parquet("manifest.parquet")
    for name in experiment.modalities:
        assert first_problems(Path("manifest.parquet"), jobs.features(experiment, name, 0)) == []
    return found, experiment, said


def everyone():
    for subject in range(1, 6):
        for state in ("calm", "tense"):
            yield f"sub-{subject:02d}", state


@pytest.mark.parametrize("pattern", ["{s}/{c}/{m}.npy", "{s}_{c}_{m}.npy", "{m}/{s}/{c}.npy", "{c}/{s}_{m}.npy"])
def test_names_tell_streams_subjects_and_targets(mine, capsys, pattern):
    for subject, state in everyone():
        for stream, channels in (("eda", 1), ("motion", 3)):
            path = mine / pattern.format(s=subject, c=state, m=stream)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, signal(channels))
    found, experiment, said = begin(capsys, "--rate", str(RATE))
    assert found.manifest["subject_id"].nunique() == 5
    assert found.about["targets"] == {"target": ["calm", "tense"]}
    assert len(found.manifest) == 10 * 2, "windows of 4 of the 9 seconds"
    assert set(experiment.modalities) == {"eda", "motion"}
    assert "5 subjects, named by part" in said
    assert said.index("Not known") < said.index("what is there at test time")


def test_sounds_beside_arrays_get_the_feature_of_sounds(mine, capsys):
    for number, (subject, state) in enumerate(everyone()):
        np.save(mine / f"{subject}_{state}_eda.npy", signal(1))
        with wave.open(str(mine / f"{subject}_{state}_voice.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((3000 * np.sin(np.arange(72000) / (5 + number))).astype("<i2").tobytes())
    found, experiment, _ = begin(capsys, "--rate", str(RATE))
    assert experiment.modalities["voice"].feature.name == "audio"
    assert len(found.manifest) == 20


def test_a_table_a_recording_with_times_and_labels(mine, capsys):
    for subject, _ in everyone():
        table = pd.DataFrame(signal(4), columns=["acc_x", "acc_y", "acc_z", "EDA"])
        table.insert(0, "time", 1000 * np.arange(len(table)) // RATE)
        table["label"] = np.repeat(["rest", "load", "late"], [80, 80, 20])
        table.to_csv(mine / f"{subject}.csv", index=False)
    found, experiment, said = begin(capsys)
    assert f"the rate is {RATE} Hz, from the column 'time'" in said
    assert list(experiment.modalities) == ["acc", "eda"]
    assert found.about["subjects"] == 5
    assert found.manifest["label"].value_counts().to_dict() == {"rest": 5, "load": 5}


def test_a_table_a_stream_with_times_of_its_own(mine, capsys):
    for subject, state in everyone():
        for stream, rate in (("hr", 4), ("acc", RATE)):
            time = np.arange(0, 9, 1 / rate)
            table = pd.DataFrame({"seconds": time, stream: RNG.normal(size=len(time))})
            table.to_csv(mine / f"{subject}_{state}_{stream}.csv", index=False)
    found, _, _ = begin(capsys)
    rows = found.manifest.iloc[0]
    assert (rows["hr_rate"], rows["acc_rate"], rows["hr_part"]) == (4, RATE, "hr")
    assert len(found.manifest) == 20


def test_archives_and_a_table_of_labels_beside_them(mine, capsys):
    people = pd.DataFrame({"participant": [s for s, c in everyone() if c == "calm"], "stress": np.arange(5) + 0.5})
    people.to_csv(mine / "participants.csv", index=False)
    for subject in people["participant"]:
        np.savez(mine / f"{subject}.npz", ecg=signal(1), motion=signal(3))
    found, _, said = begin(capsys, "--rate", str(RATE))
    assert "the targets are those of participants.csv, column 'stress', by the recording's name" in said
    assert found.about["targets"] == {"target": None}
    assert len(found.manifest) == 10


def test_one_table_whose_rows_are_samples(mine, capsys):
    table = pd.DataFrame(RNG.normal(size=(40, 6)), columns=["blood1", "blood2", "blood3", "scan_a", "scan_b", "age"])
    table["patient"] = [f"p{row // 2}" for row in range(40)]
    table["target"] = RNG.normal(size=40)
    table["comment"] = "none"
    table.to_parquet(mine / "all.parquet")
    found, experiment, said = begin(capsys)
    assert set(experiment.modalities) == {"blood", "scan", "age"}
    assert (found.about["samples"], found.about["subjects"]) == (40, 20)
    assert experiment.task.kind == "regression"
    np.testing.assert_allclose(found.manifest["target"], table["target"])
    assert "what the column 'comment' is for; it is not used" in said


def test_files_whose_rows_are_samples(mine, capsys):
    np.save(mine / "shape.npy", RNG.normal(size=(30, 5)))
    np.save(mine / "picture.npy", RNG.random(size=(30, 16, 16)))
    np.save(mine / "y.npy", np.arange(30) % 3)
    found, experiment, _ = begin(capsys)
    assert found.about["targets"] == {"y": ["0", "1", "2"]}
    assert experiment.modalities["picture"].feature.name == "clip"
    assert (found.about["samples"], found.about["subjects"]) == (30, 30)


def test_what_cannot_be_known_is_said_and_the_check_names_file_and_row(mine, capsys):
    for number in range(4):
        for stream, channels in (("left", 1), ("right", 3)):
            np.save(mine / f"walk{number}_{stream}.npy", signal(channels))
    main(["init", "own", "--from", "mine"])
    said = capsys.readouterr().out.partition("Not known:")[2]
    for what in (
        "the rate: fill in",
        "the target: fill in",
        "each recording is its own subject",
        "'left' is prevalent",
    ):
        assert what in said
    with pytest.raises(SystemExit, match=r"mine/recordings.csv, row 2: the rate '' is not a number of Hz above zero"):
        main(["check", "config/own.yaml"])


def test_nothing_is_overwritten_and_nothing_is_invented(mine, capsys):
    with pytest.raises(SystemExit, match=r"mine: has no files of the kinds .npy, .npz, .csv"):
        main(["init", "own", "--from", "mine"])
    for name in ("one", "other"):
        np.save(mine / f"{name}.npy", signal(2))
    with pytest.raises(
        SystemExit, match=r"do not tell which are streams of one recording. Write recordings.csv by hand"
    ):
        main(["init", "own", "--from", "mine"])
    (mine / "recordings.csv").write_text("mine")
    with pytest.raises(SystemExit, match=r"mine/recordings.csv is there already and is kept"):
        main(["init", "own", "--from", "mine"])
    for wrong in (
        ["init", "a/b", "--from", "mine"],
        ["init", "own", "--from", "nowhere"],
        ["init", "x", "--from", "mine", "--rate", "0"],
    ):
        with pytest.raises(SystemExit, match=r"is no name for an experiment|no such folder|it takes a number of Hz"):
            main(wrong)
    assert (mine / "recordings.csv").read_text() == "mine"
    assert not Path("config").exists()
