"""PKDOT's loss: optimal transport between the similarity structures of a batch in two feature spaces.

Aslam et al., FG 2024, arXiv 2401.15489. Each row of a batch is described by its similarities to k anchors,
once in the teacher's space and once in the student's; the loss is the transport between the two clouds.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from pkdot.distillation.similarity import anchor_columns, similarity_matrix
from pkdot.distillation.sinkhorn import Convergence, check_parameters, pairwise_cost, sinkhorn_divergence
from pkdot.errors import ConfigError, DataError

ALIGNMENTS = ("permutation_invariant", "sample_aligned")
TRANSPORTS = ("sinkhorn_divergence", "entropic", "exact", "gromov_wasserstein")
PIVOTS = 10_000_000  # of the network simplex, far above what a batch needs


def transport_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    anchors: int = 30,
    blur: float = 0.1,
    p: float = 2,
    debias: bool = True,
    similarity: str = "cosine",
    anchor_rule: str = "dissimilar",
    alignment: str = "permutation_invariant",
    transport: str = "sinkhorn_divergence",
    tolerance: float | None = None,
    max_iterations: int = 1000,
    detach_teacher: bool = True,
    generator: torch.Generator | None = None,
    return_info: bool = False,
) -> Tensor | tuple[Tensor, Convergence]:
    """Return the distance between the sets of local structures of a batch; the defaults are the loss as released.

    A batch smaller than ``anchors`` uses all its rows as anchors; one row has nothing to be like, and loss 0.

    Parameters
    ----------
    student, teacher : Tensor, shape (..., B, d_s) and (..., B, d_t)
        Features of the same samples; leading dimensions are independent batches.
    anchors, anchor_rule, generator
        See ``anchor_columns``.
    similarity
        See ``similarity_matrix``. Each matrix is shifted by its own minimum.
    alignment : {"permutation_invariant", "sample_aligned"}
        As released, any row may be carried to any other. Sample-aligned, which is this project's own and not
        published, carries each row to itself: the loss is the mean cost, and ``transport`` has no say.
    transport : {"sinkhorn_divergence", "entropic", "exact", "gromov_wasserstein"}
        As released; the same without its self terms, as in the paper's text (``debias=False`` does the same);
        the limit of no blur, by POT; entropic Gromov-Wasserstein of the full matrices, by POT, which needs no
        anchors (epsilon = blur^p; the value is without the entropy, and is not zero at equality).
    blur, p, debias, tolerance, max_iterations
        See ``sinkhorn_divergence``. For Gromov-Wasserstein the tolerance is the change of the plan.
    detach_teacher : bool
        False lets the gradient reach the teacher.
    return_info : bool
        Also return iterations and error; (0, 0.0) where nothing is iterated.

    Returns
    -------
    Tensor, scalar or shape (...)
        Differentiable once.

    Raises
    ------
    ConfigError
        An option is unknown or out of its range.
    DataError
        Shapes do not fit, or a feature is not finite.
    """
    _check(student, teacher, alignment, transport)
    check_parameters(blur, p, max_iterations)
    x = _shifted(student, similarity, "student")
    y = _shifted(teacher.detach() if detach_teacher else teacher, similarity, "teacher")
    if transport != "gromov_wasserstein":
        columns = anchor_columns(y.detach(), anchors, anchor_rule, generator)
        x, y = (x, y) if columns is None else (x.gather(-1, columns), y.gather(-1, columns))
    if alignment == "sample_aligned":
        loss, info = _aligned_cost(x, y, p), Convergence(0, 0.0)
    elif transport == "exact":
        loss, info = exact_transport(x, y, p), Convergence(0, 0.0)
    elif transport == "gromov_wasserstein":
        loss, info = gromov_wasserstein(x, y, blur**p, tolerance or 1e-7, max_iterations)
    else:
        loss, info = sinkhorn_divergence(
            x,
            y,
            blur=blur,
            p=p,
            debias=debias and transport != "entropic",
            tolerance=tolerance,
            max_iterations=max_iterations,
            return_info=True,
        )
    return (loss, info) if return_info else loss


def exact_transport(x: Tensor, y: Tensor, p: float = 2) -> Tensor:
    """Return the transport without blur, cost ``|x - y|^p / p`` and uniform weights, by POT's network simplex.

    Parameters
    ----------
    x, y : Tensor, shape (..., n, d) and (..., m, d)

    Returns
    -------
    Tensor, shape (...)
        With the gradient of the cost under the optimal plan.
    """
    import ot

    cost = pairwise_cost(x, y, p)
    problems = cost.reshape(-1, *cost.shape[-2:])
    plans = [ot.emd([], [], problem, numItermax=PIVOTS) for problem in problems.detach().double()]
    plan = torch.stack(plans).to(cost.dtype).view_as(cost)
    return (plan * cost).sum((-2, -1))


def gromov_wasserstein(
    x: Tensor, y: Tensor, epsilon: float, tolerance: float = 1e-7, max_iterations: int = 1000
) -> tuple[Tensor, Convergence]:
    """Squared-loss Gromov-Wasserstein cost of POT's entropic plan between two similarity matrices.

    Parameters
    ----------
    x, y : Tensor, shape (..., n, n) and (..., m, m), symmetric
    epsilon : float, > 0
        Weight of the entropy of the plan.
    tolerance, max_iterations
        Change of the plan to stop at, looked at every ten iterations, and their limit.

    Returns
    -------
    tuple of Tensor, shape (...), and Convergence
        ``sum_ijkl (x_ik - y_jl)^2 P_ij P_kl``, with its gradient under the plan found: a local optimum.

    Raises
    ------
    ConfigError
        Epsilon is too small for POT's solver, which is not stabilised.
    """
    import ot

    plans, infos = [], []
    problems = (s.detach().double().reshape(-1, *s.shape[-2:]).cpu().numpy() for s in (x, y))  # twice as fast
    for a, b in zip(*problems, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a failed plan is refused below
            plan, log = ot.gromov.entropic_gromov_wasserstein(
                a, b, epsilon=epsilon, symmetric=True, max_iter=max_iterations, tol=tolerance, log=True
            )
        if not abs(plan.sum().item() - 1) < 1e-3:
            raise ConfigError(f"gromov_wasserstein found no plan at epsilon {epsilon:g}. Set a larger blur.")
        plans.append(torch.from_numpy(plan))
        infos.append(Convergence(min(10 * len(log["err"]) - 9, max_iterations), float(log["err"][-1])))
    plan = torch.stack(plans).to(x).view(*x.shape[:-2], x.shape[-1], y.shape[-1])
    with torch.autocast(x.device.type, enabled=False):
        rows, columns = plan.sum(-1, keepdim=True), plan.sum(-2, keepdim=True).mT
        own = (rows.mT @ x.square() @ rows + columns.mT @ y.square() @ columns)[..., 0, 0]
        value = own - 2 * ((x @ plan @ y.mT) * plan).sum((-2, -1))
    return value, Convergence(max(info.iterations for info in infos), max(info.error for info in infos))


def _aligned_cost(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Return the mean cost of carrying each row to the row of the same sample."""
    distance = torch.linalg.vector_norm(x - y, dim=-1)  # its gradient at zero is zero
    return distance.pow(p).mean(-1) / p


