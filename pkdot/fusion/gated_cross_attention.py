"""Gated cross-attention, as PKDOT fuses (arXiv 2401.15489): attention runs over a sample's own tokens."""

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.attention import attended, transformed
from pkdot.errors import ConfigError
from pkdot.fusion.base import Fusion, register
from pkdot.params import Params
from pkdot.presence import hidden, known


class GatedCrossAttentionOptions(Params):
    """Options of ``gated_cross_attention``."""

    heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the blocks")


@register("gated_cross_attention")
class GatedCrossAttention(Fusion):
    """Self-attention on each side, cross-attention both ways, then ``g * a_v + (1 - g) * a_p`` with a learned gate."""

    Options = GatedCrossAttentionOptions

    def __init__(self, prevalent: int, privileged: int, dim: int, options: GatedCrossAttentionOptions) -> None:
        super().__init__(prevalent, privileged, dim, options)
        if dim % options.heads:
            raise ConfigError(f"teacher.dim is {dim}, which {options.heads} heads of the fusion do not divide")
        self.project = nn.ModuleList(nn.Sequential(nn.LayerNorm(w), nn.Linear(w, dim)) for w in (prevalent, privileged))
        self.own = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, options.heads, 2 * dim, options.dropout, batch_first=True) for _ in range(2)
        )
        self.cross = nn.ModuleList(
            nn.MultiheadAttention(dim, options.heads, options.dropout, batch_first=True) for _ in range(2)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.gate = nn.Linear(2 * dim, dim)

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Tensor:
        sides = prevalent, privileged
        hide_v, hide_p = hide = [hidden(x) for x in sides]
        projected = [project(known(x)) for project, x in zip(self.project, sides, strict=True)]
        v, p = (transformed(own, x, h) for own, x, h in zip(self.own, projected, hide, strict=True))
        a_v = self.norm[0](v + attended(self.cross[0], v, p, hide_p))
        a_p = self.norm[1](p + attended(self.cross[1], p, v, hide_v))
        gate = torch.sigmoid(self.gate(torch.cat((a_v, a_p), dim=-1)))
        return gate * a_v + (1 - gate) * a_p
