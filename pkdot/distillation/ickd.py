"""Inter-channel correlation (ICKD-C). Liu et al., ICCV 2021, arXiv 2202.03680.

Published for channels over the pixels of an image. Adapted: a channel is a column of the features over the
batch.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from pkdot.distillation.base import Context, Distiller, register
from pkdot.networks import Outputs


def ickd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared difference of the row-normalised correlations of channels, mean over channels.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d)
        Features of the same samples, channel by channel.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    difference = normalize(student.T @ student, dim=1) - normalize(teacher.T @ teacher, dim=1)
    return difference.square().sum(dim=1).mean()


@register("ickd", needs={"features"})
class InterChannel(Distiller):
    """Give the student the correlations between the teacher's channels."""

    weights = (2.5, 0.8, 8.0, 0.25, 25.0, 0.08)

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.projector = nn.Sequential(nn.Linear(context.dim, context.dim, bias=False), nn.BatchNorm1d(context.dim))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return ickd_loss(self.projector(student.features), teacher.features)
