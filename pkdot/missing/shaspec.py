"""After ShaSpec (Wang et al., CVPR 2023, arXiv 2307.14126): shared and specific features of each modality.

One encoder serves all modalities and one each modality alone; both make its features as a residual. An absent modality
gets the mean of the shared features that are there. Shared features are drawn together, and specific ones must tell
their modality. Adapted: it starts from frozen embeddings, and moments are tokens of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription
from pkdot.missing.base import Completion, Options, register
from pkdot.missing.trunk import Start
from pkdot.networks import NONE, Outputs


class ShaspecOptions(Options):
    """Options of ``shaspec``."""

    alignment: float = Field(0.1, ge=0, description="weight of the distance between shared features of a moment")
    telling: float = Field(0.02, ge=0, description="weight of the loss by which specific features tell their modality")


@dataclass
class SharedOutputs(Outputs):
    """Outputs with shared features and with logits of the modality, shapes (B, M, T, D) and (B, M, T, M)."""

    shared: Tensor = NONE
    telling: Tensor = NONE


class SharedSpecific(nn.Module):
    """Shared and specific features of each modality, a perceptron over all modalities of a moment, and a head."""

    def __init__(self, shape: CompletionDescription, answer: Answer, dropout: float) -> None:
        super().__init__()
        count, dim = len(shape.modalities), shape.dim
        self.pool = answer.pool
        self.shared = nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, dim), nn.ReLU())
        self.specific = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, dim), nn.ReLU()) for _ in range(count)
        )
        self.join = nn.Linear(2 * dim, dim)
        self.tell = nn.Linear(dim, count)
        self.decode = nn.Sequential(nn.LayerNorm(count * dim), nn.Linear(count * dim, dim), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, answer.outputs)
        self.start = Start(count, shape.width, answer)

    def begin_at(self, heads: list[nn.Linear]) -> None:
        """Begin at the predictions of a linear head for each modality, of which copies are trained along."""
        self.start.copy(heads)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, present: Tensor) -> SharedOutputs:
        """Predict from (B, M, T, D) and the mask (B, M, T)."""
        there = present[..., None].to(tokens.dtype)
        shared = self.shared(tokens)
        specific = torch.stack([layer(tokens[:, m]) for m, layer in enumerate(self.specific)], dim=1)
        whole = shared + self.join(torch.cat((shared, specific), dim=-1))
        moment = (shared * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp_min(1)
        filled = torch.where(present[..., None], whole, moment)
        features = self.pool(self.decode(filled.transpose(1, 2).flatten(2)))
        logits = self.head(self.dropout(features)) + self.start(tokens, present)
        return SharedOutputs(logits, features, shared=shared, telling=self.tell(specific))


@register("shaspec")
class Shaspec(Completion):
    """Let what modalities share stand for the one that is absent."""

    Options = ShaspecOptions

    def make_network(self) -> nn.Module:
        return SharedSpecific(self.shape, self.answer, self.options.dropout)

    def loss(self, student: Outputs, teacher: Outputs, present: Tensor) -> Tensor:
        parts = cast(SharedOutputs, student)
        there = present[..., None].to(parts.shared.dtype)
        mean = (parts.shared * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp_min(1)
        apart = ((parts.shared - mean).abs() * there).mean()
        names = torch.arange(present.shape[1], device=present.device)[:, None].expand_as(present)
        told = cross_entropy(parts.telling[present], names[present])
        return super().loss(student, teacher, present) + self.options.alignment * apart + self.options.telling * told
