"""Similarities inside a batch, and the anchors whose similarities describe each row."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pkdot.errors import ConfigError

SIMILARITIES = ("cosine", "correlation", "euclidean", "rbf")
ANCHOR_RULES = ("dissimilar", "similar", "random", "shared", "all")


def similarity_matrix(features: Tensor, kind: str = "cosine") -> Tensor:
    """Return how alike the rows of a batch are, whatever the scale of the features.

    Parameters
    ----------
    features : Tensor, shape (..., B, d)
        Half precision is computed in float32, under autocast too.
    kind : {"cosine", "correlation", "euclidean", "rbf"}
        Cosine; cosine of the rows with their own means taken off; minus the distance over its mean; Gaussian
        of the distance with its root mean square as bandwidth.

    Returns
    -------
    Tensor, shape (..., B, B)
        Symmetric. A zero vector (for correlation, a constant one) has cosine 0 with every row, itself too,
        and no gradient; rows that are all alike have distance 0.

    Raises
    ------
    ConfigError
        The kind is unknown.
    """
    if kind not in SIMILARITIES:
        raise ConfigError(f"similarity is '{kind}'. Choose one of: {', '.join(SIMILARITIES)}.")
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    with torch.autocast(features.device.type, enabled=False):
        if kind in ("cosine", "correlation"):
            if kind == "correlation":
                features = features - features.mean(-1, keepdim=True)
            norm = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
            return _Gram.apply(features / norm.masked_fill(norm == 0, math.inf))
        distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
        if kind == "euclidean":
            return -distance / _scale(distance)
        return (distance.square() / _scale(distance.square()) / -2).exp()


def anchor_columns(teacher: Tensor, k: int, rule: str, generator: torch.Generator | None = None) -> Tensor | None:
    """Return the columns of a similarity matrix that describe each row.

    Parameters
    ----------
    teacher : Tensor, shape (..., B, B)
        Similarities in the teacher's space, which alone choose.
    k : int, >= 1
        Number of anchors; a batch with fewer rows uses them all.
    rule : {"dissimilar", "similar", "random", "shared", "all"}
        The k most dissimilar of each row, most dissimilar first, as published; the k most similar, the row
        itself among them; k random ones of each row, most dissimilar first; the k with the lowest mean
        similarity, the same for all rows; every column, whatever k is.
    generator : torch.Generator, optional
        Of the random rule; by default torch's global one.

    Returns
    -------
    Tensor of int64, shape (..., B, min(k, B)), or None for all

    Raises
    ------
    ConfigError
        The rule is unknown or k is below one.
    """
    if rule not in ANCHOR_RULES or k < 1:
        raise ConfigError(
            f"anchors is {k} by the rule '{rule}'. Give at least 1, by one of: {', '.join(ANCHOR_RULES)}."
        )
    k = min(k, teacher.shape[-1])
    if rule == "all":
        return None
    if rule == "shared":
        columns = teacher.mean(-2, keepdim=True).topk(k, largest=False).indices
        return columns.expand(*teacher.shape[:-1], k)
    if rule == "random":
        device = generator.device if generator else teacher.device
        chosen = torch.rand(teacher.shape, generator=generator, device=device).topk(k).indices.to(teacher.device)
        others = torch.ones_like(teacher, dtype=torch.bool).scatter_(-1, chosen, False)
        teacher = teacher.masked_fill(others, math.inf)
    return teacher.topk(k, largest=rule == "similar").indices


class _Gram(torch.autograd.Function):
    """Inner products of the rows; its gradient takes one matrix product where autograd takes two."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows @ rows.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad + grad.mT) @ ctx.saved_tensors[0]


def _scale(positive: Tensor) -> Tensor:
    """Return the mean of each matrix, or one where all of it is zero."""
    mean = positive.mean((-2, -1), keepdim=True)
    return torch.where(mean > 0, mean, 1.0)
