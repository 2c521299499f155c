"""Modality hallucination. Garcia, Morerio and Murino, ECCV 2018, arXiv 1806.07110.

T-Net is the hallucination stream: it is drawn to the true privileged embeddings, compared after a sigmoid
as by Hoffman, Gupta and Darrell (CVPR 2016), while the student imitates the teacher's predictions.
"""

import torch
from pydantic import Field
from torch import Tensor

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.generalized_distillation import imitation_loss
from pkdot.hallucination.base import squared_error
from pkdot.networks import Outputs
from pkdot.presence import filled, known


def hallucination_loss(hallucinated: Tensor, privileged: Tensor) -> Tensor:
    """Return the mean squared difference after a sigmoid, where both are known: (B, Q) twice -> scalar in [0, 1]."""
    truth = filled(privileged, hallucinated.isnan(), torch.nan)
    return squared_error(known(hallucinated).sigmoid(), truth.sigmoid())


class HallucinationOptions(Options):
    """Options of ``modality_hallucination``."""

    imitation: float = Field(0.5, ge=0, le=1, description="share of the teacher's predictions in the task loss")
    temperature: float = Field(10.0, gt=0, description="softness of the teacher's predictions")


@register("modality_hallucination", needs={"logits", "hallucination", "privileged"})
class ModalityHallucination(Distiller):
    """Bring hallucinated features to the privileged ones, beside imitation of predictions."""

    Options = HallucinationOptions
    # Published with a feature map's scale, which a mean has not, so the grid is this project's own.
    weights = (10.0, 3.0, 30.0, 1.0, 100.0, 0.3)

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        task, imitation = self.context.task, self.options.imitation
        hard = task.loss(student.logits, student.target)
        temperature = None if task.regression else self.options.temperature
        soft = imitation_loss(student.logits, teacher.logits, temperature, soften_student=True)
        return (1 - imitation) * hard + imitation * soft + self.options.weight * self.distill(student, teacher)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return hallucination_loss(student.privileged, teacher.privileged)
