"""Confusion matrices of baseline, the chosen student and the teacher."""

from __future__ import annotations

from typing import Any

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any] | None:
    """Return the matrices as shares of their rows; None for a regression."""
    classes = results.samples.classes
    if classes is None:
        return None
    return {"classes": classes, "matrices": {method: results.confusion(method).tolist() for method in results.shown}}


CONFUSIONS = Section("confusions", link="Confusion", title="Confusion matrices", content=content)
