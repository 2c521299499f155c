"""All methods: levels, differences to the baseline and their tests, for every metric."""

from __future__ import annotations

from typing import Any

from pkdot.evaluation.metrics import label_of, metric_names
from pkdot.layout import UPPER_BOUND
from pkdot.reporting.conclusion import contrasts_of, warnings_of_the_test
from pkdot.reporting.plotting import ROWS_WIDTH, canvas, colour_of, name_rows, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return one table for each metric, the primary one first."""
    shares = {entry["method"]: entry for entry in results.summary["gap_closed"]}
    names = metric_names(results.experiment.task.kind, results.targets)
    upper_bound = results.row(UPPER_BOUND)["mean"]

    def row(method: str, metric: str) -> dict[str, Any]:
        share = shares.get(method) if metric == results.primary else None
        contrast = results.contrast_with_baseline(method, metric) or {"p": None, "p_holm": None}
        tested = {"p": contrast["p"], "p_holm": contrast["p_holm"]}
        return {**results.row(method, metric), **tested, "role": results.role(method), "gap": share}

    return {
        "metrics": names,
        "tables": {metric: [row(method, metric) for method in results.everyone] for metric in names},
        "unlabelled": _without_labels(results),
        "finetuned": results.experiment.students.encoder == "finetuned",
        "declared": len(contrasts_of(results.summary)),
        "candidates": sorted(results.summary["baseline"]["validation"].items(), key=lambda item: -item[1]),
        "figure": levels(results),
        "upper_bound": upper_bound,
        "above": [row for row in map(results.row, results.everyone) if results.sign * (row["mean"] - upper_bound) > 0],
        "warnings": warnings_of_the_test(results.summary, results.experiment.splits.scheme),
    }


def _without_labels(results: Results) -> dict[str, Any] | None:
    """Return how many training samples have no label, and which methods do not use them; None where all have one."""
    used = {method: [fold["samples"] for fold in folds] for method, folds in results.choices.items()}
    counts = [one for samples in used.values() for one in samples if one["unlabelled"]]
    if not counts:
        return None
    return {
        "labelled": (min(one["labelled"] for one in counts), max(one["labelled"] for one in counts)),
        "unlabelled": (min(one["unlabelled"] for one in counts), max(one["unlabelled"] for one in counts)),
        "labelled_only": [m for m, samples in used.items() if not any(one["unlabelled"] for one in samples)],
    }


def levels(results: Results) -> str:
    """Draw every method's primary metric with its interval, between baseline and upper bound."""
    rows = [results.row(method) for method in results.everyone]
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for name in (results.baseline, UPPER_BOUND):
            axes.axvline(results.row(name)["mean"], color=colour_of(name, results), linestyle=(0, (4, 3)), linewidth=1)
        for height, row in enumerate(rows):
            colour, ends = colour_of(row["method"], results), [row["ci_low"], row["ci_high"]]
            axes.plot(ends, [height] * 2, color=colour, linewidth=2, solid_capstyle="round")
            axes.plot(row["mean"], height, "o", color=colour, markersize=7)
        name_rows(axes, results.everyone)
        axes.set_xlabel(label_of(results.primary) + results.direction)
        return svg(figure, f"{label_of(results.primary)} of every method with its 95 % interval")


CONTEST = Section("contest", link="All methods", title="All methods", content=content)
