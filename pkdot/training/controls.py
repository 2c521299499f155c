"""Control arms: what a method gains although its privilege is taken away is not owed to privileged information.

``prevalent_teacher``: the same distillation from a teacher that sees the prevalent modalities alone. ``shuffled``:
privileged data change places among samples of a subject and a class, so that they still tell the label, and nothing
else of their sample. ``globally_shuffled``: they change places among all samples, and tell nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Control = Literal["prevalent_teacher", "shuffled", "globally_shuffled"]
SHUFFLES = ("shuffled", "globally_shuffled")  # these have teachers of their own


def swapped(groups: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each row the one whose data it gets: the next of its group, in a random order.

    Parameters
    ----------
    groups : ndarray, shape (R,)
        Rows of equal groups change places with one another.
    rows : ndarray of int, shape (R,)
    rng : Generator

    Returns
    -------
    ndarray of int, shape (R,)
        A permutation of ``rows``; a row keeps its own data only where it is alone in its group.
    """
    result = rows.copy()
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        result[members] = rows[np.roll(members, 1)]
    return result


def within_subject_and_class(subjects: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a group a row: its subject and its class; rows that would be alone there share one of their class.

    Parameters
    ----------
    subjects : ndarray of str, shape (R,)
    labels : ndarray of int, shape (R,)
        Classes, or levels of a value; -1 where there is no label.
    """
    pairs = np.unique(np.stack([np.unique(subjects, return_inverse=True)[1], labels]), axis=1, return_inverse=True)[1]
    alone = np.bincount(pairs)[pairs] == 1
    return np.where(alone, -2 - labels, pairs)


def levels(targets: np.ndarray, regression: bool) -> np.ndarray:
    """Return the class of each sample, or the quintile of its mean value; -1 where there is no label.

    Parameters
    ----------
    targets : ndarray, shape (R,) or (R, ...)
        As in ``Task.targets``.
    regression : bool
        Whether targets are values.
    """
    if not regression:
        return targets
    flat = targets.reshape(len(targets), -1)
    there = np.isfinite(flat)
    means = np.where(there, flat, 0).sum(axis=1) / np.maximum(1, there.sum(axis=1))
    result = np.full(len(targets), -1)
    known = there.any(axis=1)
    if known.any():
        borders = np.quantile(means[known], (0.2, 0.4, 0.6, 0.8))
        result[known] = np.searchsorted(borders, means[known])
    return result
