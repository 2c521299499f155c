"""Wasserstein distillation of features (WKD-F). Lv, Yang and Li, NeurIPS 2024, arXiv 2412.08139.

Published for the pixels of a feature map, which make one Gaussian an image. Adapted: the rows of a class in
the batch make one Gaussian, weighted by their number; in a regression, which has no classes, all rows make
a single one.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.networks import Outputs


def moments(features: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and standard deviations of groups: (B, d) and (G, B) of zeros and ones -> (G, d) twice."""
    share = members / members.sum(dim=1, keepdim=True).clamp_min(1)
    mean = share @ features
    centred = features - members.T @ mean
    return mean, (share @ centred.square() + 1e-5).sqrt()


def wkd_feature_loss(student: Tensor, teacher: Tensor, members: Tensor, mean_weight: float = 1.0) -> Tensor:
    """Return the squared Wasserstein distance of Gaussians with diagonal covariance, mean over the rows' groups.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d)
    members : Tensor, shape (G, B)
        One where the row belongs to the group; each row belongs to one.
    mean_weight : float
        Weight of the means against the deviations; 1 is the true distance.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    (mean_s, deviation_s), (mean_t, deviation_t) = moments(student, members), moments(teacher, members)
    parts = mean_weight * (mean_s - mean_t).square() + (deviation_s - deviation_t).square()
    return (parts.sum(dim=1) * members.sum(dim=1)).sum() / members.sum()


class WKDFOptions(Options):
    """Options of ``wkd_f``."""

    mean_weight: float = Field(4.0, ge=0, description="weight of the means against the deviations")


@register("wkd_f", needs={"features"})
class WassersteinFeatures(Distiller):
    """Bring means and deviations of the student's features to the teacher's, class by class."""

    labelled_only = True
    Options = WKDFOptions
    weights = (0.006, 0.02, 0.06, 0.002, 0.2, 0.6)

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.projector = nn.Linear(context.dim, context.dim)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        if self.context.task.regression:
            members = torch.ones_like(student.features[:, :1]).T
        else:
            members = one_hot(student.target, self.context.task.outputs).T.to(student.features)
        projected = self.projector(student.features)
        return wkd_feature_loss(projected, teacher.features, members, self.options.mean_weight)
