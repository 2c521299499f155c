"""What networks answer: all that is known of a task without its samples.

A network ends in features of its rows. Where classes, or values of whole samples, are predicted a row is a sample;
where values are predicted for every frame, a row is a token with the values of its frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pkdot.params import Params

if TYPE_CHECKING:
    from torch import Tensor


class Answer(Params):
    """What is predicted, as far as a network without data must know it."""

    kind: Literal["classification", "ordinal", "regression"] = Field(description="classes, ordered classes, or values")
    targets: list[str] = Field(min_length=1, description="names of what is predicted; classes have one name")
    classes: list[str] | None = Field(None, description="names of the classes in order; null for values")
    frames: int = Field(1, ge=1, description="frames of a token, each of which gets a value for each target")
    whole: bool = Field(False, description="whether values are of whole samples, and not of every frame of a sequence")
    mean: list[float] = Field([], description="a number a target, the 0 of the networks' values; empty: 0")
    deviation: list[float] = Field([], description="a number a target, the 1 of the networks' values; empty: 1")

    @property
    def regression(self) -> bool:
        """Whether values are predicted."""
        return self.classes is None

    @property
    def sequence(self) -> bool:
        """Whether values are predicted for every frame."""
        return self.regression and not self.whole

    @property
    def outputs(self) -> int:
        """Numbers that a head gives for each row."""
        return self.frames * len(self.targets) if self.classes is None else len(self.classes)

    def pool(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Return the features of the rows from those of the tokens: (B, T, D) -> (B, D) or (B * T, D).

        Parameters
        ----------
        tokens : Tensor, shape (B, T, D)
        there : Tensor of bool, shape (B, T), optional
            Which tokens a mean is taken over, at least one of each sample; by default those that are not NaN, and NaN
            where all are.
        """
        from pkdot.presence import some

        if self.sequence:
            return tokens.flatten(0, 1)
        if tokens.shape[1] == 1:
            return tokens[:, 0]
        lost = tokens.isnan() if there is None else ~there[..., None]
        if not some(lost):
            return tokens.mean(dim=1)
        return tokens.masked_fill(lost, 0.0).sum(dim=1) / (~lost).sum(dim=1)

    def rows_per_sample(self, tokens: int) -> int:
        """Return rows that a sample of so many tokens makes."""
        return tokens if self.sequence else 1

    def average(self, logits: list[Tensor]) -> Tensor:
        """Return the logits of several networks together: of their mean probabilities, or the mean of their values."""
        import torch

        if self.regression:
            return torch.stack(logits).mean(dim=0)
        return torch.stack([one.log_softmax(dim=-1) for one in logits]).logsumexp(dim=0) - math.log(len(logits))

    def finish(self, logits: Tensor, samples: int) -> Tensor:
        """Return what a user gets from the logits of the rows of some samples.

        Parameters
        ----------
        logits : Tensor, shape (R, outputs)
        samples : int
            B, the number of samples that the rows belong to.

        Returns
        -------
        Tensor, shape (B, classes) or (B, T * frames, targets)
            Probabilities of the classes, or values of every frame, of which a whole sample has one.
        """
        if not self.regression:
            return logits.softmax(dim=-1)
        return self.in_units(logits.reshape(samples, -1, len(self.targets)))

    def in_units(self, values: Tensor) -> Tensor:
        """Return values (..., targets), as networks give them, in the unit of their owner."""
        if not self.mean:
            return values
        return values * values.new_tensor(self.deviation) + values.new_tensor(self.mean)
