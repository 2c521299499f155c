"""What the encoders learned: scores of people they know and of others, beside simple models, and what they keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.reporting.formatting import number, plural
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

GAP = 0.1  # of a score between 0 and 1, or of the range of levels
SIMPLE = {"logistic_regression": "logistic regression", "extra_trees": "extra trees"}
RIDGE = "ridge regression"  # what stands in for the logistic one where targets are real numbers


def content(results: Results) -> dict[str, Any]:
    """Return the scores of each modality's encoders and of simple models, mean over folds."""
    rows = [_row(results, modality) for modality in results.experiment.modalities]
    names = dict(SIMPLE)
    if results.experiment.task.kind == "regression":
        names["logistic_regression"] = RIDGE
    return {
        "rows": rows,
        "simple": names,
        "dim": results.experiment.embedding.dim,
        "warnings": [sentence for row in rows for sentence in _warnings(row, names, len(results.folds))],
    }


def _row(results: Results, modality: str) -> dict[str, Any]:
    classes = results.samples.classes or []
    limit = GAP * (len(classes) - 1) if results.experiment.task.kind == "ordinal" else GAP
    metrics = results.encoder_metrics(modality)
    train, validation = (_of(metrics, part, "score").mean() for part in ("train", "validation"))
    own = _of(metrics, "test", "score")
    simple = {name: _of(metrics, "sanity", name, "test") for name in SIMPLE}
    best = max(simple, key=lambda name: np.nan_to_num(simple[name].mean(), nan=-np.inf))
    lost, error = lost_to(simple[best], own)
    return {
        "modality": modality,
        "train": float(train),
        "validation": float(validation),
        "wide": bool(train - validation > limit),
        "test": float(own.mean()),
        "probe": float(_of(metrics, "probe", "test").mean()),
        "simple": {name: float(scores.mean()) for name, scores in simple.items()},
        "best": best,
        "lost": lost,
        "error": error,
        "behind": bool(lost > error),
        "at_chance": sum(each["warning"] is not None for each in metrics),
        "dimensions": float(_of(metrics, "effective_dimensions", "validation").mean()),
    }


def lost_to(simple: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Return by how much a simple model beats an encoder, mean over folds, and the standard error of that.

    Parameters
    ----------
    simple, own : ndarray, shape (folds,)
        Scores of either on the test part of each fold.

    Returns
    -------
    float
        Positive where the simple model is better.
    float
        NaN where there is one fold.
    """
    difference = simple - own
    if len(difference) < 2:
        return float(difference.mean()), float("nan")
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def _of(metrics: list[dict], *keys: str) -> np.ndarray:
    """Return one number of each fold's metrics; NaN where a fold has none."""
    values = []
    for value in metrics:
        found: Any = value
        for key in keys:
            found = found.get(key, {})
        values.append(np.nan if isinstance(found, dict) else found)
    return np.array(values, dtype=float)


def _warnings(row: dict[str, Any], names: dict[str, str], folds: int) -> list[str]:
    """Return sentences for the top of the page on what is wrong with the encoders of a modality."""
    found = []
    if row["wide"]:
        found.append(
            f"The encoder of {row['modality']} scores {number(row['train'])} on its training subjects and "
            f"{number(row['validation'])} on validation subjects. Teacher and students learn from embeddings of people "
            "that the encoder was trained on, which are easier than those of new people."
        )
    if row["behind"]:
        found.append(
            f"The encoder of {row['modality']} scores {number(row['test'])} on test subjects, and "
            f"{names[row['best']]} on plain features of the same samples scores {number(row['simple'][row['best']])}: "
            f"more than the standard error of the difference over folds ({number(row['error'])}). All students read "
            "what a simple model beats; look at the encoder's options and training."
        )
    if row["at_chance"]:
        found.append(
            f"The encoder of {row['modality']} is no better than chance on validation subjects in {row['at_chance']} "
            f"of {plural(folds, 'fold')}: it has learned nothing that this number of samples can show. Look at its "
            "data and training."
        )
    return found


ENCODERS = Section("encoders", link="Encoders", title="Encoders", content=content)
