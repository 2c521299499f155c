"""Relational knowledge distillation, distances and angles (RKD). Park et al., CVPR 2019, arXiv 1904.05068."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pdist, smooth_l1_loss

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs

TINY = 1e-6  # a length below which a difference has no direction


def pair_distances(features: Tensor) -> Tensor:
    """Return the distances of all pairs over their mean (section 3.2.1): (B, d) -> (B * (B - 1) / 2,)."""
    distances = pdist(features)
    return distances / distances.mean().clamp_min(TINY)


def triplet_cosines(features: Tensor) -> Tensor:
    """Return the cosine of the angle at j between i and k (section 3.2.2), entry (j, i, k): (B, d) -> (B, B, B)."""
    centred = features - features.mean(dim=0)
    inner = centred @ centred.T
    distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    inverse = 1 / distance.masked_fill(distance < TINY, torch.inf)
    # (i - j) . (k - j) from inner products: no B x B x d array is made, and the backward pass is short
    products = inner - inner.unsqueeze(2) + (inner.diagonal().unsqueeze(1) - inner).unsqueeze(1)
    return products * inverse.unsqueeze(2) * inverse.unsqueeze(1)


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the Huber loss of the relative distances, mean over pairs."""
    return smooth_l1_loss(pair_distances(student), pair_distances(teacher))


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the Huber loss of the cosines of angles, mean over triplets of three different samples."""
    # A triplet that repeats a sample has the same cosine on either side, 0 or 1, and adds nothing.
    size = len(student)
    total = smooth_l1_loss(triplet_cosines(student), triplet_cosines(teacher), reduction="sum")
    return total / max(1, size * (size - 1) * (size - 2))


def drawn_rows(size: int, limit: int) -> Tensor:
    """Return all rows in their order where there are at most ``limit``, otherwise so many, drawn at random."""
    return torch.arange(size) if size <= limit else torch.randperm(size)[:limit]


class RKDOptions(Options):
    """Options of ``rkd``."""

    angle: float = Field(2.0, ge=0, description="weight of the angles against the distances")
    rows: int = Field(
        64, ge=3, description="samples among which angles are measured; more in a batch are drawn from, anew each step"
    )


@register("rkd", needs={"features"})
class RelationalDistillation(Distiller):
    """Give the student the teacher's distances and angles between samples."""

    Options = RKDOptions
    weights = (25.0, 8.0, 80.0, 2.5, 250.0, 0.8)  # published for classes: 25 for distances, 50 for angles

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        distance = rkd_distance_loss(student.features, teacher.features)
        # The memory of the angles is cubic in the number of samples: 3.1 GB for 512.
        chosen = drawn_rows(len(student.features), self.options.rows).to(student.features.device)
        angle = rkd_angle_loss(student.features[chosen], teacher.features[chosen])
        return distance + self.options.angle * angle
