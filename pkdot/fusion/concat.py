"""Feature concatenation: tokens side by side, then a small perceptron."""

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.fusion.base import Fusion, register
from pkdot.params import Params
from pkdot.presence import known


class ConcatOptions(Params):
    """Options of ``concat``."""

    dropout: float = Field(0.2, ge=0, lt=1, description="dropout after the first layer")


@register("concat")
class Concat(Fusion):
    """Two layers over the concatenated tokens."""

    Options = ConcatOptions

    def __init__(self, prevalent: int, privileged: int, dim: int, options: ConcatOptions) -> None:
        super().__init__(prevalent, privileged, dim, options)
        self.layers = nn.Sequential(
            nn.LayerNorm(prevalent + privileged),
            nn.Linear(prevalent + privileged, dim),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(dim, dim),
        )

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Tensor:
        return self.layers(known(torch.cat((prevalent, privileged), dim=-1)))
