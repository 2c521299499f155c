"""Variational information distillation (VID). Ahn et al., CVPR 2019, arXiv 1904.05835."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pkdot.distillation.base import Context, Distiller, register
from pkdot.networks import Outputs

BASELINE = 1e-5  # of a variance
START = 5.0  # variance before training


def vid_loss(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Return the negative log density of the teacher's features under a Gaussian, up to a constant, mean over entries.

    Parameters
    ----------
    mean, teacher : Tensor, shape (B, d)
    variance : Tensor, shape (d,), > 0

    Returns
    -------
    Tensor, scalar
        Below zero where the variance is small enough, as densities may exceed one.
    """
    return 0.5 * ((teacher - mean).square() / variance + variance.log()).mean()


@register("vid", needs={"features"})
class VariationalInformation(Distiller):
    """Raise a lower bound of the information that the student's features hold of the teacher's."""

    weights = (1.0, 10.0, 0.1, 100.0, 3.0, 30.0)

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        dim = context.dim
        layers = [nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)]
        self.mean = nn.Sequential(*layers)
        self.spread = nn.Parameter(torch.full((dim,), math.log(math.expm1(START - BASELINE))))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return vid_loss(self.mean(student.features), softplus(self.spread) + BASELINE, teacher.features)
