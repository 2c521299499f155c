"""One small batch of every kind of task with frozen teachers, and a method as the training stage runs it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from pkdot.data import Samples
from pkdot.distillation.base import Context, register
from pkdot.fusion.base import FusionChoice
from pkdot.networks import Outputs, PrevalentStudent, Teacher
from pkdot.tasks import Task, TaskParams

KINDS = ("two classes", "four classes", "ordinal", "regression")
BATCH, TOKENS, FRAMES, PREVALENT, PRIVILEGED, DIM, SPARE = 24, 3, 2, 6, 5, 8, 4


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
    samples = Samples(
        pd.DataFrame({"pain": [names[i % len(names)] for i in range(size)]}), {"targets": {"pain": names}}
    )
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

    def outputs(self, network):
        return network(self.prevalent).with_target(self.target, self.rows)


def make_world(kind, tokens=TOKENS):
    task = make_task(kind)
    fusion = FusionChoice(name="concat", options={"dropout": 0.0})
    torch.manual_seed(1)
    prevalent, privileged = torch.randn(BATCH, tokens, PREVALENT), torch.randn(BATCH, tokens, PRIVILEGED)
    modalities = {"face": (prevalent, PREVALENT), "emg": (privileged, PRIVILEGED)}
    per = task.rows_per_sample(tokens)
    with torch.no_grad():
        joint = Teacher(PREVALENT, PRIVILEGED, DIM, fusion, task).eval()
        singles = {name: PrevalentStudent(width, DIM, task).eval() for name, (_, width) in modalities.items()}
    heads = {name: network.head for name, network in {"teacher": joint, **singles}.items()}
    for head in heads.values():
        head.requires_grad_(False)
    context = Context(
        task=task,
        prevalent=PREVALENT,
        privileged=PRIVILEGED,
        dim=DIM,
        fusion=fusion,
        hidden=[7],
        rows=(BATCH + SPARE) * per,
        modalities=dict.fromkeys(modalities, DIM),
        encoder_head=nn.Linear(PREVALENT, task.outputs).requires_grad_(False),
        heads=heads,
    )
    index = np.arange(BATCH)[::-1].copy()
    target = task.target(index)
    rows = (torch.from_numpy(index)[:, None] * per + torch.arange(per)).flatten()
    with torch.no_grad():
        teacher = joint(prevalent, privileged).with_target(target, rows)
        for name, (x, _) in modalities.items():
            teacher.modalities[name] = singles[name](x)
        teacher.alone = teacher.modalities["face"]
        teacher.pooled = torch.stack([teacher.logits, *(one.logits for one in teacher.modalities.values())]).mean(0)
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
        loss = distiller(world.outputs(network), world.teacher)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 5.0)
        optimiser.step()
        losses.append(loss.item())
    return losses
