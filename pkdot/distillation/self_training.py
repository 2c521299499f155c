"""Self-training: the baseline that learns from unlabelled samples too, by soft labels of a prevalent-only model.

The teacher sees what the student sees, so that nothing of it is privilege (Xie et al., CVPR 2020, arXiv 1911.04252,
without the noise and with one round).
"""

from __future__ import annotations

from typing import cast

from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.generalized_distillation import imitation_loss
from pkdot.networks import Outputs


class SelfTrainingOptions(Options):
    """Options of ``self_training``."""

    temperature: float = Field(1.0, gt=0, description="softness of the soft labels")


@register("self_training", needs={"alone"})
class SelfTraining(Distiller):
    """The student of ``student_only``, drawn to the predictions of the teacher that sees the prevalent data alone."""

    Options = SelfTrainingOptions
    prevalent_only = True
    weights = (1.0, 3.0, 0.3, 10.0, 0.1, 0.03)

    def student(self) -> nn.Module:
        return self.context.prevalent_student()

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        temperature = None if self.context.task.regression else self.options.temperature
        return imitation_loss(student.logits, cast(Outputs, teacher.alone).logits, temperature, soften_student=True)
