"""The ablation stage: variants of a method side by side, and the same methods under other protocols."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.evaluation.metrics import label_of
from pkdot.files import read_json, write_text
from pkdot.layout import ABLATION_PAGE, METRICS, SPLITS, trained
from pkdot.params import Params
from pkdot.provenance import chain, job
from pkdot.reporting.conclusion import contrasts_of
from pkdot.reporting.formatting import percent
from pkdot.reporting.sections.tnet import quality

if TYPE_CHECKING:
    from pkdot.config import Experiment

LEAKING = "leave_clips_out"
EVALUATION = "pkdot.evaluation."
# Keys that say which job it is, or how work is shared out, and not what is done.
_NO_OPTIONS = ("fold", "shard", "shards", "label", "modality", "compute")


class TNetVariant(Params):
    """A variant with a trained T-Net."""

    kind: str = Field(description="the kind of its T-Net, with its options")
    matched: str = Field(description="the variant without a T-Net that has as many parameters")


class AblationParams(Params):
    """Parameters of the page of the ablation."""

    experiment: str = Field(description="name of the experiment")
    variants: dict[str, dict[str, Any]] = Field(description="what each variant changes, to be shown")
    reference: str = Field(description="the variant that every other one is tested against")
    tnets: dict[str, TNetVariant] = Field({}, description="the variants with a T-Net that is set against its equal")
    seeds: list[int] = Field(description="seeds of the students")


def ablation_params(e: Experiment, experiment: str) -> AblationParams:
    """Return the parameters of the page of the ablation."""
    variants = {name: variant.plain() for name, variant in e.ablation.items()}
    tnets = {
        name: TNetVariant(kind=_named((e.ablation[name].tnet_kind or e.tnet.kind).plain()), matched=matched)
        for name, matched in e.matched.items()
    }
    return AblationParams(
        experiment=experiment,
        variants=variants,
        reference=e.evaluation.ablation_reference,
        tnets=tnets,
        seeds=e.seeds,
    )


def write_ablation(
    summary: Path, protocols: list[Path], students: list[Path], out: Path, params: AblationParams
) -> None:
    """Write ``ablation.html`` from the summary of the variants.

    Parameters
    ----------
    summary : Path
        summary.json of the variants.
    protocols : list of Path
        summary.json of the experiment itself, then of the same data under other protocols, such as the one of the
        released code; their methods are set side by side, with what the records behind them differ in.
    students : list of Path
        ``students/fold_<k>/<variant>.json`` of every fold and variant; how much their T-Nets recover lies below.
    out : Path
        The folder of the page.
    params : AblationParams
        The variants.
    """
    from pkdot.reporting.page import render

    metrics = {
        label: [
            trained(path.parent, seed, label) / METRICS
            for path in students
            if path.stem == label
            for seed in params.seeds
        ]
        for label in dict.fromkeys(label for name, one in params.tnets.items() for label in (name, one.matched))
    }
    inputs = [summary, *protocols, *(path for paths in metrics.values() for path in paths)]
    with job(__name__, out, params, inputs=inputs, record="ablation") as scratch:
        values = read_json(summary)
        rows = _rows(values, params.reference)
        context = {
            "experiment": params.experiment,
            "summary": values,
            "reference": params.reference,
            "declared": len(contrasts_of(values)),
            "rows": rows,
            "tnets": _tnets(
                params.tnets, rows, values, {name: [*map(read_json, found)] for name, found in metrics.items()}
            ),
            "changes": {name: _change(variant) for name, variant in params.variants.items()},
            "figure": _figure(rows, values),
            "leaks": _leaks(chain([summary])),
            "protocols": _protocols(protocols, values["primary_metric"]),
        }
        write_text(scratch / ABLATION_PAGE, render("ablation.html", context))


def _rows(summary: dict[str, Any], reference: str) -> list[dict[str, Any]]:
    """Return one row a variant, with its contrast with the reference; None where it is not tested."""
    tested = {each["method"]: each for each in contrasts_of(summary) if each["reference"] == reference}
    of = [row for row in summary["rows"] if row["metric"] == summary["primary_metric"]]
    return [{**row, "contrast": tested.get(row["method"])} for row in of]


def _tnets(
    variants: dict[str, TNetVariant], rows: list[dict], summary: dict[str, Any], metrics: dict[str, list[dict]]
) -> list[dict[str, Any]]:
    """Return one row a variant with a T-Net: what that recovers, and its student beside the one without any."""
    metric, found = summary["primary_metric"], []
    tested = {(each["method"], each["reference"]): each for each in contrasts_of(summary) if each["metric"] == metric}
    scores = {row["method"]: row for row in rows}
    for name, variant in variants.items():
        own, equal = metrics[name], metrics[variant.matched]
        found.append(
            {
                **variant.plain(),
                "variant": name,
                "trained": quality([one["tnet"]["trained"] for one in own]),
                "deployed": quality([one["tnet"]["deployed"] for one in own]),
                "parameters": [one[0]["parameters"] for one in (own, equal)],
                "score": scores[name],
                "equal": scores[variant.matched],
                "contrast": tested.get((name, variant.matched)) or _turned(tested[variant.matched, name]),
            }
        )
    return found


def _turned(contrast: dict[str, Any]) -> dict[str, Any]:
    """Return the contrast of a reference with a method from that of the method with the reference."""
    low, high = contrast["diff_ci_low"], contrast["diff_ci_high"]
    return {**contrast, "diff": -contrast["diff"], "diff_ci_low": -high, "diff_ci_high": -low}


def _named(choice: dict[str, Any]) -> str:
    """Return the name of a plug-in, with its options where some are given."""
    listed = ", ".join(f"{key} {value}" for key, value in choice.items() if key != "name")
    return f"{choice['name']} ({listed})" if listed else str(choice["name"])


def _change(variant: dict[str, Any]) -> str:
    """Describe a variant: its method, the options that it fixes, and how its student differs."""
    method = dict(variant["method"])
    name = method.pop("name")
    options = {**method, **{key: variant[key] for key in ("tnet", "batch_size") if variant[key]}}
    if variant["tnet_kind"]:
        options["T-Net"] = _named(variant["tnet_kind"])
    if variant["fusion"]:
        options["fusion"] = variant["fusion"]["name"]
    listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in options.items())
    return f"{name}: {listed}" if listed else name


def _figure(rows: list[dict], summary: dict[str, Any]) -> str:
    """Draw each variant's mean with its interval; dashed lines mark baseline and upper bound."""
    from pkdot.reporting.plotting import BASELINE, ROWS_WIDTH, STUDENT, UPPER_BOUND, canvas, name_rows, svg

    ends = {summary["baseline"]["method"]: BASELINE, summary["upper_bound"]: UPPER_BOUND}
    label = label_of(summary["primary_metric"])
    with canvas(ROWS_WIDTH, 0.9 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for height, row in enumerate(rows):
            colour = ends.get(row["method"], STUDENT)
            axes.plot([row["ci_low"], row["ci_high"]], [height] * 2, color=colour)
            axes.plot(row["mean"], height, "o", color=colour)
            if row["method"] in ends:
                axes.axvline(row["mean"], color=colour, linestyle="--", linewidth=0.8)
        name_rows(axes, [row["method"] for row in rows])
        axes.set_xlabel(label)
        return svg(figure, f"{label} of every variant with its 95 % interval")


def _leaks(records: dict[Path, dict]) -> bool:
    """Return whether one person lay on both sides and the test part made the choices, by the records of a summary."""
    return any(record["params"].get("scheme") == LEAKING for record in records.values())


def _protocols(paths: list[Path], metric: str) -> dict[str, Any]:
    """Return the methods that all protocols have, their rise against the first one, and what the protocols differ in.

    Nothing is returned where there is only one protocol.
    """
    if len(paths) < 2:
        return {}
    summaries = [read_json(path) for path in paths]
    tables = [{row["method"]: row for row in each["rows"] if row["metric"] == metric} for each in summaries]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    names = [each["experiment"] for each in summaries]
    records = [chain([path]) for path in paths]
    options = [_options(each, shared) for each in records]
    rows = [(name, [_values(each, name) for each in options]) for name in dict.fromkeys(itertools.chain(*options))]
    return {
        "names": names,
        "leaking": [name for name, each in zip(names, records, strict=True) if _leaks(each)],
        "differences": [(option, values) for option, values in rows if len(set(values)) > 1],
        "rows": [
            {"method": name, "cells": [table[name] for table in tables],
             "rises": [table[name]["mean"] - tables[0][name]["mean"] for table in tables[1:]]}
            for name in shared
        ],
    }  # fmt: skip


def _values(options: dict[str, set[str]], name: str) -> str:
    """Return the value of an option, several where folds have their own."""
    return " or ".join(sorted(options.get(name, {"not set"})))


def _options(records: dict[Path, dict], methods: list[str]) -> dict[str, set[str]]:
    """Return the options of the jobs behind a summary: option -> its values, several where folds have their own."""
    options: dict[str, set[str]] = {}
    for path, record in records.items():
        stage, params = record["stage"].rpartition(".")[2], record["params"]
        if record["stage"].startswith(EVALUATION) or params.get("label", methods[0]) not in methods:
            continue
        if stage == "splits":
            options["share of the data in training"] = {_share(path.with_name(SPLITS))}
        for option, value in _flat(params):
            owner = params.get("label") if option.startswith("method.") else params.get("modality")
            options.setdefault(f"{stage}{f' of {owner}' if owner else ''}: {option}", set()).add(str(value))
    return options


def _share(splits: Path) -> str:
    """Return the share of the subjects or samples that the training parts hold, mean over folds."""
    folds = read_json(splits)["folds"]
    sizes = [(len(fold["train"]), len({*fold["train"], *fold["validation"], *fold["test"]})) for fold in folds]
    return percent(sum(train / whole for train, whole in sizes) / len(sizes))


def _flat(params: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield options with their places, such as ``training.batch_size``."""
    for key, value in params.items():
        if place or key not in _NO_OPTIONS:
            yield from _flat(value, f"{place}{key}.") if isinstance(value, dict) else [(place + key, value)]
