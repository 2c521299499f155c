"""How much of the privileged embeddings T-Net recovers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return the quality of T-Net on each part, over folds and seeds."""
    runs = [metrics for fold in results.teachers_by_fold for metrics in fold["tnet"].values()]
    rows: list[dict[str, Any]] = []
    for part in ("train", "validation", "test"):
        explained, cosine = (np.array([run[part][key] for run in runs]) for key in ("explained_variance", "cosine"))
        rows.append({"part": part, "explained": _spread(explained), "cosine": _spread(cosine)})
    return {"rows": rows, "runs": len(runs), "test": rows[-1]["explained"]["mean"]}


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}


TNET = Section("tnet", link="T-Net", title="T-Net", content=content)
