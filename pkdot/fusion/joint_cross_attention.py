"""Joint cross-attention (Praveen et al., CVPRW 2022, arXiv 2203.14779): each side attends to both."""

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.fusion.base import Fusion, register
from pkdot.params import Params
from pkdot.presence import filled, known, present, shown, some


class JointCrossAttentionOptions(Params):
    """Options of ``joint_cross_attention``."""

    hidden: int = Field(32, ge=1, description="width of the attention maps, k in the paper")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the attended tokens")


@register("joint_cross_attention")
class JointCrossAttention(Fusion):
    """Tokens of each side, weighted by their correlation with the joint tokens ``J = [X_v, X_p]`` (eq. 1-6).

    ``C_v = tanh(X_v W J^T / sqrt(2 D))`` compares every token of one side with every joint token, and
    ``H_v = relu(X_v W_x + C_v J W_c / T)``, ``A_v = X_v + H_v W_h``. The published weights W_x, W_c and W_h
    mix tokens, so they need a fixed number of them; these act on features, so that any number will do.
    """

    Options = JointCrossAttentionOptions

    def __init__(self, prevalent: int, privileged: int, dim: int, options: JointCrossAttentionOptions) -> None:
        super().__init__(prevalent, privileged, dim, options)
        self.project = nn.ModuleList(nn.Sequential(nn.LayerNorm(w), nn.Linear(w, dim)) for w in (prevalent, privileged))
        self.sides = nn.ModuleList(_Side(dim, options.hidden) for _ in range(2))
        self.combine = nn.Sequential(nn.LayerNorm(2 * dim), nn.Dropout(options.dropout), nn.Linear(2 * dim, dim))

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Tensor:
        sides = prevalent, privileged
        there = [present(x) for x in sides]
        projected = [project(known(x)) for project, x in zip(self.project, sides, strict=True)]
        # what is absent is zero, so that no correlation with it has a say
        own = [filled(x, ~t[..., None], 0.0) for x, t in zip(projected, there, strict=True)]
        joint, counted = torch.cat(own, dim=-1), shown(there[0] | there[1])
        count = counted.sum(dim=1)[:, None, None] if some(~counted) else counted.shape[1]
        parts = [side(x, joint, count) for side, x in zip(self.sides, own, strict=True)]
        return self.combine(torch.cat(parts, dim=-1))


class _Side(nn.Module):
    """What one side's tokens (B, T, D) make of the joint tokens (B, T, 2 D), of which ``count`` are there."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.correlate = nn.Linear(2 * dim, dim, bias=False)
        self.from_own = nn.Linear(dim, hidden, bias=False)
        self.from_joint = nn.Linear(2 * dim, hidden, bias=False)
        self.back = nn.Linear(hidden, dim, bias=False)

    def forward(self, own: Tensor, joint: Tensor, count: Tensor | int) -> Tensor:
        correlation = torch.tanh(own @ self.correlate(joint).transpose(1, 2) / joint.shape[2] ** 0.5)
        attended = torch.relu(self.from_own(own) + self.from_joint(correlation @ joint / count))
        return own + self.back(attended)
