"""What a completion is: a network that predicts from whatever modalities are there. The stage knows no name of one.

Every completion sees tokens (B, M, T, D) of M modalities and a mask of what is present. What is absent is set to zero
before anything else sees it, so that no value behind the mask can reach a prediction, and a sample of which nothing is
left gets the prior of the training part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from pkdot.answer import Answer
from pkdot.descriptions import CompletionDescription, PluginDescription
from pkdot.hallucination.base import TNetParams
from pkdot.missing.trunk import Trunk
from pkdot.networks import Outputs
from pkdot.params import Params
from pkdot.presence import present
from pkdot.registry import Choice, Registry
from pkdot.tasks import Task

register = Registry("pkdot.missing", "completion")


class CompletionChoice(Choice):
    """A completion by name, with its options."""

    family = register


@dataclass(frozen=True)
class Beginning:
    """What a completion is fitted to before its first step: the training part of a fold.

    Attributes
    ----------
    task : Task
    tokens : Tensor, shape (N, M, T, D)
        Embeddings of the labelled training samples.
    target : Tensor, shape (R,) or (R, values)
    heads : dict of str to nn.Linear
        Modality -> the head of its frozen encoder over its embeddings.
    tnet : dict of str to Tensor
        Weights of the T-Net of the fold and seed.
    """

    task: Task
    tokens: Tensor
    target: Tensor
    heads: Mapping[str, nn.Linear]
    tnet: Mapping[str, Tensor]


class Options(Params):
    """Options that every completion has."""

    dropout: float = Field(0.2, ge=0, lt=1, description="dropout in the blocks and before the head")


class AttentionOptions(Options):
    """Options of completions whose network is the shared one."""

    layers: int = Field(1, ge=1, description="blocks of attention")


class Completion(nn.Module):
    """Base of all completions: the shared network over tokens of which those that are absent are filled in.

    Attributes
    ----------
    name : str
    masked : bool
        Whether it is trained on masks; else on samples with everything.
    imputes : bool
        Whether it fills in what is absent and then takes it for present.
    labelled_only : bool
        Whether it learns from labelled samples alone.
    needs : set of str
        ``classes`` where it serves no regression.
    """

    Options: ClassVar[type[Options]] = AttentionOptions
    name: ClassVar[str]
    masked: ClassVar[bool] = True
    imputes: ClassVar[bool] = False
    labelled_only: ClassVar[bool] = True
    needs: ClassVar[set[str]] = set()
    prior: Tensor

    def __init__(self, shape: CompletionDescription, answer: Answer, options: Any) -> None:
        super().__init__()
        self.shape, self.answer, self.options = shape, answer, options
        self.network: Any = self.make_network()
        self.register_buffer("prior", torch.zeros(answer.outputs))

    def make_network(self) -> nn.Module:
        """Return the network: ``(tokens, present)`` to `Outputs`."""
        return Trunk(self.shape, self.answer, self.options.layers, self.options.dropout)

    def begin(self, beginning: Beginning) -> None:
        """Fit what takes no steps: the prior, and the heads at whose predictions training begins."""
        self.prior.copy_(prior_of(beginning.task, beginning.target))
        self.network.begin_at([beginning.heads[name] for name in self.shape.modalities])

    def fill(self, tokens: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fill in absent tokens, which are zero; return the tokens and what the network may take for present."""
        return tokens, present

    def forward(self, tokens: Tensor, present: Tensor) -> Outputs:
        """Predict from (B, M, T, D) and the mask (B, M, T); what the mask hides may be anything, NaN too."""
        known = torch.where(present[..., None], tokens, torch.zeros_like(tokens))
        outputs = self.network(*self.fill(known, present))
        some = present.flatten(1).any(dim=1)
        rows = outputs.logits.unflatten(0, (tokens.shape[0], -1))  # len() would be a constant of an exported network
        logits = torch.where(some[:, None, None], rows, self.prior).flatten(0, 1)
        return replace(outputs, logits=logits)

    def loss(self, student: Outputs, teacher: Outputs, present: Tensor) -> Tensor:
        """Return the loss of a batch; rows without a label have no task loss.

        Parameters
        ----------
        student : Outputs
            Of this network, with targets.
        teacher : Outputs
            Logits and features of the frozen teacher, which sees everything, and what all teachers predict together.
        present : Tensor, shape (B, M, T)
            The mask of the batch.
        """
        return self.task.loss(student.logits, student.target)

    @property
    def task(self) -> Task:
        """The task that it is trained on; a completion that was built from its description has none."""
        return self._task[0]

    def learn(self, task: Task) -> None:
        """Take the task to be trained on."""
        self._task = [task]  # in a list: a task is no part of the network


class CompletionStudent(nn.Module):
    """A completion as a student: from embeddings of all modalities side by side, NaN where a token is absent."""

    def __init__(self, completion: Completion) -> None:
        super().__init__()
        self.completion = completion

    def forward(self, embeddings: Tensor) -> Outputs:
        """Predict from (B, T, M * D)."""
        modalities = len(self.completion.shape.modalities)
        tokens = embeddings.unflatten(-1, (modalities, -1)).transpose(1, 2)
        return self.completion(tokens, present(tokens))

    def describe(self) -> CompletionDescription:
        """Return what it takes to build the network again."""
        return self.completion.shape


def described(
    choice: CompletionChoice,
    modalities: list[str],
    prevalent: list[str],
    width: int,
    tokens: int,
    dim: int,
    tnet: TNetParams,
) -> CompletionDescription:
    """Return the description of a completion of these modalities, in the order of their names."""
    _, options = choice.load()
    _, of_tnet = tnet.kind.load()
    return CompletionDescription(
        model=PluginDescription(name=choice.name, options=options.plain()),
        modalities=sorted(modalities),
        prevalent=sorted(prevalent),
        width=width,
        tokens=tokens,
        dim=dim,
        hidden=tnet.hidden,
        tnet_kind=PluginDescription(name=tnet.kind.name, options=of_tnet.plain()),
    )


def build_completion(description: CompletionDescription, answer: Answer) -> Completion:
    """Return a completion as described; its weights are still to be loaded."""
    choice = CompletionChoice(name=description.model.name, options=description.model.options)
    cls, options = choice.load()
    made: Completion = cls(description, answer, options)
    return made


def prior_of(task: Task, target: Tensor) -> Tensor:
    """Return the prediction without any data: logarithms of the shares of classes, or mean values; shape (outputs,)."""
    if task.regression:
        return target.float().nanmean(dim=0).nan_to_num()
    counts = torch.bincount(target[target >= 0], minlength=task.outputs)
    return (counts.float() / counts.sum()).clamp_min(1e-6).log()
