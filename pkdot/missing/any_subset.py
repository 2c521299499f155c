"""One model for any subset of the modalities: masked attention, learned tokens for what is absent, no imputation.

It is trained with modalities, blocks and single tokens taken away, at a rate drawn from U(0, 1) for each sample
(dropout at high rates: arXiv 2501.00865), and imitates what a teacher that sees everything and those of single
modalities predict together; of values, what the first predicts alone. Learned tokens stand for what is absent (arXiv
2501.17823), and attention is masked without imputation (arXiv 2502.15785).
"""

from pydantic import Field
from torch import Tensor

from pkdot.distillation.kd import kd_loss
from pkdot.missing.base import AttentionOptions, Completion, register
from pkdot.networks import Outputs


class AnySubsetOptions(AttentionOptions):
    """Options of ``any_subset``."""

    weight: float = Field(3.0, ge=0, description="weight of the imitation of the teachers")
    temperature: float = Field(2.0, gt=0, description="softness of the predictions that are imitated")


@register("any_subset")
class AnySubset(Completion):
    """Predict from what is there, and learn from the teachers what the rest would have said."""

    Options = AnySubsetOptions
    labelled_only = False

    def loss(self, student: Outputs, teacher: Outputs, present: Tensor) -> Tensor:
        if self.task.regression:
            taught = (student.logits - teacher.logits).square().mean()
        else:
            taught = kd_loss(student.logits, teacher.pooled, self.options.temperature)
        return super().loss(student, teacher, present) + self.options.weight * taught
