"""Mixture of specialised teachers (MST-Distill). Li et al., ACM MM 2025, arXiv 2507.07015.

A router picks, sample by sample, among the joint teacher and those of the modalities; masks on the
teachers' features suppress what the student cannot follow. Adapted: the teachers are frozen (the paper
first trains all together), their heads are learned from what they say, the masks are perceptrons, and the
paper's three stages are one.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.networks import Outputs


def balance_loss(shares: Tensor) -> Tensor:
    """KL(even || mean) of the mean routing probabilities: (B, teachers) -> scalar, >= 0."""
    mean = shares.mean(dim=0)
    return -(mean * len(mean)).log().mean()


def route(logits: Tensor, shares: Tensor) -> Tensor:
    """Logits of each sample's likeliest teacher: (B, teachers, C) and (B, teachers) -> (B, C)."""
    return logits[torch.arange(len(logits), device=logits.device), shares.argmax(dim=1)]


class _Specialist(nn.Module):
    """A mask on the features of a frozen teacher, and a stand-in for its head."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid())
        self.head = nn.Linear(width, outputs)

    def forward(self, said: Outputs) -> tuple[Tensor, Tensor]:
        """Logits under the mask, and how badly the head follows the teacher."""
        masked = linear(self.mask(said.features) * said.features, self.head.weight.detach(), self.head.bias.detach())
        return masked, mse_loss(self.head(said.features), said.logits)


class MSTOptions(Options):
    """Options of ``mst_distill``."""

    temperature: float = Field(4.0, gt=0, description="softness of the predictions")
    balance: float = Field(1.0, ge=0, description="weight of the even use of the teachers")


@register("mst_distill", needs={"logits", "features", "classes", "modalities"})
class MixtureOfTeachers(Distiller):
    Options = MSTOptions

    def __init__(self, context, options):
        super().__init__(context, options)
        outputs, widths = context.task.outputs, [context.dim, *context.modalities.values()]
        self.specialists = nn.ModuleList(_Specialist(width, outputs) for width in widths)
        self.router = nn.Sequential(nn.Linear(outputs, 2 * outputs), nn.Linear(2 * outputs, len(widths)))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        teachers = [teacher, *(teacher.modalities[name] for name in self.context.modalities)]
        said = [specialist(one) for specialist, one in zip(self.specialists, teachers, strict=True)]
        soft, own = self.options.temperature, student.logits.detach()
        fitted = sum(kd_loss(masked, own, soft) + unlike for masked, unlike in said)
        shares = self.router(student.logits).softmax(dim=1)
        lesson = route(torch.stack([masked.detach() for masked, _ in said], dim=1), shares)
        return kd_loss(student.logits, lesson, soft) + self.options.balance * balance_loss(shares) + fitted
