"""Similarity matrices of teacher and students: what the distillation is about, on people it has not seen."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from pkdot.evaluation.evaluate import BASELINE, UPPER_BOUND
from pkdot.reporting import figures, plotting
from pkdot.reporting.results import Results

SHOWN = 160  # samples of a matrix
COMPARED = 400


def similarity(features: np.ndarray) -> np.ndarray:
    """Cosine similarities of rows of features, shape (rows, rows)."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two similarity matrices over all pairs of samples."""
    upper = np.triu_indices(len(first), k=1)
    a, b = first[upper], second[upper]
    if not len(a) or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def representation_similarity(results: Results, chosen: str | None) -> dict:
    """The matrices of one fold and seed as pictures, and the agreement over all of them."""
    fold, seed = results.folds[0], results.seeds[0]
    shown = list(dict.fromkeys(name for name in (UPPER_BOUND, chosen, BASELINE) if name))
    order, edges = _order(results, fold, seed)
    matrices = {name: similarity(_features(results, fold, seed, name, order)) for name in shown}
    values = np.concatenate([matrix.ravel() for matrix in matrices.values()])
    low, high = np.percentile(values, [1, 99])
    found = {method: _agreements(results, method) for method in results.methods}
    return {
        "fold": fold,
        "seed": seed,
        "samples": len(order),
        "groups": edges,
        "low": float(low),
        "high": float(high),
        "scale": plotting.picture(plotting.coloured(np.tile(np.linspace(0, 1, 128), (6, 1)), 0, 1)),
        "matrices": [
            {
                "method": name,
                "picture": plotting.picture(plotting.coloured(matrix, low, high)),
                "agreement": None if name == UPPER_BOUND else agreement(matrices[UPPER_BOUND], matrix),
            }
            for name, matrix in matrices.items()
        ],
        "figure": _figure(found, chosen),
        "means": {method: float(np.nanmean(values)) for method, values in found.items() if len(values)},
    }


def _figure(found: dict[str, np.ndarray], chosen: str | None) -> Markup | None:
    known = {method: values for method, values in found.items() if len(values)}
    return figures.agreement(known, chosen) if known else None


def _agreements(results: Results, method: str) -> np.ndarray:
    """Agreement of a student with its teacher, one a fold and seed."""
    found = []
    for fold in results.folds:
        for seed in results.seeds:
            rows, student = results.student_features(fold, seed, method)
            teacher = results.teacher_features(fold, seed)[rows]
            both = np.flatnonzero(~np.isnan(teacher).any(axis=1))
            both = both[:: max(1, -(-len(both) // COMPARED))]
            found.append(agreement(similarity(teacher[both]), similarity(student[both])))
    return np.array([value for value in found if value == value])


def _features(results: Results, fold: int, seed: int, name: str, order: np.ndarray) -> np.ndarray:
    if name == UPPER_BOUND:
        return results.teacher_features(fold, seed)[order]
    rows, features = results.student_features(fold, seed, name)
    return features[np.searchsorted(rows, order)]


def _order(results: Results, fold: int, seed: int) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Rows of the test samples to show, sorted by target and then subject, and how many each class has."""
    rows, _ = results.student_features(fold, seed, BASELINE)
    rows = rows[~np.isnan(results.teacher_features(fold, seed)[rows]).any(axis=1)]
    table = results.samples.table.iloc[rows]
    name, classes = next(iter(results.samples.about["targets"].items()))
    if classes:
        target = table[name].map({each: number for number, each in enumerate(classes)}).to_numpy()
    else:
        target = np.array([np.nanmean(np.concatenate([np.ravel(part) for part in cell])) for cell in table[name]])
    order = np.lexsort((rows, table["subject_id"].to_numpy().astype(str), target))
    order = order[:: max(1, -(-len(order) // SHOWN))]
    counts = [(each, int((target[order] == number).sum())) for number, each in enumerate(classes or [])]
    return rows[order], counts
