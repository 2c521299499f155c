"""Margin-aware distillation (MMANet). Wei, Luo and Luo, CVPR 2023, arXiv 2304.08028.

Similarities in the batch are handed on, those of samples near the teacher's decision boundary most.
Adapted: the regularisation over combinations of missing modalities is left out, because here the student
has one combination, the prevalent modalities, for which it is the task loss once more.
"""

import torch
from torch import Tensor

from pkdot.distillation.base import Distiller, register
from pkdot.distillation.sp import row_similarities
from pkdot.networks import Outputs


def margin_weights(logits: Tensor) -> Tensor:
    """Return the entropy of each row's prediction over the sum of the batch: (B, C) -> (B,), sums to one."""
    entropy = torch.special.entr(logits.softmax(dim=1)).sum(dim=1)
    return entropy / entropy.sum().clamp_min(1e-12)


def mad_loss(student: Tensor, teacher: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return the squared differences of the row-normalised similarities, each row weighted by its entropy.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d_s) and (B, d_t)
        Features of the same samples.
    teacher_logits : Tensor, shape (B, C)

    Returns
    -------
    Tensor, scalar, >= 0
    """
    difference = (row_similarities(student) - row_similarities(teacher)).square().sum(dim=1)
    return (margin_weights(teacher_logits) * difference).sum()


@register("mmanet", needs={"logits", "features", "classes"})
class MarginAware(Distiller):
    """Give the student the teacher's similarities, most where the teacher is least sure."""

    weights = (10.0, 3.0, 30.0, 1.0, 100.0, 0.3)  # the released code leaves it to the command line

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return mad_loss(student.features, teacher.features, teacher.logits)
