"""Eigenfaces in motion: the components of how aligned faces change, and plain descriptions of their courses in time.

Eigenfaces: Turk and Pentland, Journal of Cognitive Neuroscience 1991. The components need no label, so that recordings
that nobody has annotated shape them too; where labels are few, little is left to learn from those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.encoders.base import Encoder, average_parts, flip, register
from pkdot.params import Params

COSINES = 3  # that tell the form of a course: rising or falling, one hump or two
DESCRIBED = 4 + COSINES  # numbers of a course


class EigenfacesOptions(Params):
    """Options of ``eigenfaces``."""

    margin: float = Field(0.125, ge=0, lt=0.5, description="share of the crop that is cut off at each side first")
    side: int = Field(32, ge=4, le=128, description="what is left is averaged to so many rows and columns")
    components: int = Field(32, ge=1, description="components that are kept")
    flip: float = Field(0.5, ge=0, le=1, description="probability that a training clip is mirrored")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout before the embedding")


@register("eigenfaces")
class Eigenfaces(Encoder):
    """Grey frames less their clip's mean -> principal components -> descriptions of their courses -> embeddings.

    Each clip is brought to mean 0 and deviation 1, so that light and skin matter less; what differs from the clip's
    mean shows the expression apart from the identity.
    """

    Options = EigenfacesOptions
    options: EigenfacesOptions
    basis: Tensor

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: EigenfacesOptions) -> None:
        super().__init__(shape, dim, tokens, options)
        pixels = options.side**2
        self.kept = min(options.components, pixels)
        self.register_buffer("basis", torch.eye(pixels)[:, : self.kept].clone())
        width = DESCRIBED * self.kept
        self.scale_of_courses = nn.BatchNorm1d(width)
        self.embed = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(width, dim))

    def fit_scale(self, batches: Iterable[Tensor]) -> None:
        """Take the components of the training part, each in units of its deviation; mirrored faces count too."""
        side, frames = self.options.side, 0
        total = torch.zeros(side**2, side**2, dtype=torch.float64)
        for batch in batches:
            changes = self._changes(batch).reshape(-1, side, side)
            for faces in (changes, changes.flip(2)):
                rows = faces.flatten(1).cpu()
                total += (rows.T @ rows).double()
            frames += 2 * len(changes)
        power, components = torch.linalg.eigh(total / max(1, frames))
        power, components = power.flip(0)[: self.kept], components.flip(1)[:, : self.kept]
        components = components * components.gather(0, components.abs().argmax(dim=0, keepdim=True)).sign()
        deviation = power.clamp(min=1e-6 * float(power[0]) + 1e-12).sqrt()
        self.basis.copy_(components / deviation)

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        return flip(batch, self.options.flip, generator)

    def forward(self, batch: Tensor) -> Tensor:
        courses = (self._changes(batch).flatten(2) @ self.basis).transpose(1, 2)
        return self.embed(self.scale_of_courses(described(courses, self.tokens)).transpose(1, 2))

    def _changes(self, batch: Tensor) -> Tensor:
        """Return grey frames less their clip's mean, in units of the clip's deviation: (B, F, side, side)."""
        height, width = (round(self.options.margin * side) for side in batch.shape[2:4])
        inner = batch[:, :, height : batch.shape[2] - height, width : batch.shape[3] - width]
        columns = average_parts(inner.float().mean(dim=-1), self.options.side)
        grey = average_parts(columns.transpose(2, 3), self.options.side).transpose(2, 3)
        spread = grey.std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
        return (grey - grey.mean(dim=1, keepdim=True)) / spread


def described(courses: Tensor, parts: int) -> Tensor:
    """Describe courses in parts of the time: deviation, smallest and largest value, mean step, and first cosines.

    Parameters
    ----------
    courses : Tensor, shape (B, components, frames)
    parts : int

    Returns
    -------
    Tensor, shape (B, DESCRIBED * components, parts)
    """
    frames = courses.shape[2]
    found = []
    for part in range(parts):
        piece = courses[:, :, part * frames // parts : -(-(part + 1) * frames // parts)]
        steps = piece.diff(dim=2, prepend=piece[:, :, :1]).abs().mean(dim=2)
        plain = [piece.std(dim=2, correction=0), piece.amin(dim=2), piece.amax(dim=2), steps]
        count = piece.shape[2]
        middles = (torch.arange(count, device=piece.device) + 0.5) * math.pi / count
        waves = torch.stack([torch.cos(order * middles) for order in range(1, COSINES + 1)], dim=1) * 2 / count
        found.append(torch.cat([*plain, (piece @ waves).flatten(1)], dim=1))
    return torch.stack(found, dim=2)
