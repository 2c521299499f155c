"""What an encoder is: a batch of one modality's arrays in, token embeddings (B, T, D) out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkdot.errors import ConfigError
from pkdot.params import Params
from pkdot.registry import Choice, Registry

register = Registry("pkdot.encoders", "encoder")


class EncoderChoice(Choice):
    """An encoder by name, with its options."""

    family = register


class Encoder(nn.Module):
    """Base of all encoders.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample's array, as the feature stage wrote it.
    dim : int
        D, the width of an embedding.
    tokens : int
        T, the number of embeddings in time that a sample gets.
    options : Params
        The encoder's own options.
    """

    Options: ClassVar[type[Params]]
    name: ClassVar[str]

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Params) -> None:
        super().__init__()
        self.shape, self.dim, self.tokens, self.options = shape, dim, tokens, options

    @classmethod
    def without_weights(cls, options: Params) -> Params:
        """Return options for an encoder whose weights are loaded afterwards: those that fetch or read none."""
        return options

    def fit_scale(self, batches: Iterable[Tensor]) -> None:
        """Fit the encoder's `Scale`, where it has one, to training arrays; done once, before the first step."""
        for part in self.children():
            if isinstance(part, Scale):
                part.fit(batches)

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Change a training batch at random without changing its meaning; the default changes nothing."""
        return batch

    @property
    def has_frozen_part(self) -> bool:
        """Whether no training changes its first layers, so that students may read what these make of a sample."""
        return False

    def frozen_part(self, batch: Tensor) -> Tensor:
        """Return what the layers that are never trained make of arrays (B, *shape): maps of shape (B, ...)."""
        raise TypeError(f"{type(self).__name__} has no frozen part")

    def trained_part(self, maps: Tensor) -> Tensor:
        """Encode what ``frozen_part`` returned to (B, T, D)."""
        raise TypeError(f"{type(self).__name__} has no frozen part")

    def forward(self, batch: Tensor) -> Tensor:
        """Encode arrays of shape (B, *shape), in the dtype of the feature, to (B, T, D)."""
        raise TypeError(f"{type(self).__name__} has no forward")


class Scale(nn.Module):
    """Bring values to mean 0 and deviation 1, by the mean and deviation of the training part.

    Both are buffers, so that they are saved with the weights and used again at prediction.

    Parameters
    ----------
    shape : tuple of int
        Shape of the statistics: the shape of one sample, with 1 in each dimension that they are taken over.
    common : bool
        Whether all values share one deviation, the root of their mean variance, as values of one unit do.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], common: bool = False) -> None:
        super().__init__()
        self.common = common
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and deviation over all samples of some batches (B, *shape of a sample).

        Batches are merged in double precision (Chan, Golub and LeVeque 1983), so that neither a small unit nor a
        large offset costs digits. Where all values are equal, the deviation is 1.
        """
        count = 0
        mean, squares = (torch.zeros(self.mean.shape, dtype=torch.float64) for _ in range(2))
        over = [0, *(i + 1 for i, size in enumerate(self.mean.shape) if size == 1)]
        for batch in batches:
            values = batch.double().cpu()
            own = values.mean(dim=over, keepdim=True)
            number = values.numel() // mean.numel()
            step = own[0] - mean
            squares += (values - own).square().sum(dim=over, keepdim=True)[0]
            squares += step.square() * count * number / (count + number)
            count += number
            mean += step * number / count
        if self.common:
            squares = squares.mean().expand(squares.shape)
        deviation = (squares / count).sqrt()
        varies = deviation > 1e-6 * mean.abs()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, deviation, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise values of shape (..., *shape of a sample)."""
        return (values.float() - self.mean) / self.deviation


def redundancy(embeddings: Tensor) -> Tensor:
    """Return the mean squared correlation between different dimensions of a batch of embeddings.

    It keeps an embedding from collapsing to the few directions that a head needs (the covariance term of VICReg,
    Bardes, Ponce and LeCun, ICLR 2022, arXiv 2105.04906, here on correlations, as embeddings are brought to deviation
    1 before they are used).

    Parameters
    ----------
    embeddings : Tensor, shape (B, D)

    Returns
    -------
    Tensor, scalar in [0, 1]
        0 where all dimensions are uncorrelated, 1 where they all say the same.
    """
    centred = embeddings.float() - embeddings.float().mean(dim=0)
    columns = nn.functional.normalize(centred, dim=0)
    correlation = columns.T @ columns
    width = embeddings.shape[1]
    return (correlation.square().sum() - correlation.diagonal().square().sum()) / (width * (width - 1))


def flip(batch: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Mirror each clip (B, F, H, W, C) left to right with a probability."""
    chosen = torch.rand(len(batch), generator=generator) < probability
    return torch.where(chosen.view(-1, 1, 1, 1, 1).to(batch.device), batch.flip(3), batch)


def shift(batch: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move a batch of clips (B, F, H, W, C) by one random offset, at most ``pixels`` in either direction."""
    rows, columns = (int(torch.randint(-pixels, pixels + 1, (1,), generator=generator)) for _ in range(2))
    return batch.roll((rows, columns), dims=(2, 3))


def average_parts(values: Tensor, parts: int) -> Tensor:
    """Return the means over equal parts of the last dimension: (..., steps) -> (..., parts).

    A step on the border of two parts counts to each by its share. A product of matrices has the same gradient
    in every run on a GPU too, which adaptive pooling has not.
    """
    steps = values.shape[-1]
    borders = torch.arange(parts + 1, device=values.device) * steps / parts
    before = (borders[:, None] - torch.arange(steps, device=values.device)).clamp(0, 1)
    return values @ (before.diff(dim=0) * parts / steps).T.to(values.dtype)


def by_token(batch: Tensor, tokens: int, dim: int) -> Tensor:
    """Make each of T equal parts of a dimension a sample of its own: (B, ..., steps, ...) -> (B * T, ...).

    Raises
    ------
    ConfigError
        The steps do not divide into equal parts.
    """
    steps = batch.shape[dim]
    if steps % tokens:
        raise ConfigError(
            f"{steps} steps of a feature cannot be shared out to {tokens} tokens; make them a multiple of it"
        )
    return batch.unflatten(dim, (tokens, steps // tokens)).movedim(dim, 1).flatten(0, 1)
