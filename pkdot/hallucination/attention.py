"""Queries over a sample's prevalent tokens, as proxy tokens of a missing modality. Cf. arXiv 2501.17823.

Each privileged token is asked for by a query, made of what is prevalent at its time and of the time itself; the query
attends to all prevalent tokens of the sample. With one token there is nothing to attend to but that token.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.attention import attended
from pkdot.hallucination.base import TNet, TNetOptions, perceptron, register
from pkdot.presence import hidden, known


class AttentionOptions(TNetOptions):
    """Options of ``attention``."""

    heads: int = Field(4, ge=1, description="attention heads")
    head_width: int = Field(16, ge=2, description="width of a head")


def times(tokens: int, width: int, device: torch.device) -> Tensor:
    """Return sines and cosines of the number of each token, shape (T, width) (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(1e4) / width))
    angles = torch.arange(tokens, device=device)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width]


@register("attention")
class Attention(TNet):
    """One block of attention with queries, then the perceptron."""

    Options = AttentionOptions

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: AttentionOptions) -> None:
        super().__init__(prevalent, privileged, hidden, options)
        width = options.heads * options.head_width
        self.project = nn.Sequential(nn.LayerNorm(prevalent), nn.Linear(prevalent, width))
        self.query = nn.Linear(width, width)  # its bias is the query that all tokens share
        self.attend = nn.MultiheadAttention(width, options.heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.layers = perceptron([width, *hidden, privileged])

    def forward(self, prevalent: Tensor) -> Tensor:
        own, hide = self.project(known(prevalent)), hidden(prevalent)
        placed = own + times(own.shape[1], own.shape[2], own.device)
        found = attended(self.attend, self.query(placed), placed, hide)
        return self.layers(self.norm(own + found))
