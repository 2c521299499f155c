"""What a method is: what trains the student beside the task. The loop knows this class and no method's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field
from torch import Tensor, nn

from pkdot.errors import ConfigError
from pkdot.fusion.base import FusionChoice
from pkdot.hallucination.base import PUBLISHED, TNet, TNetChoice, build_tnet
from pkdot.networks import HallucinatingStudent, Headed, Outputs, PrevalentStudent, Teacher, parameter_count
from pkdot.params import Params
from pkdot.registry import Choice, Registry
from pkdot.tasks import Task

register = Registry("pkdot.distillation", "method")

NEEDS = {
    "logits": "the teacher's logits",
    "features": "the teacher's fused features",
    "classes": "a task of classes",
    "three classes": "at least three classes",
    "hallucination": "a student with a T-Net",
    "modalities": "a teacher for each modality",
    "alone": "a teacher that sees the prevalent modalities alone",
    "pooled": "what all teachers predict together",
    "privileged": "the privileged data themselves",
}


class MethodChoice(Choice):
    """A method by name, with its options."""

    family = register


Start = Literal["encoder_head", "random"]
Network = TypeVar("Network", bound=Headed)


@dataclass(frozen=True)
class Context:
    """What a method may use when its network and its extras are made.

    Attributes
    ----------
    task : Task
    prevalent, privileged, dim : int
        Widths of the embeddings of either side and of the fused features.
    fusion : FusionChoice
        The teacher's fusion, which a student with a T-Net shares.
    hidden : list of int or None
        Hidden widths of T-Net; None where students have none.
    rows : int
        Rows of the whole data set, for methods that keep a memory of them.
    modalities : dict of str to int
        Width of the features of each single-modality teacher.
    encoder_head : nn.Linear
        The frozen encoders' own heads, averaged, as one layer over the prevalent embeddings.
    heads : dict of str to nn.Linear
        The heads of the frozen teachers over their features; the joint one is called ``teacher``.
    start : {"encoder_head", "random"}
        Where students begin: at the predictions of the encoders' heads, or at random ones.
    kind : TNetChoice
        What T-Net is.
    matched : bool
        Whether students have no T-Net, but its parameters in a wider perceptron over the prevalent embedding.
    """

    task: Task
    prevalent: int
    privileged: int
    dim: int
    fusion: FusionChoice
    hidden: list[int] | None
    rows: int
    modalities: dict[str, int]
    encoder_head: nn.Linear
    heads: dict[str, nn.Linear]
    start: Start = "encoder_head"
    kind: TNetChoice = PUBLISHED
    matched: bool = False

    def network(self) -> Teacher:
        """Return the teacher's kind of network, for a student: it begins where students begin."""
        return self._begun(Teacher(self.prevalent, self.privileged, self.dim, self.fusion, self.task))

    def hallucinating_student(self) -> HallucinatingStudent | PrevalentStudent:
        """Return a student with the teacher's fusion and a T-Net, whose weights the training stage fills in."""
        if self.hidden is None or self.matched:
            return self.prevalent_student()
        network = self.network()
        return HallucinatingStudent(self._tnet(self.hidden), network)

    def prevalent_student(self, dropout: float = 0.2) -> PrevalentStudent:
        """Return a perceptron with about as many parameters as the other student has without its T-Net.

        Where parameters are ``matched``, with as many as the other student has with its T-Net.
        """
        goal = parameter_count(Teacher(self.prevalent, self.privileged, self.dim, self.fusion, self.task))
        each = self.prevalent + self.dim  # parameters of a hidden unit, but for its bias
        if self.matched and self.hidden is not None:
            goal += parameter_count(self._tnet(self.hidden))
            goal -= 2 * self.prevalent + self.dim + (self.dim + 1) * self.task.outputs  # all but the hidden units
            each += 1
        hidden = max(self.dim, round(goal / each))
        return self._begun(PrevalentStudent(self.prevalent, self.dim, self.task, dropout, hidden))

    def _tnet(self, hidden: list[int]) -> TNet:
        return build_tnet(self.kind, self.prevalent, self.privileged, hidden)

    def _begun(self, network: Network) -> Network:
        if self.start == "encoder_head":
            network.begin_at(self.encoder_head)
        return network


class Options(Params):
    """Options that every method has."""

    weight: float | None = Field(
        None, ge=0, description="weight of the distillation loss; null chooses it on the validation subjects"
    )


class Distiller(nn.Module):
    """Base of all methods: ``task loss + weight * distill``, with a student that has a T-Net.

    A method overrides ``distill``; where it must, also ``student``, ``loss`` or ``candidates``. What it learns
    beside the student (projectors, a memory) are its own submodules and buffers.

    Attributes
    ----------
    name : str
    needs : set of str
        Keys of ``NEEDS``; the configuration refuses a method whose needs are not met.
    weights : tuple of float
        The weights to choose from, the most usual first.
    labelled_only : bool
        Whether training uses labelled samples alone, since the loss needs every label, or no teacher.
    mixing : float
        How much the samples of a batch are mixed in pairs, as encoders mix theirs; none by 0.
    progress : float
        The share of the steps that are done, set before each step of a training.
    prevalent_only : bool
        Whether the student never meets a teacher or a privileged modality; the strongest of these is the baseline.
    """

    Options: ClassVar[type[Options]] = Options
    name: ClassVar[str]
    needs: ClassVar[set[str]] = set()
    labelled_only: ClassVar[bool] = False
    prevalent_only: ClassVar[bool] = False
    options: Any  # an instance of the method's own Options
    weights: ClassVar[Sequence[float]] = (1.0, 0.3, 3.0, 0.1, 10.0, 0.03)

    mixing = 0.0
    progress = 1.0

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__()
        self.context, self.options = context, options

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        """Return the options to choose from on the validation subjects, at most ``count``."""
        if options.weight is not None:
            return [options]
        return [options.model_copy(update={"weight": weight}) for weight in cls.weights[:count]]

    def student(self) -> nn.Module:
        """Return the network to train: (B, T, P) prevalent embeddings -> Outputs."""
        return self.context.hallucinating_student()

    def solve(self, network: nn.Module, prevalent: Tensor, target: Tensor) -> None:
        """Set weights of the student in closed form, before any step; most methods have nothing to set.

        Parameters
        ----------
        network : nn.Module
            What ``student`` returned.
        prevalent : Tensor, shape (R, P)
            Pooled prevalent embeddings of the training part.
        target : Tensor, shape (R,) or (R, values)
        """

    def forward(self, student: Outputs, teacher: Outputs) -> Tensor:
        """Return the loss that training minimises."""
        return self.loss(student, teacher)

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        """Return the loss of a batch; rows without a label have no task loss."""
        task = self.context.task.loss(student.logits, student.target)
        return task + self.options.weight * self.distill(student, teacher)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        """Return what the teacher adds: a scalar, >= 0 unless the method says otherwise."""
        raise TypeError(f"{type(self).__name__} has no distill")


def check_needs(method: str, needs: set[str], kind: str, classes: int | None) -> None:
    """Refuse a method that the task cannot serve; ``classes`` is their number where it is known.

    Raises
    ------
    ConfigError
        The method needs classes, or more of them.
    """
    if kind == "regression" and needs & {"classes", "three classes"}:
        raise ConfigError(f"method '{method}' needs {NEEDS['classes']}, but the task is a regression; remove it")
    if classes is not None and classes < 3 and "three classes" in needs:
        raise ConfigError(f"method '{method}' needs {NEEDS['three classes']}, but there are {classes}; remove it")
