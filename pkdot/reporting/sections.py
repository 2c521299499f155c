"""What each section of the report shows, as plain values and figures for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from pkdot.evaluation.evaluate import BASELINE, UPPER_BOUND
from pkdot.evaluation.metrics import lower_is_better, metric_names
from pkdot.reporting import figures
from pkdot.reporting.formatting import options
from pkdot.reporting.results import Results
from pkdot.stages import STAGES

LEDGER_LINES = 300
GAP = 0.1  # of a score between 0 and 1, or of the range of levels


def contest(results: Results, chosen: str | None) -> dict:
    """The table of the primary metric, and those of all metrics."""
    summary = results.summary
    shares = {entry["method"]: entry for entry in summary["gap_closed"]}
    names = metric_names(results.experiment.task.kind, list(results.samples.about["targets"]))
    upper_bound, better = results.row(UPPER_BOUND)["mean"], _sign(results)

    def row(method: str, metric: str) -> dict:
        found = results.row(method, metric)
        share = shares.get(method) if metric == summary["primary_metric"] else None
        return {**found, "role": role_of(results, method), "chosen": method == chosen, "gap": share}

    methods = [*results.methods, *results.teachers]
    return {
        "metrics": names,
        "methods": methods,
        "tables": {m: [row(name, m) for name in methods] for m in names},
        "compared": sum(entry["p"] is not None for entry in summary["rows"]) // len(names),
        "figure": figures.levels(results, chosen),
        "upper_bound": upper_bound,
        "above": [row for row in map(results.row, methods) if better * (row["mean"] - upper_bound) > 0],
    }


def _sign(results: Results) -> int:
    """1 where higher values of the primary metric are better, else -1."""
    return -1 if lower_is_better(results.summary["primary_metric"]) else 1


def role_of(results: Results, method: str) -> str:
    """What a method is in the contest."""
    if method in (BASELINE, UPPER_BOUND):
        return "baseline" if method == BASELINE else "upper bound"
    return "student" if method in results.methods else "teacher of one modality"


def subjects(results: Results, chosen: str | None) -> dict:
    """Differences to the baseline, subject by subject."""
    methods = [*results.methods, *results.teachers]
    values = {method: results.by_subject(method) for method in methods}
    found = {
        "figure": figures.differences(results, chosen),
        "lower": _sign(results) < 0,
        "methods": methods,
        "rows": [
            {"subject": name, "values": [values[method][i] for method in methods]}
            for i, name in enumerate(results.subjects)
        ],
    }
    if chosen:
        gain = _sign(results) * (values[chosen] - values[BASELINE])
        found |= {"bars": figures.by_subject(results, chosen), "counts": counts(gain)}
    return found


def counts(gain: np.ndarray) -> dict[str, int]:
    """How many subjects gain, lose, and neither; NaN is a subject whose metric is not defined."""
    equal = np.isclose(gain, 0)  # means over seeds of equal values differ in their last digits
    kinds = {"better": ~equal & (gain > 0), "worse": ~equal & (gain < 0), "equal": equal}
    return {kind: int(those.sum()) for kind, those in kinds.items()}


def confusions(results: Results, chosen: str | None) -> dict | None:
    """Confusion matrices of baseline, the chosen student and the teacher; None for a regression."""
    classes = results.samples.classes
    if classes is None:
        return None
    shown = list(dict.fromkeys(name for name in (BASELINE, chosen, UPPER_BOUND) if name))
    return {"classes": classes, "matrices": {method: results.confusion(method).tolist() for method in shown}}


def trajectories(results: Results, chosen: str | None) -> dict | None:
    """True and predicted values of the best, the middle and the worst test sample; None for classes."""
    if results.samples.classes is not None:
        return None
    method = chosen or BASELINE
    table = results.predictions
    table = table[(table["method"] == method) & (table["seed"] == results.seeds[0])]
    error = (table["prediction"] - table["target"]).abs()
    mean = error.groupby([table["output"], table["sample_id"]]).mean()
    panels = []
    for output in results.samples.about["targets"]:
        ordered = mean[output].sort_values(kind="stable").index
        for place, sample in zip(("smallest", "median", "largest"), ordered[[0, len(ordered) // 2, -1]], strict=True):
            one = table[(table["output"] == output) & (table["sample_id"] == sample)].sort_values("frame")
            panels.append((f"{output}, {place} error: {sample}", one))
    return {"method": method, "seed": results.seeds[0], "figure": figures.trajectories(panels)}


def choices(results: Results, chosen: str | None) -> dict:
    """What each method chose in each fold, and how much the choice mattered on the validation subjects."""
    methods = []
    for method in results.methods:
        folds = results.choices[method]
        width = min(len(fold["candidates"]) for fold in folds)
        means = np.mean([[c["score"] for c in fold["candidates"][:width]] for fold in folds], axis=0)
        rows = []
        for place in range(width):
            tried = [fold["candidates"][place] for fold in folds]
            cells = [
                {"score": each["score"], "loss": each["loss"], "chosen": each["options"] == fold["chosen"]}
                for each, fold in zip(tried, folds, strict=True)
            ]
            rows.append({"options": options(tried[0]["options"]), "cells": cells, "mean": float(means[place])})
        methods.append({"method": method, "rows": rows, "spread": float(means.max() - means.min())})
    return {"figure": figures.sensitivity(results, chosen), "methods": methods, "folds": results.folds}


def encoders(results: Results) -> list[dict]:
    """Scores of the encoders on people whom they know and whom they do not."""
    kind, classes = results.experiment.task.kind, results.samples.classes
    limit = GAP * (len(classes) - 1) if kind == "ordinal" else GAP
    rows = []
    for modality in results.experiment.modalities:
        scores = results.encoder_scores(modality)
        train, validation = (float(scores[part].mean()) for part in ("train", "validation"))
        wide = train - validation > limit
        rows.append({"modality": modality, "train": train, "validation": validation, "wide": wide})
    return rows


def score_name(results: Results) -> str:
    """What choices are made by."""
    names = {
        "classification": "balanced accuracy",
        "ordinal": "negative mean absolute error",
        "regression": "mean CCC",
    }
    return names[results.experiment.task.kind]


def curves(results: Results, chosen: str | None) -> list[dict]:
    """Learning curves of encoders, teacher, students and T-Net."""
    score = score_name(results)
    found = []
    names = list(results.experiment.modalities)
    for start in range(0, len(names), 4):
        group = names[start : start + 4]
        panels = [(f"encoder: {n}", *(results.encoder_curves(n, c) for c in ("loss", "score"))) for n in group]
        found.append({"title": "Encoders", "figure": figures.curves(panels, score)})
    named = [name for name in (UPPER_BOUND, chosen, BASELINE) if name]
    panels = [(name, *(results.curves(name, c) for c in ("loss", "score"))) for name in dict.fromkeys(named)]
    panels.append(("T-Net", *(results.curves("tnet", c) for c in ("loss", "score"))))
    found.append(
        {
            "title": "Teacher, students and T-Net (its score is explained variance)",
            "figure": figures.curves(panels, score),
        }
    )
    return found


def tnet(results: Results) -> dict:
    """How much of the privileged embeddings T-Net recovers, by part."""
    runs = [metrics for fold in results.taught for metrics in fold["tnet"].values()]
    rows = []
    for part in ("train", "validation", "test"):
        explained, cosine = (np.array([run[part][key] for run in runs]) for key in ("explained_variance", "cosine"))
        rows.append({"part": part, "explained": _spread(explained), "cosine": _spread(cosine)})
    return {"rows": rows, "runs": len(runs), "test": rows[-1]["explained"]["mean"]}


def _spread(values: np.ndarray) -> dict:
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}


def data(results: Results) -> dict:
    """The data set, its classes and its folds."""
    about, splits, table = results.samples.about, results.splits, results.samples.table
    target = next(iter(about["targets"]))
    found = Counter(table[target]) if results.samples.classes else {}
    return {
        "about": about,
        "target": target,
        "classes": [(name, found[name]) for name in results.samples.classes or []],
        "scheme": splits["scheme"].replace("_", " "),
        "unit": splits["unit"],
        "folds": [{part: len(fold[part]) for part in ("train", "validation", "test")} for fold in splits["folds"]],
        "tested": [
            {"samples": scored["samples"], "left_out": scored["left_out"], "test": fold["test"]}
            for scored, fold in zip(results.scored, splits["folds"], strict=True)
        ],
    }


def ledger(results: Results) -> dict:
    """Entries of the ledger, counted and listed."""
    entries = results.ledger
    found = Counter((entry.stage, entry.modality or "all", entry.action) for entry in entries)
    return {
        "total": len(entries),
        "counts": [(*key, count) for key, count in sorted(found.items())],
        "entries": entries[:LEDGER_LINES],
        "path": (results.processed / "ledger.csv").as_posix(),
    }


def left_out(results: Results) -> int:
    """Test samples that not every method could predict."""
    return sum(scored["left_out"] for scored in results.scored)


def costs(records: Iterable[dict]) -> list[dict]:
    """Seconds and memory of each stage: one line a stage, one job counted once."""
    jobs = {record["marker"]: record for record in records}
    stages: dict[str, list[dict]] = {}
    for record in jobs.values():
        stages.setdefault(record["stage"].removeprefix("pkdot."), []).append(record)
    rows = []
    order = list(dict.fromkeys(stage.module.removeprefix("pkdot.") for stage in STAGES.values()))
    for stage, found in sorted(stages.items(), key=lambda item: order.index(item[0])):
        times = [record["seconds"] for record in found]
        memory = max(record["peak_memory_mb"] for record in found)
        rows.append({"stage": stage, "jobs": len(found), "total": sum(times), "longest": max(times), "memory": memory})
    return rows


def origins(records: Iterable[dict]) -> dict[str, Any]:
    """Versions and hashes of the code that made the results."""
    versions: dict[str, set[str]] = {}
    code: dict[str, set[str]] = {}
    for record in records:
        code.setdefault(record["stage"], set()).add(record["code"])
        for name, version in record["versions"].items():
            versions.setdefault(name, set()).add(version)
    return {
        "versions": {name: sorted(found) for name, found in sorted(versions.items())},
        "code": {stage: sorted(found) for stage, found in sorted(code.items())},
        "mixed": sorted(name for name, found in versions.items() if len(found) > 1),
    }
