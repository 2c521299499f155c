"""PKDOT with soft labels: this project's own method for recordings of which few have a label.

The student takes over what the teachers predict (soft labels of the joint teacher and of those of single modalities,
each by its reliability, averaged over seeds) and how the samples of a batch are alike (transport between similarity
structures, arXiv 2401.15489), on labelled and unlabelled samples alike. The weight of both rises over the first steps,
so that the student first learns its task.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pkdot.distillation.base import Context, Distiller, Options, register
from pkdot.distillation.generalized_distillation import imitation_loss
from pkdot.distillation.transport import transport_loss
from pkdot.networks import Outputs


class JointOptions(Options):
    """Options of ``pkdot_joint``."""

    transport: float | None = Field(
        None, ge=0, description="weight of the transport against the soft labels; null chooses it on validation"
    )
    temperature: float = Field(4.0, gt=0, description="softness of the soft labels")
    anchors: int = Field(30, ge=1, description="anchors of each row")
    blur: float = Field(0.1, gt=0, description="distance below which rows are not told apart")
    alignment: Literal["permutation_invariant", "sample_aligned"] = Field(
        "sample_aligned", description="whether a row may be carried to any other, or to itself alone"
    )
    features: float = Field(0.0, ge=0, description="weight of the distance to the teacher's features")
    mixup: float = Field(
        0.0,
        ge=0,
        description="how much the samples of a batch are mixed in pairs, with what they are taught (both parameters of "
        "a beta distribution)",
    )
    soft_labels: Literal["joint", "pooled"] = Field(
        "pooled",
        description="what the student imitates: predictions of the joint teacher, or of it and the teachers of single "
        "modalities together, each by its reliability (the geometric mean of their calibrated probabilities)",
    )
    warm_up: float = Field(0.1, ge=0, le=1, description="share of the steps over which the weight rises to its value")
    network: Literal["hallucinating", "prevalent"] = Field(
        "hallucinating", description="a student with T-Net and the teacher's fusion, or a perceptron of its size"
    )


@register("pkdot_joint", needs={"pooled", "features", "hallucination"})
class PKDOTJoint(Distiller):
    """Soft labels and transport together."""

    Options = JointOptions
    grid = ((1.0, 0.3), (1.0, 0.0), (3.0, 0.3), (0.3, 0.3), (1.0, 3.0), (3.0, 0.0))  # (weight, transport)

    @classmethod
    def candidates(cls, options: Any, count: int) -> list[Any]:
        """Return the settings of the grid; what the options fix stays fixed, so that fewer may be left."""
        fixed = {name: value for name in ("weight", "transport") if (value := getattr(options, name)) is not None}
        settings = [{"weight": weight, "transport": transport} | fixed for weight, transport in cls.grid]
        distinct = [setting for i, setting in enumerate(settings) if setting not in settings[:i]]
        return [options.model_copy(update=setting) for setting in distinct[:count]]

    def __init__(self, context: Context, options: Any) -> None:
        super().__init__(context, options)
        self.mixing = options.mixup

    def student(self) -> nn.Module:
        if self.options.network == "prevalent":
            return self.context.prevalent_student()
        return self.context.hallucinating_student()

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        risen = min(1.0, self.progress / self.options.warm_up) if self.options.warm_up else 1.0
        task = self.context.task.loss(student.logits, student.target)
        return task + risen * self.options.weight * self.distill(student, teacher)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        o = self.options
        temperature = None if self.context.task.regression else o.temperature
        soft = teacher.pooled if o.soft_labels == "pooled" else teacher.logits
        loss = imitation_loss(student.logits, soft, temperature, soften_student=True)
        if temperature is not None:
            loss = loss * temperature**2  # gradients as large as those of the task (Hinton et al. 2015, section 2)
        if o.transport:
            described = transport_loss(
                student.features, teacher.features, anchors=o.anchors, blur=o.blur, alignment=o.alignment
            )
            loss = loss + o.transport * described
        return loss + o.features * mse_loss(student.features, teacher.features) if o.features else loss
