"""Knowledge distillation (KD). Hinton, Vinyals and Dean, 2015, arXiv 1503.02531."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Return the Kullback-Leibler divergence of softened predictions, times the squared temperature (section 2).

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits.
    temperature : float
        > 0; higher is softer.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    log_student = log_softmax(student / temperature, dim=1)
    log_teacher = log_softmax(teacher / temperature, dim=1)
    return kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


class KDOptions(Options):
    """Options of ``kd``."""

    temperature: float = Field(4.0, gt=0, description="softness of the predictions")


@register("kd", needs={"logits", "classes"})
class KD(Distiller):
    """Imitate the teacher's softened predictions."""

    Options = KDOptions

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return kd_loss(student.logits, teacher.logits, self.options.temperature)
