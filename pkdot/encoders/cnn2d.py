"""A small convolutional encoder of spectrograms: (channels, frequency, time) -> embeddings in time."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, Scale, average_parts, register
from pkdot.params import Params


class Cnn2dOptions(Params):
    """Options of ``cnn2d``."""

    width: int = Field(16, ge=4, description="channels of the first layer; each later layer doubles them")
    gain: float = Field(3.0, ge=0, description="deviation of the random gain in training, decibels")
    hide: float = Field(0.15, ge=0, lt=1, description="largest share of the frequencies that training hides")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")


@register("cnn2d")
class Cnn2d(Encoder):
    """Each frequency in units of its own mean and deviation, three strided convolutions, averages over time.

    Frequencies are averaged into four bands at the end, so that what is high stays apart from what is low.
    """

    Options = Cnn2dOptions
    scale: Scale
    BANDS = 4

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Cnn2dOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        self.gain, self.hide = options.gain, options.hide
        self.scale = Scale((shape[0], shape[1], 1))
        widths = [shape[0], options.width, 2 * options.width, 4 * options.width]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outside), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(widths[-1] * self.BANDS, dim))

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        louder = self.gain * torch.randn(len(batch), 1, 1, 1, generator=generator).to(batch.device)
        frequencies = batch.shape[2]
        width = int(self.hide * frequencies * torch.rand((), generator=generator))
        first = int(torch.randint(0, frequencies - width + 1, (), generator=generator))
        changed = batch.float() + louder
        hidden = slice(first, first + width)
        changed[:, :, hidden] = self.scale.mean[:, hidden]
        return changed

    def forward(self, batch: Tensor) -> Tensor:
        time = average_parts(self.body(self.scale(batch)), self.tokens)
        bands = average_parts(time.transpose(2, 3), self.BANDS)
        return self.embed(bands.transpose(1, 2).flatten(2))
