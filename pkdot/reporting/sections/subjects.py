"""Differences to the baseline, subject by subject."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.evaluation.metrics import label_of
from pkdot.reporting.formatting import short
from pkdot.reporting.plotting import MUTED, ROWS_WIDTH, RULE, STUDENT, WIDTH, canvas, colour_of, name_rows, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return every subject's value of every method, and for how many the chosen student is better."""
    values = {method: results.by_subject(method) for method in results.everyone}
    rows = [
        {"subject": name, "values": [values[method][i] for method in results.everyone]}
        for i, name in enumerate(results.subjects)
    ]
    content = {"figure": differences(results), "lower": results.sign < 0, "rows": rows}
    if results.chosen:
        gain = results.sign * (values[results.chosen] - values[results.baseline])
        content |= {"bars": bars(results, results.chosen), "counts": counts(gain)}
    return content


def counts(gain: np.ndarray) -> dict[str, int]:
    """Return how many subjects gain, lose, and neither; NaN is a subject whose metric is not defined."""
    equal = np.isclose(gain, 0)  # means over seeds of equal values differ in their last digits
    kinds = {"better": ~equal & (gain > 0), "worse": ~equal & (gain < 0), "equal": equal}
    return {kind: int(those.sum()) for kind, those in kinds.items()}


def differences(results: Results) -> str:
    """Draw each subject's difference to the baseline, a dot a subject, for every method."""
    methods = [method for method in results.everyone if method != results.baseline]
    baseline = results.by_subject(results.baseline)
    with canvas(ROWS_WIDTH, 0.9 + 0.34 * len(methods)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, linewidth=1.2)
        for height, method in enumerate(methods):
            values = results.by_subject(method) - baseline
            defined = np.sort(values[~np.isnan(values)])
            colour, row = colour_of(method, results), results.row(method)
            shift = 0.11 * (np.arange(len(defined)) % 3 - 1)
            axes.plot(defined, height + shift, "o", color=colour, markersize=4.5, alpha=0.45, markeredgewidth=0)
            ends = [row["diff_ci_low"], row["diff_ci_high"]]
            axes.plot(ends, [height + 0.3] * 2, color=colour, linewidth=2, solid_capstyle="round")
            axes.plot(row["diff"], height + 0.3, "|", color=colour, markersize=9, markeredgewidth=2)
        name_rows(axes, methods)
        axes.set_xlabel(f"difference in {label_of(results.primary)} to the baseline{results.direction}")
        return svg(figure, "difference of every subject to the baseline, for every method")


def bars(results: Results, method: str) -> str:
    """Draw a method's difference to the baseline, a bar a subject in order of size."""
    values = results.by_subject(method) - results.by_subject(results.baseline)
    defined = np.flatnonzero(~np.isnan(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    with canvas(WIDTH, 2.6) as figure:
        axes = figure.add_subplot()
        axes.bar(np.arange(len(order)), values[order], color=STUDENT, width=0.7)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        names = [short(results.subjects[i], 16) for i in order] if len(order) <= 40 else []
        axes.set_xticks(np.arange(len(names)), names, rotation=90 if len(names) > 12 else 0)
        axes.set_xlabel("" if names else f"{len(order)} subjects")
        axes.set_ylabel(f"difference to the baseline{results.direction}")
        axes.margins(x=0.02)
        return svg(figure, f"difference of {method} to the baseline, a bar for each subject")


SUBJECTS = Section("subjects", link="Subjects", title="Subject by subject", content=content)
