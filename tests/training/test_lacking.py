"""Training samples that lack one of several privileged modalities: they take part with what they have."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from synthetic import World

from pkdot.hallucination.base import Lesson, TNetChoice, build_tnet, squared_error
from pkdot.training.fold import Fold, embedding_paths
from pkdot.training.student import pooled, train_students
from pkdot.training.teacher import train_teachers

SHARED = {"privileged": ["ecg", "eda"], "seeds": [0]}
METHODS = (
    "kd",
    "pkdot",
    "pkdot_joint",
    "modality_hallucination",
    "zero_imputation",
    "modality_dropout",
    "mt_pkdot",
    "mst_distill",
)
OF_EACH = ("mt_pkdot", "mst_distill")  # they imitate the teachers of single modalities


def world_of(folder, lacking="ecg", **kind):
    """A world with two privileged modalities, of which every third sample outside of validation lacks one."""
    world = World(folder, **kind)
    rng = np.random.default_rng(5)
    world.values["ecg"] = world.values["eda"] + rng.normal(size=world.values["eda"].shape).astype(np.float32)
    world.heads["ecg"] = world.heads["eda"]
    world.lost = np.setdiff1d(np.arange(0, 36, 3), world.rows("validation")) if lacking else np.empty(0, int)
    if lacking:
        world.values[lacking][world.lost] = np.nan
    world.write()
    return world


def teachers(world, name="teachers", **changes):
    """Train the teachers; return the folder of their seed."""
    out = world.folder / name
    train_teachers(world.manifest, world.splits, world.embeddings, out, world.teacher_params(**SHARED, **changes))
    return out / "seed_0"


def fold_of(world, **changes):
    arm = world.teacher_params(**SHARED, **changes)
    return Fold(world.manifest, world.splits, embedding_paths(world.embeddings), arm, torch.device("cpu"))


def unknown(folder):
    """Samples of which a teacher says nothing."""
    return np.flatnonzero(np.isnan(load_file(folder / "outputs.safetensors")["logits"]).any(axis=(1, 2))).tolist()


def test_samples_take_part_in_training_and_not_in_choices(tmp_path):
    world = world_of(tmp_path)
    train, validation, test = (world.rows(part) for part in ("train", "validation", "test"))
    world.values["eda"][train[[0, 3]]] = np.nan  # of the sample 0 nothing privileged is left, nor of 3
    world.values["ecg"][validation[0]] = np.nan
    world.values["face"][train[1]] = np.nan
    world.write()
    fold = fold_of(world)
    assert fold.train.tolist() == np.setdiff1d(train, train[[0, 1, 3]]).tolist()
    assert fold.solitary["train"].tolist() == train[[0, 3]].tolist()
    assert fold.whole(fold.train).tolist() == np.setdiff1d(fold.train, world.lost).tolist()
    assert fold.validation.tolist() == validation[1:].tolist()
    assert fold.test.tolist() == test.tolist()
    swapped = fold_of(world, control="globally_shuffled")
    lost = torch.isnan(swapped.modalities["ecg"]).all(dim=(1, 2)).numpy()
    np.testing.assert_array_equal(swapped.complete[swapped.train], ~lost[swapped.train])
    assert swapped.complete[swapped.train].sum() == fold.complete[fold.train].sum()


@pytest.mark.parametrize("kind", [{}, {"tokens": 2}, {"kind": "regression", "tokens": 2}], ids=str)
def test_teachers_and_students_learn_from_what_there_is(tmp_path, kind):
    world = world_of(tmp_path, **kind)
    world.labels = {"hidden": list(world.table["sample_id"][12:18]), "wrong": {}}
    world.write()
    found = teachers(world)
    assert unknown(found / "teacher") == []
    assert unknown(found / "modality_ecg") == world.lost.tolist()
    assert unknown(found / "modality_eda") == unknown(found / "modality_face") == []
    lost = np.isin(world.rows("train"), world.lost)
    for method in METHODS:
        if kind.get("kind") and method in ("mst_distill",):
            continue
        params = world.student_params(method, **SHARED)
        train_students(world.manifest, world.splits, world.embeddings, tmp_path / "teachers", tmp_path / "out", params)
        folder = tmp_path / "out" / "seed_0" / method
        history = pd.read_csv(folder / "history.csv")
        assert np.isfinite(history[["loss", "score", "val_loss"]].iloc[1:]).all(axis=None), method
        assert all(np.isfinite(value).all() for value in load_file(folder / "weights.safetensors").values()), method
        samples = json.loads((folder / "metrics.json").read_text())["samples"]
        assert samples["labelled"] == 12, method
        assert samples["unlabelled"] in (0, 6 - lost[12:].sum() if method in OF_EACH else 6), method


def test_a_sample_without_one_modality_teaches_the_joint_teacher_with_the_others(tmp_path):
    one, other = (world_of(tmp_path / name) for name in ("one", "other"))
    other.values["eda"][other.lost[0]] += 1.0
    other.write()
    before, after = (teachers(world) for world in (one, other))
    for name, differs in (("teacher", True), ("modality_eda", True), ("modality_ecg", False)):
        weights = [load_file(folder / name / "weights.safetensors") for folder in (before, after)]
        assert any((weights[0][key] != weights[1][key]).any() for key in weights[0]) == differs, name


def test_the_teacher_of_a_modality_is_that_of_the_samples_that_have_it(tmp_path):
    """As if the others were in no table at all, bit for bit."""
    world, less = world_of(tmp_path / "world"), world_of(tmp_path / "less")
    kept = np.setdiff1d(np.arange(36), less.lost)
    less.table = less.table.iloc[kept].reset_index(drop=True)
    less.values = {name: values[kept] for name, values in less.values.items()}
    less.write()
    weights = [load_file(teachers(each) / "modality_ecg/weights.safetensors") for each in (world, less)]
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])


def test_a_teacher_that_says_nothing_of_a_sample_has_no_say(tmp_path):
    world = world_of(tmp_path)
    fold, rng = fold_of(world), np.random.default_rng(2)
    one, other = (torch.from_numpy(rng.normal(size=(36, 1, 2))) for _ in range(2))
    other[world.lost] = torch.nan
    found = pooled([one, other], fold)
    mean = (one.log_softmax(-1) + other.log_softmax(-1)) / 2
    expected = torch.where(other.isnan(), one.log_softmax(-1), mean)
    ratio = expected / found
    assert ratio.isfinite().all()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), msg="calibrated by one temperature")


def test_a_critic_that_could_compare_nothing_leaves_the_squared_error():
    tnet = build_tnet(TNetChoice(name="adversarial"), 3, 4, [5])
    prevalent, privileged = torch.randn(2, 6, 1, 3), torch.randn(6, 1, 4)
    privileged[..., :2] = torch.nan
    lesson = Lesson(prevalent[0], privileged, lambda *_: torch.zeros(()), tnet.companion(), torch.Generator())
    loss = tnet.loss(lesson)
    torch.testing.assert_close(loss, squared_error(tnet(prevalent[0]), privileged))
    assert loss > 0


def test_every_t_net_learns_from_samples_without_one_modality(tmp_path):
    world = world_of(tmp_path)
    for kind in ("mlp", "consistent", "attention", "adversarial", "generative", "iterative", "shared_private"):
        folder = teachers(world, kind, tnet={"kind": kind, "hidden": [6]})
        weights = load_file(folder / "tnet/weights.safetensors")
        assert all(np.isfinite(value).all() for value in weights.values()), kind
        assert np.isfinite(pd.read_csv(folder / "tnet/history.csv")["score"]).all(), kind


def solitary_world(folder, flipped=None, **kind):
    """A world with one privileged modality, which four labelled and two unlabelled training samples lack."""
    world = World(folder, **kind)
    world.alone = world.rows("train")[[0, 3, 4, 7, 13, 16]]
    world.values["eda"][world.alone] = np.nan
    world.labels = {"hidden": list(world.table["sample_id"][world.rows("train")[12:18]]), "wrong": {}}
    if flipped is not None:
        world.table.loc[flipped, "level"] = world.table["level"][(flipped + 1) % 36]
    world.write()
    return world


def trained(world, method, **changes):
    """Train the teachers and a student of one seed; return the folders of the seed."""
    train_teachers(
        world.manifest, world.splits, world.embeddings, world.folder / "teachers", world.teacher_params(seeds=[0])
    )
    params = world.student_params(method, seeds=[0], **changes)
    train_students(
        world.manifest, world.splits, world.embeddings, world.folder / "teachers", world.folder / params.label, params
    )
    return world.folder / "teachers/seed_0", world.folder / params.label / "seed_0" / params.label


def differ(one, other):
    """Whether any weight of two networks differs."""
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return any((first[name] != second[name]).any() for name in first)


@pytest.mark.parametrize("kind", [{}, {"tokens": 2}, {"kind": "regression", "tokens": 2}], ids=str)
@pytest.mark.parametrize("method", ["student_only", "self_training", "feature_mse", "pkdot_joint", "linear_probe"])
def test_a_label_counts_where_nothing_privileged_is_there(tmp_path, method, kind):
    world = solitary_world(tmp_path, **kind)
    teachers, student = trained(world, method)
    assert unknown(teachers / "teacher") == unknown(teachers / "modality_eda") == sorted(world.alone)
    assert unknown(teachers / "modality_face") == []
    samples = json.loads((student / "metrics.json").read_text())["samples"]
    unlabelled = {"self_training": 6, "feature_mse": 4, "pkdot_joint": 4}.get(method, 0)
    assert samples == {"labelled": 12, "unlabelled": unlabelled}
    assert all(np.isfinite(value).all() for value in load_file(student / "weights.safetensors").values())


@pytest.mark.parametrize("method", ["student_only", "kd", "mt_pkdot"])
def test_the_label_of_a_sample_without_privilege_reaches_students_and_no_joint_teacher(tmp_path, method):
    first = solitary_world(tmp_path / "one")
    second = solitary_world(tmp_path / "other", flipped=first.alone[1])
    (teachers, student), (others, other) = trained(first, method), trained(second, method)
    assert not differ(teachers / "teacher", others / "teacher")
    assert differ(teachers / "modality_face", others / "modality_face")
    assert differ(student, other)


def test_each_labelled_sample_weighs_the_same(tmp_path):
    """The first step of a student that begins at the encoder's head, and whose teacher weighs nothing."""
    method = {"name": "kd", "weight": 0}
    training = {"steps": 1, "evaluate_every": 1, "batch_size": 12}
    lacking, whole = solitary_world(tmp_path / "lacking"), solitary_world(tmp_path / "whole")
    whole.values["eda"][whole.alone] = 0.0
    whole.write()
    losses = [
        pd.read_csv(trained(world, method, training=training)[1] / "history.csv")["loss"][1]
        for world in (lacking, whole)
    ]
    assert losses[0] / losses[1] == pytest.approx(12 / 8)
