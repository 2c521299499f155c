"""What the stages wrote, as the report reads it: every file once, and only when a section needs it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pkdot.config import Experiment
from pkdot.data import Features, Samples
from pkdot.evaluation.metrics import lower_is_better
from pkdot.files import read_json
from pkdot.layout import FEATURES, HISTORY, METRICS, OUTPUTS, TNET, UPPER_BOUND, WEIGHTS, Layout, trained
from pkdot.ledger import Entry, Ledger
from pkdot.provenance import chain
from pkdot.reporting.conclusion import headline
from pkdot.tables import read_parts

SCORES = {
    "classification": "balanced accuracy",
    "ordinal": "negative mean absolute error",
    "regression": "mean CCC",
}


class Results:
    """The processed data and the results of one experiment.

    Parameters
    ----------
    processed : Path
        ``data/processed/<experiment>``.
    folder : Path
        ``results/<experiment>``.
    experiment : Experiment
        The configuration.

    Attributes
    ----------
    methods : list of str
        Methods that train students, in the order of the configuration.
    teachers : list of str
        The teacher of all modalities first, then those of single ones.
    foreign : list of str
        Models from elsewhere, of which there are predictions alone.
    everyone : list of str
        Methods, then models from elsewhere, then teachers.
    folds, seeds : list of int
        All folds, and the seeds of teachers and students.
    """

    def __init__(self, processed: Path, folder: Path, experiment: Experiment) -> None:
        self.layout, self.experiment = Layout(processed, folder), experiment
        self.methods = [method.name for method in experiment.students.methods]
        self.teachers = experiment.teachers
        self.foreign = list(experiment.evaluation.foreign)
        self.everyone = [*self.methods, *self.foreign, *self.teachers]
        self.folds = list(range(experiment.splits.fold_count))
        self.seeds = experiment.seeds

    def files(self) -> list[Path]:
        """Return the files that the report reads, except the arrays that it shows a few samples of."""
        at = self.layout
        files = [at.manifest, at.about, at.splits, at.ledger, at.summary(), at.predictions()]
        for modality in self.experiment.modalities:
            files.append(at.index(modality))
            folders = [self.encoder(fold, modality) for fold in self.folds]
            files += [folder / name for folder in folders for name in (METRICS, HISTORY)]
        for fold in self.folds:
            files += [at.fold(fold), at.teachers_summary(fold)]
            files += [at.choice(fold, method) for method in self.methods]
            for seed in self.seeds:
                files += [self.trained(fold, seed, name) / HISTORY for name in (*self.methods, UPPER_BOUND, TNET)]
                files += [self.trained(fold, seed, UPPER_BOUND) / OUTPUTS]
                files += [
                    self.trained(fold, seed, method) / name
                    for method in self.methods
                    for name in (FEATURES, METRICS, WEIGHTS)
                ]
        return files

    def encoder(self, fold: int, modality: str) -> Path:
        """Return the folder of an encoder."""
        return self.layout.encoder(fold, modality)

    def trained(self, fold: int, seed: int, name: str) -> Path:
        """Return the folder of a student, a teacher or T-Net."""
        folder = self.layout.students(fold) if name in self.methods else self.layout.teachers(fold)
        return trained(folder, seed, name)

    @cached_property
    def records(self) -> dict[Path, dict]:
        """Records of all jobs behind the files that the report reads."""
        return chain(self.files())

    @cached_property
    def summary(self) -> dict:
        """summary.json."""
        return read_json(self.layout.summary())

    @property
    def primary(self) -> str:
        """The primary metric."""
        return self.summary["primary_metric"]

    @property
    def sign(self) -> int:
        """1 where higher values of the primary metric are better, else -1."""
        return -1 if lower_is_better(self.primary) else 1

    @property
    def direction(self) -> str:
        """What an axis adds to the name of the primary metric."""
        return " (lower is better)" if self.sign < 0 else ""

    @property
    def score(self) -> str:
        """The validation score that makes all choices, in words."""
        return SCORES[self.experiment.task.kind]

    @property
    def baseline(self) -> str:
        """The method that all are compared to, chosen by validation scores."""
        return self.summary["baseline"]["method"]

    @cached_property
    def chosen(self) -> str | None:
        """The student that the conclusion is about; None where no method was distilled."""
        return headline(self.summary, self.validation)

    @property
    def shown(self) -> list[str]:
        """The methods that are shown in detail: upper bound, the chosen student, baseline."""
        return [name for name in (UPPER_BOUND, self.chosen, self.baseline) if name]

    def role(self, method: str) -> str:
        """Return what a method is in the contest."""
        if method == self.baseline:
            return "baseline"
        if method == UPPER_BOUND:
            return "upper bound"
        if method in self.foreign:
            return "from elsewhere"
        if method in self.experiment.controls:
            return "control"
        return "student" if method in self.methods else "teacher of fewer modalities"

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return list(self.samples.about["targets"])

    @cached_property
    def samples(self) -> Samples:
        """The manifest."""
        return Samples.load(self.layout.manifest)

    @cached_property
    def splits(self) -> dict:
        """splits.json."""
        return read_json(self.layout.splits)

    @cached_property
    def ledger(self) -> list[Entry]:
        """Entries of the ledger."""
        return Ledger.read([self.layout.ledger]).entries

    @cached_property
    def scored(self) -> list[dict]:
        """Content of each fold_<k>.json."""
        return [read_json(self.layout.fold(fold)) for fold in self.folds]

    def predictions(self, method: str, seed: int, columns: list[str] | None = None) -> pd.DataFrame:
        """Return the test predictions of one method with one seed."""
        parts = read_parts(self.layout.predictions(), columns, method, seed)
        plain = [part.astype(dict.fromkeys(part.select_dtypes("category"), object)) for part in parts]
        return pd.concat(plain, ignore_index=True)

    @cached_property
    def subjects(self) -> list[str]:
        """Test subjects in order."""
        return sorted(self.predictions(UPPER_BOUND, self.seeds[0], ["subject_id"])["subject_id"].unique())

    @cached_property
    def _scorers(self) -> dict[str, list]:
        """A method -> its Metrics, one a seed."""
        from pkdot.evaluation.metrics import Metrics

        kind, classes = self.experiment.task.kind, self.samples.classes
        return {
            method: [
                Metrics(read_parts(self.layout.predictions(), None, method, seed), self.subjects, kind, classes)
                for seed in self.seeds
            ]
            for method in self.everyone
        }

    def by_subject(self, method: str) -> np.ndarray:
        """Return the primary metric of each subject alone, mean over seeds, shape (subjects,)."""
        return np.mean([scorer.by_subject() for scorer in self._scorers[method]], axis=0)

    def confusion(self, method: str) -> np.ndarray:
        """Return the share of each true class (row) that was called each class (column), mean over seeds."""
        counts = np.sum([scorer.confusion() for scorer in self._scorers[method]], axis=0)
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def row(self, method: str, metric: str | None = None) -> dict:
        """Return the row of the summary of a method; the primary metric by default."""
        metric = metric or self.primary
        return next(row for row in self.summary["rows"] if (row["method"], row["metric"]) == (method, metric))

    def contrast_with_baseline(self, method: str, metric: str) -> dict | None:
        """Return the contrast of a method with the baseline; None where it is not tested."""
        for each in self.summary["contrasts"]:
            if (each["method"], each["reference"], each["metric"]) == (method, self.baseline, metric):
                return each
        return None

    @cached_property
    def choices(self) -> dict[str, list[dict]]:
        """A method -> what was chosen, and from what, in each fold."""
        return {m: [read_json(self.layout.choice(k, m)) for k in self.folds] for m in self.methods}

    @cached_property
    def validation(self) -> dict[str, float]:
        """A method -> the mean over folds of the validation score of what was chosen."""
        best = {m: [max(c["score"] for c in fold["candidates"]) for fold in folds] for m, folds in self.choices.items()}
        return {method: float(np.mean(scores)) for method, scores in best.items()}

    def candidate_scores(self, method: str) -> np.ndarray:
        """Return validation scores, shape (folds, candidates); a fold may have more options than others."""
        scores = [[candidate["score"] for candidate in fold["candidates"]] for fold in self.choices[method]]
        width = min(map(len, scores))
        return np.array([fold[:width] for fold in scores])

    def student_metrics(self, method: str) -> list[dict]:
        """Return metrics.json of the students of a method, one a fold and seed."""
        return [read_json(self.trained(fold, seed, method) / METRICS) for fold in self.folds for seed in self.seeds]

    @cached_property
    def teachers_by_fold(self) -> list[dict]:
        """Content of each fold's teachers.json."""
        return [read_json(self.layout.teachers_summary(fold)) for fold in self.folds]

    def encoder_metrics(self, modality: str) -> list[dict]:
        """Return metrics.json of a modality's encoders, one a fold."""
        return [read_json(self.encoder(fold, modality) / METRICS) for fold in self.folds]

    def encoder_curves(self, modality: str, column: str) -> np.ndarray:
        """Return a column of the training histories of a modality's encoders, shape (folds, looks)."""
        return _curves([self.encoder(fold, modality) / HISTORY for fold in self.folds], column)

    def curves(self, name: str, column: str) -> np.ndarray:
        """Return a column of the histories of one network, mean over seeds, shape (folds, looks)."""
        folders = [[self.trained(fold, seed, name) for seed in self.seeds] for fold in self.folds]
        runs = [_curves([folder / HISTORY for folder in seeds], column) for seeds in folders]
        return _stacked([_mean(run) for run in runs])

    def index(self, modality: str) -> pd.DataFrame:
        """Return which samples have an array of a modality, and how much of it was measured."""
        return pd.read_parquet(self.layout.index(modality))

    def arrays(self, modality: str) -> Features:
        """Return the arrays of a modality."""
        return Features(self.layout.arrays(modality), self.samples)

    def teacher_features(self, fold: int, seed: int) -> np.ndarray:
        """Return the teacher's fused features of all samples, mean over rows, shape (samples, D)."""
        from safetensors.numpy import load_file

        return load_file(self.trained(fold, seed, UPPER_BOUND) / OUTPUTS)["features"].mean(axis=1)

    def student_features(self, fold: int, seed: int, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the manifest rows of the fold's test part, and a student's fused features of them, shape (rows, D)."""
        from safetensors.numpy import load_file

        held = load_file(self.trained(fold, seed, method) / FEATURES)
        return held["rows"], held["features"].mean(axis=1)


def _curves(paths: list[Path], column: str) -> np.ndarray:
    return _stacked([pd.read_csv(path)[column].to_numpy(dtype=float) for path in paths])


def _mean(table: np.ndarray) -> np.ndarray:
    """Return the mean of each column over its numbers; NaN where it has none."""
    there = ~np.isnan(table)
    count = there.sum(axis=0)
    return np.divide(np.nansum(table, axis=0), count, out=np.full(len(count), np.nan), where=count > 0)


def _stacked(curves: list[np.ndarray]) -> np.ndarray:
    """Return curves as rows of one table; NaN behind the end of shorter ones."""
    table = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    return table
