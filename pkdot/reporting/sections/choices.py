"""What each method chose on the validation subjects, and how much the choice mattered."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkdot.reporting.formatting import options
from pkdot.reporting.plotting import ROWS_WIDTH, canvas, colour_of, name_rows, svg
from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return the candidates of every method with their validation scores in each fold."""
    methods = [_candidates(results, method) for method in results.methods]
    return {"figure": _figure(results), "methods": methods}


def _candidates(results: Results, method: str) -> dict[str, Any]:
    """Return one row a candidate, with one cell a fold."""
    folds, means = results.choices[method], results.candidate_scores(method).mean(axis=0)
    rows = []
    for place, mean in enumerate(means):
        tried = [fold["candidates"][place] for fold in folds]
        cells = [
            {"score": each["score"], "loss": each["loss"], "chosen": each["options"] == fold["chosen"]}
            for each, fold in zip(tried, folds, strict=True)
        ]
        rows.append({"options": options(tried[0]["options"]), "cells": cells, "mean": float(mean)})
    return {"method": method, "rows": rows, "spread": float(np.ptp(means))}


def _figure(results: Results) -> str:
    """Draw the validation score of every candidate, mean over folds."""
    with canvas(ROWS_WIDTH, 0.9 + 0.34 * len(results.methods)) as figure:
        axes = figure.add_subplot()
        for height, method in enumerate(results.methods):
            means = results.candidate_scores(method).mean(axis=0)
            colour = colour_of(method, results)
            axes.plot([means.min(), means.max()], [height] * 2, color=colour, linewidth=2)
            axes.plot(means, [height] * len(means), "o", color=colour, markersize=6, alpha=0.7)
        name_rows(axes, results.methods)
        axes.set_xlabel("validation score, a dot for each candidate (mean over folds)")
        return svg(figure, "validation score of every candidate of every method")


CHOICES = Section("choices", link="Choices", title="What was chosen, and how much it mattered", content=content)
