"""Mixture of specialised teachers (MST-Distill). Li et al., ACM MM 2025, arXiv 2507.07015.

A router picks, sample by sample, among the joint teacher and those of the modalities; masks on the
teachers' features suppress what the student cannot follow. Adapted: the teachers are frozen (the paper
first trains all together), the masks are perceptrons, and the
paper's three stages are one.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.layout import UPPER_BOUND
from pkdot.networks import Outputs


def balance_loss(shares: Tensor) -> Tensor:
    """Return KL(even || mean) of the mean routing probabilities: (B, teachers) -> scalar, >= 0."""
    mean = shares.mean(dim=0)
    return -(mean * len(mean)).log().mean()


def route(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the logits of each sample's likeliest teacher: (B, teachers, C) and (B, teachers) -> (B, C)."""
    return logits[torch.arange(len(logits), device=logits.device), shares.argmax(dim=1)]


class _Specialist(nn.Module):
    """A mask on the features of a frozen teacher, before its own head."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        width = head.in_features
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid())
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Return the teacher's logits from its masked features."""
        return self.head(self.mask(features) * features)


class MSTOptions(Options):
    """Options of ``mst_distill``."""

    temperature: float = Field(4.0, gt=0, description="softness of the predictions")
    balance: float = Field(1.0, ge=0, description="weight of the even use of the teachers")


@register("mst_distill", needs={"features", "classes", "modalities"})
class MixtureOfTeachers(Distiller):
    """Learn from the specialist teacher that a router picks for each sample."""

    Options = MSTOptions

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        outputs, names = context.task.outputs, [UPPER_BOUND, *context.modalities]
        self.specialists = nn.ModuleList(_Specialist(context.heads[name]) for name in names)
        self.router = nn.Sequential(nn.Linear(outputs, 2 * outputs), nn.Linear(2 * outputs, len(names)))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        teachers = [teacher, *(teacher.modalities[name] for name in self.context.modalities)]
        lessons = [specialist(one.features) for specialist, one in zip(self.specialists, teachers, strict=True)]
        soft, own = self.options.temperature, student.logits.detach()
        fitted = torch.stack([kd_loss(lesson, own, soft) for lesson in lessons]).sum()
        shares = self.router(student.logits).softmax(dim=1)
        chosen = route(torch.stack([lesson.detach() for lesson in lessons], dim=1), shares)
        # The masks follow a student that moves: only the gradient of their loss counts, its value is not the student's.
        masks = fitted - fitted.detach()
        return kd_loss(student.logits, chosen, soft) + self.options.balance * balance_loss(shares) + masks
