"""Contrastive representation distillation (CRD). Tian, Krishnan and Isola, ICLR 2020, arXiv 1910.10699.

The critic is that of section 3.1; the embeddings of both sides are linear and of length one, and a memory
of all rows serves the negatives, which are of other classes (of other rows, in a regression). Adapted:
negatives are drawn once for a whole batch, from the rows seen so far, so that a step costs one matrix
product; positives are not from the memory.
"""

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.networks import Outputs


def contrast(positive: Tensor, negative: Tensor, valid: Tensor, log_odds: Tensor) -> Tensor:
    """Return the noise-contrastive loss of a critic ``h = sigmoid(similarity - log_odds)``.

    Parameters
    ----------
    positive : Tensor, shape (B,)
        Similarity of each row to its partner, over the temperature.
    negative : Tensor, shape (B, N)
        The same to the negatives.
    valid : Tensor of bool, shape (B, N)
        Which of them are negatives of the row.
    log_odds : Tensor, scalar
        Logarithm of N times the critic's normalising constant.

    Returns
    -------
    Tensor, scalar, >= 0
        Mean over rows of ``-log h(positive) - sum log(1 - h(negative))``.
    """
    wrong = (softplus(negative - log_odds) * valid).sum(dim=1)
    return (softplus(log_odds - positive) + wrong).mean()


class CRDOptions(Options):
    """Options of ``crd``."""

    temperature: float = Field(0.07, gt=0, description="divides the similarities")
    negatives: int = Field(1024, ge=1, description="rows of the memory that a batch is held against")
    momentum: float = Field(0.5, ge=0, lt=1, description="share of the old entry when the memory is renewed")
    width: int = Field(128, ge=1, description="width of the embeddings that are contrasted")


@register("crd", needs={"features"})
class ContrastiveDistillation(Distiller):
    """Tell the teacher's features of the same row from those of others."""

    labelled_only = True
    Options = CRDOptions
    weights = (0.8, 0.25, 2.5, 0.08, 8.0, 0.025)
    memory: Tensor
    kind: Tensor
    log_scale: Tensor

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.embed = nn.ModuleList(nn.Linear(context.dim, options.width) for _ in range(2))
        self.register_buffer("memory", torch.zeros(2, context.rows, options.width))
        # The class of each row, -1 until it was seen; the critic's constant, which the first batch settles.
        self.register_buffer("kind", torch.full((context.rows,), -1))
        self.register_buffer("log_scale", torch.full((2,), torch.nan))

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        kind = student.rows if self.context.task.regression else student.target
        inputs = student.features, teacher.features
        unit = torch.stack([normalize(e(x), dim=1) for e, x in zip(self.embed, inputs, strict=True)])
        self._remember(unit.detach(), student.rows, kind)
        seen = (self.kind >= 0).nonzero().squeeze(1)
        drawn = seen[torch.randint(len(seen), (self.options.negatives,), device=seen.device)]
        valid = self.kind[drawn] != kind[:, None]
        scaled = unit / self.options.temperature
        positive = (scaled[0] * unit[1]).sum(dim=1)
        loss = positive.new_zeros(())
        for side in range(2):
            negative = scaled[side] @ self.memory[1 - side, drawn].T
            loss = loss + contrast(positive, negative, valid, self._log_odds(side, negative.detach(), valid))
        return loss

    def _log_odds(self, side: int, negative: Tensor, valid: Tensor) -> Tensor:
        """Return the constant of a side, which the first batch that has negatives settles."""
        if self.log_scale[side].isnan() and valid.any():
            self.log_scale[side] = negative[valid].exp().mean().log()
        return self.log_scale[side].nan_to_num() + math.log(self.options.negatives)

    @torch.no_grad()
    def _remember(self, unit: Tensor, rows: Tensor, kind: Tensor) -> None:
        old = self.options.momentum * (self.kind[rows] >= 0)[:, None]
        self.memory[:, rows] = normalize(old * self.memory[:, rows] + (1 - old) * unit, dim=-1)
        self.kind[rows] = kind
