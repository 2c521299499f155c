"""Another model's predictions against the baseline of a finished experiment: same samples, folds and statistics."""

from __future__ import annotations

from pathlib import Path

from pkdot.data import Samples
from pkdot.evaluation.contest import Contest
from pkdot.evaluation.foreign import Foreign, check_complete
from pkdot.evaluation.metrics import Metrics, metric_names
from pkdot.evaluation.summary import SummaryParams, runs_of, units
from pkdot.files import read_json
from pkdot.layout import UPPER_BOUND, Layout
from pkdot.provenance import verified
from pkdot.tables import read_parts

ALONE = "alone"  # the family of a contrast that no configuration declared


def score(predictions: Path, files: Layout, label: str) -> dict:
    """Return the metrics of another model's predictions, and how they differ from those of the baseline.

    Parameters
    ----------
    predictions : Path
        The file; ``pkdot.evaluation.foreign`` says what it holds.
    files : Layout
        The files of an experiment whose summary was made.
    label : str
        Name of the model.

    Returns
    -------
    dict
        As summary.json: ``rows`` of the model, the baseline and the upper bound, ``contrasts`` of the model with the
        baseline (no correction: it is one test of each metric), and what they rest on.

    Raises
    ------
    DataError
        The experiment has no results, or something is wrong with the file; the message names its row.
    """
    for path in (files.summary(), files.predictions(), files.splits):
        verified(path)
    params = SummaryParams(**read_json(files.summary().with_name("summary.run.json"))["params"])
    summary, samples = read_json(files.summary()), Samples.load(files.manifest)
    foreign = Foreign(predictions, samples, read_json(files.splits), params.task, params.seeds.networks)
    tables, baseline = [files.predictions()], summary["baseline"]["method"]
    groups, grouped = units(tables, params)
    runs = {name: runs_of(name, tables, groups, samples, params) for name in (baseline, UPPER_BOUND)}
    runs[label] = _runs_of_foreign(foreign, files, groups, params)
    contest = Contest(runs, len(groups), params.evaluation.bootstrap, params.evaluation.seed)
    names = metric_names(params.task.kind, list(samples.about["targets"]))
    return {
        "experiment": params.experiment,
        "title": summary["title"],
        "simulated": summary["simulated"],
        "primary_metric": names[0],
        "grouped": grouped,
        "seeds_note": summary["seeds_note"],
        "method": label,
        "baseline": baseline,
        "upper_bound": UPPER_BOUND,
        "rows": [contest.row(method, name, baseline) for name in names for method in (label, baseline, UPPER_BOUND)],
        "contrasts": contest.contrast(label, baseline, ALONE),
    }


def _runs_of_foreign(foreign: Foreign, files: Layout, groups: list[str], params: SummaryParams) -> list[Metrics]:
    """Return the metrics of the model over the samples that all methods predicted, one entry a seed of the contest."""
    common = _common(files, params)
    runs = []
    for seed in params.seeds.networks:
        parts = []
        for fold, wanted in common.items():
            part = foreign.table(fold, seed)
            check_complete(foreign.path, fold, set(part["sample_id"]), wanted)
            parts.append(part[part["sample_id"].isin(wanted)].assign(fold=fold))
        runs.append(Metrics(parts, groups, params.task.kind, foreign.samples.classes, unit="group_id"))
    return runs


def _common(files: Layout, params: SummaryParams) -> dict[int, set[str]]:
    """Return the samples of each fold that all methods predicted."""
    found: dict[int, set[str]] = {}
    for part in read_parts(files.predictions(), ["fold", "sample_id"], UPPER_BOUND, params.seeds.networks[0]):
        for fold, rows in part.groupby("fold"):
            found.setdefault(int(fold), set()).update(rows["sample_id"].unique())
    return found
