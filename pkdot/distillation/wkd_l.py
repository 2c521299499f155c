"""Wasserstein distillation of logits (WKD-L). Lv, Yang and Li, NeurIPS 2024, arXiv 2412.08139.

The cost of mistaking one class for another is small where the teacher holds them to be alike. Adapted:
likeness is the cosine between the class means of the teacher's features over the rows seen so far, their
common mean taken off; the paper prefers kernel alignment over the whole training set, and has cosines of
class prototypes as alternative. The plans are blurred more than published (0.05, 10 iterations): between
few and unlike classes, costs are high, and so little would move nothing.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.distillation.nontarget import without
from pkdot.networks import Outputs


def class_costs(likeness: Tensor, sharpness: float = 1.0) -> Tensor:
    """Return the cost of moving between classes, ``1 - exp(-sharpness (1 - likeness))``: (C, C), in [0, 1)."""
    return 1 - (-sharpness * (1 - likeness).clamp_min(0)).exp()


def histogram_transport(x: Tensor, y: Tensor, cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return the cost of the entropic plan between rows of probabilities after so many Sinkhorn iterations.

    Parameters
    ----------
    x, y : Tensor, shape (B, C)
        Rows that sum to one.
    cost : Tensor, shape (B, C, C)

    Returns
    -------
    Tensor, shape (B,), >= 0
    """
    kernel, tiny = (-cost / epsilon).exp(), torch.finfo(x.dtype).tiny
    u = torch.full_like(x, 1 / x.shape[1]).unsqueeze(2)
    for _ in range(iterations):
        v = y.unsqueeze(2) / (kernel.mT @ u).clamp_min(tiny)
        u = x.unsqueeze(2) / (kernel @ v).clamp_min(tiny)
    return (u * kernel * v.mT * cost).sum((1, 2))


class WKDLOptions(Options):
    """Options of ``wkd_l``."""

    temperature: float = Field(8.0, gt=0, description="softness of the predictions")
    sharpness: float = Field(1.0, gt=0, description="how fast the cost grows as classes get less alike")
    epsilon: float = Field(0.1, gt=0, description="weight of the entropy of the plans")
    iterations: int = Field(20, ge=1, description="Sinkhorn iterations")


@register("wkd_l", needs={"logits", "features", "three classes"})
class WassersteinLogits(Distiller):
    """Carry the student's probabilities to the teacher's, cheaply between classes that are alike."""

    labelled_only = True
    Options = WKDLOptions
    weights = (800.0, 250.0, 80.0, 25.0, 2500.0, 8.0)
    sums: Tensor
    counts: Tensor

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.register_buffer("sums", torch.zeros(context.task.outputs, context.dim))
        self.register_buffer("counts", torch.zeros(context.task.outputs, 1))

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        """Add the cross-entropy of the target's own probability, without a weight."""
        of_target = teacher.logits.softmax(dim=1).gather(1, student.target[:, None]).squeeze(1)
        own = cross_entropy(student.logits, student.target, reduction="none")
        return super().loss(student, teacher) + (of_target * own).mean()

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        target, soft = student.target, self.options.temperature
        cost = self._costs(teacher.features, target).expand(len(target), -1, -1)
        cost = without(without(cost, target).mT, target).mT
        x, y = ((without(side.logits, target) / soft).softmax(dim=1) for side in (student, teacher))
        return histogram_transport(x, y, cost, self.options.epsilon, self.options.iterations).mean()

    @torch.no_grad()
    def _costs(self, features: Tensor, target: Tensor) -> Tensor:
        members = one_hot(target, len(self.sums)).T.to(self.sums)
        self.sums = self.sums + members @ features
        self.counts = self.counts + members.sum(dim=1, keepdim=True)
        seen = self.counts > 0
        means = self.sums / self.counts.clamp_min(1)
        unit = normalize((means - means.sum(dim=0) / seen.sum()) * seen, dim=1)
        return class_costs(unit @ unit.T, self.options.sharpness)
