"""A plan counts what a configuration asks for, and estimates the rest where the data are there."""

from __future__ import annotations

from synthetic import arrays_config, make_arrays, write_config

from pkdot.cli import main
from pkdot.encoders.cnn1d import Cnn1d
from pkdot.experiment import load
from pkdot.plan import make_plan, trainings_of

TRAININGS = {"encoders": 4, "teachers": 6, "T-Nets": 2, "students": 8}


def test_control_arms_are_counted(tmp_path):
    values = arrays_config()
    values["students"] |= {"methods": ["student_only", "pkdot_joint"], "controls": {"pkdot_joint": ["shuffled"]}}
    described = load(write_config(tmp_path / "config" / "tiny.yaml", values))
    folds, seeds, candidates = described.splits.fold_count, len(described.seeds), described.students.candidates
    assert trainings_of(described)["students"] == folds * seeds * candidates * 3


def test_a_plan_of_data_that_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_arrays(tmp_path / "own")
    config = write_config(tmp_path / "config" / "tiny.yaml", arrays_config())
    before = sorted(tmp_path.rglob("*"))
    plan = make_plan(load(config))
    assert plan.trainings == TRAININGS
    assert (plan.samples, plan.subjects) == (48, 6)
    assert list(plan.costs) == ["features", "encoders", "teachers", "students"]
    assert plan.costs["features"].size == 48 * 2 * (2 * 32 * 4)
    assert all(cost.seconds >= 0 for cost in plan.costs.values())
    assert all(cost.size > 0 for cost in plan.costs.values())
    assert plan.memory > 1e8
    main(["plan", str(config)])
    printed = capsys.readouterr()
    assert "clips       48 of 6 subjects" in printed.out
    assert "Assumed" in printed.out
    assert printed.err == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_counts_what_students_read_that_train_their_encoder(tmp_path, monkeypatch):
    """What the frozen blocks of a network make of each of the 48 clips is a file beside the encoder."""
    monkeypatch.chdir(tmp_path)
    make_arrays(tmp_path / "own")
    values = arrays_config()
    values["students"]["encoder"] = "finetuned"
    whole = make_plan(load(write_config(tmp_path / "config" / "tiny.yaml", values)))
    monkeypatch.setattr(Cnn1d, "has_frozen_part", True)
    monkeypatch.setattr(Cnn1d, "frozen_part", lambda _, batch: batch.unsqueeze(1))
    monkeypatch.setattr(Cnn1d, "trained_part", lambda net, maps: net(maps.squeeze(1)))
    part = make_plan(load(tmp_path / "config" / "tiny.yaml"))
    header, folds = 128, 2
    assert part.costs["encoders"].size - whole.costs["encoders"].size == folds * (48 * (2 * 32 * 4) + header)
    assert min(plan.costs["students"].size for plan in (whole, part)) > 0


def test_a_plan_without_data_counts_the_trainings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["plan", str(write_config(tmp_path / "config" / "tiny.yaml", arrays_config()))])
    assert capsys.readouterr().out.splitlines() == [
        "trainings   4 encoders, 6 teachers, 2 T-Nets, 8 students",
        "own does not exist, so clips, disk, memory and hours cannot be estimated.",
    ]
