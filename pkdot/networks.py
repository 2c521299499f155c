"""The networks over frozen embeddings: the teacher that sees all modalities, the students that see the prevalent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.tnet import TNet
from pkdot.tasks import Task


@dataclass
class Outputs:
    """What a network says of a batch of R rows (a row is a sample, or a token of a sequence).

    Attributes
    ----------
    logits : Tensor, shape (R, C)
        Before any softmax; predicted values for a regression.
    features : Tensor, shape (R, D)
        Fused features, the ones that are distilled.
    privileged : Tensor, shape (R, Q), optional
        The teacher's privileged embeddings, or the student's hallucinated ones.
    prevalent : Tensor, shape (R, P), optional
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
    privileged: Tensor | None = None
    prevalent: Tensor | None = None
    target: Tensor | None = None
    rows: Tensor | None = None
    modalities: dict[str, Outputs] = field(default_factory=dict)

    def known(self, target: Tensor, rows: Tensor) -> Outputs:
        """The same with targets and row numbers."""
        return replace(self, target=target, rows=rows)


class Teacher(nn.Module):
    """Fusion of prevalent and privileged embeddings, and a head."""

    def __init__(self, prevalent: int, privileged: int, dim: int, fusion: FusionChoice, task: Task):
        super().__init__()
        cls, options = fusion.load()
        self.fusion = cls(prevalent, privileged, dim, options)
        self.head = nn.Linear(dim, task.outputs)
        self.pool = task.pool

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Outputs:
        """Fuse (B, T, P) and (B, T, Q)."""
        features = self.pool(self.fusion(prevalent, privileged))
        return Outputs(self.head(features), features, self.pool(privileged), self.pool(prevalent))


class HallucinatingStudent(nn.Module):
    """T-Net stands in for the privileged modalities, so that the teacher's kind of fusion runs without them."""

    def __init__(self, tnet: TNet, teacher: Teacher):
        super().__init__()
        self.tnet, self.teacher = tnet, teacher

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        return self.teacher(prevalent, self.tnet(prevalent))


class PrevalentStudent(nn.Module):
    """A perceptron over the prevalent embedding alone: a network without T-Net and without fusion."""

    def __init__(self, prevalent: int, dim: int, task: Task, dropout: float = 0.2, hidden: int | None = None):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(prevalent),
            nn.Linear(prevalent, hidden or dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden or dim, dim),
        )
        self.head = nn.Linear(dim, task.outputs)
        self.pool = task.pool

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        features = self.pool(self.layers(prevalent))
        return Outputs(self.head(features), features, None, self.pool(prevalent))


def parameter_count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())
