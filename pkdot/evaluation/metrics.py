"""Metrics of predictions, for any weighting of the subjects.

Every metric is made of sums over subjects (an AUC: over pairs of them). The sums are made once; a resample of the
subjects only changes how often each counts, so thousands of resamples cost one matrix product.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

LOWER_IS_BETTER = frozenset({"mae"})


def metric_names(kind: str, outputs: list[str]) -> list[str]:
    """Metrics of a kind of task, the primary one first."""
    if kind == "regression":
        return ["ccc_mean", *(f"ccc_{name}" for name in outputs)]
    plain = ["accuracy", "balanced_accuracy", "macro_f1", "auc"]
    return ["mae", "quadratic_kappa", *plain] if kind == "ordinal" else plain


class Metrics:
    """The metrics of one table of predictions (one method, one seed).

    Parameters
    ----------
    table : DataFrame
        subject_id, fold, target, prediction and the columns of ``prediction_table``.
    subjects : list of str
        The subjects, in the order of the weights.
    kind : str
        classification, ordinal or regression.
    classes : list of str or None
        Class names in order.
    """

    def __init__(self, table: pd.DataFrame, subjects: list[str], kind: str, classes: list[str] | None):
        self.kind = kind
        number = pd.Categorical(table["subject_id"], categories=subjects).codes
        if kind == "regression":
            outputs = table.groupby("output").indices
            self._moments = {name: _moments(table.iloc[i], number[i], len(subjects)) for name, i in outputs.items()}
            return
        truth, said = (pd.Categorical(table[c], categories=classes).codes for c in ("target", "prediction"))
        self._confusion = np.zeros((len(subjects), len(classes), len(classes)))
        np.add.at(self._confusion, (number, truth, said), 1)
        chosen = range(len(classes)) if len(classes) > 2 else [1]
        # ranks within the fold: scores of different networks are not on one scale
        ranks = table.groupby("fold")[[f"score_{i}" for i in chosen]].rank().to_numpy()
        fold = table["fold"].to_numpy()
        self._ranked = [_Ranked(truth == i, ranks[:, n], number, fold, len(subjects)) for n, i in enumerate(chosen)]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics for weightings of the subjects, shape (resamples, subjects); NaN where one is not defined."""
        return self._values([(weights, self)])

    def swapped(self, other: Metrics, places: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics where the predictions of some subjects are those of another method.

        Parameters
        ----------
        other : Metrics
            Of the same samples.
        places : ndarray, shape (n, subjects)
            1 where a subject's predictions are the other's, else 0.
        """
        return self._values([(1 - places, self), (places, other)])

    def _values(self, parts: list[tuple[np.ndarray, Metrics]]) -> dict[str, np.ndarray]:
        """Metrics of predictions to which each part gives its own, with its weights of the subjects."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.kind == "regression":
                sums = {name: sum(weights @ part._moments[name] for weights, part in parts) for name in self._moments}
                values = {f"ccc_{name}": _concordance(total) for name, total in sums.items()}
                return {"ccc_mean": np.mean(list(values.values()), axis=0), **values}
            matrix = sum(np.einsum("rs,sij->rij", weights, part._confusion) for weights, part in parts)
            areas = [
                _area([(weights, part._ranked[number]) for weights, part in parts])
                for number in range(len(self._ranked))
            ]
            return {**_of_confusion(matrix, self.kind), "auc": np.mean(areas, axis=0)}

    def all(self) -> dict[str, float]:
        """Metrics with every subject counted once."""
        return {name: float(value[0]) for name, value in self(self._ones()).items()}

    def by_subject(self) -> dict[str, np.ndarray]:
        """Metrics of each subject alone, shape (subjects,)."""
        return self(np.eye(self._ones().shape[1]))

    def confusion(self) -> np.ndarray:
        """Confusion matrix over all subjects, rows are the truth."""
        return self._confusion.sum(axis=0)

    def _ones(self) -> np.ndarray:
        sums = next(iter(self._moments.values())) if self.kind == "regression" else self._confusion
        return np.ones((1, len(sums)))


def _of_confusion(matrix: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Metrics of confusion matrices (resamples, C, C); classes that do not occur do not count in means over classes."""
    total = matrix.sum(axis=(1, 2))
    right = np.diagonal(matrix, axis1=1, axis2=2)
    there, called = matrix.sum(axis=2), matrix.sum(axis=1)
    metrics = {
        "accuracy": right.sum(axis=1) / total,
        "balanced_accuracy": _nanmean(right / there),
        "macro_f1": _nanmean(np.where(there > 0, 2 * right / (there + called), np.nan)),
    }
    if kind != "ordinal":
        return metrics
    levels = np.arange(matrix.shape[1])
    distance = np.abs(np.subtract.outer(levels, levels))
    by_chance = (there[:, :, None] * called[:, None, :] / total[:, None, None] * distance**2).sum(axis=(1, 2))
    return {
        "mae": (matrix * distance).sum(axis=(1, 2)) / total,
        "quadratic_kappa": 1 - (matrix * distance**2).sum(axis=(1, 2)) / by_chance,
        **metrics,
    }


def _nanmean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)


class _Ranked:
    """Ranks of the positive and the negative samples of one class, each with its subject and fold."""

    def __init__(self, positive: np.ndarray, ranks: np.ndarray, number: np.ndarray, fold: np.ndarray, subjects: int):
        folds = [fold == part for part in np.unique(fold)]
        self.positive = [(ranks[here & positive], number[here & positive]) for here in folds]
        self.negative = [(ranks[here & ~positive], number[here & ~positive]) for here in folds]
        counts = [
            [np.bincount(number, minlength=subjects) for _, number in side] for side in (self.positive, self.negative)
        ]
        # all pairs (positive of subject s, negative of subject t) of a fold, shape (S, S)
        self.pairs = np.einsum("fs,ft->st", *map(np.asarray, counts)).astype(float)
        self._won: dict[_Ranked, np.ndarray] = {}

    def wins(self, other: _Ranked) -> np.ndarray:
        """Pairs (own positive of subject s, other's negative of subject t) of a fold that are ranked right, (S, S)."""
        if other not in self._won:
            won = self._won[other] = np.zeros_like(self.pairs)
            for (high, s), (low, t) in zip(self.positive, other.negative, strict=True):
                gap = np.subtract.outer(high, low)
                np.add.at(won, tuple(np.meshgrid(s, t, indexing="ij")), (gap > 0) + 0.5 * (gap == 0))
        return self._won[other]


def _area(parts: list[tuple[np.ndarray, _Ranked]]) -> np.ndarray:
    """AUC over the pairs of a fold, where each part ranks the subjects with its weights."""
    won = sum(((high @ one.wins(two)) * low).sum(axis=1) for high, one in parts for low, two in parts)
    total = sum(weights for weights, _ in parts)
    return won / ((total @ parts[0][1].pairs) * total).sum(axis=1)


def _moments(table: pd.DataFrame, number: np.ndarray, subjects: int) -> np.ndarray:
    """Sums over each subject's frames of 1, x, y, x^2, y^2 and x y, shape (subjects, 6)."""
    x, y = table["prediction"].to_numpy(dtype=float), table["target"].to_numpy(dtype=float)
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y)
    return np.stack([np.bincount(number, column, minlength=subjects) for column in columns], axis=1)


def _concordance(sums: np.ndarray) -> np.ndarray:
    """Concordance correlation (Lin 1989) over all frames, from sums (resamples, 6)."""
    n, x, y, xx, yy, xy = sums.T
    mean_x, mean_y = x / n, y / n
    spread = xx / n - mean_x**2 + yy / n - mean_y**2 + (mean_x - mean_y) ** 2
    return 2 * (xy / n - mean_x * mean_y) / spread
