"""T-Nets of every kind in the training stages: what they write, who they learn from, what students make of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from synthetic import TRAINING, World

from pkdot.hallucination.base import register
from pkdot.training.loop import TrainingParams
from pkdot.training.student import train_students
from pkdot.training.teacher import train_teachers
from pkdot.training.tnet import TNetsParams, train_tnets

KINDS = register.names()


def teachers(world, out, **changes):
    params = world.teacher_params(seeds=[0], **changes)
    train_teachers(world.manifest, world.splits, world.embeddings, out / "teachers", params)
    return out / "teachers"


def tnet(world, out, kind, seeds=(0,)):
    """Train T-Nets of a kind beside the teachers; return the folder of the first."""
    shared = {name: value for name, value in world.shared().items() if name not in ("training", "tnet", "seeds")}
    params = TNetsParams(
        **shared,
        label=f"tnet_{kind}",
        tnet={"kind": kind, "hidden": [6]},
        training=TrainingParams(**TRAINING),
        seeds=list(seeds),
    )
    folder = out / "teachers"
    train_tnets(world.manifest, world.splits, world.embeddings, folder, folder, params)
    return folder / "seed_0" / params.label


def student(world, out, **tnet):
    state = tnet.get("state", "trained")
    label = f"tnet_{tnet['kind']}" if state == "trained" else "tnet"
    params = world.student_params(
        {"name": "tnet_only"}, seeds=[0], tnet={"hidden": [6], **tnet}, tnet_label=label, candidates=1
    )
    train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / state, params)
    return out / state / "seed_0" / "tnet_only"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A world of tokens and its teachers."""
    world = World(tmp_path_factory.mktemp("world"), tokens=2)
    teachers(world, world.folder)
    return world


@pytest.mark.parametrize("kind", KINDS)
def test_a_t_net_is_trained_alike_twice_and_its_student_starts_from_it(made, kind, tmp_path):
    folder = tnet(made, made.folder, kind)
    weights = (folder / "weights.safetensors").read_bytes()
    assert (tnet(made, made.folder, kind) / "weights.safetensors").read_bytes() == weights
    quality = json.loads((folder / "metrics.json").read_text())
    assert json.loads((folder.parents[1] / f"tnet_{kind}.json").read_text()) == {"0": quality}
    assert all(0 <= quality[part]["retrieval_rank"] <= 1 for part in ("train", "validation", "test"))
    assert load_file(folder / "outputs.safetensors")["privileged"].shape == (36, 2, made.DIM)
    kept = student(made, made.folder, kind=kind, finetune=False)
    own = load_file(kept / "weights.safetensors")
    for name, value in load_file(folder / "weights.safetensors").items():
        assert np.array_equal(own[f"student.tnet.{name}"], value)
    recovered = json.loads((kept / "metrics.json").read_text())["tnet"]
    assert recovered["trained"] == recovered["deployed"]
    rounding = 1e-6 if torch.cuda.is_available() else 0  # there a batch of another size rounds otherwise
    assert recovered["deployed"] == pytest.approx(quality["test"], abs=rounding, rel=0)


def test_students_go_on_training_what_is_trainable(made):
    tnet(made, made.folder, "shared_private")
    before = load_file(made.folder / "teachers/seed_0/tnet_shared_private/weights.safetensors")
    after = load_file(student(made, made.folder, kind="shared_private") / "weights.safetensors")
    same = {name for name, value in before.items() if np.array_equal(after[f"student.tnet.{name}"], value)}
    assert same == {"basis", "centre", "coordinates"}


def test_the_contest_s_own_kind_comes_out_the_same_in_either_stage(made):
    own = load_file(made.folder / "teachers/seed_0/tnet/weights.safetensors")
    apart = load_file(tnet(made, made.folder, "mlp") / "weights.safetensors")
    assert own.keys() == apart.keys()
    assert all(np.array_equal(own[name], apart[name]) for name in own)


@pytest.mark.parametrize("kind", ["mlp", "shared_private", "generative"])
def test_pairs_without_a_label_take_part_and_other_subjects_do_not(kind, tmp_path):
    weights = []
    for name in ("plain", "without labels", "garbled"):
        world = World(tmp_path / name)
        if name == "without labels":
            world.labels = {"hidden": ["s1"], "wrong": {}}
        if name == "garbled":
            rows = world.rows("validation", "test")
            for values in world.values.values():
                values[rows] = np.random.default_rng(0).normal(size=values[rows].shape)
        world.write()
        training = {**TRAINING, "steps": 3}  # one look, so that validation subjects have nothing to choose
        folder = teachers(world, tmp_path / name, tnet={"kind": kind, "hidden": [6]}, tnet_training=training)
        weights.append((folder / "seed_0" / "tnet" / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_consistent_learns_by_the_teacher(tmp_path):
    """Of another teacher it becomes another T-Net, and the published one stays what it is."""
    worlds = [World(tmp_path / name, kind="regression", tokens=2) for name in ("one", "other")]
    for world, dim in zip(worlds, (8, 12), strict=True):
        teachers(world, world.folder, dim=dim)
    kept = worlds[1].shared
    worlds[1].shared = lambda: {**kept(), "dim": 12}
    for kind, same in (("consistent", False), ("mlp", True)):
        one, other = (load_file(tnet(world, world.folder, kind) / "weights.safetensors") for world in worlds)
        assert all(np.array_equal(one[name], other[name]) for name in one) == same


@pytest.mark.parametrize("kind", KINDS)
def test_a_matched_student_has_as_many_parameters_and_no_t_net(made, kind):
    """But for buffers, which are no parameters and are not trained."""
    folder = student(made, made.folder, kind=kind, state="matched")
    plain = student(made, made.folder, kind=kind, state="random")
    described = json.loads((folder / "network.json").read_text())["student"]
    assert described["kind"] == "prevalent"
    assert "tnet" not in json.loads((folder / "metrics.json").read_text())
    ours, theirs = (load_file(each / "weights.safetensors") for each in (folder, plain))
    buffers = ("basis", "centre", "coordinates", "starts")
    counts = [
        sum(value.size for name, value in weights.items() if not name.endswith(buffers)) for weights in (ours, theirs)
    ]
    assert abs(counts[0] - counts[1]) <= (made.DIM + 8 + 1) / 2, "as near as a whole number of hidden units can be"
