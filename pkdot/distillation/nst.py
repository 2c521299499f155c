"""Neuron selectivity transfer (NST). Huang and Wang, 2017, arXiv 1707.01219.

Published for channels, each a pattern over the pixels of an image. Adapted: a neuron is a column of the
features, its pattern what it says of the rows of the batch. The kernel is the polynomial one of the paper,
the squared inner product.
"""

from torch import Tensor
from torch.nn.functional import normalize

from pkdot.distillation.base import Distiller, register
from pkdot.networks import Outputs


def nst_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy between the neurons of either side.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d_s) and (B, d_t)
        Features of the same samples.

    Returns
    -------
    Tensor, scalar, >= 0
        Neither the order of the neurons nor their signs and scales matter.
    """
    s, t = normalize(student, dim=0), normalize(teacher, dim=0)
    own = (s.T @ s).square().mean() + (t.T @ t).square().mean()
    return own - 2 * (s.T @ t).square().mean()


@register("nst", needs={"features"})
class NeuronSelectivity(Distiller):
    """Give the student's neurons the teacher's patterns over the rows of a batch."""

    weights = (50.0, 15.0, 150.0, 5.0, 500.0, 1.5)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return nst_loss(student.features, teacher.features)
