"""The data set, its classes and its folds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pkdot.reporting.formatting import plural
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

PARTS = ("train", "validation", "test")


def content(results: Results) -> dict[str, Any]:
    """Return the counts of samples, classes and folds."""
    splits, classes = results.splits, results.samples.classes
    counted = Counter(results.samples.table[results.targets[0]]) if classes else Counter()
    left_out = sum(scored["left_out"] for scored in results.scored)
    folds = [
        {"sizes": [len(fold[part]) for part in PARTS], "tested": fold["test"], **scored}
        for fold, scored in zip(splits["folds"], results.scored, strict=True)
    ]
    warning = f"{plural(left_out, 'test sample')} could not be predicted by every method and count for none; see the "
    return {
        "about": results.samples.about,
        "classes": [(name, counted[name]) for name in classes or []],
        "scheme": splits["scheme"].replace("_", " "),
        "unit": splits["unit"],
        "folds": folds,
        "warnings": [warning + "ledger."] if left_out else [],
    }


DATA = Section("data", link="Data", title="Data", content=content)
