"""ResNet-18 (He et al., CVPR 2016) over spectrograms, as PKDOT encodes its signals (arXiv 2401.15489)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, Scale, by_token, register
from pkdot.params import Params


class Resnet18SpectrogramOptions(Params):
    """Options of ``resnet18_spectrogram``."""

    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")


@register("resnet18_spectrogram")
class Resnet18Spectrogram(Encoder):
    """torchvision's ResNet-18 with a first layer for (channels, frequency, time); tokens are seen one by one.

    The weights start at random: the first layer of weights made for pictures would not fit.
    """

    Options = Resnet18SpectrogramOptions
    scale: Scale

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Resnet18SpectrogramOptions) -> None:
        from torchvision.models import resnet18

        super().__init__(shape, dim, tokens, options)
        channels, frequencies, _ = shape
        self.scale = Scale((channels, frequencies, 1))
        self.body = resnet18(weights=None)
        self.body.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.body.avgpool = _Mean()
        self.body.fc = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(512, dim))

    def forward(self, batch: Tensor) -> Tensor:
        return self.body(by_token(self.scale(batch), self.tokens, dim=3)).unflatten(0, (-1, self.tokens))


class _Mean(nn.Module):
    """Average over frequency and time; unlike pooling, its gradient is the same in every run on a GPU."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))
