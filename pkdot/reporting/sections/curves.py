"""Learning curves of encoders, teacher, students and T-Net."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pkdot.reporting.formatting import short
from pkdot.reporting.plotting import STUDENT, THIRD, WIDTH, canvas, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

COLUMNS = 4

Panel = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # title; steps, losses and scores; shape (folds, looks)


def content(results: Results) -> dict[str, Any]:
    """Return a figure for every four encoders, and one of teacher, students and T-Net."""
    encoders = [
        _panel(f"encoder: {name}", partial(results.encoder_curves, name)) for name in results.experiment.modalities
    ]
    groups = [encoders[start : start + COLUMNS] for start in range(0, len(encoders), COLUMNS)]
    figures = [{"title": "Encoders", "figure": _figure(group, results.score)} for group in groups]
    titles = {name: name for name in results.shown} | {"tnet": "T-Net"}
    panels = [_panel(title, partial(results.curves, name)) for name, title in titles.items()]
    title = "Teacher, students and T-Net (its score is explained variance)"
    return {"figures": [*figures, {"title": title, "figure": _figure(panels, results.score)}]}


def _panel(title: str, column: Callable[[str], np.ndarray]) -> Panel:
    return title, column("step"), column("loss"), column("score")


def _figure(panels: list[Panel], score: str) -> str:
    """Draw training loss and validation score against the step, a line a fold."""
    with canvas(WIDTH, 3.6) as figure:
        grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
        for column, (title, steps, losses, scores) in enumerate(panels):
            for axes, table, colour in ((grid[0, column], losses, THIRD), (grid[1, column], scores, STUDENT)):
                axes.plot(steps.T, table.T, color=colour, linewidth=0.9, alpha=0.4)
                axes.plot(*_mean(steps, table), color=colour, linewidth=2)
                axes.grid(axis="y")
                axes.tick_params(labelsize=8)
                axes.xaxis.get_major_locator().set_params(integer=True)
            grid[0, column].set_title(short(title, 22))
            grid[1, column].set_xlabel("step")
        grid[0, 0].set_ylabel("training loss")
        grid[1, 0].set_ylabel(score)
        return svg(figure, f"training loss and {score} against the step: {', '.join(panel[0] for panel in panels)}")


def _mean(steps: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps at which any fold was looked at, and the mean over those folds; shape (looks,) twice."""
    there = ~np.isnan(table).all(axis=0)
    return np.nanmax(steps[:, there], axis=0), np.nanmean(table[:, there], axis=0)


CURVES = Section("curves", link="Training", title="Training", content=content)
