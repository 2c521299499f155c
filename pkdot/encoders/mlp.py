"""A perceptron over a sample's whole array: for tables of numbers that have no order in time."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, Scale, register
from pkdot.params import Params


class MlpOptions(Params):
    """Options of ``mlp``."""

    hidden: int = Field(64, ge=2, description="width of the hidden layer")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")
    scale: Literal["each", "common"] = Field(
        "each",
        description="whether each number is brought to deviation 1, or all are divided by one deviation, for numbers "
        "of one unit whose size says how much they matter",
    )


@register("mlp")
class Mlp(Encoder):
    """Numbers in units of their deviation, or of a common one -> one hidden layer -> all tokens at once."""

    Options = MlpOptions
    scale: Scale

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: MlpOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        width = math.prod(shape)
        self.scale = Scale(shape, common=options.scale == "common")
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width, options.hidden),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, tokens * dim),
        )

    def forward(self, batch: Tensor) -> Tensor:
        return self.layers(self.scale(batch)).unflatten(1, (self.tokens, self.dim))
