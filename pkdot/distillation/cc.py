"""Correlation congruence (CC). Peng et al., ICCV 2019, arXiv 1904.01802."""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs


def correlation_matrix(features: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Return the Taylor series of the Gaussian kernel ``exp(-gamma |x - y|^2)`` of the unit rows: (B, d) -> (B, B)."""
    unit = normalize(features, dim=1)
    inner = 2 * gamma * (unit @ unit.T)
    terms = torch.stack([inner**power / math.factorial(power) for power in range(order + 1)])
    return math.exp(-2 * gamma) * terms.sum(dim=0)


def cc_loss(student: Tensor, teacher: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Return the mean squared difference of the correlation matrices of a batch.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d_s) and (B, d_t)
        Features of the same samples.
    gamma : float
        > 0; inverse width of the kernel.
    order : int
        Terms of the series after the constant one.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    return mse_loss(correlation_matrix(student, gamma, order), correlation_matrix(teacher, gamma, order))


class CCOptions(Options):
    """Options of ``cc``."""

    gamma: float = Field(0.4, gt=0, description="inverse width of the Gaussian kernel")
    order: int = Field(2, ge=1, description="order of its Taylor series")


@register("cc", needs={"features"})
class CorrelationCongruence(Distiller):
    """Give the student the teacher's correlations between samples."""

    Options = CCOptions
    # Entries lie in [0, 1] and their differences are small, so the grid is this project's own.
    weights = (30.0, 100.0, 300.0, 10.0, 1000.0, 3.0)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return cc_loss(student.features, teacher.features, self.options.gamma, self.options.order)
