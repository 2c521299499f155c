"""Temperature scaling (Guo et al., ICML 2017, arXiv 1706.04599): one number makes probabilities as sure as right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURES = tuple(round(1.05**power, 4) for power in range(-30, 61))  # 0.23 to 18.7


def best_temperature(logits: Tensor, loss: Callable[[Tensor], Tensor]) -> float:
    """Return the temperature that logits are to be divided by for the lowest loss.

    Parameters
    ----------
    logits : Tensor, shape (B, C)
        Of samples that trained nothing, such as those of the validation subjects.
    loss : callable (Tensor) -> Tensor
        The loss of logits of these samples, a scalar.
    """
    return min(TEMPERATURES, key=lambda temperature: float(loss(logits / temperature)))
