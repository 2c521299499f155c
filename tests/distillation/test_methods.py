"""Every registered method, through the interface that the training loop knows."""

import inspect
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pkdot.data import Samples
from pkdot.distillation.base import NEEDS, Context, check_needs, register
from pkdot.distillation.transport import transport_loss
from pkdot.errors import ConfigError
from pkdot.fusion.base import FusionChoice
from pkdot.networks import Outputs, PrevalentStudent, Teacher
from pkdot.tasks import Task, TaskParams

METHODS = register.names()
KINDS = ("two classes", "four classes", "ordinal", "regression")
BATCH, TOKENS, FRAMES, PREVALENT, PRIVILEGED, DIM, SPARE = 24, 3, 2, 6, 5, 8, 4
FLOORS = {"student_only", "tnet_only", "zero_imputation", "modality_dropout"}


def refused(name, kind):
    needs = register.load(name).needs
    classes = {"two classes": 2, "regression": None}.get(kind, 4)
    try:
        check_needs(name, needs, "regression" if kind == "regression" else "classification", classes)
    except ConfigError:
        return True
    return False


SERVED = [(name, kind) for name in METHODS for kind in KINDS if not refused(name, kind)]


def make_task(kind):
    draw = np.random.default_rng(0)
    size = BATCH + SPARE
    if kind == "regression":
        values = draw.normal(size=(2, size, TOKENS, FRAMES)).astype(np.float32)
        values[0, 3, 1] = np.nan  # frames without a valid annotation
        table = pd.DataFrame({name: list(v) for name, v in zip(("valence", "arousal"), values, strict=True)})
        samples = Samples(table, {"targets": {"valence": None, "arousal": None}})
        return Task(TaskParams(kind="regression", loss="ccc"), samples)
    names = [f"class_{i}" for i in range(2 if kind == "two classes" else 4)]
    samples = Samples(pd.DataFrame({"pain": [names[i % len(names)] for i in range(size)]}), {"targets": {"pain": names}})
    if kind == "ordinal":
        return Task(TaskParams(kind="ordinal", loss="ordinal"), samples)
    return Task(TaskParams(), samples)


@dataclass
class World:
    """One batch, what the frozen teachers say of it, and what a method is told."""

    context: Context
    prevalent: torch.Tensor
    privileged: torch.Tensor
    target: torch.Tensor
    rows: torch.Tensor
    teacher: Outputs

    def said(self, network):
        return network(self.prevalent).known(self.target, self.rows)


def make_world(kind, tokens=TOKENS):
    task = make_task(kind)
    fusion = FusionChoice(name="concat", options={"dropout": 0.0})
    torch.manual_seed(1)
    prevalent, privileged = torch.randn(BATCH, tokens, PREVALENT), torch.randn(BATCH, tokens, PRIVILEGED)
    modalities = {"face": (prevalent, PREVALENT), "emg": (privileged, PRIVILEGED)}
    per = task.rows_per_sample(tokens)
    context = Context(
        task=task,
        prevalent=PREVALENT,
        privileged=PRIVILEGED,
        dim=DIM,
        fusion=fusion,
        hidden=[7],
        rows=(BATCH + SPARE) * per,
        modalities=dict.fromkeys(modalities, DIM),
    )
    index = np.arange(BATCH)[::-1].copy()
    target = task.target(index)
    rows = (torch.from_numpy(index)[:, None] * per + torch.arange(per)).flatten()
    with torch.no_grad():
        cls = Teacher(PREVALENT, PRIVILEGED, DIM, fusion, task).eval()
        teacher = cls(prevalent, privileged).known(target, rows)
        for name, (x, width) in modalities.items():
            teacher.modalities[name] = PrevalentStudent(width, DIM, task).eval()(x)
    return World(context, prevalent, privileged, target, rows, teacher)


def make_run(name, world, **options):
    """Method and student as the training stage makes them, with the first candidate."""
    cls = register.load(name)
    chosen = cls.candidates(cls.Options(**options), 1)[0]
    torch.manual_seed(2)
    distiller = cls(world.context, chosen)
    torch.manual_seed(2)
    return distiller, distiller.student()


def train(distiller, network, world, steps):
    both = nn.ModuleList([network, distiller]).train()
    optimiser = torch.optim.AdamW(both.parameters(), 1e-2)
    losses = []
    torch.manual_seed(3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = distiller(world.said(network), world.teacher)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 5.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


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


@pytest.mark.parametrize("name", sorted(set(METHODS) - FLOORS))
def test_the_teacher_changes_what_the_student_learns(name):
    """The gradient by the student is another one than that of the task alone, and never reaches the teacher."""
    world = make_world("four classes")
    gradients = []
    for weight in (0.0, 1.0):
        distiller, network = make_run(name, world, weight=weight)
        for tensor in (world.teacher.logits, world.teacher.features, world.teacher.privileged):
            tensor.requires_grad_(False)
        distiller(world.said(network), world.teacher).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", METHODS)
def test_mixed_precision_is_finite(name):
    world = make_world("four classes")
    distiller, network = make_run(name, world)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = distiller(world.said(network), world.teacher)
        loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_of_two_samples_is_enough(name):
    world = make_world("four classes")
    said = world.teacher
    world.prevalent, world.target, world.rows = world.prevalent[:2], world.target[:2], world.rows[:2]
    cut = {n: Outputs(m.logits[:2], m.features[:2]) for n, m in said.modalities.items()}
    world.teacher = Outputs(said.logits[:2], said.features[:2], said.privileged[:2], said.prevalent[:2], modalities=cut)
    assert np.isfinite(train(*make_run(name, world), world, 3)).all()


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_same_tuning_budget(name, count):
    cls = register.load(name)
    candidates = cls.candidates(cls.Options(), count)
    assert len(candidates) == count
    assert len({c.model_dump_json() for c in candidates}) == count
    assert all(c.weight is not None for c in candidates) or name in FLOORS


@pytest.mark.parametrize("name", sorted(set(METHODS) - FLOORS))
def test_a_given_weight_is_kept(name):
    cls = register.load(name)
    assert {c.weight for c in cls.candidates(cls.Options(weight=0.5), 6)} == {0.5}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is_and_what_it_needs(name):
    cls = register.load(name)
    assert cls.needs <= set(NEEDS)
    first = sys.modules[cls.__module__].__doc__.splitlines()[0]
    assert first.endswith(".")
    assert all(field.description for field in cls.Options.model_fields.values())
    source = inspect.getsource(sys.modules[cls.__module__])
    uses = {"features": "teacher.features", "logits": "teacher.logits", "modalities": "modalities"}
    assert all(need in cls.needs or text not in source for need, text in uses.items() if name not in FLOORS)


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
    relations = {"sp", "rkd", "pkt", "cc", "nst", "ickd", "crd", "vid", "fitnets", "srd", "wkd_f", "feature_mse"}
    general = {"logit_mse", "generalized_distillation", "modality_hallucination", "pkdot", "mt_pkdot"}
    assert by_kind["regression"] == relations | general | FLOORS
    assert set(METHODS) - by_kind["two classes"] == {"dkd", "wkd_l", "c2kd", "logit_standardization"}
    assert by_kind["four classes"] == set(METHODS)