def _shifted(features: Tensor, similarity: str, side: str) -> Tensor:
    """Return the similarities above their minimum, which is not finite if any of them is not."""
    matrix = similarity_matrix(features, similarity)
    minimum = matrix.amin((-2, -1), keepdim=True)
    if not torch.isfinite(minimum).all():
        bad = (~torch.isfinite(features)).any(-1).nonzero()
        where = f"are not finite in row {bad[0, -1].item()}" if len(bad) else "are too large for their type"
        raise DataError(
            f"the features of the {side} {where}. Mend or leave out that sample, or lower the learning rate."
        )
    return matrix - minimum


def _check(student: Tensor, teacher: Tensor, alignment: str, transport: str) -> None:
    if alignment not in ALIGNMENTS:
        raise ConfigError(f"alignment is '{alignment}'. Choose one of: {', '.join(ALIGNMENTS)}.")
    if transport not in TRANSPORTS:
        raise ConfigError(f"transport is '{transport}'. Choose one of: {', '.join(TRANSPORTS)}.")
    if alignment == "sample_aligned" and transport == "gromov_wasserstein":
        raise ConfigError("gromov_wasserstein finds its own plan. Use it with alignment 'permutation_invariant'.")
    if student.dim() < 2 or student.shape[:-1] != teacher.shape[:-1] or 0 in (*student.shape, *teacher.shape):
        raise DataError(
            f"features of shapes {tuple(student.shape)} and {tuple(teacher.shape)} do not fit: "
            "give (..., B, d) of the same B samples, at least one."
        )
