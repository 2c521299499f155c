"""The baseline: the prevalent embedding, a perceptron of comparable size and the task loss. No T-Net, no teacher."""

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs


class BaselineOptions(Options):
    """Options of a method without a distillation loss: its tuning budget goes into dropout."""

    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout of the student; null chooses it on the validation subjects"
    )


@register("student_only")
class StudentOnly(Distiller):
    """Train by the task alone, without a teacher."""

    Options = BaselineOptions
    prevalent_only = True
    labelled_only = True
    dropouts = (0.2, 0.5, 0.0, 0.35, 0.65, 0.1)

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        if options.dropout is not None:
            return [options]
        return [options.model_copy(update={"dropout": dropout}) for dropout in cls.dropouts[:count]]

    def student(self) -> nn.Module:
        return self.context.prevalent_student(self.options.dropout)

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        return self.context.task.loss(student.logits, student.target)
