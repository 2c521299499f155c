"""Statistics over subjects: intervals and tests that do not take clips of one person for independent."""

from __future__ import annotations

import numpy as np


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


def paired_test(differences: np.ndarray, seed: int, resamples: int = 9999) -> float:
    """Two-sided sign-flip permutation test that paired differences over subjects have mean zero.

    Parameters
    ----------
    differences : ndarray, shape (subjects,)
        One difference a subject; NaNs are left out.

    Returns
    -------
    float
        p-value; exact up to 13 subjects, 1 when no subject differs.
    """
    from scipy.stats import permutation_test

    values = differences[~np.isnan(differences)]
    if len(values) < 2 or not values.any():
        return 1.0
    result = permutation_test(
        (values,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): p-values that hold for all methods together, in the given order."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return corrected.tolist()
