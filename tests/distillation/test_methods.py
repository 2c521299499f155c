"""Every registered method, through the interface that the training loop knows."""

import sys

import numpy as np
import pytest
import torch
from worlds import KINDS, make_run, make_world, train

from pkdot.distillation.base import NEEDS, check_needs, register
from pkdot.errors import ConfigError, DataError
from pkdot.networks import NONE, Outputs

LINEAR = {"encoder_head", "linear_probe"}  # take no steps; tests/training has them
METHODS = [name for name in register.names() if name not in LINEAR]
BASELINES = {"student_only", "self_training", "tnet_only", "zero_imputation", "modality_dropout"}


def refused(name, kind):
    needs = register.load(name).needs
    classes = {"two classes": 2, "regression": None}.get(kind, 4)
    try:
        check_needs(name, needs, "regression" if kind == "regression" else "classification", classes)
    except ConfigError:
        return True
    return False


SERVED = [(name, kind) for name in METHODS for kind in KINDS if not refused(name, kind)]


@pytest.mark.parametrize(("name", "kind"), SERVED)
def test_training_lowers_the_loss(name, kind):
    world = make_world(kind)
    distiller, network = make_run(name, world)
    losses = train(distiller, network, world, 25)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    network.eval()
    assert network(world.prevalent).logits.shape == world.teacher.logits.shape


@pytest.mark.parametrize("name", METHODS)
def test_equal_seeds_give_equal_bits_and_a_state_that_can_be_resumed(name):
    world = make_world("four classes")
    (one, network), (other, copy) = make_run(name, world), make_run(name, world)
    assert train(one, network, world, 3) == train(other, copy, world, 3)
    fresh, again = make_run(name, world)
    fresh.load_state_dict(one.state_dict())
    again.load_state_dict(network.state_dict())
    assert train(one, network, world, 1) == train(fresh, again, world, 1)


@pytest.mark.parametrize("name", sorted(set(METHODS) - BASELINES))
def test_the_teacher_changes_what_the_student_learns(name):
    """With a weight, the gradient of the student is another one than without."""
    world = make_world("four classes")
    gradients = []
    for weight in (0.0, 1.0):
        distiller, network = make_run(name, world, weight=weight)
        distiller(world.outputs(network), world.teacher).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_two_samples_is_enough(name):
    world = make_world("four classes")
    outputs = world.teacher
    world.prevalent, world.target, world.rows = world.prevalent[:2], world.target[:2], world.rows[:2]
    cut = {n: Outputs(m.logits[:2], m.features[:2]) for n, m in outputs.modalities.items()}
    world.teacher = Outputs(
        outputs.logits[:2],
        outputs.features[:2],
        outputs.privileged[:2],
        outputs.prevalent[:2],
        modalities=cut,
        alone=cut["face"],
        pooled=outputs.pooled[:2],
    )
    assert np.isfinite(train(*make_run(name, world), world, 3)).all()


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_same_tuning_budget(name, count):
    cls = register.load(name)
    candidates = cls.candidates(cls.Options(), count)
    assert len(candidates) == count
    assert len({c.model_dump_json() for c in candidates}) == count
    assert all(c.weight is not None for c in candidates) or name in BASELINES


@pytest.mark.parametrize("name", sorted(set(METHODS) - BASELINES))
def test_a_given_weight_is_kept(name):
    cls = register.load(name)
    assert {c.weight for c in cls.candidates(cls.Options(weight=0.5), 6)} == {0.5}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is(name):
    cls = register.load(name)
    assert cls.needs <= set(NEEDS)
    assert sys.modules[cls.__module__].__doc__.splitlines()[0].endswith(".")
    assert all(field.description for field in cls.Options.model_fields.values())


@pytest.mark.parametrize("need", ["logits", "features", "modalities", "alone", "pooled"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_uses_what_it_declares_and_nothing_else(name, need):
    """It works without what it may ask of teachers just where it does not ask."""
    world = make_world("four classes")
    setattr(world.teacher, need, {"modalities": {}, "alone": None}.get(need, NONE))
    distiller, network = make_run(name, world)
    try:
        usable = bool(torch.isfinite(distiller(world.outputs(network), world.teacher).detach()))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, DataError):
        usable = False
    assert usable == (need not in distiller.needs)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_the_task_cannot_serve_is_refused(name):
    needs = register.load(name).needs
    if needs & {"classes", "three classes"}:
        with pytest.raises(ConfigError, match=f"'{name}' needs a task of classes"):
            check_needs(name, needs, "regression", None)
    if "three classes" in needs:
        with pytest.raises(ConfigError, match=f"'{name}' needs at least three classes, but there are 2"):
            check_needs(name, needs, "classification", 2)
    check_needs(name, needs, "classification", 3)


def test_what_serves_a_regression_and_what_two_classes():
    by_kind = {kind: {n for n, k in SERVED if k == kind} for kind in KINDS}
    relations = {
        "sp",
        "rkd",
        "pkt",
        "cc",
        "nst",
        "ickd",
        "crd",
        "vid",
        "fitnets",
        "srd",
        "wkd_f",
        "feature_mse",
    }
    general = {"logit_mse", "generalized_distillation", "modality_hallucination", "pkdot", "pkdot_joint", "mt_pkdot"}
    assert by_kind["regression"] == relations | general | BASELINES
    assert set(METHODS) - by_kind["two classes"] == {"dkd", "wkd_l", "c2kd", "logit_standardization"}
    assert by_kind["four classes"] == set(METHODS)
