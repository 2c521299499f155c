"""Scale a matrix to uniform marginals: Sinkhorn's iteration, with Newton steps where it is slow."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pkdot.errors import DataError

CHECK = 3  # iterations between two looks at the error: a look costs about one iteration of a small batch
COARSE_TOLERANCE = 0.1  # for the larger epsilons, which only warm the next one up
NEWTON_COST = 100  # of a Newton step, in Sinkhorn iterations
MAX_STEP = 3.0  # largest change of a potential in a Newton step, in units of epsilon
EPSILON_STEP = 4.0  # ratio of successive epsilons


class Convergence(NamedTuple):
    """How a solver ended: iterations of the longest loop, and the largest relative error of the marginals."""

    iterations: int
    error: float


def balance(exponent: Tensor, tolerance: float, limit: int) -> tuple[Tensor, Tensor, Tensor, Convergence]:
    """Scale ``exp(exponent)`` to uniform marginals, by steps of epsilon where its range asks for it.

    While the exponents are below a third of the range of the type, no scaling can overflow: the potentials
    oscillate no more than the exponents. The memory of ``exponent`` may be taken for the kernel.

    Returns
    -------
    tuple
        The kernel with the potentials absorbed, the scaling v of its columns, the mean of the absorbed
        potentials, and the convergence of all steps together.
    """
    reach = math.log(torch.finfo(exponent.dtype).max) / 3
    temperature = max(exponent.amax().item(), -exponent.amin().item()) / reach
    if not math.isfinite(temperature):
        raise DataError("a cloud to transport has values that are not finite. Look for NaN in the features.")
    if temperature <= 1:
        kernel = exponent.exp_()
        v, end = _balance_at_once(kernel, tolerance, limit)
        return kernel, v, kernel.new_zeros(()), end
    kernel = (exponent / temperature).exp_()
    rows, columns = kernel.new_zeros((1, 1)), kernel.new_zeros((1, 1))
    total = spent = 0
    while True:
        goal = tolerance if temperature == 1 else COARSE_TOLERANCE
        v, end = _balance_at_once(kernel, goal, limit - spent, reach)
        total, spent = total + end.iterations, spent + end.iterations
        reached = not end.error > goal or spent >= limit
        if reached and temperature == 1:
            return kernel, v, rows.mean((-2, -1)) + columns.mean((-2, -1)), Convergence(total, end.error)
        following = max(1.0, temperature / EPSILON_STEP) if reached else temperature
        spent = 0 if reached else spent
        rows = (rows - (kernel @ v).log()) * (temperature / following)
        columns = (columns + v.log()) * (temperature / following)
        temperature = following
        del kernel  # three matrices at once are enough
        kernel, rows, columns = _absorb(exponent / temperature, rows, columns)


def _absorb(exponent: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the kernel with the potentials absorbed, after an iteration on logarithms, which cannot overflow."""
    exponent += rows
    exponent += columns.mT
    shift = exponent.logsumexp(-1, keepdim=True)
    exponent -= shift
    rows = rows - shift
    shift = exponent.logsumexp(-2, keepdim=True).mT + math.log(columns.shape[-2] / rows.shape[-2])
    exponent -= shift.mT
    return exponent.exp_(), rows, columns - shift


def _balance_at_once(
    kernel: Tensor, tolerance: float, limit: int, reach: float = math.inf
) -> tuple[Tensor, Convergence]:
    """Return the scaling v of the columns with which rows that sum to one make columns that sum to n / m.

    Sinkhorn's iteration, and a Newton step wherever more iterations are left to go than such a step costs:
    plans that are nearly one to one leave Sinkhorn with an error that falls as 1 / iterations. Ends early
    where the logarithm of v leaves ``reach``.
    """
    share = kernel.shape[-2] / kernel.shape[-1]
    transposed = kernel.mT
    v, error = torch.ones_like(kernel[..., :1, :].mT), math.inf
    for iteration in range(1, limit + 1):
        u = (kernel @ v).reciprocal_()
        sums = transposed @ u
        if share != 1:
            sums /= share
        if iteration % CHECK == 0 or iteration == limit:
            previous, error = error, largest_error(v * sums)
            if not error > tolerance or (reach < math.inf and v.log().abs_().amax().item() > reach):
                break
            if _iterations_left(error, previous, tolerance) > NEWTON_COST:
                v = _newton(kernel, u, v, share)
                continue
        v = sums.reciprocal()
    return sums.reciprocal(), Convergence(iteration, error)


def _iterations_left(error: float, previous: float, tolerance: float) -> float:
    """Return how long plain iterations would take, from two errors that are ``CHECK`` iterations apart."""
    if error >= previous:
        return math.inf
    return CHECK * math.log(tolerance / error) / math.log(error / previous) if previous < math.inf else 0


def _newton(kernel: Tensor, u: Tensor, v: Tensor, share: float) -> Tensor:
    """Return the scaling v after a Newton step on the dual, the rows being kept at their sums.

    The Hessian is the Laplacian of a graph: the constants, its null space, are filled in, and a ridge of the
    size of its rounding errors keeps parts of the graph apart that nothing connects.
    """
    plan = u * kernel * v.mT
    sums = plan.sum(-2).unsqueeze(-1)
    hessian = plan.mT @ plan
    hessian.neg_()
    hessian.diagonal(dim1=-2, dim2=-1).add_(sums.squeeze(-1) + 10 * torch.finfo(v.dtype).eps)
    hessian += 1 / v.shape[-2]
    step = torch.cholesky_solve(share - sums, torch.linalg.cholesky_ex(hessian).L)
    step = torch.nan_to_num(step - step.mean(-2, keepdim=True), 0, 0, 0)
    size = step.abs().amax((-2, -1), keepdim=True)
    return v * (step * (MAX_STEP / size.clamp_min(MAX_STEP))).exp()


def largest_error(sums: Tensor) -> float:
    """Return the largest distance of scaled marginal sums from 1, what the tolerance is compared to."""
    return (sums - 1).abs_().amax().item()
