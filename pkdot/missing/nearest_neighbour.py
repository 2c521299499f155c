"""Nearest-neighbour imputation: what is absent is taken from the training sample that is nearest in what is there."""

from typing import Any

import torch
from torch import Tensor

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription
from pkdot.missing.base import Beginning, Completion, register
from pkdot.presence import known


@register("nearest_neighbour")
class NearestNeighbour(Completion):
    """Put the tokens of a neighbour in the place of what is absent; the network was trained with everything."""

    masked = False
    imputes = True
    memory: Tensor

    def __init__(self, shape: CompletionDescription, answer: Answer, options: Any) -> None:
        super().__init__(shape, answer, options)
        self.register_buffer("memory", torch.zeros(1, len(shape.modalities), shape.tokens, shape.width))

    def begin(self, beginning: Beginning) -> None:
        super().begin(beginning)
        self.memory = known(beginning.tokens)

    def fill(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        found = self.memory[self.nearest(tokens, present)]
        return torch.where(present[..., None], tokens, found), torch.ones_like(present)

    def nearest(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the number of each sample's neighbour by the squared distance over its present tokens, shape (B,)."""
        there = present[..., None].to(tokens.dtype).expand_as(tokens).flatten(1)
        memory = self.memory.flatten(1)
        distance = there @ memory.square().T - 2 * (tokens.flatten(1) * there) @ memory.T
        return distance.argmin(dim=1)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take as many neighbours as were saved."""
        self.memory = torch.empty_like(state[f"{prefix}memory"])
        super()._load_from_state_dict(state, prefix, *rest)
