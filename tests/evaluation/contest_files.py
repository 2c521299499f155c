"""Predictions and choices of made-up methods, in the files that the trainings write."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from synthetic import write_manifest

from pkdot.evaluation.fold import FoldParams, evaluate_fold
from pkdot.evaluation.summary import SummaryParams, summarise
from pkdot.tasks import TaskParams
from pkdot.training.predictions import write_predictions

RIGHT = {"student_only": 0.6, "kd": 0.75, "sp": 0.7, "teacher": 0.95, "modality_face": 0.6, "modality_eda": 0.9}
TEACHERS = ("teacher", "modality_face", "modality_eda")
SEEDS = [0, 1]


class ContestFiles:
    """Predictions of all methods on folds of subjects, right as often as ``right`` says.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    validation : dict of str to list of float
        The validation scores of the methods that never use privileged data, one a fold.
    """

    def __init__(
        self, folder, subjects=8, folds=2, samples=12, right=RIGHT, one_class_a_subject=False, validation=None
    ):
        self.folder, self.right, self.folds = folder, right, folds
        self.foreign: list[str] = []
        self.validation = validation or {"student_only": [0.5] * folds}
        number = np.repeat(np.arange(subjects), samples)
        kind = number % 2 if one_class_a_subject else np.arange(len(number)) % 2
        self.table = pd.DataFrame(
            {
                "sample_id": [f"c{i:03d}" for i in range(len(number))],
                "subject_id": [f"s{i}" for i in number],
                "group_id": [f"s{i}" for i in number],
                "y": np.array(["k0", "k1"])[kind],
            }
        )
        self.manifest = write_manifest(folder, self.table, {"y": ["k0", "k1"]})
        rng = np.random.default_rng(0)
        for fold in range(folds):
            part = self.table[number * folds // subjects == fold]
            for seed in SEEDS:
                for method, share in right.items():
                    self.write(self.path(fold, seed, method), part, share, rng)
            for method, scores in self.validation.items():
                self.choice(fold, method).write_text(json.dumps(choice_of(scores[fold])))

    def path(self, fold, seed, method):
        stage = "teachers" if method in TEACHERS else "students"
        return self.folder / stage / f"fold_{fold}" / f"seed_{seed}" / method / "predictions.parquet"

    def choice(self, fold, method):
        return self.folder / "students" / f"fold_{fold}" / f"{method}.json"

    def write(self, path, part, share, rng):
        truth = (part["y"] == "k1").to_numpy()
        predicted = np.where(rng.random(len(part)) < share, truth, ~truth)
        one = np.where(predicted, 0.5, 0.0) + 0.5 * rng.random(len(part))
        names = np.array(["k0", "k1"])[predicted.astype(int)]
        table = part.drop(columns="y").assign(target=part["y"], prediction=names, score_0=1 - one, score_1=one)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_predictions(path, table)

    def fold(self, fold, methods=None, kind="classification"):
        params = FoldParams(
            fold=fold,
            seeds=SEEDS,
            methods=methods or [method for method in self.right if method not in TEACHERS],
            foreign=self.foreign,
            teachers=list(TEACHERS),
            task=TaskParams(kind=kind),
        )
        parts = (self.folder / stage / f"fold_{fold}" for stage in ("teachers", "students", "foreign"))
        evaluate_fold(self.manifest, *parts, self.folder / "folds", params)
        return json.loads((self.folder / "folds" / f"fold_{fold}.json").read_text())

    def params(self, kind="classification", **changes):
        students = [method for method in self.right if method not in TEACHERS]
        values = {
            "experiment": "tiny",
            "task": TaskParams(kind=kind),
            "methods": students,
            "teachers": list(TEACHERS),
            "prevalent_only": list(self.validation),
            "compared": [method for method in students if method not in self.validation],
            "contrasts": [],
            "seeds": {"encoders": 5, "splits": 6, "networks": SEEDS},
            "evaluation": {"bootstrap": 300},
        }
        return SummaryParams(**{**values, **changes})

    def summary(self, kind="classification", **changes):
        folds = []
        for fold in range(self.folds):
            self.fold(fold, kind=kind)
            folds.append(self.folder / "folds" / f"fold_{fold}.json")
        choices = [self.choice(fold, method) for fold in range(self.folds) for method in self.validation]
        summarise(self.manifest, folds, choices, self.folder / "out", self.params(kind, **changes))
        return json.loads((self.folder / "out" / "summary.json").read_text())


def choice_of(score):
    """A choice between two candidates, the second of which was kept with this score."""
    tried = [({"dropout": 0.1}, score - 0.2), ({"dropout": 0.2}, score)]
    candidates = [{"options": options, "score": value, "loss": 1.0} for options, value in tried]
    return {"chosen": {"dropout": 0.2}, "candidates": candidates}
