"""The networks over embeddings: the teacher that sees all modalities, the students that see the prevalent ones.

Each student describes itself (`describe`), and ``pkdot.assembly`` builds it again from that description.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from pkdot.descriptions import (
    EmbedderDescription,
    FusedDescription,
    LinearDescription,
    NetworkDescription,
    PluginDescription,
    PrevalentDescription,
)
from pkdot.encoders.base import Encoder, Scale
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import TNet
from pkdot.presence import counted, known, present, without


class Goal(Protocol):
    """What a network must know of its task: a ``Task`` with its samples, or an ``Answer`` without them."""

    @property
    def outputs(self) -> int:
        """Numbers that a head gives for each row."""

    def pool(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Return the features of the rows from those of the tokens, of those that are there."""


NONE = torch.empty(0)


@dataclass
class Outputs:
    """The outputs of a network for a batch of R rows (a row is a sample, or a token of a sequence).

    What a network does not give is an empty tensor.

    Attributes
    ----------
    logits : Tensor, shape (R, C)
        Before any softmax; predicted values for a regression.
    features : Tensor, shape (R, D)
        Fused features, the ones that are distilled.
    privileged : Tensor, shape (R, Q)
        The teacher's privileged embeddings, or the student's hallucinated ones.
    prevalent : Tensor, shape (R, P)
        Of the student only: the prevalent embeddings, the same for both.
    target : Tensor, shape (R,) or (R, values)
        What is to be predicted.
    rows : Tensor of int, shape (R,)
        Number of each row in the whole data set.
    modalities : dict of str to Outputs
        Of the teacher only: the teachers of single modalities.
    alone : Outputs, optional
        Of the teacher only: the teacher that sees the prevalent modalities alone.
    pooled : Tensor, shape (R, C)
        Of the teacher only: what it and the teachers of single modalities predict together.
    """

    logits: Tensor
    features: Tensor
    privileged: Tensor = NONE
    prevalent: Tensor = NONE
    target: Tensor = NONE
    rows: Tensor = NONE
    modalities: dict[str, Outputs] = field(default_factory=dict)
    alone: Outputs | None = None
    pooled: Tensor = NONE

    def with_target(self, target: Tensor, rows: Tensor) -> Outputs:
        """Return a copy with targets and row numbers."""
        return replace(self, target=target, rows=rows)


