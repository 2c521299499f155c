"""How much of the privileged embeddings a T-Net recovers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pkdot.presence import known

CHANCE = 0.5  # retrieval rank of a guess that knows nothing of its sample
CHUNK = 256  # samples whose distances to all others are held at once


def recovery(hallucinated: Tensor, privileged: Tensor) -> dict[str, float | None]:
    """Return how much of the privileged embeddings is recovered; None where there is nothing to recover.

    Parameters
    ----------
    hallucinated, privileged : Tensor, shape (B, T, Q)
        The embeddings that T-Net makes, and the true ones; these are NaN where they are not known, and do not count.

    Returns
    -------
    dict
        ``explained_variance``: the share of the variance around the mean of the training part, which is zero.
        ``cosine``: the mean cosine similarity of tokens. ``retrieval_rank``: see `retrieval_rank`; 0.5 is
        chance; of the samples that have all tokens.
    """
    lost = privileged.isnan()
    rows, tokens = ~lost.flatten(1).any(dim=1), ~lost.any(dim=-1)
    rank = retrieval_rank(hallucinated[rows], privileged[rows])
    hallucinated, privileged = hallucinated.masked_fill(lost, 0.0), known(privileged)
    error, whole = (hallucinated - privileged).square().sum(), privileged.square().sum()
    values = {
        "explained_variance": float(1 - error / whole),
        "cosine": float(cosine_similarity(hallucinated, privileged, dim=-1)[tokens].mean()),
        "retrieval_rank": rank,
    }
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def retrieval_rank(hallucinated: Tensor, privileged: Tensor) -> float:
    """Return the mean share of the other samples whose true embedding lies nearer to a guess than that of its own.

    Parameters
    ----------
    hallucinated, privileged : Tensor, shape (B, T, Q)

    Returns
    -------
    float
        0 where every guess is nearest to its own truth; 0.5 where a guess knows nothing of its sample, such as where
        all are the same. Of embeddings at the same distance half count as nearer. NaN for fewer than two samples.
    """
    guesses, truths = hallucinated.flatten(1).double(), privileged.flatten(1).double()
    if len(truths) < 2:
        return math.nan
    total = 0.0
    for first in range(0, len(truths), CHUNK):
        part = guesses[first : first + CHUNK]
        distances = torch.cdist(part, truths, compute_mode="donot_use_mm_for_euclid_dist")
        own = distances.diagonal(first)[:, None]
        total += float((distances < own).sum()) + 0.5 * float((distances == own).sum() - len(part))
    return total / (len(truths) * (len(truths) - 1))
