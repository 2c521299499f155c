"""A small convolutional encoder of signals: (channels, time) -> embeddings in time."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, Scale, average_parts, register
from pkdot.params import Params

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
BANDS = 5
STATISTICS = 3 + len(QUANTILES) + BANDS  # that are read of a channel
SHARE = 1e-6  # of the power, which a logarithm starts from
TINY = 1e-12  # the least power, which keeps a division finite; added, the exporter would take it for 0


class Cnn1dOptions(Params):
    """Options of ``cnn1d``."""

    width: int = Field(
        24,
        ge=0,
        description="channels of the first layer; each later layer doubles them; 0: no layers, statistics of the "
        "signals alone, which may be better where two or three subjects have labels",
    )
    kernel: int = Field(7, ge=3, description="width of the filters, in samples")
    noise: float = Field(
        0.05, ge=0, description="deviation of the noise added to a training batch, in deviations of the channel"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")


@register("cnn1d")
class Cnn1d(Encoder):
    """Three strided convolutions of normalised channels; a token is means and deviations over its part of the time.

    Plain statistics of the channels themselves (moments, quantiles, mean absolute step) are read beside those of the
    last layer: few subjects are enough to learn from them, and a forest on nothing else is hard to beat. Where very few
    have labels, layers come to know them by their waveforms; without layers, the statistics alone are read.
    """

    Options = Cnn1dOptions
    scale: Scale

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Cnn1dOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        self.noise = options.noise
        self.scale = Scale((shape[0], 1))
        widths = [shape[0], options.width, 2 * options.width, 4 * options.width]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths if options.width else ()):
            conv = nn.Conv1d(inside, outside, options.kernel, stride=2, padding=options.kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm1d(outside), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        width = 2 * widths[-1] + STATISTICS * shape[0]
        self.statistics = nn.BatchNorm1d(width)
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(width, dim))

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch.shape, generator=generator).to(batch.device)
        return batch + self.noise * self.scale.deviation * noise

    def forward(self, batch: Tensor) -> Tensor:
        channels = self.scale(batch)
        read = [_moments(self.body(channels), self.tokens)] if len(self.body) else []
        read.append(_statistics(channels, self.tokens))
        return self.embed(self.statistics(torch.cat(read, dim=1)).transpose(1, 2))


def _moments(values: Tensor, parts: int) -> Tensor:
    """Return mean and deviation over equal parts of the time: (B, channels, time) -> (B, 2 * channels, parts)."""
    mean = average_parts(values, parts)
    variance = average_parts(values.square(), parts) - mean.square()
    return torch.cat([mean, variance.clamp(min=1e-6).sqrt()], dim=1)


def _statistics(values: Tensor, parts: int) -> Tensor:
    """Return plain statistics over parts of the time: (B, channels, time) -> (B, STATISTICS * channels, parts).

    A part that does not begin or end between two steps has the steps on its borders whole.
    """
    time = values.shape[2]
    found = []
    for part in range(parts):
        piece = values[:, :, part * time // parts : -(-(part + 1) * time // parts)]
        steps = piece.diff(dim=2, prepend=piece[:, :, :1]).abs().mean(dim=2, keepdim=True)
        read = [piece.mean(dim=2, keepdim=True), piece.std(dim=2, correction=0, keepdim=True), steps]
        found.append(torch.cat([*read, _quantiles(piece), _bands(piece)], dim=2).flatten(1))
    return torch.stack(found, dim=2)


def _quantiles(values: Tensor) -> Tensor:
    """Return quantiles over the time: (B, channels, time) -> (B, channels, quantiles)."""
    places = [round(quantile * (values.shape[2] - 1)) for quantile in QUANTILES]
    return values.sort(dim=2).values[:, :, places]


def _bands(values: Tensor) -> Tensor:
    """Return the logarithm of the share of the power in bands of equal ratio: (B, channels, time) -> (.., BANDS)."""
    count = values.shape[2] // 2
    if not count:
        return values.new_zeros((*values.shape[:2], BANDS))
    power = torch.fft.rfft(values - values.mean(dim=2, keepdim=True), dim=2).abs().square()[:, :, 1:]
    frequencies = torch.arange(1, count + 1, device=values.device)
    band = (BANDS * frequencies.log() / math.log(count + 1)).long()
    inside = (band[:, None] == torch.arange(BANDS, device=values.device)).to(power.dtype)
    return (power @ inside / power.sum(dim=2, keepdim=True).clamp(min=TINY) + SHARE).log()
