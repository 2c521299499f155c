"""Labels of samples that lie in files beside the streams: one for every moment or row, of which a sample has some.

The rule: a class counts that at least ``share`` of a sample's moments have, if no other has as many; a number is the
mean of those that are there, if at least ``share`` are. Else the sample is unlabelled.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pkdot.errors import DataError
from pkdot.recordings import open_labels, open_recording


class LabelFile:
    """The labels of one target of a recording.

    Parameters
    ----------
    path, part
        The file and, where it holds more, its array or column.
    rate : float
        Labels a second, or 1 where there is one a row.
    offset : float
        When the first label is, on the clock that the streams share, in seconds.
    numeric : bool
        Whether the labels are numbers; else they are names of classes.
    """

    def __init__(self, path: Path, part: str | None, rate: float, offset: float, numeric: bool) -> None:
        self.rate, self.offset, self.numeric = rate, offset, numeric
        self.values = _numbers(path, part) if numeric else open_labels(path, part)

    def over(self, start: float, stop: float, share: float) -> float | str | None:
        """Return the label of the time from ``start`` to ``stop``, None where it has none that counts."""
        first, last = (round((time - self.offset) * self.rate) for time in (start, stop))
        last = max(last, first + 1)  # a label that changes more slowly than the windows counts for those within it
        inside = self.values[max(0, first) : max(0, last)]
        return _mean(inside, share * (last - first)) if self.numeric else _most(inside, share * (last - first))


def _numbers(path: Path, part: str | None) -> np.ndarray:
    values = open_recording(path, part)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"{path}: holds targets of shape {values.shape}, not one number a row")
    return np.asarray(values, dtype=np.float64)


def _mean(values: np.ndarray, least: float) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) and len(there) >= least - 1e-9 else None


def _most(values: np.ndarray, least: float) -> str | None:
    """Return the label that most have, None where two have as many or it is not that of enough."""
    counts = Counter(value for value in values.tolist() if value).most_common(2)
    tied = len(counts) == 2 and counts[0][1] == counts[1][1]
    return counts[0][0] if counts and not tied and counts[0][1] >= least - 1e-9 else None
