"""The ablation stage: variants of a method side by side, and what the released code's protocol would have claimed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.evaluation.evaluate import CEILING, FLOOR
from pkdot.files import read_json, write_text
from pkdot.params import Params
from pkdot.provenance import job

if TYPE_CHECKING:
    from markupsafe import Markup


class AblationParams(Params):
    """What the page is about."""

    experiment: str = Field(description="name of the experiment")
    variants: dict[str, dict[str, Any]] = Field(description="what each variant changes, to be shown")


def write_ablation(summary: Path, protocols: list[Path], out: Path, params: AblationParams) -> None:
    """Write ``ablation.html`` from the summary of the variants.

    Parameters
    ----------
    summary : Path
        summary.json of the variants.
    protocols : list of Path
        summary.json of the experiment itself, then of the same data under other protocols, such as the one of the
        released code; their methods are set side by side.
    out : Path
        The folder of the page.
    """
    from pkdot.reporting.report import render

    with job(__name__, out, params, inputs=[summary, *protocols], record="ablation") as scratch:
        found = read_json(summary)
        metric = found["primary_metric"]
        rows = [row for row in found["rows"] if row["metric"] == metric]
        context = {
            "experiment": params.experiment,
            "summary": found,
            "rows": rows,
            "changes": {name: _change(variant) for name, variant in params.variants.items()},
            "figure": _figure(rows, metric),
            "protocols": _protocols([read_json(path) for path in protocols], metric),
        }
        write_text(scratch / "ablation.html", render("ablation.html", context))


def _change(variant: dict[str, Any]) -> str:
    """A variant in words: its method, the options that it fixes, and how its student differs."""
    options = {**variant["method"]["options"], **{key: variant[key] for key in ("tnet", "batch_size") if variant[key]}}
    if variant["fusion"]:
        options["fusion"] = variant["fusion"]["name"]
    said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in options.items())
    return f"{variant['method']['name']}: {said}" if said else variant["method"]["name"]


def _figure(rows: list[dict], metric: str) -> Markup:
    """Each variant's mean with its interval; dashed lines mark floor and ceiling."""
    from pkdot.reporting.drawing import CEILING as CEILING_COLOUR
    from pkdot.reporting.drawing import FLOOR as FLOOR_COLOUR
    from pkdot.reporting.drawing import STUDENT, canvas, svg
    from pkdot.reporting.wording import label_of

    ends = {FLOOR: FLOOR_COLOUR, CEILING: CEILING_COLOUR}
    with canvas(8, 0.9 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for position, row in enumerate(rows):
            colour = ends.get(row["method"], STUDENT)
            axes.plot([row["ci_low"], row["ci_high"]], [position, position], color=colour)
            axes.plot(row["mean"], position, "o", color=colour)
            if row["method"] in ends:
                axes.axvline(row["mean"], color=colour, linestyle="--", linewidth=0.8)
        axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(label_of(metric))
        return svg(figure, f"{label_of(metric)} of every variant with its 95 % interval")


def _protocols(summaries: list[dict], metric: str) -> dict[str, Any]:
    """The methods that all protocols have, with the metric under each, and its rise against the first protocol."""
    if len(summaries) < 2:
        return {}
    tables = [{row["method"]: row for row in found["rows"] if row["metric"] == metric} for found in summaries]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {
        "names": [found["experiment"] for found in summaries],
        "rows": [
            {"method": name, "cells": [table[name] for table in tables],
             "rises": [table[name]["mean"] - tables[0][name]["mean"] for table in tables[1:]]}
            for name in shared
        ],
    }  # fmt: skip
