"""The figures of the contest: levels, differences, choices, curves."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from pkdot.evaluation.evaluate import BASELINE, UPPER_BOUND
from pkdot.evaluation.metrics import lower_is_better
from pkdot.reporting.formatting import label_of, short
from pkdot.reporting.plotting import BASELINE as BASELINE_COLOUR
from pkdot.reporting.plotting import MUTED, RULE, STUDENT, THIRD, canvas, svg
from pkdot.reporting.plotting import UPPER_BOUND as UPPER_BOUND_COLOUR
from pkdot.reporting.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH = 7.6
ROWS_WIDTH = 6.2  # of a figure with a row a method: a phone shows it whole


def colour_of(method: str, chosen: str | None) -> str:
    """Baseline, upper bound and the student of the answer have colours of their own."""
    return {BASELINE: BASELINE_COLOUR, UPPER_BOUND: UPPER_BOUND_COLOUR, chosen: STUDENT}.get(method, MUTED)


def levels(results: Results, chosen: str | None) -> Markup:
    """Every method's primary metric with its interval, between baseline and upper bound."""
    metric = results.summary["primary_metric"]
    methods = [*results.methods, *results.teachers]
    rows = [results.row(method) for method in methods]
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for name in (BASELINE, UPPER_BOUND):
            axes.axvline(results.row(name)["mean"], color=colour_of(name, chosen), linestyle=(0, (4, 3)), linewidth=1)
        for height, row in enumerate(rows):
            colour = colour_of(row["method"], chosen)
            axes.plot(
                [row["ci_low"], row["ci_high"]],
                [height] * 2,
                color=colour,
                linewidth=2,
                solid_capstyle="round",
            )
            axes.plot(row["mean"], height, "o", color=colour, markersize=7)
        _rows(axes, methods)
        axes.set_xlabel(label_of(metric) + _direction(metric))
        return svg(figure, f"{label_of(metric)} of every method with its 95 % interval")


def differences(results: Results, chosen: str | None) -> Markup:
    """Each subject's difference to the baseline, a dot a subject, for every method."""
    methods = [method for method in (*results.methods, *results.teachers) if method != BASELINE]
    baseline = results.by_subject(BASELINE)
    with canvas(ROWS_WIDTH, 0.9 + 0.34 * len(methods)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, linewidth=1.2)
        for height, method in enumerate(methods):
            values = results.by_subject(method) - baseline
            known = np.sort(values[~np.isnan(values)])
            colour, row = colour_of(method, chosen), results.row(method)
            shift = 0.11 * (np.arange(len(known)) % 3 - 1)
            axes.plot(known, height + shift, "o", color=colour, markersize=4.5, alpha=0.45, markeredgewidth=0)
            ends = [row["diff_ci_low"], row["diff_ci_high"]]
            axes.plot(ends, [height + 0.3] * 2, color=colour, linewidth=2, solid_capstyle="round")
            axes.plot(row["diff"], height + 0.3, "|", color=colour, markersize=9, markeredgewidth=2)
        _rows(axes, methods)
        metric = results.summary["primary_metric"]
        axes.set_xlabel(f"difference in {label_of(metric)} to the baseline{_direction(metric)}")
        return svg(figure, "difference of every subject to the baseline, for every method")


def by_subject(results: Results, chosen: str) -> Markup:
    """The chosen student's difference to the baseline, a bar a subject in order of size."""
    values = results.by_subject(chosen) - results.by_subject(BASELINE)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    with canvas(WIDTH, 2.6) as figure:
        axes = figure.add_subplot()
        axes.bar(np.arange(len(order)), values[order], color=STUDENT, width=0.7)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        names = [short(results.subjects[i], 16) for i in order] if len(order) <= 40 else []
        axes.set_xticks(np.arange(len(names)), names, rotation=90 if len(names) > 12 else 0)
        axes.set_xlabel("" if names else f"{len(order)} subjects")
        axes.set_ylabel(f"difference to the baseline{_direction(results.summary['primary_metric'])}")
        axes.margins(x=0.02)
        return svg(figure, f"difference of {chosen} to the baseline, a bar for each subject")


