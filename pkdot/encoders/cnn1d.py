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
    """Three strided convolutions of normalised channels; a token is means and deviations over its part of the time.

    The means and deviations of the channels themselves are read beside those of the last layer: few subjects are
    enough to learn from them.
    """

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
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(2 * (widths[-1] + shape[0]), dim))

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch.shape, generator=generator).to(batch.device)
        return batch + self.noise * self.scale.deviation * noise

    def forward(self, batch: Tensor) -> Tensor:
        channels = self.scale(batch)
        moments = [_moments(values, self.tokens) for values in (self.body(channels), channels)]
        return self.embed(torch.cat(moments, dim=1).transpose(1, 2))


def _moments(values: Tensor, parts: int) -> Tensor:
    """Return mean and deviation over equal parts of the time: (B, channels, time) -> (B, 2 * channels, parts)."""
    mean = average_parts(values, parts)
    variance = average_parts(values.square(), parts) - mean.square()
    return torch.cat([mean, variance.clamp(min=1e-6).sqrt()], dim=1)
