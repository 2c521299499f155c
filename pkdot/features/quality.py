"""Quality of a sampled signal: what is missing, implausible, flat or clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.errors import DataError

HOLE = 0.75  # sampling steps; farther than this from every measured value is a hole
PLATEAU = 3  # equal values in a row that make a plateau
OUTLIER = 50.0  # spreads from the median; no burst of a muscle and no beat of a heart is as far
RESOLVED = 0.5  # share of different values from which a signal that rests at its peak does not repeat a value
LEVELS = 64  # different values from which a signal that does not rest seldom repeats its largest one


@dataclass(frozen=True)
class Limits:
    """What a signal may have at most.

    Attributes
    ----------
    missing : float
        Share of missing values.
    flat : float
        Seconds without a change.
    clipped : float
        Share of values at the smallest or the largest value.
    clipped_fine : float
        The same where the signal is resolved so finely that it does not repeat a value by chance.
    rests : bool
        The signal is so slow that it may rest at its own peak.
    """

    missing: float
    flat: float
    clipped: float
    clipped_fine: float
    rests: bool


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and length of each run of equal neighbours, both (number of runs,)."""
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[starts], np.diff(np.append(starts, len(values)))


def judge(time: np.ndarray, values: np.ndarray, limits: Limits, where: str) -> None:
    """Refuse a signal that is mostly missing, flat or clipped.

    Parameters
    ----------
    time, values : ndarray, shape (n,)
        Increasing seconds and what was measured; NaN is missing.
    where : str
        How messages call the signal.

    Raises
    ------
    DataError
        The signal cannot be used; the message gives the reason and the limit.
    """
    here = np.isfinite(values)
    step = float(np.median(np.diff(time)))
    missing = 1 - here.sum() * step / (time[-1] - time[0] + step)
    if missing > limits.missing or here.sum() < 2:
        raise DataError(f"{where}: {missing:.0%} of the values are missing (at most {limits.missing:.0%} may be)")
    level, length = runs(values[here])
    if length.max() * step > limits.flat:
        seconds = length.max() * step
        raise DataError(f"{where}: flat for {seconds:.2f} s (at most {limits.flat:.2f} s may be)")
    different = len(np.unique(level))
    resolved = different > RESOLVED * here.sum() if limits.rests else different >= LEVELS
    shortest, most = (1, limits.clipped_fine) if resolved else (PLATEAU, limits.clipped)
    for limit in (level.min(), level.max()):
        clipped = length[(length >= shortest) & (level == limit)].sum() / here.sum()
        if clipped > most:
            share = f"{clipped:.1%} of the values are clipped at {limit:g}"
            raise DataError(f"{where}: {share} (at most {most:.1%} may be)")


def without_outliers(values: np.ndarray, plausible: tuple[float, float], where: str) -> tuple[np.ndarray, str]:
    """Take out values that cannot be: outside of a plausible range, or far from all others.

    Parameters
    ----------
    values : ndarray, shape (n,)
        NaN is missing.
    plausible : tuple of float
        Smallest and largest value that can be.
    where : str
        How messages call the signal.

    Returns
    -------
    ndarray, shape (n,)
        NaN where a value cannot be.
    str
        What the ledger should say; empty where every value can be.

    Raises
    ------
    DataError
        Most values lie outside of the plausible range: the column is another signal, or in another unit.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return values, ""
    low, high = plausible
    typical = float(np.median(finite))
    if not low <= typical <= high:
        raise DataError(
            f"{where}: its median is {typical:.4g}, and {low:g} to {high:g} is plausible. Is the column another signal "
            "or in another unit? The options `unit` and `plausible` say what it should be"
        )
    spread = float(np.diff(np.quantile(finite, [0.01, 0.99]))[0])
    with np.errstate(invalid="ignore"):
        wrong = (values < low) | (values > high)
        if spread > 0:
            wrong |= np.abs(values - typical) > OUTLIER * spread
    if not wrong.any():
        return values, ""
    worst = values[wrong][np.abs(values[wrong] - typical).argmax()]
    note = f"{where}: {wrong.sum()} values cannot be, such as {worst:g}, and count as missing"
    return np.where(wrong, np.nan, values), note


def on_grid(time: np.ndarray, values: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put a signal on an even grid; holes are filled in along a line.

    Returns
    -------
    grid, filled : ndarray, shape (m,)
        Seconds ``rate`` to the second, and the value at each.
    missing : ndarray of bool, shape (m,)
        True inside a hole: farther than 3/4 of a step from every measured value.
    """
    here = np.isfinite(values)
    measured = time[here]
    grid = time[0] + np.arange(int((time[-1] - time[0]) * rate + 0.5) + 1) / rate
    after = np.clip(np.searchsorted(measured, grid), 1, len(measured) - 1)
    distance = np.minimum(np.abs(grid - measured[after - 1]), np.abs(grid - measured[after]))
    return grid, np.interp(grid, measured, values[here]), distance * rate > HOLE
