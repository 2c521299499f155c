"""What a fusion is: (B, T, P) prevalent and (B, T, Q) privileged tokens in, (B, T, D) fused tokens out.

A fusion sees one sample at a time: its output never depends on the other samples of the batch.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from pkdot.params import Params
from pkdot.registry import Choice, Registry

register = Registry("pkdot.fusion", "fusion")


class FusionChoice(Choice):
    """A fusion by name, with its options."""

    family = register


class Fusion(nn.Module):
    """Base of all fusions.

    Parameters
    ----------
    prevalent, privileged : int
        Width of a token of either side (modalities of one side lie side by side).
    dim : int
        D, the width of a fused token.
    options : Params
        The fusion's own options.
    """

    Options: ClassVar[type[Params]]
    name: ClassVar[str]

    def __init__(self, prevalent: int, privileged: int, dim: int, options: Params) -> None:
        super().__init__()
        self.dim, self.options = dim, options

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Tensor:
        """Fuse (B, T, P) and (B, T, Q) to (B, T, D); a value that is NaN is absent, and must not reach any other token.

        See ``pkdot.presence``.
        """
        raise TypeError(f"{type(self).__name__} has no forward")
