"""What a T-Net is: (B, T, P) prevalent tokens in, (B, T, Q) hallucinated privileged tokens out.

A T-Net sees one sample at a time: its output never depends on the other samples of the batch, and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pkdot.params import Params
from pkdot.presence import filled, known, present, some, without
from pkdot.registry import Choice, Registry

register = Registry("pkdot.hallucination", "T-Net")


class TNetChoice(Choice):
    """A kind of T-Net by name, with its options."""

    family = register


PUBLISHED = TNetChoice(name="mlp")


class TNetParams(Params):
    """The network and what is done with it."""

    kind: TNetChoice = Field(PUBLISHED, description="what T-Net is and learns, and its options")
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        [256, 128, 256], description="widths of the hidden layers, as published for 512 -> 512"
    )
    state: Literal["trained", "random", "matched", "off"] = Field(
        "trained",
        description="what students start from: trained on the training part, random as released, no T-Net but its "
        "parameters spent on the prevalent embedding (matched), or no T-Net at all",
    )
    finetune: bool = Field(
        True, description="students go on training it; otherwise it stays as the teacher stage left it"
    )


@dataclass(frozen=True)
class Lesson:
    """What a T-Net may use to learn from a batch.

    Attributes
    ----------
    prevalent, privileged : Tensor, shape (B, T, P) and (B, T, Q)
        The embeddings of either side; NaN where a token is absent, and of the privileged ones also where the prevalent
        token of the same time is.
    disagreement : callable (prevalent, hallucinated, privileged) -> Tensor
        How far the frozen teacher's predictions from hallucinated tokens are from those that it makes from true ones.
    companion : nn.Module
        What the T-Net asked for in ``companion``.
    generator : torch.Generator
        Where whatever is drawn for this batch comes from.
    """

    prevalent: Tensor
    privileged: Tensor
    disagreement: Callable[[Tensor, Tensor, Tensor], Tensor]
    companion: nn.Module
    generator: torch.Generator

    def noise(self, like: Tensor) -> Tensor:
        """Return standard normal numbers of the shape of a tensor, drawn for this batch."""
        return torch.randn(like.shape, generator=self.generator).to(like.device)

    def uniform(self, like: Tensor) -> Tensor:
        """Return one number in [0, 1) a token, shape (B, T, 1), drawn for this batch."""
        return torch.rand(*like.shape[:2], 1, generator=self.generator).to(like.device)


class TNetOptions(Params):
    """Options of a kind that has none of its own."""


class TNet(nn.Module):
    """Base of all T-Nets.

    Parameters
    ----------
    prevalent, privileged : int
        Width of a token of either side (modalities of one side lie side by side).
    hidden : list of int
        Widths of the hidden layers of its perceptron.
    options : Params
        The kind's own options.
    """

    Options: ClassVar[type[Params]] = TNetOptions
    name: ClassVar[str]

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: Params) -> None:
        super().__init__()
        self.widths, self.hidden, self.options = (prevalent, privileged), list(hidden), options

    def forward(self, prevalent: Tensor) -> Tensor:
        """Map (B, T, P) to (B, T, Q); a value that is NaN is absent, and must not reach any other token."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def hallucinate(self, prevalent: Tensor) -> Tensor:
        """Map (B, T, P) to (B, T, Q), of which the tokens are absent that were to be told from an absent one."""
        return without(self(prevalent), present(prevalent))

    def fit(self, prevalent: Tensor, privileged: Tensor, subjects: Tensor) -> None:
        """Set what is set in closed form, before any step; most kinds have nothing to set.

        Parameters
        ----------
        prevalent, privileged : Tensor, shape (N, T, P) and (N, T, Q)
            The training part, samples without a label too.
        subjects : Tensor of int, shape (N,)
            The subject of each sample.
        """

    def companion(self) -> nn.Module:
        """Return what is trained beside it and does not ship; nothing for most kinds."""
        return nn.Module()

    def loss(self, lesson: Lesson) -> Tensor:
        """Return the loss of a batch: the squared error by default."""
        return squared_error(self(lesson.prevalent), lesson.privileged)


def pairs(prevalent: Tensor, privileged: Tensor) -> Tensor:
    """Return the privileged tokens (B, T, Q) of which the prevalent one is there; the others become NaN."""
    return without(privileged, present(prevalent))


def squared_error(guess: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error over the values of which the truth is known: it is NaN where it is not."""
    lost = truth.isnan()
    error = mse_loss(filled(guess, lost, 0.0), known(truth))
    return error * (lost.numel() / (~lost).sum().clamp_min(1)) if some(lost) else error


def build_tnet(kind: TNetChoice, prevalent: int, privileged: int, hidden: list[int]) -> TNet:
    """Return a T-Net of some kind with first weights; ``state`` and training are the caller's."""
    cls, options = kind.load()
    tnet: TNet = cls(prevalent, privileged, hidden, options)
    return tnet


def perceptron(widths: list[int]) -> nn.Sequential:
    """Return linear layers between these widths, with ReLU between the layers."""
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
