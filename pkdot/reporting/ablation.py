"""The ablation stage: variants of a method side by side, and the same methods under other protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.evaluation.metrics import label_of
from pkdot.files import read_json, write_text
from pkdot.layout import ABLATION_PAGE, SPLITS
from pkdot.params import Params
from pkdot.provenance import chain, job
from pkdot.reporting.conclusion import declared
from pkdot.reporting.formatting import percent

if TYPE_CHECKING:
    from pkdot.config import Experiment

LEAKING = "clips_as_released"
# Which job it is and how work is shared out, not what is done.
_NO_OPTIONS = ("fold", "shard", "shards", "label", "modality", "compute")


class AblationParams(Params):
    """What the page is about."""

    experiment: str = Field(description="name of the experiment")
    variants: dict[str, dict[str, Any]] = Field(description="what each variant changes, to be shown")


def ablation_params(e: Experiment, experiment: str) -> AblationParams:
    """Return the parameters of the page of the ablation."""
    return AblationParams(experiment=experiment, variants={name: v.plain() for name, v in e.ablation.items()})


def write_ablation(summary: Path, protocols: list[Path], out: Path, params: AblationParams) -> None:
    """Write ``ablation.html`` from the summary of the variants.

    Parameters
    ----------
    summary : Path
        summary.json of the variants.
    protocols : list of Path
        summary.json of the experiment itself, then of the same data under other protocols, such as the one of the
        released code; their methods are set side by side, with what the records behind them say they differ in.
    out : Path
        The folder of the page.
    """
    from pkdot.reporting.page import render

    with job(__name__, out, params, inputs=[summary, *protocols], record="ablation") as scratch:
        found = read_json(summary)
        metric = found["primary_metric"]
        tests = {entry["method"]: entry for entry in declared(found) if entry["metric"] == metric}
        rows = [row for row in found["rows"] if row["metric"] == metric]
        context = {
            "experiment": params.experiment,
            "summary": found,
            "rows": rows,
            "tests": tests,
            "changes": {name: _change(variant) for name, variant in params.variants.items()},
            "figure": _figure(rows, found),
            "leaks": _leaks(chain([summary])),
            "protocols": _protocols(protocols, metric),
        }
        write_text(scratch / ABLATION_PAGE, render("ablation.html", context))


def _change(variant: dict[str, Any]) -> str:
    """A variant in words: its method, the options that it fixes, and how its student differs."""
    method = dict(variant["method"])
    name = method.pop("name")
    options = {**method, **{key: variant[key] for key in ("tnet", "batch_size") if variant[key]}}
    if variant["fusion"]:
        options["fusion"] = variant["fusion"]["name"]
    said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in options.items())
    return f"{name}: {said}" if said else name


def _figure(rows: list[dict], summary: dict) -> str:
    """Each variant's mean with its interval; dashed lines mark baseline and upper bound."""
    from pkdot.reporting.plotting import BASELINE as BASELINE_COLOUR
    from pkdot.reporting.plotting import ROWS_WIDTH, STUDENT, canvas, svg
    from pkdot.reporting.plotting import UPPER_BOUND as UPPER_BOUND_COLOUR

    metric = summary["primary_metric"]
    ends = {summary["baseline"]["method"]: BASELINE_COLOUR, summary["upper_bound"]: UPPER_BOUND_COLOUR}
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(rows)) as figure:
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


def _leaks(records: dict[Path, dict]) -> bool:
    """Whether one person lay on both sides and the test part made the choices, by the records behind a summary."""
    return any(record["params"].get("scheme") == LEAKING for record in records.values())


def _protocols(paths: list[Path], metric: str) -> dict[str, Any]:
    """The methods that all protocols have, their rise against the first one, and all that the protocols differ in."""
    if len(paths) < 2:
        return {}
    summaries = [read_json(path) for path in paths]
    tables = [{row["method"]: row for row in found["rows"] if row["metric"] == metric} for found in summaries]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    names = [found["experiment"] for found in summaries]
    behind = [chain([path]) for path in paths]
    told = [_told(records, shared) for records in behind]
    options = list(dict.fromkeys(option for each in told for option in each))
    said = [(option, [" or ".join(sorted(each.get(option, {"not set"}))) for each in told]) for option in options]
    return {
        "names": names,
        "leaking": [name for name, records in zip(names, behind, strict=True) if _leaks(records)],
        "differences": [(option, values) for option, values in said if len(set(values)) > 1],
        "rows": [
            {"method": name, "cells": [table[name] for table in tables],
             "rises": [table[name]["mean"] - tables[0][name]["mean"] for table in tables[1:]]}
            for name in shared
        ],
    }  # fmt: skip


def _told(records: dict[Path, dict], methods: list[str]) -> dict[str, set[str]]:
    """What the jobs behind a summary were told: option -> its values, several where folds have their own."""
    told: dict[str, set[str]] = {}
    for path, record in records.items():
        stage, params = record["stage"].rpartition(".")[2], record["params"]
        if stage in ("fold", "summary") or params.get("label", methods[0]) not in methods:
            continue
        if stage == "splits":
            told["share of the data in training"] = {_share(path.with_name(SPLITS))}
        for option, value in _flat(params):
            own = params.get("label") if option.startswith("method.") else params.get("modality")
            told.setdefault(f"{stage}{f' of {own}' if own else ''}: {option}", set()).add(str(value))
    return told


def _share(splits: Path) -> str:
    """Share of the subjects or samples that the training parts hold, mean over folds."""
    folds = read_json(splits)["folds"]
    sizes = [(len(fold["train"]), len({*fold["train"], *fold["validation"], *fold["test"]})) for fold in folds]
    return percent(sum(train / whole for train, whole in sizes) / len(sizes))


def _flat(params: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if place or key not in _NO_OPTIONS:
            yield from _flat(value, f"{place}{key}.") if isinstance(value, dict) else [(place + key, value)]
