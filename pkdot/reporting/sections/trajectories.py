"""True and predicted values, for targets that are numbers: of some samples in time, or of all whole samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pkdot.reporting.formatting import short
from pkdot.reporting.plotting import BASELINE, STUDENT, WIDTH, canvas, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("smallest", "median", "largest")


def content(results: Results) -> dict[str, Any] | None:
    """Return the best, the middle and the worst test sample of each target, or all whole ones; None for classes."""
    if results.samples.classes is not None:
        return None
    method = results.chosen or results.baseline
    table = results.predictions(method, results.seeds[0])
    if not table["frame"].any():
        parts = [(output, table[table["output"] == output]) for output in results.targets]
        return {"method": method, "whole": True, "figure": _clouds(parts)}
    error = (table["prediction"] - table["target"]).abs()
    mean = error.groupby([table["output"], table["sample_id"]]).mean()
    panels = []
    for output in results.targets:
        ordered = mean[output].sort_values(kind="stable").index
        for place, sample in zip(PLACES, ordered[[0, len(ordered) // 2, -1]], strict=True):
            one = table[(table["output"] == output) & (table["sample_id"] == sample)].sort_values("frame")
            panels.append((f"{output}, {place} error: {sample}", one))
    return {"method": method, "whole": False, "figure": _figure(panels)}


def _clouds(panels: list[tuple[str, pd.DataFrame]]) -> str:
    """Draw predicted over true values, a panel a target; on the line they are equal."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with canvas(WIDTH, 3.2 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes, (output, table) in zip(grid, panels, strict=False):
            axes.axline((float(table["target"].mean()),) * 2, slope=1, color=BASELINE, linewidth=1)
            axes.plot(table["target"], table["prediction"], ".", color=STUDENT, markersize=4, alpha=0.6)
            axes.set_title(short(output, 30), fontsize=9)
            axes.set_xlabel("true")
        grid[0].set_ylabel("predicted")
        return svg(figure, "predicted over true values of all test samples")


def _figure(panels: list[tuple[str, pd.DataFrame]]) -> str:
    """Draw tables with the columns frame, target and prediction, each under its title."""
    with canvas(WIDTH, 1.5 * len(panels) + 0.3) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, sharey=True)[:, 0]
        for axes, (title, table) in zip(grid, panels, strict=True):
            axes.plot(table["frame"], table["target"], color=BASELINE, linewidth=2, label="true")
            axes.plot(table["frame"], table["prediction"], color=STUDENT, linewidth=1.4, label="predicted")
            axes.set_title(short(title, 80), fontsize=9)
            axes.grid(axis="y")
        grid[0].legend(loc="upper right", ncols=2, fontsize=8)
        grid[-1].set_xlabel("frame")
        return svg(figure, "true and predicted values of some test samples")


TRAJECTORIES = Section("trajectories", link="Trajectories", title="True and predicted values", content=content)
