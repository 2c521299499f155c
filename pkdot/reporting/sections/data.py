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
    folds = [
        {
            "sizes": [len(fold[part]) for part in PARTS],
            "tested": fold["test"],
            "samples": scored["samples"],
            "left_out": _labelled(results, fold["test"]) - scored["samples"],
        }
        for fold, scored in zip(splits["folds"], results.scored, strict=True)
    ]
    left_out = sum(fold["left_out"] for fold in folds)
    warning = f"{plural(left_out, 'test sample')} could not be predicted by every method and count for none; see the "
    return {
        "about": results.samples.about,
        "classes": [(name, counted[name]) for name in classes or []],
        "scheme": splits["scheme"].replace("_", " "),
        "unit": splits["unit"],
        "folds": folds,
        "warnings": [warning + "ledger."] if left_out else [],
    }


def _labelled(results: Results, part: list[str]) -> int:
    """Return how many samples of a part have a label: some may be predicted by no method."""
    samples = results.samples
    return int(samples.labelled[samples.rows(part, results.splits["unit"])].sum())


DATA = Section("data", link="Data", title="Data", content=content)
