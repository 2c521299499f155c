"""Quality of a sampled signal: what is missing, flat or clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.errors import DataError

HOLE = 0.75  # sampling steps; farther than this from every measured value is a hole
PLATEAU = 3  # equal values in a row that make a plateau


@dataclass(frozen=True)
class Limits:
    """What may be: the share of missing values, seconds without a change, the share at a limit."""

    missing: float
    flat: float
    clipped: float


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and length of each run of equal neighbours."""
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
    plateau = length >= PLATEAU
    for limit in (level.min(), level.max()):
        clipped = length[plateau & (level == limit)].sum() / here.sum()
        if clipped > limits.clipped:
            share = f"{clipped:.1%} of the values are clipped at {limit:g}"
            raise DataError(f"{where}: {share} (at most {limits.clipped:.1%} may be)")


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
    known = time[here]
    grid = time[0] + np.arange(int((time[-1] - time[0]) * rate + 0.5) + 1) / rate
    after = np.clip(np.searchsorted(known, grid), 1, len(known) - 1)
    distance = np.minimum(np.abs(grid - known[after - 1]), np.abs(grid - known[after]))
    return grid, np.interp(grid, known, values[here]), distance * rate > HOLE
