"""Parts of the joint method that the training stage makes: samples mixed in pairs, teachers pooled by reliability."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic import World

from pkdot.training import encoder
from pkdot.training.fold import Fold, embedding_paths
from pkdot.training.student import pooled, train_students
from pkdot.training.teacher import train_teachers


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("joint"), classes=3)
    train_teachers(world.manifest, world.splits, world.embeddings, world.folder / "teachers", world.teacher_params())
    return world


def weights(world, name, **options):
    """Train the joint method; return the weights of its student."""
    params = world.student_params({"name": "pkdot_joint", "weight": 1.0, "transport": 0.3, **options})
    out = world.folder / name
    train_students(world.manifest, world.splits, world.embeddings, world.folder / "teachers", out, params)
    return load_file(out / "seed_0/pkdot_joint/weights.safetensors")


def largest_difference(one, other):
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


def test_mixing_is_that_of_samples_and_of_what_they_are_taught(world, monkeypatch):
    """Nothing of the partner is nothing at all; all of the partner is the same batch in another order."""
    plain = weights(world, "plain", mixup=0.0)
    monkeypatch.setattr(encoder, "mixture", lambda count, *_: (0.0, torch.arange(count).roll(1)))
    assert largest_difference(weights(world, "own", mixup=0.4), plain) < 1e-5
    monkeypatch.setattr(encoder, "mixture", lambda count, *_: (1.0, torch.arange(count)))
    assert largest_difference(weights(world, "partner", mixup=0.4), plain) < 1e-5
    monkeypatch.undo()
    mixed, again = (weights(world, name, mixup=0.4) for name in ("mixed", "again"))
    assert largest_difference(mixed, again) == 0
    assert largest_difference(mixed, plain) > 1e-3


def fold_of(world):
    params = world.teacher_params()
    return Fold(world.manifest, world.splits, embedding_paths(world.embeddings), params, torch.device("cpu"))


def some_teacher(strength):
    """Logits of a teacher that is right mostly, and not always."""
    truth = torch.nn.functional.one_hot(torch.from_numpy(np.arange(36) % 3), 3).float()[:, None]
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(36, 1, 3)).astype(np.float32))
    return strength * (truth + 1.5 * noise)


def test_a_teacher_that_knows_nothing_has_no_say_among_several(world):
    fold, teacher = fold_of(world), some_teacher(1.0)
    together, alone = pooled([teacher, torch.zeros(36, 1, 3)], fold), pooled([teacher], fold)
    assert float((together.softmax(-1) - alone.softmax(-1)).abs().max()) < 0.03


def test_the_teacher_that_is_surer_of_a_sample_prevails(world):
    sure, doubting = torch.zeros(2, 36, 1, 3)
    sure[:, :, 0], doubting[:, :, 1] = 3.0, 1.0
    found = pooled(
        [torch.where(torch.arange(36)[:, None, None] < 18, a, b) for a, b in ((sure, doubting), (doubting, sure))],
        fold_of(world),
    )
    assert (found.argmax(-1) == 0).all()


@pytest.mark.parametrize("scale", [1.0, 0.3, 3.0])
def test_teachers_together_are_as_sure_as_one_of_them_where_all_say_the_same(world, scale):
    fold = fold_of(world)
    many, once = pooled([some_teacher(scale)] * 5, fold), pooled([some_teacher(1.0)], fold)
    assert float((many.softmax(-1) - once.softmax(-1)).abs().max()) < 0.03


def test_soft_labels_may_come_from_all_teachers_together(world):
    joint, together = (weights(world, name, soft_labels=name) for name in ("joint", "pooled"))
    assert largest_difference(joint, together) > 1e-3
