"""The networks over frozen embeddings: the teacher that sees all modalities, the students that see the prevalent."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.tnet import TNet
from pkdot.tasks import Task

NONE = torch.empty(0)


@dataclass
class Outputs:
    """The outputs of a network for a batch of R rows (a row is a sample, or a token of a sequence).

    What a network does not give is an empty tensor.

    Attributes
    ----------
    logits : Tensor, shape (R, C)
        Before any softmax; predicted values for a regression.
    features : Tensor, shape (R, D)
        Fused features, the ones that are distilled.
    privileged : Tensor, shape (R, Q)
        The teacher's privileged embeddings, or the student's hallucinated ones.
    prevalent : Tensor, shape (R, P)
        The prevalent embeddings, the same for teacher and student.
    target : Tensor, shape (R,) or (R, values)
        What is to be predicted.
    rows : Tensor of int, shape (R,)
        Number of each row in the whole data set.
    modalities : dict of str to Outputs
        Of the teacher only: the teachers of single modalities.
    """

    logits: Tensor
    features: Tensor
    privileged: Tensor = NONE
    prevalent: Tensor = NONE
    target: Tensor = NONE
    rows: Tensor = NONE
    modalities: dict[str, Outputs] = field(default_factory=dict)

    def with_target(self, target: Tensor, rows: Tensor) -> Outputs:
        """Return a copy with targets and row numbers."""
        return replace(self, target=target, rows=rows)


class Headed(nn.Module):
    """Base of the networks that end in a linear head over fused features.

    A student may begin at a linear head over its prevalent embeddings, such as that of the frozen encoder. That head is
    added to its own, which starts at zero, so that its first predictions are those of the added head. The distilled
    features stay the fused ones alone: they are what has a counterpart in the teacher, and the own head carries what
    they learn into the predictions.
    """

    def __init__(self, dim: int, task: Task) -> None:
        super().__init__()
        self.head: nn.Module = nn.Linear(dim, task.outputs)
        self.start: nn.Linear | None = None
        self.pool = task.pool

    def begin_at(self, start: nn.Linear) -> None:
        """Begin at the predictions of a linear head over the prevalent embeddings, of which a copy is trained along."""
        self.start = deepcopy(start).requires_grad_(True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def logits(self, features: Tensor, prevalent: Tensor) -> Tensor:
        """Return logits from features (R, D) and prevalent embeddings (R, P)."""
        own = self.head(features)
        return own if self.start is None else own + self.start(prevalent)


class Teacher(Headed):
    """Fusion of prevalent and privileged embeddings, and a head."""

    def __init__(self, prevalent: int, privileged: int, dim: int, fusion: FusionChoice, task: Task) -> None:
        super().__init__(dim, task)
        cls, options = fusion.load()
        self.fusion = cls(prevalent, privileged, dim, options)

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Outputs:
        """Fuse (B, T, P) and (B, T, Q)."""
        features, pooled = self.pool(self.fusion(prevalent, privileged)), self.pool(prevalent)
        return Outputs(self.logits(features, pooled), features, self.pool(privileged), pooled)


class HallucinatingStudent(nn.Module):
    """T-Net stands in for the privileged modalities, so that the teacher's kind of fusion runs without them."""

    def __init__(self, tnet: TNet, teacher: Teacher) -> None:
        super().__init__()
        self.tnet, self.teacher = tnet, teacher

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        return self.teacher(prevalent, self.tnet(prevalent))


class PrevalentStudent(Headed):
    """A perceptron over the prevalent embedding alone: a network without T-Net and without fusion."""

    def __init__(self, prevalent: int, dim: int, task: Task, dropout: float = 0.2, hidden: int | None = None) -> None:
        super().__init__(dim, task)
        self.layers = nn.Sequential(
            nn.LayerNorm(prevalent),
            nn.Linear(prevalent, hidden or dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden or dim, dim),
        )

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        features, pooled = self.pool(self.layers(prevalent)), self.pool(prevalent)
        return Outputs(self.logits(features, pooled), features, prevalent=pooled)


class LinearStudent(nn.Module):
    """A linear head over the pooled prevalent embeddings, which are its features; nothing of it is trained by steps."""

    def __init__(self, head: nn.Linear, task: Task) -> None:
        super().__init__()
        self.head, self.pool = deepcopy(head).requires_grad_(False), task.pool

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        pooled = self.pool(prevalent)
        return Outputs(self.head(pooled), pooled, prevalent=pooled)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a layer with weights of shape (outputs, inputs) and biases of shape (outputs,), which is not trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.requires_grad_(False)


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in module.parameters())
