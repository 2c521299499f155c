"""The network that completions share: masked attention over the tokens of all modalities.

A token that is absent is stood for by a learned one of its modality. It may look at what is present and is looked at
by nothing but the pooling, which discounts it by a learned amount. So attention among tokens never sees what is absent,
and the pooling knows that it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription
from pkdot.networks import Outputs

HEADS = 4  # of the attention, or the largest half of it that divides the width
DISCOUNT = 2.0  # of an absent token in the logarithm of its weight, before training


class Trunk(nn.Module):
    """Masked attention over the tokens of a sample, pooling, and a head; it begins at the heads of the encoders.

    The head starts at zero and is added to the mean of the encoders' heads over the tokens that are present, so that
    the first predictions are those of late fusion.

    Parameters
    ----------
    shape : CompletionDescription
    answer : Answer
    layers : int
        Blocks of attention.
    dropout : float
    """

    def __init__(self, shape: CompletionDescription, answer: Answer, layers: int, dropout: float) -> None:
        super().__init__()
        count, dim = len(shape.modalities), shape.dim
        self.sequence = answer.sequence
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, dim)) for _ in range(count)
        )
        self.absent = nn.Parameter(0.02 * torch.randn(count, 1, dim))
        self.modality = nn.Parameter(0.02 * torch.randn(count, 1, dim))
        self.time = nn.Parameter(0.02 * torch.randn(shape.tokens, dim))
        self.blocks = nn.ModuleList(Block(dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.weigh = nn.Linear(dim, 1)
        self.discount = nn.Parameter(torch.full((count, 1), DISCOUNT))
        self.head = nn.Linear(dim, answer.outputs)
        self.dropout = nn.Dropout(dropout)
        self.start = Start(count, shape.width, answer)

    def begin_at(self, heads: list[nn.Linear]) -> None:
        """Begin at the predictions of a linear head for each modality, of which copies are trained along."""
        self.start.copy(heads)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, present: Tensor) -> Outputs:
        """Predict from (B, M, T, D) and the mask (B, M, T)."""
        projected = torch.stack([layer(tokens[:, m]) for m, layer in enumerate(self.project)], dim=1)
        placed = torch.where(present[..., None], projected, self.absent) + self.modality + self.time
        values, shown = placed.flatten(1, 2), present.flatten(1)
        hidden = ~shown & shown.any(dim=1, keepdim=True)  # where nothing is present, attention needs something
        for block in self.blocks:
            values = block(values, hidden)
        values = self.norm(values).unflatten(1, present.shape[1:])
        features = self._pool(values, present)
        return Outputs(self.head(self.dropout(features)) + self.start(tokens, present), features)

    def _pool(self, values: Tensor, present: Tensor) -> Tensor:
        """Return a weighted mean over the tokens of a sample; over those of a moment, where each moment is a row."""
        weights = self.weigh(values)[..., 0] - self.discount * (~present).to(values.dtype)
        if self.sequence:
            return (weights.softmax(dim=1)[..., None] * values).sum(dim=1).flatten(0, 1)
        return (weights.flatten(1).softmax(dim=1)[..., None] * values.flatten(1, 2)).sum(dim=1)


class Block(nn.Module):
    """Attention to the tokens that are not hidden, and a perceptron, each on normalised tokens (pre-norm)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        heads = next(number for number in (HEADS, HEADS // 2, 1) if dim % number == 0)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, values: Tensor, hidden: Tensor) -> Tensor:
        """Return (B, N, D) from the same; ``hidden``, shape (B, N), says which tokens nothing may look at."""
        own = self.norms[0](values)
        values = values + self.attention(own, own, own, key_padding_mask=hidden, need_weights=False)[0]
        return values + self.perceptron(self.norms[1](values))


class Start(nn.Module):
    """The mean of linear heads, one a modality, over the tokens that are present."""

    def __init__(self, count: int, width: int, answer: Answer) -> None:
        super().__init__()
        self.sequence = answer.sequence
        self.weight = nn.Parameter(torch.zeros(count, width, answer.outputs))
        self.bias = nn.Parameter(torch.zeros(count, 1, answer.outputs))

    @torch.no_grad()
    def copy(self, heads: list[nn.Linear]) -> None:
        """Take the weights of linear heads."""
        self.weight.copy_(torch.stack([head.weight.T for head in heads]))
        self.bias.copy_(torch.stack([head.bias[None] for head in heads]))

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return logits of the rows; zero where nothing is present."""
        logits, there = tokens @ self.weight + self.bias, present[..., None].to(tokens.dtype)
        over = (1,) if self.sequence else (1, 2)
        mean = (logits * there).sum(dim=over) / there.sum(dim=over).clamp_min(1)
        return mean.flatten(0, 1) if self.sequence else mean
