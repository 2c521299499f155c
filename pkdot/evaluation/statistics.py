"""Statistics over subjects: intervals and tests that do not take clips of one person for independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

EXACT = 13  # subjects up to which all permutations are tried
MANY = 500  # subjects from which fewer permutations are enough
BLOCK = 4_000_000  # places of subjects that are in memory at once


def finite(value: float) -> float | None:
    """Return the value as JSON can hold it: None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def bootstrap_weights(subjects: int, repeats: int, seed: int) -> np.ndarray:
    """Return how often each subject is drawn in each resample, shape (repeats, subjects)."""
    rng = np.random.default_rng(seed)
    # column by column in memory, as the areas under curves read them
    return np.asfortranarray(rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=repeats))


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values.

    Resamples for which the value is not defined (such as those without a needed class) are left out; where no
    value is defined, neither is the interval: NaN.
    """
    defined = values[np.isfinite(values)]
    if not len(defined):
        return np.nan, np.nan
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def smallest_difference(resampled: np.ndarray, level: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true difference that a test over these subjects would show.

    It is (z_{1 - level/2} + z_{power}) times the standard error, 2.80 times by default: the minimum detectable effect
    (Bloom 1995, Evaluation Review 19(5), 547-556). The test is two-sided, of one contrast, not corrected for others.

    Parameters
    ----------
    resampled : ndarray, shape (resamples,)
        The difference of two methods on the same subjects, on each resample of them; its standard deviation is the
        standard error. Resamples for which it is not defined are left out; NaN where fewer than two are left.
    level : float
        The level of the test.
    power : float
        The probability that the difference is shown.
    """
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < 2:
        return np.nan
    normal = NormalDist()
    return float((normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * defined.std(ddof=1))


def swap_test(
    differences: Callable[[np.ndarray], dict[str, np.ndarray]], subjects: int, seed: int, resamples: int | None = None
) -> dict[str, float]:
    """Test with permutations whether two methods, paired by subject, might as well change places (two-sided).

    The statistic is the difference that is reported, and not a mean over subjects of a metric of each subject: where
    a metric is no mean over clips (CCC, AUC, F1), the two may even differ in sign.

    Parameters
    ----------
    differences : callable
        From places, shape (n, subjects), 1 where the methods change places in a subject and else 0, to the
        difference of each metric, shape (n,). A permutation without a defined difference counts against one.
    subjects : int
        Number of subjects.
    seed : int
        Seed of the permutations, where not all of them are tried.
    resamples : int or None
        Number of permutations, where not all of them are tried; 9,999 by default, and 1,999 for more than 500
        subjects, whose differences are known better than any p-value of interest.

    Returns
    -------
    dict
        p-value of each metric; exact up to 13 subjects.
    """
    resamples = resamples or (9999 if subjects <= MANY else 1999)
    if exact := subjects <= EXACT:
        places = (np.arange(2**subjects)[:, None] >> np.arange(subjects)) & 1
    else:
        places = np.random.default_rng(seed).integers(0, 2, (resamples, subjects))
    places = np.concatenate([np.zeros((1, subjects), dtype=places.dtype), places])  # the first row is what was observed
    rows = max(1, BLOCK // subjects)
    parts = [  # in the same order in memory
        differences(places[start : start + rows].astype(float, order="F")) for start in range(0, len(places), rows)
    ]
    values = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
    as_far = {m: ~(np.abs(v[1:]) < abs(v[0]) * (1 - 1e-9) - 1e-12) for m, v in values.items()}
    return {m: float(far.mean() if exact else (far.sum() + 1) / (resamples + 1)) for m, far in as_far.items()}


def subjects_needed(deviation: float | None, difference: float, level: float = 0.05, power: float = 0.8) -> int | None:
    """Return how many subjects a test takes to show a true difference; None where its deviation is not known.

    The inverse of `smallest_difference`: ((z_{1 - level/2} + z_{power}) deviation / difference) squared.

    Parameters
    ----------
    deviation : float or None
        The standard error of the difference times the root of the number of subjects that it was measured on.
    difference : float
        The true difference, above zero.
    level, power : float
        The level of the two-sided test, and the probability that the difference is shown.
    """
    if deviation is None:
        return None
    normal = NormalDist()
    return max(2, math.ceil(((normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)) * deviation / difference) ** 2))


def holm(p_values: list[float]) -> list[float]:
    """Return p-values after Holm's step-down correction (Holm 1979), in the order of ``p_values``."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return corrected.tolist()
