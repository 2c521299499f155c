"""Logit standardisation. Sun et al., CVPR 2024, arXiv 2403.01427."""

from pydantic import Field
from torch import Tensor

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.networks import Outputs


def standardised(logits: Tensor) -> Tensor:
    """Return each row with mean zero and standard deviation one: (B, C) -> (B, C)."""
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)


class StandardizationOptions(Options):
    """Options of ``logit_standardization``."""

    temperature: float = Field(2.0, gt=0, description="softness of the standardised predictions")


@register("logit_standardization", needs={"logits", "three classes"})
class LogitStandardization(Distiller):
    """KD of standardised logits. Two classes are refused: there all samples have the same ones."""

    Options = StandardizationOptions
    weights = (9.0, 3.0, 1.0, 0.3, 30.0, 0.1)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return kd_loss(standardised(student.logits), standardised(teacher.logits), self.options.temperature)
