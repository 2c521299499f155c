"""Similarity matrices of teacher and students on test subjects: the structure that the transport loss aligns."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.layout import UPPER_BOUND
from pkdot.reporting.plotting import ROWS_WIDTH, canvas, colour_of, coloured, name_rows, picture, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

SHOWN = 160  # samples of a matrix that is shown
COMPARED = 400  # samples of two matrices that are compared


def similarity(features: np.ndarray) -> np.ndarray:
    """Return the cosine similarities of rows of features, shape (rows, rows)."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two similarity matrices over all pairs of samples."""
    upper = np.triu_indices(len(first), k=1)
    a, b = first[upper], second[upper]
    if not len(a) or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def content(results: Results) -> dict[str, Any]:
    """Return the matrices of one fold and seed as pictures, and the agreement over all of them."""
    fold, seed = results.folds[0], results.seeds[0]
    order, counts = _order(results, fold, seed)
    matrices = {name: similarity(_features(results, fold, seed, name, order)) for name in results.shown}
    low, high = np.percentile(np.concatenate([matrix.ravel() for matrix in matrices.values()]), [1, 99])
    agreements = {method: _agreements(results, method) for method in results.methods}
    agreements = {method: values for method, values in agreements.items() if len(values)}
    shown = [
        {
            "method": name,
            "picture": picture(coloured(matrix, low, high)),
            "agreement": None if name == UPPER_BOUND else agreement(matrices[UPPER_BOUND], matrix),
        }
        for name, matrix in matrices.items()
    ]
    return {
        "fold": fold,
        "seed": seed,
        "samples": len(order),
        "groups": counts,
        "low": float(low),
        "high": float(high),
        "scale": picture(coloured(np.tile(np.linspace(0, 1, 128), (6, 1)), 0, 1)),
        "matrices": shown,
        "figure": _figure(results, agreements) if agreements else None,
    }


def _figure(results: Results, agreements: dict[str, np.ndarray]) -> str:
    """Draw the agreement of every student with its teacher, a dot a fold and seed."""
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(agreements)) as figure:
        axes = figure.add_subplot()
        for height, (method, values) in enumerate(agreements.items()):
            colour = colour_of(method, results)
            axes.plot(values, [height] * len(values), "o", color=colour, markersize=4.5, alpha=0.4, markeredgewidth=0)
            axes.plot(np.mean(values), height, "|", color=colour, markersize=12, markeredgewidth=2.4)
        name_rows(axes, list(agreements))
        axes.set_xlabel("correlation of a student's similarities with the teacher's, on test subjects")
        return svg(figure, "agreement of students' similarity matrices with the teacher's")


def _agreements(results: Results, method: str) -> np.ndarray:
    """Return the agreement of a student with its teacher, one a fold and seed."""
    values = []
    for fold in results.folds:
        for seed in results.seeds:
            rows, student = results.student_features(fold, seed, method)
            teacher = results.teacher_features(fold, seed)[rows]
            both = np.flatnonzero(~np.isnan(teacher).any(axis=1))
            both = both[:: max(1, -(-len(both) // COMPARED))]
            values.append(agreement(similarity(teacher[both]), similarity(student[both])))
    return np.array([value for value in values if not np.isnan(value)])


def _features(results: Results, fold: int, seed: int, name: str, order: np.ndarray) -> np.ndarray:
    if name == UPPER_BOUND:
        return results.teacher_features(fold, seed)[order]
    rows, features = results.student_features(fold, seed, name)
    return features[np.searchsorted(rows, order)]


def _order(results: Results, fold: int, seed: int) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the rows of the test samples to show, sorted by target and then subject, and how many each class has."""
    rows, _ = results.student_features(fold, seed, results.baseline)
    rows = rows[~np.isnan(results.teacher_features(fold, seed)[rows]).any(axis=1)]
    table = results.samples.table.iloc[rows]
    name, classes = next(iter(results.samples.about["targets"].items()))
    if classes:
        target = table[name].map({each: number for number, each in enumerate(classes)}).to_numpy()
    else:
        target = np.array([_mean_value(cell) for cell in table[name]])
    order = np.lexsort((rows, table["subject_id"].to_numpy().astype(str), target))
    order = order[:: max(1, -(-len(order) // SHOWN))]
    counts = [(each, int((target[order] == number).sum())) for number, each in enumerate(classes or [])]
    return rows[order], counts


def _mean_value(cell: float | np.ndarray) -> float:
    """Return the target of a sample, or the mean of those of its frames."""
    values = [np.ravel(part) for part in cell] if isinstance(cell, np.ndarray | list) else [np.ravel(cell)]
    return float(np.nanmean(np.concatenate(values)))


REPRESENTATION_SIMILARITY = Section(
    "representation_similarity", link="Similarity", title="Similarity matrices", content=content
)
