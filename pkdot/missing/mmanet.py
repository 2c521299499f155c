"""After MMANet (Wei, Luo and Luo, CVPR 2023, arXiv 2304.08028): margin-aware distillation, and hard combinations twice.

Similarities in the batch are handed on from a teacher that sees everything, those of samples near its decision boundary
most. Adapted: the released code finds the combinations that need more training by the classifier's memory; here they
are those without the modality whose encoder explains the training part best, and their task loss counts twice.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from pkdot.distillation.mmanet import mad_loss
from pkdot.missing.base import AttentionOptions, Beginning, register
from pkdot.missing.zero_imputation import ZeroImputation
from pkdot.networks import Outputs
from pkdot.presence import known
from pkdot.tasks import UNLABELLED


class MmanetOptions(AttentionOptions):
    """Options of ``mmanet``."""

    weight: float = Field(10.0, ge=0, description="weight of the margin-aware distillation")
    hard: float = Field(
        1.0, ge=0, description="weight of the task loss once more, of samples without the best modality"
    )


@register("mmanet", needs={"classes"})
class Mmanet(ZeroImputation):
    """Hand on the teacher's similarities, and train once more on what is hard."""

    Options = MmanetOptions
    masked = True
    imputes = False
    best: Tensor

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("best", torch.zeros((), dtype=torch.long))

    def begin(self, beginning: Beginning) -> None:
        super().begin(beginning)
        losses = [
            beginning.task.loss(
                beginning.heads[name](known(beginning.task.pool(beginning.tokens[:, number]))), beginning.target
            )
            for number, name in enumerate(self.shape.modalities)
        ]
        self.best.copy_(torch.stack(losses).argmin())

    def loss(self, student: Outputs, teacher: Outputs, present: Tensor) -> Tensor:
        total = super().loss(student, teacher, present)
        total = total + self.options.weight * mad_loss(student.features, teacher.features, teacher.logits)
        hard = ~present[:, int(self.best)].any(dim=1) & (student.target != UNLABELLED)
        if not hard.any():
            return total
        return total + self.options.hard * self.task.loss(student.logits[hard], student.target[hard])
