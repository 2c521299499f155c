"""Simple recipe distillation (SRD). Miles and Mikolajczyk, AAAI 2024, arXiv 2303.11098."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.networks import Outputs


def log_sum_loss(student: Tensor, teacher: Tensor, exponent: float = 4.0) -> Tensor:
    """Return the logarithm of the summed powers of the differences: (B, d) twice -> scalar; it may be negative."""
    return ((student - teacher).abs().pow(exponent).sum() + torch.finfo(torch.float32).tiny).log()


class SRDOptions(Options):
    """Options of ``srd``."""

    exponent: float = Field(4.0, ge=1, description="power of the differences")


@register("srd", needs={"features"})
class SimpleRecipe(Distiller):
    """Linear projector, batch normalisation of both sides, soft maximum of the differences."""

    Options = SRDOptions

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.projector = nn.Linear(context.dim, context.dim)
        self.norms = nn.ModuleList(nn.BatchNorm1d(context.dim, affine=False, eps=1e-4) for _ in range(2))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        of_student, of_teacher = self.norms
        projected = of_student(self.projector(student.features))
        return log_sum_loss(projected, of_teacher(teacher.features), self.options.exponent)
