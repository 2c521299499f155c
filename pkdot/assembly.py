"""Networks built again from their descriptions, and one network out of the students of several seeds."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pkdot.answer import Answer
from pkdot.descriptions import (
    CompletionDescription,
    EmbedderDescription,
    FusedDescription,
    LinearDescription,
    NetworkDescription,
    PrevalentDescription,
    StudentDescription,
)
from pkdot.encoders.base import EncoderChoice, Scale
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import TNetChoice, build_tnet
from pkdot.missing.base import CompletionStudent, build_completion
from pkdot.networks import (
    Embedder,
    HallucinatingStudent,
    Headed,
    ImputingStudent,
    LinearStudent,
    PrevalentStudent,
    StudentNetwork,
    Teacher,
)

Network = TypeVar("Network", bound=Headed)


def build_embedder(description: EmbedderDescription) -> Embedder:
    """Return an embedder as described; its weights are still to be loaded."""
    cls, options = EncoderChoice(name=description.encoder.name, options=description.encoder.options).load()
    encoder = cls(tuple(description.shape), description.dim, description.tokens, cls.without_weights(options))
    return Embedder(encoder, Scale((1, description.dim)))


def build_student(description: StudentDescription, answer: Answer) -> nn.Module:
    """Return a student as described, from embeddings to outputs; its weights are still to be loaded."""
    if isinstance(description, CompletionDescription):
        return CompletionStudent(build_completion(description, answer))
    if isinstance(description, LinearDescription):
        return LinearStudent(nn.Linear(description.prevalent, answer.outputs), answer)
    if isinstance(description, PrevalentDescription):
        return _begun(
            PrevalentStudent(description.prevalent, description.dim, answer, hidden=description.hidden),
            description,
            answer,
        )
    fusion = FusionChoice(name=description.fusion.name, options=description.fusion.options)
    teacher = _begun(
        Teacher(description.prevalent, description.privileged, description.dim, fusion, answer), description, answer
    )
    if description.kind == "imputing":
        return ImputingStudent(teacher)
    kind = TNetChoice(name=description.tnet_kind.name, options=description.tnet_kind.options)
    return HallucinatingStudent(
        build_tnet(kind, description.prevalent, description.privileged, description.tnet), teacher
    )


def _begun(network: Network, description: PrevalentDescription | FusedDescription, answer: Answer) -> Network:
    """Give a network the head over its prevalent embeddings, where the student has one."""
    if description.start:
        network.begin_at(nn.Linear(description.prevalent, answer.outputs))
    return network


def build_network(description: NetworkDescription, answer: Answer) -> StudentNetwork:
    """Return a student with the encoders of its own, as described; its weights are still to be loaded."""
    encoders = {name: build_embedder(one) for name, one in description.encoders.items()}
    return StudentNetwork(encoders, build_student(description.student, answer), description.modalities)


class Ensemble(nn.Module):
    """Students of several seeds as one network, from arrays to calibrated probabilities or values.

    Parameters
    ----------
    encoders : dict of str to Embedder
        Modality -> the encoder that all students share.
    students : list of StudentNetwork
        One a seed. Encoders that a student has itself go before the shared ones.
    answer : Answer
        What is predicted.
    temperature : float
        What logits are divided by before they become probabilities; values are left as they are.
    """

    def __init__(
        self, encoders: dict[str, Embedder], students: list[StudentNetwork], answer: Answer, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.encoders, self.students = nn.ModuleDict(encoders), nn.ModuleList(students)
        self.answer, self.temperature = answer, temperature
        self.eval().requires_grad_(False)

    def describe(self) -> tuple[dict[str, EmbedderDescription], NetworkDescription]:
        """Return what it takes to build it again: the shared encoders, and the network of every seed."""
        encoders: Any = self.encoders
        first: Any = self.students[0]
        return {name: encoder.describe() for name, encoder in encoders.items()}, first.describe()

    def logits(self, arrays: dict[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the logits of all students together, before the temperature, shape (R, outputs)."""
        shared = {name: encoder(arrays[name]) for name, encoder in self.encoders.items()}
        return self.answer.average([student(arrays, shared, mask).logits for student in self.students])

    def forward(self, arrays: dict[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """Predict from arrays by modality, each of shape (B, *shape), in the dtype of the feature.

        A mask, shape (B, M, T), modalities in their order, says which tokens are present; by default all are.

        Returns
        -------
        Tensor, shape (B, classes) or (B, T * frames, targets)
            Calibrated probabilities of the classes, or values of every frame.
        """
        logits = self.logits(arrays, mask)
        if not self.answer.regression:
            logits = logits / self.temperature
        samples = next(iter(arrays.values())).shape[0]  # len() would be a constant of an exported network
        return self.answer.finish(logits, samples)


def build_ensemble(
    shared: dict[str, EmbedderDescription],
    network: NetworkDescription,
    count: int,
    answer: Answer,
    temperature: float = 1.0,
) -> Ensemble:
    """Return ``count`` students of one description with the encoders they share; weights are still to be loaded."""
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and replaced: nobody's seed shall notice
        encoders = {name: build_embedder(one) for name, one in shared.items()}
        students = [build_network(network, answer) for _ in range(count)]
    return Ensemble(encoders, students, answer, temperature)
