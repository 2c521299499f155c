"""Control arms: what they take away, and that they take nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from synthetic import World

from pkdot.training.arms import ArmParams
from pkdot.training.controls import levels, swapped, within_subject_and_class
from pkdot.training.fold import Fold, embedding_paths
from pkdot.training.student import train_students
from pkdot.training.teacher import train_teachers


def fold_of(world, control=None, seed=0):
    paths = embedding_paths(world.embeddings)
    arm = ArmParams(prevalent=["face"], privileged=["eda"], task=world.task, fold=0, control=control, control_seed=seed)
    return Fold(world.manifest, world.splits, paths, arm, torch.device("cpu"))


def test_every_row_gets_the_data_of_another_one_of_its_group():
    groups = np.array([0, 0, 1, 1, 1, 2])
    rows = np.arange(10, 16)
    source = swapped(groups, rows, np.random.default_rng(0))
    assert sorted(source) == sorted(rows)
    assert (groups[source - 10] == groups).all()
    assert ((source == rows) == (groups == 2)).all()


def test_rows_alone_in_subject_and_class_share_those_of_their_class():
    subjects, labels = np.array(["a", "a", "b", "c", "d"]), np.array([0, 0, 0, 0, 1])
    groups = within_subject_and_class(subjects, labels)
    assert groups[0] == groups[1] != groups[2] == groups[3] != groups[4]


def test_levels_of_values_are_quintiles():
    values = np.r_[np.arange(10.0), np.nan][:, None]
    assert list(levels(values, regression=True)) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]


@pytest.mark.parametrize("kind", [{}, {"kind": "regression", "tokens": 2}])
def test_swapped_data_stay_in_their_part_and_keep_what_the_control_keeps(tmp_path, kind):
    world = World(tmp_path, **kind)
    world.labels["hidden"] = list(world.table["sample_id"].iloc[world.rows("train")[::3]])
    world.write()
    true = fold_of(world)
    row_of = {value.tobytes(): row for row, value in enumerate(true.privileged.numpy())}
    labels = levels(true.task.targets, true.task.regression)
    subjects = world.table["subject_id"].to_numpy()
    training = np.union1d(true.train, true.unlabelled)
    for control in ("shuffled", "globally_shuffled"):
        fold = fold_of(world, control)
        source = np.array([row_of[value.tobytes()] for value in fold.privileged.numpy()])
        assert torch.equal(fold.prevalent, true.prevalent)
        assert torch.equal(fold.modalities["eda"], fold.privileged)
        assert sorted(source[training]) == list(training)
        assert sorted(source[fold.validation]) == list(fold.validation)
        assert (source[fold.test] == fold.test).all()
        assert (source[training] != training).any()
        if control == "shuffled" and not kind:
            assert (labels[source[training]] == labels[training]).all()
            assert (subjects[source[training]] == subjects[training]).all()
    assert torch.equal(fold_of(world, "shuffled").privileged, fold_of(world, "shuffled").privileged)
    assert not torch.equal(
        fold_of(world, "globally_shuffled").privileged, fold_of(world, "globally_shuffled", 1).privileged
    )


@pytest.mark.parametrize("soft_labels", ["joint", "pooled"])
def test_a_control_without_a_privileged_teacher_never_reads_privileged_data(tmp_path, soft_labels):
    """Its student is the same, bit for bit, whatever the privileged data are."""
    written = []
    for change in (0, 7):
        world = World(tmp_path / str(change))
        world.values["eda"][world.rows("train")] += change * np.random.default_rng(1).normal(
            size=world.values["eda"][world.rows("train")].shape
        ).astype(np.float32)
        world.write()
        out = world.folder / "run"
        train_teachers(world.manifest, world.splits, world.embeddings, out / "teachers", world.teacher_params())
        method = {"name": "pkdot_joint", "soft_labels": soft_labels}
        params = world.student_params(method, control="prevalent_teacher", tnet={"hidden": [6], "state": "random"})
        train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / "students", params)
        teacher = load_file(out / "teachers/seed_0/teacher/weights.safetensors")
        student = (out / "students/seed_0/pkdot_joint/weights.safetensors").read_bytes()
        choice = json.loads((out / "students/pkdot_joint.json").read_text())
        written.append((student, choice, teacher))
    assert written[0][:2] == written[1][:2]
    assert any((written[0][2][name] != written[1][2][name]).any() for name in written[0][2]), "nothing was changed"
