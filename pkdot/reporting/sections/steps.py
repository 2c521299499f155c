"""The steps at which students were kept, and whether the budget of steps suits them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.reporting.formatting import percent
from pkdot.reporting.plotting import STUDENT, WIDTH, canvas, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

MANY = 0.25  # share of the students


def content(results: Results) -> dict[str, Any]:
    """Return the kept steps of the chosen candidate of every method, over folds and seeds."""
    rows = [_row(results, name) for name, folds in results.choices.items() if any(fold["budget"] for fold in folds)]
    total = {key: sum(row[key] for row in rows) for key in ("first", "last", "students")}
    return {
        "rows": rows,
        "total": total,
        "budgets": sorted({fold["budget"] for folds in results.choices.values() for fold in folds} - {0}),
        "figure": _figure(np.concatenate([[], *(row["steps"] for row in rows)])),
        "warnings": kept_warnings(**total),
    }


def _row(results: Results, method: str) -> dict[str, Any]:
    """Count the students of a method that were kept at the first and at the last evaluation of their budget."""
    steps, first, last = [], 0, 0
    for fold in results.choices[method]:
        chosen = next(each for each in fold["candidates"] if each["options"] == fold["chosen"])
        kept = chosen["kept_steps"]
        steps += kept
        first += sum(step <= fold["evaluate_every"] for step in kept)
        last += sum(step >= fold["budget"] for step in kept)
    median = float(np.median(steps))
    return {"method": method, "steps": steps, "first": first, "last": last, "median": median, "students": len(steps)}


def kept_warnings(first: int, last: int, students: int) -> list[str]:
    """Return warnings where many students were kept at either end of their budget.

    Parameters
    ----------
    first, last : int
        Students that were kept at the first and at the last evaluation.
    students : int
        All students.
    """
    found = []
    if first > MANY * students:
        found.append(
            f"{first} of {students} students ({percent(first / students)}) were kept at their first evaluation: for "
            "them training did not help, and what the methods differ in had little time to act."
        )
    if last > MANY * students:
        found.append(
            f"{last} of {students} students ({percent(last / students)}) were kept at the last step of their budget: "
            "more steps may improve them."
        )
    return found


def _figure(steps: np.ndarray) -> str:
    """Draw how many students were kept at each step."""
    values, counts = np.unique(steps, return_counts=True)
    width = 0.8 * np.diff(values).min() if len(values) > 1 else 1.0
    with canvas(WIDTH, 2.4) as figure:
        axes = figure.add_subplot()
        axes.bar(values, counts, width=width, color=STUDENT)
        axes.set_xlabel("step at which a student was kept")
        axes.set_ylabel("students")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        return svg(figure, "number of students that were kept at each step")


STEPS = Section("steps", link="Kept steps", title="The steps at which students were kept", content=content)
