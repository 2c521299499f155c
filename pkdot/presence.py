"""Which tokens of a sample are present: a token that is not is NaN.

So the mask travels with the embeddings themselves, from ``embeddings.npy`` to the networks. Each network puts zeros,
the mean of the training part, in the place of NaN at its entry (`known`), hides such tokens from attention (`hidden`),
and leaves them out where it takes a mean over tokens (`shown`, ``Answer.pool``). Where all of a sample's tokens are
absent, as nothing better is there, they all count.

Where nothing is absent nothing is computed for it, so that no bit of a result depends on masks that hide nothing.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def present(tokens: Tensor) -> Tensor:
    """Return which tokens (..., D) are there: those of which a value is known; shape (...)."""
    return ~tokens.isnan().all(dim=-1)


def complete(tokens: Tensor) -> Tensor:
    """Return which samples have a token of every modality that lies side by side in (B, T, D); shape (B,)."""
    return ~tokens.isnan().all(dim=1).any(dim=-1)


def some(mask: Tensor) -> bool:
    """Return whether a mask says yes anywhere; an exported network must serve the case that it does."""
    return torch.compiler.is_exporting() or bool(mask.any())


def whole(tokens: Tensor) -> bool:
    """Return whether no value is NaN, by a sum, which takes less than a mask; where it cannot tell it says no."""
    return not torch.compiler.is_exporting() and not bool(tokens.sum().isnan())


def filled(tokens: Tensor, mask: Tensor, value: float) -> Tensor:
    """Return tokens with a value wherever a mask says so."""
    return tokens.masked_fill(mask, value) if some(mask) else tokens


def known(tokens: Tensor) -> Tensor:
    """Return tokens with zeros where they are NaN."""
    return tokens if whole(tokens) else filled(tokens, tokens.isnan(), 0.0)


def without(tokens: Tensor, there: Tensor) -> Tensor:
    """Return tokens (B, T, D) that are NaN but where a mask, shape (B, T), says that they are there."""
    return filled(tokens, ~there[..., None], torch.nan)


def shown(there: Tensor) -> Tensor:
    """Return the mask (B, T) of tokens that count: those that are there, or all where none is."""
    return there | ~there.any(dim=1, keepdim=True)


def counted(*sides: Tensor) -> Tensor | None:
    """Return the mask (B, T) of tokens that count, since one of the sides (B, T, D) is there; None for a single token.

    It counts in any case.
    """
    if sides[0].shape[1] == 1:
        return None
    if any(map(whole, sides)):
        return torch.ones(sides[0].shape[:2], dtype=torch.bool, device=sides[0].device)
    return shown(reduce(torch.logical_or, map(present, sides)))


def hidden(tokens: Tensor) -> Tensor | None:
    """Return the mask (B, T) of tokens (B, T, D) that attention must not look at; None where it may look at all."""
    if tokens.shape[1] == 1 or whole(tokens):
        return None
    mask = ~shown(present(tokens))
    return mask if some(mask) else None
