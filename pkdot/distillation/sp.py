"""Similarity-preserving distillation (SP). Tung and Mori, ICCV 2019, arXiv 1907.09682."""

from torch import Tensor
from torch.nn.functional import normalize

from pkdot.distillation.base import Distiller, register
from pkdot.networks import Outputs


def row_similarities(features: Tensor) -> Tensor:
    """Return the Gram matrix of a batch with rows of length one: (B, d) -> (B, B)."""
    return normalize(features @ features.T, dim=1)


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the row-normalised Gram matrices of a batch (section 3.1).

    Parameters
    ----------
    student, teacher : Tensor, shape (B, d_s) and (B, d_t)
        Features of the same B samples; the two dimensions may differ.

    Returns
    -------
    Tensor, scalar, >= 0
        Zero when both batches have the same normalised similarities.
    """
    return (row_similarities(student) - row_similarities(teacher)).square().mean()


@register("sp", needs={"features"})
class SimilarityPreserving(Distiller):
    """Give the student the teacher's similarities between samples."""

    weights = (3000.0, 1000.0, 300.0, 100.0, 10000.0, 30.0)

    def distill(self, student: Outputs, teacher: Outputs) -> Tensor:
        return sp_loss(student.features, teacher.features)
