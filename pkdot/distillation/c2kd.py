"""Customised cross-modal distillation (C2KD). Huo et al., CVPR 2024.

A proxy of either side mediates; the proxies teach one another only on samples whose classes they rank
alike, and only about the classes that are not the target. Adapted: the teacher is frozen, so the step from
its proxy back to it is left out, and the proxies stand on the fused features.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.distillation.nontarget import without
from pkdot.networks import Outputs


def rank_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return Kendall's rank correlation of each row, without ties: (B, C) twice -> (B,), in [-1, 1]."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)
    return ((x[:, first] - x[:, second]).sign() * (y[:, first] - y[:, second]).sign()).mean(dim=1)


def selective_loss(student: Tensor, teacher: Tensor, target: Tensor, threshold: float = 0.0) -> Tensor:
    """Return the divergence over the classes that are not the target; rows ranked otherwise count as zero.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits of the proxies, C >= 3.
    target : Tensor of int, shape (B,)
    threshold : float
        The rank correlation above which a row counts.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    chosen = rank_correlation(student, teacher) > threshold
    log_p, log_q = (without(x, target).log_softmax(dim=1) for x in (teacher, student))
    return ((log_p.exp() * (log_p - log_q)).sum(dim=1) * chosen).mean()


def mutual_loss(x: Tensor, y: Tensor) -> Tensor:
    """Let each learn from the other, which is held fixed."""
    return kd_loss(x, y.detach(), temperature=1.0) + kd_loss(y, x.detach(), temperature=1.0)


def proxy(dim: int, outputs: int) -> nn.Sequential:
    """Return a small head of its own."""
    return nn.Sequential(
        nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.LeakyReLU(0.1), nn.Linear(dim, outputs)
    )


class C2KDOptions(Options):
    """Options of ``c2kd``."""

    threshold: float = Field(0.0, ge=-1, lt=1, description="rank correlation above which a sample is distilled")


@register("c2kd", needs={"logits", "features", "three classes"})
class CustomisedCrossModal(Distiller):
    """Distil where student and teacher rank the classes alike, through a proxy on either side."""

    labelled_only = True
    Options = C2KDOptions

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.of_student, self.of_teacher = (proxy(context.dim, context.task.outputs) for _ in range(2))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        target, threshold = student.target, self.options.threshold
        s, t = self.of_student(student.features), self.of_teacher(teacher.features)
        own = mutual_loss(s, student.logits) + kd_loss(t, teacher.logits, temperature=1.0)
        to_student = selective_loss(s, t.detach(), target, threshold)
        to_teacher = selective_loss(t, s.detach(), target, threshold)
        return own + to_student + to_teacher
