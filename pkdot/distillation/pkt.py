"""Probabilistic knowledge transfer (PKT). Passalis and Tefas, ECCV 2018, arXiv 1803.10837."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pkdot.distillation.base import Distiller, register
from pkdot.networks import Outputs

TINY = 1e-7


def neighbour_probabilities(features: Tensor) -> Tensor:
    """Return the probability that a row picks another as neighbour, by the cosine kernel: (B, d) -> (B, B)."""
    unit = normalize(features, dim=1)
    kernel = (unit @ unit.T + 1) / 2
    kernel = kernel.masked_fill(torch.eye(len(kernel), dtype=torch.bool, device=kernel.device), 0.0)
    return kernel / kernel.sum(dim=1, keepdim=True).clamp_min(TINY)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the divergence of the student's neighbour probabilities from the teacher's, mean over rows.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d_s) and (B, d_t)
        Features of the same samples.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    p, q = neighbour_probabilities(teacher), neighbour_probabilities(student)
    return (p * ((p + TINY) / (q + TINY)).log()).sum(dim=1).mean()


@register("pkt", needs={"features"})
class ProbabilisticTransfer(Distiller):
    """Give the student the teacher's probabilities of two samples being neighbours."""

    # In common use: 30000 times the mean over all B * B entries, about 500 times that over rows at B = 64.
    weights = (500.0, 150.0, 50.0, 15.0, 1500.0, 5.0)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return pkt_loss(student.features, teacher.features)
