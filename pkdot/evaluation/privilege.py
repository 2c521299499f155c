"""When privilege pays: what each method reaches with few and with wrong labels, and how much of that is privilege."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pkdot import layout
from pkdot.data import Samples
from pkdot.evaluation.statistics import subjects_needed
from pkdot.files import read_json
from pkdot.grid import Cell
from pkdot.params import Params

if TYPE_CHECKING:
    from pkdot.evaluation.contest import Contest
    from pkdot.evaluation.summary import SummaryParams

EFFECTS = (0.01, 0.02, 0.05, 0.1)  # differences of which it is said how many subjects show them


class Question(Params):
    """What is asked of the cells."""

    method: str = Field(description="the method that the answer is about")
    controls: list[str] = Field(description="its control arms")
    cells: list[Cell] = Field(min_length=1, description="the cells of the grid")
    primary: Cell = Field(description="the cell that the answer is about")
    labelled_unit: Literal["subject", "sample"] = Field(description="what a share or number of labels counts")


def numbers_of(manifest: Path, folds: dict[str, list[Path]], question: Question, params: SummaryParams) -> dict:
    """Return the content of ``privilege.json``.

    Parameters
    ----------
    manifest : Path
        The manifest.
    folds : dict of str to list of Path
        Name of each cell -> ``fold_<k>.json`` of its folds; the predictions lie beside them.
    question : Question
        The method, its controls and the cells.
    params : SummaryParams
        The methods, and how intervals are made.
    """
    from pkdot.evaluation.metrics import metric_names

    samples = Samples.load(manifest)
    metric = metric_names(params.task.kind, list(samples.about["targets"]))[0]
    cells = [_cell(cell, folds[cell.name], samples, metric, question, params) for cell in question.cells]
    return {
        "experiment": params.experiment,
        "title": samples.about["title"],
        "simulated": samples.about["simulated"],
        "primary_metric": metric,
        "method": question.method,
        "controls": question.controls,
        "methods": params.methods,
        "teachers": params.teachers,
        "prevalent_only": params.prevalent_only,
        "labelled_unit": question.labelled_unit,
        "primary": question.primary.name,
        "cells": cells,
    }


def _cell(
    cell: Cell, folds: list[Path], samples: Samples, metric: str, question: Question, params: SummaryParams
) -> dict:
    """Return the numbers of a cell; its baseline is chosen on its validation subjects."""
    from pkdot.evaluation.contest import Contest
    from pkdot.evaluation.summary import kept_score, runs_of, units

    described = [read_json(path) for path in folds]
    tables = [path.with_name(f"{path.stem}.{layout.PREDICTIONS}") for path in folds]
    validation = {
        method: float(np.mean([kept_score(each["choices"][method]) for each in described])) for method in params.methods
    }
    baseline = max(params.prevalent_only, key=validation.__getitem__)  # the first of equal ones
    groups, grouped = units(tables, params)
    everyone = [*params.methods, *params.teachers]
    runs = {method: runs_of(method, tables, groups, samples, params, primary=True) for method in everyone}
    contest = Contest(runs, len(groups), params.evaluation.bootstrap, params.evaluation.seed)
    labels = {name: float(np.mean([each["labels"][name] for each in described])) for name in described[0]["labels"]}
    return {
        **cell.plain(),
        "name": cell.name,
        "grouped": grouped,
        "labels": labels,
        "baseline": baseline,
        "validation": validation,
        "rows": [contest.row(method, metric, baseline) for method in everyone],
        **_privilege(contest, baseline, metric, question, params.teachers),
    }


def _privilege(contest: Contest, baseline: str, metric: str, question: Question, teachers: list[str]) -> dict:
    """Return the gate, the gain of the method in question, and how much of it each control leaves, the least first."""
    from pkdot.evaluation.metrics import lower_is_better

    controls = [
        {
            "control": control,
            **_compared(contest, question.method, control, metric),
            "share": contest.share(question.method, control, baseline, metric),
        }
        for control in question.controls
    ]
    sign = -1 if lower_is_better(metric) else 1
    controls.sort(key=lambda each: np.inf if each["diff"] is None else sign * each["diff"])
    teacher, prevalent_teacher = teachers
    return {
        "gate": _compared(contest, teacher, prevalent_teacher, metric),
        "gain": _compared(contest, question.method, baseline, metric),
        "controls": controls,
    }


def _compared(contest: Contest, method: str, reference: str, metric: str) -> dict:
    """Return the difference of two methods, whether it is shown, and how many subjects would show others."""
    found = contest.shown(method, reference, metric)
    return {
        "method": method,
        "reference": reference,
        **found,
        "subjects": {str(effect): subjects_needed(found["deviation"], effect) for effect in EFFECTS},
    }
