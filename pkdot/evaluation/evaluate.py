"""The evaluation stages: one fold's metrics, then all folds: predictions, metrics and summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.files import read_json, write_json
from pkdot.layout import (
    BASELINE,
    MEANS,
    METRICS_TABLE,
    PREDICTIONS,
    SUMMARY,
    UPPER_BOUND,
    fold_name,
    teachers_of,
    trained,
)
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.tasks import TaskParams

if TYPE_CHECKING:
    import pandas as pd


class FoldParams(Params):
    """Whose predictions on one fold are scored."""

    fold: int = Field(ge=0, description="number of the fold")
    seeds: list[int] = Field(min_length=1, description="seeds")
    methods: list[str] = Field(description="methods, in the order of the report")
    modalities: list[str] = Field(description="modalities whose own teachers are scored too")
    task: TaskParams = Field(description="what is predicted")


class EvaluationParams(Params):
    """How the results are tested."""

    bootstrap: int = Field(2000, ge=100, description="resamples of the subjects for the intervals")
    seed: int = Field(0, ge=0, description="seed of the resamples and of the permutation tests")


class SummaryParams(Params):
    """All folds together."""

    experiment: str = Field(description="name of the experiment")
    task: TaskParams = Field(description="what is predicted")
    teachers: list[str] = Field(description="of the methods those that are teachers, which close no gap")
    evaluation: EvaluationParams = Field(description="how the results are tested")


def evaluate_fold(manifest: Path, teachers: Path, students: Path, out: Path, params: FoldParams) -> None:
    """Write ``fold_<k>.json`` (metrics of every method and seed) and ``fold_<k>.predictions.parquet``.

    Methods are compared on the samples that all of them could predict; ``left_out`` counts the others.
    """
    import pandas as pd

    from pkdot.evaluation.metrics import Metrics

    samples = Samples.load(manifest)
    files = _prediction_files(teachers, students, params)
    name = fold_name(params.fold)
    with job(__name__, out, params, inputs=[manifest, *files.values()], record=name) as scratch:
        tables = []
        for (method, seed), path in files.items():
            table = pd.read_parquet(path)
            tables.append(table.assign(fold=params.fold, seed=seed, method=method))
        common = set.intersection(*(set(table["sample_id"]) for table in tables))
        seen = set.union(*(set(table["sample_id"]) for table in tables))
        if not common:
            raise DataError(f"{manifest}: no test sample of fold {params.fold} has every modality; see ledger.csv.")
        tables = [table[table["sample_id"].isin(common)] for table in tables]
        scored: dict[str, dict] = {}
        for (method, seed), table in zip(files, tables, strict=True):
            subjects = sorted(table["subject_id"].unique())
            values = Metrics(table, subjects, params.task.kind, samples.classes).all()
            scored.setdefault(method, {})[seed] = {key: _number(value) for key, value in values.items()}
        first = ["fold", "seed", "method"]
        everything = pd.concat(tables, ignore_index=True)
        everything = everything[first + [column for column in everything if column not in first]]
        everything.to_parquet(scratch / f"{name}.predictions.parquet", index=False)
        described = {
            "fold": params.fold,
            "samples": len(common),
            "left_out": len(seen - common),
            "methods": scored,
        }
        write_json(scratch / f"{name}.json", described)


def _prediction_files(teachers: Path, students: Path, params: FoldParams) -> dict[tuple[str, int], Path]:
    files = {}
    for seed in params.seeds:
        for method in params.methods:
            files[method, seed] = trained(students, seed, method) / PREDICTIONS
        for teacher in teachers_of(params.modalities):
            files[teacher, seed] = trained(teachers, seed, teacher) / PREDICTIONS
    return files


def _number(value: float) -> float | None:
    """The value for JSON; None where a metric is not defined."""
    return float(value) if np.isfinite(value) else None


def summarise(manifest: Path, folds: list[Path], out: Path, params: SummaryParams) -> None:
    """Write ``predictions.parquet``, ``metrics.csv`` (fold, seed, method, metric, value) and ``summary.json``.

    ``means.json`` repeats the means of the summary as metric -> method -> mean, which `dvc metrics` can compare.
    """
    import pandas as pd

    samples = Samples.load(manifest)
    tables = [path.with_name(f"{path.stem}.predictions.parquet") for path in folds]
    with job(__name__, out, params, inputs=[manifest, *folds, *tables], record="summary") as scratch:
        predictions = pd.concat([pd.read_parquet(path) for path in tables], ignore_index=True)
        predictions.to_parquet(scratch / PREDICTIONS, index=False)
        metrics = _tidy([read_json(path) for path in folds])
        metrics.to_csv(scratch / METRICS_TABLE, index=False, lineterminator="\n")
        summary = _summary(predictions, metrics, samples, params)
        write_json(scratch / SUMMARY, summary)
        write_json(scratch / MEANS, _means(summary["rows"]))


def _means(rows: list[dict]) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for row in rows:
        means.setdefault(row["metric"], {})[row["method"]] = row["mean"]
    return means


def _tidy(folds: list[dict]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (fold["fold"], int(seed), method, metric, value)
        for fold in folds
        for method, seeds in fold["methods"].items()
        for seed, values in seeds.items()
        for metric, value in values.items()
    ]
    table = pd.DataFrame(rows, columns=["fold", "seed", "method", "metric", "value"])
    table = table.sort_values(["fold", "seed", "method", "metric"], ignore_index=True)
    return table.astype({"value": float})


def _summary(predictions: pd.DataFrame, metrics: pd.DataFrame, samples: Samples, params: SummaryParams) -> dict:
    from pkdot.evaluation.metrics import metric_names

    methods = list(dict.fromkeys(predictions["method"]))
    if BASELINE not in methods:
        raise DataError(
            f"the methods do not hold '{BASELINE}', the baseline that all are compared to; add it to students.methods."
        )
    names = metric_names(params.task.kind, list(samples.about["targets"]))
    contest = _Contest(predictions, samples, params)
    rows = []
    for metric in names:
        rows += contest.rows(metric, methods, metrics[metrics["metric"] == metric])
    return {
        "experiment": params.experiment,
        "title": samples.about["title"],
        "simulated": samples.about["simulated"],
        "primary_metric": names[0],
        "grouped": predictions["group_id"].nunique() < predictions["subject_id"].nunique(),
        "gap_closed": contest.gap_closed(names[0], [m for m in methods if m != BASELINE and m not in params.teachers]),
        "rows": rows,
    }


class _Contest:
    """All methods on the same subjects, with the same resamples of them."""

    def __init__(self, predictions: pd.DataFrame, samples: Samples, params: SummaryParams) -> None:
        from pkdot.evaluation.metrics import Metrics
        from pkdot.evaluation.statistics import bootstrap_weights

        # people of one video are not independent: those who stay together in the splits are drawn together
        predictions = predictions.assign(subject_id=predictions["group_id"])
        subjects = sorted(predictions["subject_id"].unique())
        weights = bootstrap_weights(len(subjects), params.evaluation.bootstrap, params.evaluation.seed)
        self.seed, self.subjects = params.evaluation.seed, len(subjects)
        self.runs: dict[str, list[Metrics]] = {}
        for (method, _), table in predictions.groupby(["method", "seed"]):
            self.runs.setdefault(method, []).append(Metrics(table, subjects, params.task.kind, samples.classes))
        self.value = {method: _mean_of([run.all() for run in runs]) for method, runs in self.runs.items()}
        self.resampled = {method: _mean_of([run(weights) for run in runs]) for method, runs in self.runs.items()}
        self.p = {method: self._p_values(method) for method in self.runs if method != BASELINE}

    def _p_values(self, method: str) -> dict[str, float]:
        """p-value of the difference to the baseline, for each metric."""
        from pkdot.evaluation.statistics import swap_test

        pairs = list(zip(self.runs[method], self.runs[BASELINE], strict=True))

        def differences(places: np.ndarray) -> dict[str, np.ndarray]:
            ours = _mean_of([mine.swapped(baseline, places) for mine, baseline in pairs])
            theirs = _mean_of([baseline.swapped(mine, places) for mine, baseline in pairs])
            return {metric: ours[metric] - theirs[metric] for metric in ours}

        return swap_test(differences, self.subjects, self.seed)

    def rows(self, metric: str, methods: list[str], folds: pd.DataFrame) -> list[dict]:
        """One row a method, Holm-corrected over the methods that are compared to the baseline."""
        from pkdot.evaluation.statistics import holm

        rows = [self._row(metric, method, folds[folds["method"] == method]) for method in methods]
        compared = [row for row in rows if row["method"] != BASELINE]
        for row, corrected in zip(compared, holm([row["p"] for row in compared]), strict=True):
            row["p_holm"] = corrected
        return rows

    def _row(self, metric: str, method: str, folds: pd.DataFrame) -> dict:
        from pkdot.evaluation.statistics import interval

        per_fold = folds.groupby("fold")["value"].mean()
        low, high = map(_number, interval(self.resampled[method][metric]))
        row = {
            "method": method,
            "metric": metric,
            "mean": _number(self.value[method][metric]),
            "se": _number(per_fold.sem()),
            "ci_low": low,
            "ci_high": high,
            "n_subjects": self.subjects,
            **dict.fromkeys(("diff", "diff_ci_low", "diff_ci_high", "p", "p_holm")),
        }
        if method == BASELINE:
            return row
        gain = self.resampled[method][metric] - self.resampled[BASELINE][metric]
        row["diff"] = _number(self.value[method][metric] - self.value[BASELINE][metric])
        row["diff_ci_low"], row["diff_ci_high"] = map(_number, interval(gain))
        row["p"] = self.p[method][metric]
        return row

    def gap_closed(self, metric: str, methods: list[str]) -> list[dict]:
        """Share of the gap between baseline and upper bound that each student closes, with its interval over subjects.

        The interval is None where the gap itself is not apart from zero, since the share is then not defined.
        """
        from pkdot.evaluation.statistics import interval

        baseline, upper_bound = self.resampled[BASELINE][metric], self.resampled[UPPER_BOUND][metric]
        gap = self.value[UPPER_BOUND][metric] - self.value[BASELINE][metric]
        gap_low, gap_high = interval(upper_bound - baseline)
        apart = gap_low > 0 or gap_high < 0
        shares = []
        for method in methods:
            share = float((self.value[method][metric] - self.value[BASELINE][metric]) / gap) if apart else None
            with np.errstate(invalid="ignore", divide="ignore"):
                ends = interval((self.resampled[method][metric] - baseline) / (upper_bound - baseline))
            low, high = map(_number, ends) if apart else (None, None)
            shares.append({"method": method, "share": share, "ci_low": low, "ci_high": high})
        return shares


def _mean_of(runs: list[dict]) -> dict:
    """Mean over seeds of dictionaries of numbers or arrays."""
    return {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
