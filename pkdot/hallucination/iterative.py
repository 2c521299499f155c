"""A first guess and repeated corrections of it, by one network that sees the guess beside the prevalent token.

After iterative error feedback (Carreira et al., CVPR 2016, arXiv 1507.06550): every guess is drawn to the truth.
Students that go on training it refine the corrections by their own loss.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.hallucination.base import Lesson, TNet, TNetOptions, perceptron, register, squared_error
from pkdot.presence import known


class IterativeOptions(TNetOptions):
    """Options of ``iterative``."""

    steps: int = Field(3, ge=1, description="corrections of the first guess")


@register("iterative")
class Iterative(TNet):
    """A linear first guess; the perceptron says how to correct it, at first not at all."""

    Options = IterativeOptions
    options: IterativeOptions

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: IterativeOptions) -> None:
        super().__init__(prevalent, privileged, hidden, options)
        self.begin = nn.Linear(prevalent, privileged)
        self.layers = perceptron([prevalent + privileged, *hidden, privileged])
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def guesses(self, prevalent: Tensor) -> list[Tensor]:
        """Return the first guess and what it is after each correction, each of shape (B, T, Q)."""
        prevalent = known(prevalent)
        found = [self.begin(prevalent)]
        for _ in range(self.options.steps):
            found.append(found[-1] + self.layers(torch.cat((prevalent, found[-1]), dim=-1)))
        return found

    def forward(self, prevalent: Tensor) -> Tensor:
        return self.guesses(prevalent)[-1]

    def loss(self, lesson: Lesson) -> Tensor:
        errors = [squared_error(guess, lesson.privileged) for guess in self.guesses(lesson.prevalent)]
        return torch.stack(errors).mean()
