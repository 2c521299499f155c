"""T-Net, the translator of PKDOT (arXiv 2401.15489): prevalent tokens -> hallucinated privileged tokens."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

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


class TNet(nn.Module):
    """A perceptron that narrows and widens again, applied to every token by itself."""

    def __init__(self, prevalent: int, privileged: int, hidden: list[int]):
        super().__init__()
        widths = [prevalent, *hidden, privileged]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, prevalent: Tensor) -> Tensor:
        """Map (..., P) to (..., Q)."""
        return self.layers(prevalent)
