"""What an encoder is: a batch of one modality's arrays in, token embeddings (B, T, D) out."""

from __future__ import annotations

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

    def __init__(self, shape: tuple[int, ...], dim: int, tokens: int, options: Params):
        super().__init__()
        self.shape, self.dim, self.tokens, self.options = shape, dim, tokens, options

    def augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Change a training batch at random without changing its meaning; the default changes nothing."""
        return batch

    def forward(self, batch: Tensor) -> Tensor:
        """Encode arrays of shape (B, *shape), in the dtype of the feature, to (B, T, D)."""
        raise TypeError(f"{type(self).__name__} has no forward")


class Standard(nn.Module):
    """Embeddings in units of the training part's mean and deviation, so that all modalities weigh alike."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def learn(self, embeddings: Tensor) -> None:
        """Take mean and deviation from training embeddings (N, T, D)."""
        self.mean.copy_(embeddings.mean(dim=(0, 1)))
        self.deviation.copy_(embeddings.std(dim=(0, 1)).clamp(min=1e-6))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Standardise (..., D)."""
        return (embeddings - self.mean) / self.deviation


def flip(batch: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Mirror each clip (B, F, H, W, C) left to right with the given probability."""
    chosen = torch.rand(len(batch), generator=generator) < probability
    return torch.where(chosen.view(-1, 1, 1, 1, 1).to(batch.device), batch.flip(3), batch)


def shift(batch: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move a batch of clips (B, F, H, W, C) by one random offset, at most ``pixels`` in either direction."""
    rows, columns = (int(torch.randint(-pixels, pixels + 1, (1,), generator=generator)) for _ in range(2))
    return batch.roll((rows, columns), dims=(2, 3))


def average_parts(values: Tensor, parts: int) -> Tensor:
    """Means over equal parts of the last dimension: (..., steps) -> (..., parts).

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
