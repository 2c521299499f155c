"""T-Net, the translator of PKDOT (arXiv 2401.15489): prevalent tokens -> hallucinated privileged tokens."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from pkdot.params import Params


class TNetParams(Params):
    """The network and what is done with it."""

    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        [256, 128, 256], description="widths of the hidden layers, as published for 512 -> 512"
    )
    state: Literal["trained", "random", "off"] = Field(
        "trained",
        description="what students start from: trained on the training part, random as released, or no T-Net at all",
    )
    finetune: bool = Field(
        True, description="students go on training it; otherwise it stays as the teacher stage left it"
    )


def recovery(hallucinated: Tensor, privileged: Tensor) -> dict[str, float | None]:
    """Return how much of the privileged embeddings is recovered; None where there is nothing to recover.

    Parameters
    ----------
    hallucinated, privileged : Tensor, shape (B, T, Q)
        The embeddings that T-Net makes, and the true ones.

    Returns
    -------
    dict
        ``explained_variance``: the share of the variance around the mean of the training part, which is zero.
        ``cosine``: the mean cosine similarity of tokens.
    """
    error, whole = (hallucinated - privileged).square().sum(), privileged.square().sum()
    values = {
        "explained_variance": float(1 - error / whole),
        "cosine": float(cosine_similarity(hallucinated, privileged, dim=-1).mean()),
    }
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


class TNet(nn.Module):
    """A perceptron that narrows and widens again, applied to every token by itself."""

    def __init__(self, prevalent: int, privileged: int, hidden: list[int]) -> None:
        super().__init__()
        self.hidden = list(hidden)
        widths = [prevalent, *hidden, privileged]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, prevalent: Tensor) -> Tensor:
        """Map (..., P) to (..., Q)."""
        return self.layers(prevalent)
