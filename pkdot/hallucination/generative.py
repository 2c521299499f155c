"""Conditional flow matching with few steps, averaged over draws. Lipman et al., ICLR 2023, arXiv 2210.02747.

A velocity carries normal noise to privileged tokens along straight lines (Liu et al., ICLR 2023, arXiv 2209.03003).
The mean over draws stands for the conditional mean. The noise belongs to the model: it is drawn once, saved with the
weights and the same for every token, so that nothing is drawn at prediction.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from pkdot.hallucination.base import Lesson, TNet, TNetOptions, perceptron, register, squared_error
from pkdot.presence import known


class GenerativeOptions(TNetOptions):
    """Options of ``generative``."""

    steps: int = Field(4, ge=1, description="steps from noise to a token")
    draws: int = Field(8, ge=2, multiple_of=2, description="tokens that are averaged; half of the noise mirrors it")
    seed: int = Field(0, ge=0, description="seed of the noise that belongs to the model")


@register("generative")
class Generative(TNet):
    """A perceptron from a prevalent token, a token on its way and the time to a velocity."""

    Options = GenerativeOptions
    options: GenerativeOptions
    starts: Tensor

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: GenerativeOptions) -> None:
        super().__init__(prevalent, privileged, hidden, options)
        self.layers = perceptron([prevalent + privileged + 1, *hidden, privileged])
        generator = torch.Generator().manual_seed(options.seed)
        half = torch.randn(options.draws // 2, privileged, generator=generator)
        self.register_buffer("starts", torch.cat((half, -half)))

    def velocity(self, prevalent: Tensor, token: Tensor, time: Tensor) -> Tensor:
        """Return where tokens on their way move, shape (..., Q), at times of shape (..., 1)."""
        return self.layers(torch.cat((known(prevalent), token, time), dim=-1))

    def forward(self, prevalent: Tensor) -> Tensor:
        shape = (*prevalent.shape[:2], self.options.draws)
        given = prevalent[:, :, None].expand(*shape, -1)
        token = self.starts.expand(*shape, -1)
        for step in range(self.options.steps):
            time = torch.full_like(token[..., :1], step / self.options.steps)
            token = token + self.velocity(given, token, time) / self.options.steps
        return token.mean(dim=2)

    def loss(self, lesson: Lesson) -> Tensor:
        start, truth, time = lesson.noise(lesson.privileged), lesson.privileged, lesson.uniform(lesson.privileged)
        moved = self.velocity(lesson.prevalent, (1 - time) * start + time * known(truth), time)
        return squared_error(moved, truth - start)
