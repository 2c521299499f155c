"""How much of the privileged embeddings T-Net recovers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return the quality of T-Net on each part, and of the T-Nets that students deploy, over folds and seeds."""
    runs = [metrics for fold in results.teachers_by_fold for metrics in fold["tnet"].values()]
    parts = {part: quality([run[part] for run in runs]) for part in ("train", "validation", "test")}
    students = {method: results.student_metrics(method) for method in results.methods}
    return {
        "rows": [{"part": part, **quality} for part, quality in parts.items()],
        "runs": len(runs),
        "test": parts["test"]["explained"]["mean"],
        "deployed": [_deployed(method, found) for method, found in students.items() if "tnet" in found[0]],
    }


def _deployed(method: str, students: list[dict]) -> dict[str, Any]:
    """Return the quality of a method's T-Nets on the test part, before and after the training of the students."""
    trained = [student["tnet"]["trained"] for student in students if "trained" in student["tnet"]]
    return {
        "method": method,
        "trained": quality(trained) if trained else None,
        "deployed": quality([student["tnet"]["deployed"] for student in students]),
    }


def quality(measured: list[dict]) -> dict[str, dict]:
    """Return mean and range of the measures that are defined."""
    return {
        name: _spread(np.array([each[key] for each in measured], dtype=float))
        for name, key in (("explained", "explained_variance"), ("cosine", "cosine"), ("rank", "retrieval_rank"))
    }


def _spread(values: np.ndarray) -> dict[str, float | None]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return {"mean": None, "low": None, "high": None}
    return {"mean": float(defined.mean()), "low": float(defined.min()), "high": float(defined.max())}


TNET = Section("tnet", link="T-Net", title="T-Net", content=content)