class Headed(nn.Module):
    """Base of the networks that end in a linear head over fused features.

    A student may begin at a linear head over its prevalent embeddings, such as that of the frozen encoder. That head is
    added to its own, which starts at zero, so that its first predictions are those of the added head. The distilled
    features stay the fused ones alone: they are what has a counterpart in the teacher, and the own head carries what
    they learn into the predictions.
    """

    def __init__(self, dim: int, task: Goal) -> None:
        super().__init__()
        self.head = nn.Linear(dim, task.outputs)
        self.dropout = nn.Dropout(0.0)  # of the features before the head; methods may set it
        self.start: nn.Linear | None = None
        self.pool = task.pool

    def begin_at(self, start: nn.Linear) -> None:
        """Begin at the predictions of a linear head over the prevalent embeddings, of which a copy is trained along."""
        self.start = deepcopy(start).requires_grad_(True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def logits(self, features: Tensor, prevalent: Tensor) -> Tensor:
        """Return logits from features (R, D) and prevalent embeddings (R, P)."""
        own = self.head(self.dropout(features))
        return own if self.start is None else own + self.start(prevalent)


class Teacher(Headed):
    """Fusion of prevalent and privileged embeddings, and a head; a token that is NaN is absent."""

    def __init__(self, prevalent: int, privileged: int, dim: int, fusion: FusionChoice, task: Goal) -> None:
        super().__init__(dim, task)
        cls, options = fusion.load()
        self.fusion = cls(prevalent, privileged, dim, options)
        self.widths = prevalent, privileged

    def forward(self, prevalent: Tensor, privileged: Tensor) -> Outputs:
        """Fuse (B, T, P) and (B, T, Q)."""
        features = self.pool(self.fusion(prevalent, privileged), counted(prevalent, privileged))
        pooled = known(self.pool(prevalent))
        return Outputs(self.logits(features, pooled), features, self.pool(privileged), pooled)

    def describe(self, kind: Literal["hallucinating", "imputing"]) -> FusedDescription:
        """Return the description of a student that runs this network."""
        return FusedDescription(
            kind=kind,
            prevalent=self.widths[0],
            privileged=self.widths[1],
            dim=self.fusion.dim,
            fusion=PluginDescription(name=self.fusion.name, options=self.fusion.options.plain()),
            start=self.start is not None,
        )


class HallucinatingStudent(nn.Module):
    """T-Net stands in for the privileged modalities, so that the teacher's kind of fusion runs without them."""

    def __init__(self, tnet: TNet, teacher: Teacher) -> None:
        super().__init__()
        self.tnet, self.teacher = tnet, teacher

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        return self.teacher(prevalent, self.tnet.hallucinate(prevalent))

    def describe(self) -> FusedDescription:
        """Return what it takes to build the network again."""
        kind = PluginDescription(name=self.tnet.name, options=self.tnet.options.plain())
        described = self.teacher.describe("hallucinating")
        return described.model_copy(update={"tnet": self.tnet.hidden, "tnet_kind": kind})


@dataclass
class TokenOutputs(Outputs):
    """Outputs with the prevalent embeddings of the tokens, shape (B, T, P)."""

    tokens: Tensor = NONE


class ImputingStudent(nn.Module):
    """The teacher's kind of network with zeros for the privileged modalities."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, prevalent: Tensor) -> TokenOutputs:
        """Predict from (B, T, P)."""
        zeros = prevalent.new_zeros(*prevalent.shape[:2], self.teacher.widths[1])
        outputs = self.teacher(prevalent, without(zeros, present(prevalent)))
        return TokenOutputs(outputs.logits, outputs.features, prevalent=outputs.prevalent, tokens=prevalent)

    def describe(self) -> FusedDescription:
        """Return what it takes to build the network again."""
        return self.teacher.describe("imputing")


class PrevalentStudent(Headed):
    """A perceptron over the prevalent embedding alone: a network without T-Net and without fusion."""

    def __init__(self, prevalent: int, dim: int, task: Goal, dropout: float = 0.2, hidden: int | None = None) -> None:
        super().__init__(dim, task)
        self.widths = prevalent, hidden or dim, dim
        self.layers = nn.Sequential(
            nn.LayerNorm(prevalent),
            nn.Linear(prevalent, hidden or dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden or dim, dim),
        )

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        features = self.pool(self.layers(known(prevalent)), counted(prevalent))
        pooled = known(self.pool(prevalent))
        return Outputs(self.logits(features, pooled), features, prevalent=pooled)

    def describe(self) -> PrevalentDescription:
        """Return what it takes to build the network again."""
        prevalent, hidden, dim = self.widths
        start = self.start is not None
        return PrevalentDescription(prevalent=prevalent, hidden=hidden, dim=dim, start=start)


class LinearStudent(nn.Module):
    """A linear head over the pooled prevalent embeddings, which are its features; nothing of it is trained by steps."""

    def __init__(self, head: nn.Linear, task: Goal) -> None:
        super().__init__()
        self.head, self.pool = deepcopy(head).requires_grad_(False), task.pool

    def forward(self, prevalent: Tensor) -> Outputs:
        """Predict from (B, T, P)."""
        pooled = known(self.pool(prevalent))
        return Outputs(self.head(pooled), pooled, prevalent=pooled)

    def describe(self) -> LinearDescription:
        """Return what it takes to build the network again."""
        return LinearDescription(prevalent=self.head.in_features)


class Embedder(nn.Module):
    """A frozen encoder with what its embeddings are normalised by.

    Parameters
    ----------
    encoder : Encoder
        From the arrays of a modality, shape (B, *shape), to embeddings, shape (B, T, D).
    standard : Scale
        The mean and deviation of its embeddings of the training part.
    """

    def __init__(self, encoder: Encoder, standard: Scale) -> None:
        super().__init__()
        self.encoder, self.standard = encoder, standard

    def forward(self, arrays: Tensor) -> Tensor:
        """Return standardised embeddings, shape (B, T, D), of arrays in the dtype of the feature."""
        return self.standard(self.encoder(arrays))

    def of_maps(self, maps: Tensor) -> Tensor:
        """Return the same of what the encoder's frozen part made of arrays."""
        return self.standard(self.encoder.trained_part(maps))

    def describe(self) -> EmbedderDescription:
        """Return what it takes to build it again."""
        encoder = self.encoder
        return EmbedderDescription(
            encoder=PluginDescription(name=encoder.name, options=encoder.options.plain()),
            shape=list(encoder.shape),
            dim=encoder.dim,
            tokens=encoder.tokens,
        )


class StudentNetwork(nn.Module):
    """A student with its encoders: from the arrays of the prevalent modalities to outputs.

    Parameters
    ----------
    encoders : dict of str to Embedder
        Modality -> its encoder; those that several students share may be left out, and are then given as embeddings.
    student : nn.Module
        From the embeddings of all modalities side by side, shape (B, T, P), to `Outputs`.
    modalities : list of str, optional
        The prevalent modalities in the order of their embeddings; those of ``encoders`` by default.
    """

    def __init__(self, encoders: dict[str, Embedder], student: nn.Module, modalities: list[str] | None = None) -> None:
        super().__init__()
        self.encoders, self.student = nn.ModuleDict(encoders), student
        self.modalities = list(encoders) if modalities is None else list(modalities)

    def embed(
        self, arrays: dict[str, Tensor], embedded: dict[str, Tensor] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the prevalent embeddings, shape (B, T, P), of arrays by modality.

        Parameters
        ----------
        arrays : dict of str to Tensor
            Modality -> arrays of shape (B, *shape).
        embedded : dict of str to Tensor, optional
            Modality -> standardised embeddings that are known already, for modalities without an encoder or arrays.
        mask : Tensor of bool, shape (B, M, T), optional
            Which tokens are present, modalities in their order; the others become NaN. By default all are.
        """
        own = {name: encoder(arrays[name]) for name, encoder in self.encoders.items() if name in arrays}
        values = [{**(embedded or {}), **own}[name] for name in self.modalities]
        if mask is not None:
            values = [without(one, mask[:, number]) for number, one in enumerate(values)]
        return torch.cat(values, dim=-1)

    def forward(
        self, arrays: dict[str, Tensor], embedded: dict[str, Tensor] | None = None, mask: Tensor | None = None
    ) -> Outputs:
        """Predict from arrays by modality; see `embed`."""
        return self.student(self.embed(arrays, embedded, mask))

    def describe(self) -> NetworkDescription:
        """Return what it takes to build the network again."""
        student: Any = self.student
        encoders: Any = self.encoders
        return NetworkDescription(
            student=student.describe(),
            modalities=self.modalities,
            encoders={name: encoder.describe() for name, encoder in encoders.items()},
        )


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a layer with weights of shape (outputs, inputs) and biases of shape (outputs,), which is not trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.requires_grad_(False)


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in module.parameters())
