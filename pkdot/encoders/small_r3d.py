"""A small video encoder that two CPU cores train in a minute or two: space first, then space and time."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from pkdot.encoders.base import Encoder, average_parts, flip, register, shift
from pkdot.params import Params


class SmallR3DOptions(Params):
    """Options of ``small_r3d``."""

    width: int = Field(16, ge=4, description="channels of the first layer; each later layer doubles them")
    margin: float = Field(0.125, ge=0, lt=0.5, description="share of the crop that is cut off at each side first")
    reduce: int = Field(2, ge=1, description="what is left is averaged down by this factor")
    flip: float = Field(0.5, ge=0, le=1, description="probability that a training clip is mirrored")
    shift: int = Field(4, ge=0, description="largest random move of a training batch, in pixels")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout before the embedding")


@register("small_r3d")
class SmallR3D(Encoder):
    """Grey frames and their difference from the clip's mean -> 2-D stem -> two 3-D layers -> embeddings in time.

    Each clip is brought to mean 0 and deviation 1, so that light and skin matter less; the difference shows the
    expression apart from the identity. Neither needs a label.
    """

    Options = SmallR3DOptions

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: SmallR3DOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        self.crop, self.reduce, self.flip, self.shift = options.margin, options.reduce, options.flip, options.shift
        w = options.width
        self.stem = nn.Sequential(nn.Conv2d(2, w, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(w), nn.ReLU())
        self.body = nn.Sequential(_block(w, 2 * w, (2, 2, 2)), _block(2 * w, 4 * w, (1, 2, 2)))
        self.dropout = nn.Dropout(options.dropout)
        self.embed = nn.Linear(4 * w * 4, dim)

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        batch = flip(batch, self.flip, generator)
        return shift(batch, self.shift, generator) if self.shift else batch

    def forward(self, batch: Tensor) -> Tensor:
        height, width = (round(self.crop * side) for side in batch.shape[2:4])
        inner = batch[:, :, height : batch.shape[2] - height, width : batch.shape[3] - width]
        grey = avg_pool2d(inner.float().mean(dim=-1), self.reduce)
        spread = grey.std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
        appearance = (grey - grey.mean(dim=(1, 2, 3), keepdim=True)) / spread
        motion = (appearance - appearance.mean(dim=1, keepdim=True)) * 3  # to a size like that of appearance
        frames = torch.stack((appearance, motion), dim=2)
        stem = self.stem(frames.flatten(0, 1)).unflatten(0, grey.shape[:2])
        body = self.body(stem.transpose(1, 2))
        columns = average_parts(body, 2)
        rows = average_parts(columns.movedim(3, 4), 2)
        time = average_parts(rows.movedim(2, 4), self.tokens)  # (B, channels, columns, rows, T)
        return self.embed(self.dropout(time.flatten(1, 3).transpose(1, 2)))


def _block(inside: int, outside: int, stride: tuple[int, int, int]) -> nn.Sequential:
    """Return a convolution in space and time with its normalisation."""
    conv = nn.Conv3d(inside, outside, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(outside), nn.ReLU())
