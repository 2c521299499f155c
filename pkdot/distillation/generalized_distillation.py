"""Generalized distillation. Lopez-Paz et al., ICLR 2016, arXiv 1511.03643."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs


def imitation_loss(student: Tensor, teacher: Tensor, temperature: float | None, soften_student: bool = False) -> Tensor:
    """Return the loss of the student's predictions against the teacher's softened ones.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits, or values of a regression.
    temperature : float or None
        Softness of the teacher's predictions; None compares values by their mean squared difference.
    soften_student : bool
        Soften the student's predictions as well.

    Returns
    -------
    Tensor, scalar, >= 0
        Cross-entropy, or mean squared difference.
    """
    if temperature is None:
        return mse_loss(student, teacher)
    own = student / temperature if soften_student else student
    return cross_entropy(own, (teacher / temperature).softmax(dim=1))


class GeneralizedOptions(Options):
    """Options of ``generalized_distillation``: its weight is the imitation parameter."""

    weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="imitation: share of the teacher's predictions; null chooses it on validation",
    )
    temperature: float = Field(2.0, gt=0, description="softness of the teacher's predictions")


@register("generalized_distillation", needs={"logits"})
class GeneralizedDistillation(Distiller):
    """Imitate the teacher's softened predictions by a share of the loss."""

    Options = GeneralizedOptions
    weights = (0.5, 0.25, 0.75, 0.1, 0.9, 1.0)

    def loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        hard = self.context.task.loss(student.logits, student.target)
        return (1 - self.options.weight) * hard + self.options.weight * self.distill(student, teacher)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        temperature = None if self.context.task.regression else self.options.temperature
        return imitation_loss(student.logits, teacher.logits, temperature)
