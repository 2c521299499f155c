"""Sums over each subject's predictions, from which every metric follows for any weighting of the subjects.

The sums are made once, from tables that may come in parts; a resample of the subjects only changes how often each
counts, so that thousands of resamples cost one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

BLOCK = 4_000_000  # weights of samples that are in memory at once


@dataclass(frozen=True)
class ClassTotals:
    """What metrics of classes are computed from, for R weightings of the subjects.

    Attributes
    ----------
    confusion : ndarray, shape (R, C, C)
        Weighted counts; rows are the true classes, columns the predicted ones.
    weights : list of ndarray, shape (R, S)
        The weights of the subjects, for each part of the predictions.
    ranked : list of list
        An entry a class: the samples by rank, of each part of the predictions.
    """

    confusion: np.ndarray
    weights: list[np.ndarray]
    ranked: list[list[_Ranked]]

    @cached_property
    def areas(self) -> np.ndarray:
        """Area under the ROC curve over the pairs of samples of one fold, the mean over classes, shape (R,).

        Few subjects with many samples are counted by pairs of subjects, many subjects with few samples along the ranks.
        """
        parts = self.ranked[0]
        samples = sum(part.samples for part in parts)
        if samples >= parts[0].subjects ** 2:
            return np.asarray(np.mean([_area_by_pairs(self.weights, parts) for parts in self.ranked], axis=0))
        columns = max(1, BLOCK // samples)
        found = []
        for start in range(0, len(self.weights[0]), columns):
            by_subject = np.concatenate([weights[start : start + columns].T for weights in self.weights])
            found.append(np.mean([_area_by_rank(by_subject, parts) for parts in self.ranked], axis=0))
        return np.concatenate(found)

    @property
    def total(self) -> np.ndarray:
        """Number of samples, shape (R,)."""
        return self.confusion.sum(axis=(1, 2))

    @property
    def right(self) -> np.ndarray:
        """Number of samples of each class that are predicted right, shape (R, C)."""
        return np.diagonal(self.confusion, axis1=1, axis2=2)

    @property
    def true(self) -> np.ndarray:
        """Number of samples of each class, shape (R, C)."""
        return self.confusion.sum(axis=2)

    @property
    def predicted(self) -> np.ndarray:
        """Number of samples that are predicted as each class, shape (R, C)."""
        return self.confusion.sum(axis=1)

    @property
    def distance(self) -> np.ndarray:
        """Number of levels between every two classes, shape (C, C)."""
        levels = np.arange(self.confusion.shape[1])
        return np.abs(np.subtract.outer(levels, levels))


class ClassSums:
    """Confusion matrices of the subjects, and how the samples of a fold are ranked.

    Parameters
    ----------
    tables : iterable of DataFrame
        Parts of the predictions of one network a fold: ``unit``, fold, target, prediction and ``score_<number>``.
    subjects : list of str
        The subjects, in the order of the weights.
    classes : list of str
        Names of the classes in order.
    unit : str
        The column that names the subjects.
    """

    def __init__(self, tables: Iterable[pd.DataFrame], subjects: list[str], classes: list[str], unit: str) -> None:
        chosen = range(len(classes)) if len(classes) > 2 else [1]
        scores = [f"score_{number}" for number in chosen]
        parts = [_narrow(table, subjects, classes, unit, scores) for table in tables]
        table = pd.concat(parts, ignore_index=True)
        number, truth = table["number"].to_numpy(), table["truth"].to_numpy()
        self.confusion = confusion_of(number, truth, table["prediction"].to_numpy(), len(subjects), len(classes))
        # ranks within the fold: scores of different networks are not on one scale
        ranks = table.groupby("fold")[scores].rank().to_numpy()
        folds = [np.flatnonzero(table["fold"].to_numpy() == fold) for fold in table["fold"].unique()]
        self.ranked = [
            _Ranked(truth == each, ranks[:, column], number, folds, len(subjects)) for column, each in enumerate(chosen)
        ]

    def totals(self, parts: list[tuple[np.ndarray, ClassSums]]) -> ClassTotals:
        """Return the totals of predictions to which each part gives those of its subjects, with their weights."""
        classes = self.confusion.shape[1]
        flat = [weights @ part.confusion.reshape(len(part), -1) for weights, part in parts]
        confusion = np.sum(flat, axis=0).reshape(-1, classes, classes)
        ranked = [[part.ranked[column] for _, part in parts] for column in range(len(self.ranked))]
        return ClassTotals(np.asarray(confusion), [weights for weights, _ in parts], ranked)

    def __len__(self) -> int:
        return len(self.confusion)


def confusion_of(
    number: np.ndarray, truth: np.ndarray, predicted: np.ndarray, subjects: int, classes: int
) -> np.ndarray:
    """Return the confusion matrix of each subject, shape (subjects, classes, classes); rows are the true classes.

    Parameters
    ----------
    number, truth, predicted : ndarray of int, shape (samples,)
        Number of each sample's subject, of its class, and of the class that was predicted.
    subjects, classes : int
        How many there are.
    """
    confusion = np.zeros((subjects, classes, classes))
    np.add.at(confusion, (number, truth, predicted), 1)
    return confusion


def moments_of(number: np.ndarray, predicted: np.ndarray, truth: np.ndarray, subjects: int) -> np.ndarray:
    """Return the sums over each subject's values of 1, x, y, x^2, y^2, x y and |x - y|, shape (subjects, 7).

    Parameters
    ----------
    number : ndarray of int, shape (values,)
        Number of each value's subject.
    predicted, truth : ndarray, shape (values,)
        x and y.
    subjects : int
        How many there are.
    """
    x, y = predicted.astype(float), truth.astype(float)
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y, np.abs(x - y))
    return np.stack([np.bincount(number, column, minlength=subjects) for column in columns], axis=1)


def _narrow(table: pd.DataFrame, subjects: list[str], classes: list[str], unit: str, scores: list[str]) -> pd.DataFrame:
    """Return the columns that metrics need, with numbers in place of names."""
    columns: dict[str, Any] = {
        "number": pd.Categorical(table[unit], categories=subjects).codes,
        "fold": table["fold"].to_numpy(),
        "truth": pd.Categorical(table["target"], categories=classes).codes,
        "prediction": pd.Categorical(table["prediction"], categories=classes).codes,
    }
    return pd.DataFrame(columns | {name: table[name].to_numpy() for name in scores})


class _Ranked:
    """Ranks of the positive and the negative samples of one class, each with its subject, a list entry a fold."""

    def __init__(
        self, positive: np.ndarray, ranks: np.ndarray, number: np.ndarray, folds: list[np.ndarray], subjects: int
    ) -> None:
        self.subjects = subjects
        self.samples = len(positive)
        sides = [[rows[positive[rows] == side] for rows in folds] for side in (True, False)]
        self.positive, self.negative = ([(ranks[rows], number[rows]) for rows in side] for side in sides)

    def pairs(self) -> np.ndarray:
        """Count the pairs (positive of subject s, negative of subject t) of a fold, shape (S, S)."""
        counts = [
            [np.bincount(number, minlength=self.subjects) for _, number in side]
            for side in (self.positive, self.negative)
        ]
        return np.einsum("fs,ft->st", *map(np.asarray, counts)).astype(float)

    def wins(self, other: _Ranked) -> np.ndarray:
        """Count the pairs (own positive of subject s, other's negative of subject t) of a fold that are ranked right.

        Equal ranks count one half. Shape (S, S).
        """
        won = np.zeros((self.subjects, self.subjects))
        for (high, s), (low, t) in zip(self.positive, other.negative, strict=True):
            for subject in np.unique(t):
                ordered = np.sort(low[t == subject])
                beaten = (np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")) / 2
                won[:, subject] += np.bincount(s, beaten, minlength=self.subjects)
        return won


def _area_by_pairs(weights: list[np.ndarray], parts: list[_Ranked]) -> np.ndarray:
    """Return the AUC over the pairs of a fold, where each part ranks the subjects with its weights, (R, S) of each."""
    won, total = np.zeros(len(weights[0])), np.zeros_like(weights[0], dtype=float)
    for high, one in zip(weights, parts, strict=True):
        total += high
        for low, two in zip(weights, parts, strict=True):
            won += ((high @ one.wins(two)) * low).sum(axis=1)
    return won / ((total @ parts[0].pairs()) * total).sum(axis=1)


def _area_by_rank(by_subject: np.ndarray, parts: list[_Ranked]) -> np.ndarray:
    """Return the same from sums of the weights of the negatives in the order of their ranks.

    ``by_subject``, shape (parts * S, R), is the weights of the parts one below the other.
    """
    won, total = np.zeros(by_subject.shape[1]), np.zeros(by_subject.shape[1])
    for fold in range(len(parts[0].positive)):
        ranks, high = _joined([part.positive[fold] for part in parts], parts[0].subjects)
        others, low = _joined([part.negative[fold] for part in parts], parts[0].subjects)
        below = np.zeros((len(low) + 1, by_subject.shape[1]))
        for place, row in enumerate(low):  # a third of the time of np.cumsum along this axis
            np.add(below[place], by_subject[row], out=below[place + 1])
        beaten = below[np.searchsorted(others, ranks, "left")]
        beaten += below[np.searchsorted(others, ranks, "right")]  # equal ranks count one half
        won += np.einsum("pr,pr->r", by_subject[high], beaten) / 2
        total += by_subject[high].sum(axis=0) * below[-1]
    return won / total


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of all parts' samples in order, and of each the number of its subject, counted on over parts."""
    ranks = np.concatenate([own for own, _ in parts])
    rows = np.concatenate([number.astype(np.intp) + place * subjects for place, (_, number) in enumerate(parts)])
    order = np.argsort(ranks, kind="stable")
    return ranks[order], rows[order]


class MomentSums:
    """Sums over each subject's frames of 1, x, y, x^2, y^2, x y and |x - y| (x predicted, y true), for each target.

    Parameters
    ----------
    tables : iterable of DataFrame
        Parts of the predictions of one network: ``unit``, output, target and prediction.
    subjects : list of str
        The subjects, in the order of the weights.
    unit : str
        The column that names the subjects.
    """

    def __init__(self, tables: Iterable[pd.DataFrame], subjects: list[str], unit: str) -> None:
        self.moments: dict[str, np.ndarray] = {}
        self.subjects = len(subjects)
        for table in tables:
            number = pd.Categorical(table[unit], categories=subjects).codes
            output = pd.Categorical(table["output"])
            for code, name in enumerate(output.categories):
                rows = output.codes == code
                x, y = (table[column].to_numpy()[rows] for column in ("prediction", "target"))
                sums = self.moments.setdefault(name, np.zeros((self.subjects, 7)))
                sums += moments_of(number[rows], x, y, self.subjects)

    def totals(self, parts: list[tuple[np.ndarray, MomentSums]]) -> dict[str, np.ndarray]:
        """Return the totals of each target, shape (R, 7): each part gives those of its subjects, with their weights."""
        return {name: np.asarray(sum(weights @ part.moments[name] for weights, part in parts)) for name in self.moments}

    def __len__(self) -> int:
        return self.subjects
