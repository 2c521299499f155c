"""Statistics over subjects: intervals and tests that do not take clips of one person for independent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EXACT = 13  # subjects up to which all permutations are tried


def bootstrap_weights(subjects: int, repeats: int, seed: int) -> np.ndarray:
    """How often each subject is drawn in each resample, shape (repeats, subjects)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=repeats)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values.

    Resamples for which the value is not defined (such as those without a needed class) are left out; where no
    value is defined, neither is the interval: NaN.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan, np.nan
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def swap_test(
    differences: Callable[[np.ndarray], dict[str, np.ndarray]], subjects: int, seed: int, resamples: int = 9999
) -> dict[str, float]:
    """Two-sided permutation test that two methods, paired by subject, might as well change places.

    The statistic is the very difference that is reported, and not a mean over subjects of a metric of each: where
    a metric is no mean over clips (CCC, AUC, F1), the two may even differ in sign.

    Parameters
    ----------
    differences : callable
        From places, shape (n, subjects), 1 where the methods change places in a subject and else 0, to the
        difference of each metric, shape (n,). Where one is not defined it counts against a difference.
    subjects : int
        Number of subjects.

    Returns
    -------
    dict
        p-value of each metric; exact up to 13 subjects.
    """
    if exact := subjects <= EXACT:
        places = (np.arange(2**subjects)[:, None] >> np.arange(subjects)) & 1
    else:
        places = np.random.default_rng(seed).integers(0, 2, (resamples, subjects))
    observed, swapped = differences(np.zeros((1, subjects))), differences(places.astype(float))
    as_far = {m: ~(np.abs(swapped[m]) < abs(value[0]) * (1 - 1e-9) - 1e-12) for m, value in observed.items()}
    return {m: float(far.mean() if exact else (far.sum() + 1) / (resamples + 1)) for m, far in as_far.items()}


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): p-values that hold for all methods together, in the given order."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return corrected.tolist()
