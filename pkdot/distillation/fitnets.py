"""Hints for thin deep nets (FitNets). Romero et al., ICLR 2015, arXiv 1412.6550.

The hint is the fused feature; the regressor is linear and is trained along with the task, not in a stage
before.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pkdot.distillation.base import Context, Distiller, register
from pkdot.networks import Outputs


@register("fitnets", needs={"features"})
class FitNets(Distiller):
    """Mean squared difference of regressed and true hints (eq. 3, as a mean over the entries)."""

    weights = (100.0, 30.0, 10.0, 3.0, 300.0, 1.0)

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.regressor = nn.Linear(context.dim, context.dim)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return mse_loss(self.regressor(student.features), teacher.features)
