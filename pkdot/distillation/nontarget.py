"""Predictions without the class that is right, which several methods treat apart."""

import torch
from torch import Tensor


def without(values: Tensor, target: Tensor) -> Tensor:
    """Drop the target's entry from the last dimension.

    Parameters
    ----------
    values : Tensor, shape (B, ..., C)
    target : Tensor of int, shape (B,)

    Returns
    -------
    Tensor, shape (B, ..., C - 1)
        The other entries in their order.
    """
    others = torch.arange(values.shape[-1] - 1, device=values.device).expand(len(values), -1)
    others = others + (others >= target[:, None])
    others = others.view(len(values), *[1] * (values.dim() - 2), -1)
    return values.gather(-1, others.expand(*values.shape[:-1], -1))
