"""The metrics: one table of them, and their values for any weighting of the subjects.

To add a metric, add a line to ``METRICS`` and the function that it names. Tables, tests, labels and figures follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pkdot.evaluation.sums import ClassSums, ClassTotals, MomentSums

CLASSES = ("classification", "ordinal")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        Name in files. A metric of a regression gets one name a target, ``<name>_<target>``, and ``<name>_mean``.
    label : str
        Name in the report.
    kinds : tuple of str
        The kinds of task that have it.
    value : callable
        From ``ClassTotals``, or for a regression the moments of one target, shape (R, 7), to values, shape (R,).
    lower_is_better : bool
        The direction.
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    value: Callable[[Any], np.ndarray]
    lower_is_better: bool = False


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that have a value."""
    defined = ~np.isnan(values)
    return np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)


def _mean_absolute_error(totals: ClassTotals) -> np.ndarray:
    return (totals.confusion * totals.distance).sum(axis=(1, 2)) / totals.total


def _quadratic_kappa(totals: ClassTotals) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights (Cohen 1968)."""
    squared = totals.distance**2
    by_chance = totals.true[:, :, None] * totals.predicted[:, None, :] / totals.total[:, None, None]
    return 1 - (totals.confusion * squared).sum(axis=(1, 2)) / (by_chance * squared).sum(axis=(1, 2))


def _accuracy(totals: ClassTotals) -> np.ndarray:
    return totals.right.sum(axis=1) / totals.total


def _balanced_accuracy(totals: ClassTotals) -> np.ndarray:
    return _mean_over_classes(totals.right / totals.true)


def _macro_f1(totals: ClassTotals) -> np.ndarray:
    """Return the mean F1 of the classes that occur."""
    f1 = 2 * totals.right / (totals.true + totals.predicted)
    return _mean_over_classes(np.where(totals.true > 0, f1, np.nan))


def _auc(totals: ClassTotals) -> np.ndarray:
    return totals.areas


def _concordance(moments: np.ndarray) -> np.ndarray:
    """Return the concordance correlation coefficient (Lin 1989) over all frames."""
    n, x, y, xx, yy, xy, _ = moments.T
    mean_x, mean_y = x / n, y / n
    spread = xx / n - mean_x**2 + yy / n - mean_y**2 + (mean_x - mean_y) ** 2
    return 2 * (xy / n - mean_x * mean_y) / spread


def _mean_difference(moments: np.ndarray) -> np.ndarray:
    return moments[:, 6] / moments[:, 0]


def _root_mean_square(moments: np.ndarray) -> np.ndarray:
    n, _, _, xx, yy, xy, _ = moments.T
    return np.sqrt(np.maximum(xx - 2 * xy + yy, 0) / n)


# In the order of the report; the first one of a kind of task is its primary metric.
METRICS = (
    Metric("mae", "mean absolute error", ("ordinal",), _mean_absolute_error, lower_is_better=True),
    Metric("quadratic_kappa", "quadratic-weighted kappa", ("ordinal",), _quadratic_kappa),
    Metric("accuracy", "accuracy", CLASSES, _accuracy),
    Metric("balanced_accuracy", "balanced accuracy", CLASSES, _balanced_accuracy),
    Metric("macro_f1", "macro F1", CLASSES, _macro_f1),
    Metric("auc", "area under the ROC curve", CLASSES, _auc),
    Metric("ccc", "concordance correlation", ("regression",), _concordance),
    Metric("mae", "mean absolute error", ("regression",), _mean_difference, lower_is_better=True),
    Metric("rmse", "root mean square error", ("regression",), _root_mean_square, lower_is_better=True),
)


def metrics_of(kind: str) -> list[Metric]:
    """Return the metrics of a kind of task, the primary one first."""
    return [metric for metric in METRICS if kind in metric.kinds]


def metric_names(kind: str, outputs: list[str]) -> list[str]:
    """Return the names of the numbers that a kind of task with these targets gets, the primary one first."""
    if kind != "regression":
        return [metric.name for metric in metrics_of(kind)]
    return [f"{metric.name}_{output}" for metric in metrics_of(kind) for output in ("mean", *outputs)]


def label_of(name: str) -> str:
    """Return the name of a metric in words."""
    metric, output = _named(name)
    if not output:
        return metric.label
    return f"mean {metric.label}" if output == "mean" else f"{metric.label} of {output}"


def lower_is_better(name: str) -> bool:
    """Return whether lower values of a metric are better."""
    return _named(name)[0].lower_is_better


def _named(name: str) -> tuple[Metric, str]:
    """Return the metric of a name, and the target of a regression that it is about."""
    for metric in METRICS:
        if name == metric.name:
            return metric, ""
        if "regression" in metric.kinds and name.startswith(f"{metric.name}_"):
            return metric, name.removeprefix(f"{metric.name}_")
    raise KeyError(name)


class Metrics:
    """The metrics of the predictions of one method with one seed.

    Parameters
    ----------
    tables : DataFrame or iterable of DataFrame
        The predictions, whole or in parts: ``unit``, fold, target, prediction and the scores or the output.
    subjects : list of str
        The subjects, in the order of the weights.
    kind : str
        classification, ordinal or regression.
    classes : list of str or None
        Names of the classes in order; None for a regression.
    unit : str
        The column that names the subjects.
    primary : bool
        Whether only the first metric of the kind of task is computed, which takes a small part of the time.
    """

    def __init__(
        self,
        tables: pd.DataFrame | Iterable[pd.DataFrame],
        subjects: list[str],
        kind: str,
        classes: list[str] | None,
        unit: str = "subject_id",
        primary: bool = False,
    ) -> None:
        tables = [tables] if isinstance(tables, pd.DataFrame) else tables
        self.kind = kind
        self.wanted = metrics_of(kind)[:1] if primary else metrics_of(kind)
        self.sums: Any = (
            MomentSums(tables, subjects, unit) if classes is None else ClassSums(tables, subjects, classes, unit)
        )

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the metrics for weightings of the subjects, shape (R, subjects); NaN where one is not defined."""
        return self._values([(weights, self)], self.wanted)

    def swapped(self, other: Metrics, places: np.ndarray) -> dict[str, np.ndarray]:
        """Return the metrics where the predictions of some subjects are those of another method.

        Parameters
        ----------
        other : Metrics
            Those of another method on the same samples.
        places : ndarray, shape (R, subjects)
            1 where a subject's predictions are the other's, else 0.
        """
        return self._values([(1 - places, self), (places, other)], self.wanted)

    def _values(self, parts: list[tuple[np.ndarray, Metrics]], wanted: list[Metric]) -> dict[str, np.ndarray]:
        """Return the metrics of predictions to which each part gives its own, with its weights of the subjects."""
        with np.errstate(invalid="ignore", divide="ignore"):
            totals = self.sums.totals([(weights, part.sums) for weights, part in parts])
            if self.kind != "regression":
                return {metric.name: metric.value(totals) for metric in wanted}
            values: dict[str, np.ndarray] = {}
            for metric in wanted:
                each = {f"{metric.name}_{output}": metric.value(moments) for output, moments in totals.items()}
                values |= {f"{metric.name}_mean": np.mean(list(each.values()), axis=0), **each}
            return values

    def all(self) -> dict[str, float]:
        """Return the metrics with every subject counted once."""
        return {name: float(value[0]) for name, value in self(np.ones((1, len(self.sums)))).items()}

    def by_subject(self) -> np.ndarray:
        """Return the primary metric of each subject alone, shape (subjects,)."""
        values = self._values([(np.eye(len(self.sums)), self)], self.wanted[:1])
        return next(iter(values.values()))

    def confusion(self) -> np.ndarray:
        """Return the confusion matrix over all subjects; rows are the true classes."""
        return self.sums.confusion.sum(axis=0)
