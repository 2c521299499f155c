"""Regression of logits. Ba and Caruana, NIPS 2014, arXiv 1312.6184."""

from torch import Tensor
from torch.nn.functional import mse_loss

from pkdot.distillation.base import Distiller, register
from pkdot.networks import Outputs


@register("logit_mse", needs={"logits"})
class LogitMSE(Distiller):
    """Mean squared difference of logits, or of the values of a regression."""

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return mse_loss(student.logits, teacher.logits)
