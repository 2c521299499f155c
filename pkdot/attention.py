"""Attention where there is one token: all weight lies on it, so that queries and keys need not be computed.

The same numbers as torch's own modules give in training, to the rounding of a product of matrices (on most CPUs bit
for bit), in half of the time; the rest is left to them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import dropout, linear


def transformed(layer: Any, tokens: Tensor, hide: Tensor | None) -> Tensor:
    """Return what a layer makes of the tokens of each sample.

    Parameters
    ----------
    layer : nn.TransformerEncoderLayer
        One that normalises after each of its blocks.
    tokens : Tensor, shape (B, T, D)
    hide : Tensor of bool, shape (B, T), optional
        The tokens that none must look at.
    """
    if not (layer.training and tokens.shape[1] == 1):
        return layer(tokens, src_key_padding_mask=hide)
    tokens = layer.norm1(tokens + layer.dropout1(_taken(layer.self_attn, tokens)))
    wide = layer.dropout(layer.activation(layer.linear1(tokens)))
    return layer.norm2(tokens + layer.dropout2(layer.linear2(wide)))


def attended(attention: Any, queries: Tensor, keys: Tensor, hide: Tensor | None) -> Tensor:
    """Return what each query finds in the keys of its sample.

    Parameters
    ----------
    attention : nn.MultiheadAttention
    queries : Tensor, shape (B, T, D)
    keys : Tensor, shape (B, S, D)
        Values too.
    hide : Tensor of bool, shape (B, S), optional
        The keys that none must look at.
    """
    if not (attention.training and queries.shape[1] == keys.shape[1] == 1):
        return attention(queries, keys, keys, key_padding_mask=hide, need_weights=False)[0]
    return _taken(attention, keys)


def _taken(attention: Any, token: Tensor) -> Tensor:
    """Return what attention makes of the only token (B, 1, D): each head takes it or, by dropout, leaves it."""
    width = attention.embed_dim
    values = linear(token, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    weights = dropout(values.new_ones(len(values), attention.num_heads, 1, 1), attention.dropout)
    return attention.out_proj((values.unflatten(2, (attention.num_heads, -1)) * weights.transpose(1, 2)).flatten(2))
