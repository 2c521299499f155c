"""Decoupled knowledge distillation (DKD). Zhao et al., CVPR 2022, arXiv 2203.08679."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, logsigmoid

from pkdot.distillation.base import Distiller, Options, register
from pkdot.distillation.kd import kd_loss
from pkdot.distillation.nontarget import without
from pkdot.networks import Outputs


def target_loss(student: Tensor, teacher: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Return the divergence of the target's probability and that of all others, times the squared temperature."""

    def log_pair(logits: Tensor) -> Tensor:
        logits = logits / temperature
        odds = logits.gather(1, target[:, None]) - without(logits, target).logsumexp(dim=1, keepdim=True)
        return logsigmoid(odds * odds.new_tensor([1.0, -1.0]))

    pairs = log_pair(student), log_pair(teacher)
    return kl_div(*pairs, reduction="batchmean", log_target=True) * temperature**2


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Return the knowledge of the target and, apart from it, of the other classes (eq. 7).

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits; with two classes the second part is zero.
    target : Tensor of int, shape (B,)
    alpha, beta : float
        Weights of the two parts.
    temperature : float
        > 0.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    others = kd_loss(without(student, target), without(teacher, target), temperature)
    return alpha * target_loss(student, teacher, target, temperature) + beta * others


class DKDOptions(Options):
    """Options of ``dkd``."""

    alpha: float = Field(1.0, ge=0, description="weight of the target's probability")
    beta: float = Field(8.0, ge=0, description="weight of the other classes")
    temperature: float = Field(4.0, gt=0, description="softness of the predictions")


@register("dkd", needs={"logits", "three classes"})
class DecoupledDistillation(Distiller):
    """Distil the target's probability and the shares of the other classes apart."""

    labelled_only = True
    Options = DKDOptions
    weights = (1.0, 0.3, 0.1, 3.0, 0.03, 10.0)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        o = self.options
        return dkd_loss(student.logits, teacher.logits, student.target, o.alpha, o.beta, o.temperature)
