"""A small convolutional encoder of signals: (channels, time) -> embeddings in time."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, Scale, average_parts, register
from pkdot.params import Params


class Cnn1dOptions(Params):
    """Options of ``cnn1d``."""

    width: int = Field(24, ge=4, description="channels of the first layer; each later layer doubles them")
    kernel: int = Field(7, ge=3, description="width of the filters, in samples")
    noise: float = Field(
        0.05, ge=0, description="deviation of the noise added to a training batch, in deviations of the channel"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")


@register("cnn1d")
class Cnn1d(Encoder):
    """Channels in units of their deviation, three strided convolutions, averages over equal parts of the time."""

    Options = Cnn1dOptions
    scale: Scale

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Cnn1dOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        self.noise = options.noise
        self.scale = Scale((shape[0], 1))
        widths = [shape[0], options.width, 2 * options.width, 4 * options.width]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            conv = nn.Conv1d(inside, outside, options.kernel, stride=2, padding=options.kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm1d(outside), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(widths[-1], dim))

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch.shape, generator=generator).to(batch.device)
        return batch + self.noise * self.scale.deviation * noise

    def forward(self, batch: Tensor) -> Tensor:
        time = average_parts(self.body(self.scale(batch)), self.tokens)
        return self.embed(time.transpose(1, 2))
