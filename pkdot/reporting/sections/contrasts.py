"""The comparisons that were declared beforehand, with the smallest difference that each could have shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.evaluation.metrics import label_of
from pkdot.reporting.conclusion import contrasts_of, verdict
from pkdot.reporting.plotting import BASELINE, MUTED, ROWS_WIDTH, RULE, STUDENT, UPPER_BOUND, canvas, name_rows, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

COLOURS = {"better": STUDENT, "worse": UPPER_BOUND, "open": MUTED}


def content(results: Results) -> dict[str, Any] | None:
    """Return the declared contrasts of the primary metric; None where there is none."""
    rows = [{**each, "verdict": verdict(each)} for each in contrasts_of(results.summary)]
    return {"rows": rows, "figure": _figure(results, rows)} if rows else None


def _figure(results: Results, rows: list[dict]) -> str:
    """Draw each difference with its interval over the band of differences that are too small to be shown."""
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=RULE, linewidth=1.2)
        for height, row in enumerate(rows):
            colour, ends = COLOURS[row["verdict"]], [row["diff_ci_low"], row["diff_ci_high"]]
            if row["smallest_difference"] is not None:
                reach = np.array([-1, 1]) * row["smallest_difference"]
                axes.plot(reach, [height] * 2, color=BASELINE, alpha=0.25, linewidth=9, solid_capstyle="butt")
            axes.plot(ends, [height] * 2, color=colour, linewidth=2, solid_capstyle="round")
            axes.plot(row["diff"], height, "o", color=colour, markersize=7)
        name_rows(axes, [f"{row['method']} − {row['reference']}" for row in rows])
        axes.set_xlabel(f"difference in {label_of(results.primary)}{results.direction}")
        return svg(figure, "difference of every declared contrast with its 95 % interval")


CONTRASTS = Section("contrasts", link="Contrasts", title="Declared contrasts", content=content)
