"""What an encoder is: a batch of one modality's arrays in, token embeddings (B, T, D) out."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

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
    """Move a batch of clips (B, F, H, W, C) by one random offset of at most ``pixels`` in height and width."""
    rows, columns = (int(torch.randint(-pixels, pixels + 1, (1,), generator=generator)) for _ in range(2))
    return batch.roll((rows, columns), dims=(2, 3))
