"""Distillation from a stronger teacher (DIST). Huang et al., NeurIPS 2022, arXiv 2205.10536."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pkdot.distillation.base import Distiller, Options, register
from pkdot.networks import Outputs


def pearson_distance(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Return one minus the mean Pearson correlation along a dimension."""
    x, y = x - x.mean(dim, keepdim=True), y - y.mean(dim, keepdim=True)
    return 1 - cosine_similarity(x, y, dim=dim, eps=1e-5).mean()  # a constant has no correlation, nor a steep slope


def dist_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0, intra: float = 1.0) -> Tensor:
    """Return the correlation of predictions within each sample and, times ``intra``, of each class over the samples.

    Parameters
    ----------
    student, teacher : Tensor, shape (B, C)
        Logits. With two classes the correlation within a sample is 1 or -1, and only the other teaches.
    temperature : float
        > 0; the loss is multiplied by its square.
    intra : float
        Weight of the relation over the samples.

    Returns
    -------
    Tensor, scalar, >= 0
    """
    x, y = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    return temperature**2 * (pearson_distance(x, y, 1) + intra * pearson_distance(x, y, 0))


class DISTOptions(Options):
    """Options of ``dist``."""

    temperature: float = Field(1.0, gt=0, description="softness of the predictions")
    intra: float = Field(1.0, ge=0, description="weight of the relation over samples against that over classes")


@register("dist", needs={"logits", "classes"})
class CorrelationDistillation(Distiller):
    """Give the student the teacher's relations between classes, and within each class."""

    Options = DISTOptions

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return dist_loss(student.logits, teacher.logits, self.options.temperature, self.options.intra)
