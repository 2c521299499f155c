"""A perceptron that narrows and widens again, the translator of PKDOT. Aslam et al., FG 2024, arXiv 2401.15489."""

from torch import Tensor

from pkdot.hallucination.base import TNet, perceptron, register
from pkdot.params import Params
from pkdot.presence import known


@register("mlp")
class MLP(TNet):
    """A perceptron that is applied to every token by itself."""

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: Params) -> None:
        super().__init__(prevalent, privileged, hidden, options)
        self.layers = perceptron([prevalent, *hidden, privileged])

    def forward(self, prevalent: Tensor) -> Tensor:
        return self.layers(known(prevalent))