def sensitivity(results: Results, chosen: str | None) -> Markup:
    """Validation score of every candidate: its mean over folds, and the one of each fold."""
    methods = results.methods
    with canvas(ROWS_WIDTH, 0.9 + 0.34 * len(methods)) as figure:
        axes = figure.add_subplot()
        for height, method in enumerate(methods):
            scores = [[c["score"] for c in fold["candidates"]] for fold in results.choices[method]]
            width = min(map(len, scores))
            means = np.mean([fold[:width] for fold in scores], axis=0)
            colour = colour_of(method, chosen)
            axes.plot([means.min(), means.max()], [height] * 2, color=colour, linewidth=2)
            axes.plot(means, [height] * width, "o", color=colour, markersize=6, alpha=0.7)
        _rows(axes, methods)
        axes.set_xlabel("validation score, a dot for each candidate (mean over folds)")
        return svg(figure, "validation score of every candidate of every method")


def curves(panels: list[tuple[str, np.ndarray, np.ndarray]], score: str) -> Markup:
    """Training loss and validation score against the epoch, a line a fold.

    Parameters
    ----------
    panels : list of (str, ndarray, ndarray)
        Title, losses and scores, each of shape (folds, epochs).
    score : str
        What the score is.
    """
    with canvas(WIDTH, 3.6) as figure:
        grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
        for column, (title, losses, scores) in enumerate(panels):
            for axes, table, colour in ((grid[0, column], losses, THIRD), (grid[1, column], scores, STUDENT)):
                epochs = np.arange(1, table.shape[1] + 1)
                axes.plot(epochs, table.T, color=colour, linewidth=0.9, alpha=0.4)
                axes.plot(epochs, np.nanmean(table, axis=0), color=colour, linewidth=2)
                axes.grid(axis="y")
                axes.tick_params(labelsize=8)
                axes.xaxis.get_major_locator().set_params(integer=True)
            grid[0, column].set_title(short(title, 22))
            grid[1, column].set_xlabel("epoch")
        grid[0, 0].set_ylabel("training loss")
        grid[1, 0].set_ylabel(score)
        return svg(figure, f"training loss and {score} against the epoch: {', '.join(panel[0] for panel in panels)}")


def agreement(values: dict[str, np.ndarray], chosen: str | None) -> Markup:
    """How alike the similarity matrices of students and teacher are, a dot a fold and seed."""
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(values)) as figure:
        axes = figure.add_subplot()
        for height, (method, found) in enumerate(values.items()):
            colour = colour_of(method, chosen)
            axes.plot(found, [height] * len(found), "o", color=colour, markersize=4.5, alpha=0.4, markeredgewidth=0)
            axes.plot(np.mean(found), height, "|", color=colour, markersize=12, markeredgewidth=2.4)
        _rows(axes, list(values))
        axes.set_xlabel("correlation of a student's similarities with the teacher's, on test subjects")
        return svg(figure, "agreement of students' similarity matrices with the teacher's")


def signals(panels: list[tuple[str, np.ndarray]], label: str) -> Markup:
    """Arrays of a modality as lines: (title, array of shape (channels, time)) for some samples."""
    columns = len(panels) if len(panels) <= 5 else 4
    rows = -(-len(panels) // columns)
    with canvas(WIDTH, 0.2 + 1.5 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes, (title, array) in zip(grid, panels, strict=False):
            for channel, colour in zip(
                array, cycle((STUDENT, UPPER_BOUND_COLOUR, THIRD, BASELINE_COLOUR)), strict=False
            ):
                axes.plot(channel, color=colour, linewidth=0.9)
            axes.set_title(short(title, 16), fontsize=9)
            axes.set_xticks([])
            axes.tick_params(labelsize=7)
        return svg(figure, label)


def trajectories(panels: list[tuple[str, pd.DataFrame]]) -> Markup:
    """True and predicted values of some samples: (title, table with frame, target and prediction)."""
    with canvas(WIDTH, 1.5 * len(panels) + 0.3) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, sharey=True)[:, 0]
        for axes, (title, table) in zip(grid, panels, strict=True):
            axes.plot(table["frame"], table["target"], color=BASELINE_COLOUR, linewidth=2, label="true")
            axes.plot(table["frame"], table["prediction"], color=STUDENT, linewidth=1.4, label="predicted")
            axes.set_title(short(title, 80), fontsize=9)
            axes.grid(axis="y")
        grid[0].legend(loc="upper right", ncols=2, fontsize=8)
        grid[-1].set_xlabel("frame")
        return svg(figure, "true and predicted values of some test samples")


def _direction(metric: str) -> str:
    return " (lower is better)" if lower_is_better(metric) else ""


def _rows(axes: Axes, names: list[str]) -> None:
    """One row a method, the first on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
