"""What each section of the report shows, as plain values and figures for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from pkdot.evaluation.evaluate import CEILING, FLOOR
from pkdot.evaluation.metrics import LOWER_IS_BETTER, metric_names
from pkdot.reporting import figures
from pkdot.reporting.evidence import Evidence
from pkdot.reporting.wording import options
from pkdot.stages import STAGES

LEDGER_LINES = 300
GAP = 0.1  # of a score between 0 and 1, or of the range of levels


def contest(evidence: Evidence, chosen: str | None) -> dict:
    """The table of the primary metric, and those of all metrics."""
    summary = evidence.summary
    shares = {entry["method"]: entry for entry in summary["gap_closed"]}
    names = metric_names(evidence.experiment.task.kind, list(evidence.samples.about["targets"]))
    ceiling, better = evidence.row(CEILING)["mean"], _sign(evidence)

    def row(method: str, metric: str) -> dict:
        found = evidence.row(method, metric)
        share = shares.get(method) if metric == summary["primary_metric"] else None
        return {**found, "role": role_of(evidence, method), "chosen": method == chosen, "gap": share}

    methods = [*evidence.methods, *evidence.teachers]
    return {
        "metrics": names,
        "methods": methods,
        "tables": {m: [row(name, m) for name in methods] for m in names},
        "compared": sum(entry["p"] is not None for entry in summary["rows"]) // len(names),
        "figure": figures.levels(evidence, chosen),
        "ceiling": ceiling,
        "above": [row for row in map(evidence.row, methods) if better * (row["mean"] - ceiling) > 0],
    }


def _sign(evidence: Evidence) -> int:
    """1 where higher values of the primary metric are better, else -1."""
    return -1 if evidence.summary["primary_metric"] in LOWER_IS_BETTER else 1


def role_of(evidence: Evidence, method: str) -> str:
    """What a method is in the contest."""
    if method in (FLOOR, CEILING):
        return "floor" if method == FLOOR else "ceiling"
    return "student" if method in evidence.methods else "teacher of one modality"


def subjects(evidence: Evidence, chosen: str | None) -> dict:
    """Differences to the floor, subject by subject."""
    methods = [*evidence.methods, *evidence.teachers]
    values = {method: evidence.by_subject(method) for method in methods}
    found = {
        "figure": figures.differences(evidence, chosen),
        "lower": _sign(evidence) < 0,
        "methods": methods,
        "rows": [
            {"subject": name, "values": [values[method][i] for method in methods]}
            for i, name in enumerate(evidence.subjects)
        ],
    }
    if chosen:
        gain = _sign(evidence) * (values[chosen] - values[FLOOR])
        found |= {"bars": figures.by_subject(evidence, chosen), "counts": counts(gain)}
    return found


def counts(gain: np.ndarray) -> dict[str, int]:
    """How many subjects gain, lose, and neither; NaN is a subject whose metric is not defined."""
    equal = np.isclose(gain, 0)  # means over seeds of equal values differ in their last digits
    kinds = {"better": ~equal & (gain > 0), "worse": ~equal & (gain < 0), "equal": equal}
    return {kind: int(those.sum()) for kind, those in kinds.items()}


def confusions(evidence: Evidence, chosen: str | None) -> dict | None:
    """Confusion matrices of floor, the chosen student and the teacher; None for a regression."""
    classes = evidence.samples.classes
    if classes is None:
        return None
    shown = list(dict.fromkeys(name for name in (FLOOR, chosen, CEILING) if name))
    return {"classes": classes, "matrices": {method: evidence.confusion(method).tolist() for method in shown}}


def trajectories(evidence: Evidence, chosen: str | None) -> dict | None:
    """True and predicted values of the best, the middle and the worst test sample; None for classes."""
    if evidence.samples.classes is not None:
        return None
    method = chosen or FLOOR
    table = evidence.predictions
    table = table[(table["method"] == method) & (table["seed"] == evidence.seeds[0])]
    error = (table["prediction"] - table["target"]).abs()
    mean = error.groupby([table["output"], table["sample_id"]]).mean()
    panels = []
    for output in evidence.samples.about["targets"]:
        ordered = mean[output].sort_values(kind="stable").index
        for place, sample in zip(("smallest", "median", "largest"), ordered[[0, len(ordered) // 2, -1]], strict=True):
            one = table[(table["output"] == output) & (table["sample_id"] == sample)].sort_values("frame")
            panels.append((f"{output}, {place} error: {sample}", one))
    return {"method": method, "seed": evidence.seeds[0], "figure": figures.trajectories(panels)}


def choices(evidence: Evidence, chosen: str | None) -> dict:
    """What each method chose in each fold, and how much the choice mattered on the validation subjects."""
    methods = []
    for method in evidence.methods:
        folds = evidence.choices[method]
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
    return {"figure": figures.sensitivity(evidence, chosen), "methods": methods, "folds": evidence.folds}


def encoders(evidence: Evidence) -> list[dict]:
    """Scores of the encoders on people whom they know and whom they do not."""
    kind, classes = evidence.experiment.task.kind, evidence.samples.classes
    limit = GAP * (len(classes) - 1) if kind == "ordinal" else GAP
    rows = []
    for modality in evidence.experiment.modalities:
        scores = evidence.encoder_scores(modality)
        train, validation = (float(scores[part].mean()) for part in ("train", "validation"))
        wide = train - validation > limit
        rows.append({"modality": modality, "train": train, "validation": validation, "wide": wide})
    return rows


def score_name(evidence: Evidence) -> str:
    """What choices are made by."""
    names = {
        "classification": "balanced accuracy",
        "ordinal": "negative mean absolute error",
        "regression": "mean CCC",
    }
    return names[evidence.experiment.task.kind]


def curves(evidence: Evidence, chosen: str | None) -> list[dict]:
    """Learning curves of encoders, teacher, students and T-Net."""
    score = score_name(evidence)
    found = []
    names = list(evidence.experiment.modalities)
    for start in range(0, len(names), 4):
        group = names[start : start + 4]
        panels = [(f"encoder: {n}", *(evidence.encoder_curves(n, c) for c in ("loss", "score"))) for n in group]
        found.append({"title": "Encoders", "figure": figures.curves(panels, score)})
    named = [name for name in (CEILING, chosen, FLOOR) if name]
    panels = [(name, *(evidence.curves(name, c) for c in ("loss", "score"))) for name in dict.fromkeys(named)]
    panels.append(("T-Net", *(evidence.curves("tnet", c) for c in ("loss", "score"))))
    found.append(
        {
            "title": "Teacher, students and T-Net (its score is explained variance)",
            "figure": figures.curves(panels, score),
        }
    )
    return found


def tnet(evidence: Evidence) -> dict:
    """How much of the privileged embeddings T-Net recovers, by part."""
    runs = [metrics for fold in evidence.taught for metrics in fold["tnet"].values()]
    rows = []
    for part in ("train", "validation", "test"):
        explained, cosine = (np.array([run[part][key] for run in runs]) for key in ("explained_variance", "cosine"))
        rows.append({"part": part, "explained": _spread(explained), "cosine": _spread(cosine)})
    return {"rows": rows, "runs": len(runs), "test": rows[-1]["explained"]["mean"]}


def _spread(values: np.ndarray) -> dict:
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}


def data(evidence: Evidence) -> dict:
    """The data set, its classes and its folds."""
    about, splits, table = evidence.samples.about, evidence.splits, evidence.samples.table
    target = next(iter(about["targets"]))
    found = Counter(table[target]) if evidence.samples.classes else {}
    return {
        "about": about,
        "target": target,
        "classes": [(name, found[name]) for name in evidence.samples.classes or []],
        "scheme": splits["scheme"].replace("_", " "),
        "unit": splits["unit"],
        "folds": [{part: len(fold[part]) for part in ("train", "validation", "test")} for fold in splits["folds"]],
        "tested": [
            {"samples": scored["samples"], "left_out": scored["left_out"], "test": fold["test"]}
            for scored, fold in zip(evidence.scored, splits["folds"], strict=True)
        ],
    }


def ledger(evidence: Evidence) -> dict:
    """Entries of the ledger, counted and listed."""
    entries = evidence.ledger
    found = Counter((entry.stage, entry.modality or "all", entry.action) for entry in entries)
    return {
        "total": len(entries),
        "counts": [(*key, count) for key, count in sorted(found.items())],
        "entries": entries[:LEDGER_LINES],
        "path": (evidence.processed / "ledger.csv").as_posix(),
    }


def left_out(evidence: Evidence) -> int:
    """Test samples that not every method could predict."""
    return sum(scored["left_out"] for scored in evidence.scored)


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
