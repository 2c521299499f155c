"""Only what is predictable is predicted: a subspace that canonical correlation finds. Hotelling, Biometrika 1936.

The privileged tokens are split into what the prevalent ones share with them and a private rest, of which the mean is
the best guess. Which directions are shared is told by subjects that their correlation was not fitted on; the perceptron
learns these directions alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from pkdot.errors import DataError
from pkdot.hallucination.base import Lesson, TNet, TNetOptions, perceptron, register, squared_error
from pkdot.presence import known


class SharedPrivateOptions(TNetOptions):
    """Options of ``shared_private``."""

    least: float = Field(
        0.1, ge=0, lt=1, description="correlation on subjects left aside from which on a direction counts as shared"
    )
    ridge: float = Field(0.1, gt=0, description="share of the mean variance that is added to each variance")


class Directions(NamedTuple):
    """Pairs of directions of two sides, the most correlated first, with the means of both sides.

    Attributes
    ----------
    left, right : Tensor, shape (P, R) and (Q, R)
    centre_left, centre_right : Tensor, shape (P,) and (Q,)
    """

    left: Tensor
    right: Tensor
    centre_left: Tensor
    centre_right: Tensor

    def correlations(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the correlation of each pair of directions over tokens of shape (N, P) and (N, Q), shape (R,)."""
        a, b = (one - self.centre_left) @ self.left, (other - self.centre_right) @ self.right
        a, b = a - a.mean(dim=0), b - b.mean(dim=0)
        return (a * b).sum(dim=0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-12)


def canonical(one: Tensor, other: Tensor, ridge: float) -> Directions:
    """Return canonical directions of tokens of shape (N, P) and (N, Q), R = min(P, Q) pairs, regularised.

    Parameters
    ----------
    one, other : Tensor
        In double precision.
    ridge : float
        Share of the mean variance of a side that is added to each of its variances (Vinod 1976).
    """
    means = one.mean(dim=0), other.mean(dim=0)
    a, b = one - means[0], other - means[1]
    roots = [_inverse_root(side.T @ side / len(side), ridge) for side in (a, b)]
    u, _, v = torch.linalg.svd(roots[0] @ (a.T @ b / len(a)) @ roots[1], full_matrices=False)
    return Directions(roots[0] @ u, roots[1] @ v.T, *means)


def _inverse_root(covariance: Tensor, ridge: float) -> Tensor:
    added = (ridge * covariance.diagonal().mean()).clamp(min=1e-12)
    values, vectors = torch.linalg.eigh(covariance + added * torch.eye(len(covariance), dtype=covariance.dtype))
    return vectors @ torch.diag(values.clamp(min=1e-12).rsqrt()) @ vectors.T


def shared_count(one: Tensor, other: Tensor, subjects: Tensor, least: float, ridge: float) -> int:
    """Return how many pairs of directions, from the first on, correlate on subjects that they were not fitted on.

    Half of the subjects tells what the other half has found, and the other way round; at least one pair is kept.
    """
    halves = torch.isin(subjects, subjects.unique()[::2])
    if halves.all():  # one subject: its samples are halved
        halves = torch.arange(len(subjects)) % 2 == 0
    told = [canonical(one[h], other[h], ridge).correlations(one[~h], other[~h]) for h in (halves, ~halves)]
    found = torch.stack(told).mean(dim=0) > least
    return max(1, int(found.cumprod(dim=0).sum()))


@register("shared_private")
class SharedPrivate(TNet):
    """The perceptron predicts coordinates in the shared subspace; a fixed basis makes tokens of them."""

    Options = SharedPrivateOptions
    options: SharedPrivateOptions
    coordinates: Tensor
    basis: Tensor
    centre: Tensor

    def __init__(self, prevalent: int, privileged: int, hidden: list[int], options: SharedPrivateOptions) -> None:
        super().__init__(prevalent, privileged, hidden, options)
        rank = min(prevalent, privileged)
        self.layers = perceptron([prevalent, *hidden, rank])
        # before it is fitted, the first dimensions are the subspace
        self.register_buffer("coordinates", torch.eye(privileged, rank))
        self.register_buffer("basis", torch.eye(rank, privileged))
        self.register_buffer("centre", torch.zeros(privileged))

    @torch.no_grad()
    def fit(self, prevalent: Tensor, privileged: Tensor, subjects: Tensor) -> None:
        one, other = (x.detach().cpu().double().flatten(0, 1) for x in (prevalent, privileged))
        of_token = subjects.cpu().repeat_interleave(privileged.shape[1])
        there = ~(one.isnan().any(dim=1) | other.isnan().any(dim=1))
        one, other, of_token = one[there], other[there], of_token[there]
        if len(one) < 2:
            raise DataError(
                f"T-Net shared_private correlates both sides, and {len(one)} tokens of the training part have all of "
                "them; take another tnet.kind"
            )
        count = shared_count(one, other, of_token, self.options.least, self.options.ridge)
        found = canonical(one, other, self.options.ridge)
        centred = other - found.centre_right
        shared = centred @ found.right[:, :count]
        basis = torch.linalg.lstsq(shared, centred).solution
        for buffer in (self.coordinates, self.basis):
            buffer.zero_()
        self.coordinates[:, :count], self.basis[:count] = found.right[:, :count].float(), basis.float()
        self.centre.copy_(found.centre_right)

    def shared(self, privileged: Tensor) -> Tensor:
        """Return what of privileged tokens, shape (B, T, Q), lies in the shared subspace, of the same shape."""
        return self.centre + (privileged - self.centre) @ self.coordinates @ self.basis

    def forward(self, prevalent: Tensor) -> Tensor:
        return self.centre + self.layers(known(prevalent)) @ self.basis

    def loss(self, lesson: Lesson) -> Tensor:
        return squared_error(self(lesson.prevalent), self.shared(lesson.privileged))
