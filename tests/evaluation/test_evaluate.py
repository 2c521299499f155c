"""The evaluation stages: who is compared with whom, on which samples, and that nothing undefined is a number."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from synthetic import write_manifest

from pkdot.errors import DataError
from pkdot.evaluation.evaluate import EvaluationParams, FoldParams, SummaryParams, _Contest, evaluate_fold, summarise
from pkdot.evaluation.statistics import holm
from pkdot.tasks import TaskParams

RIGHT = {"student_only": 0.6, "kd": 0.75, "sp": 0.7, "teacher": 0.95, "modality_face": 0.6, "modality_eda": 0.9}
TEACHERS = ("teacher", "modality_face", "modality_eda")
SEEDS = [0, 1]


class Contest:
    """Predictions of all methods on folds of subjects, right as often as ``right`` says."""

    def __init__(self, folder, subjects=8, folds=2, samples=12, right=RIGHT, one_class_a_subject=False):
        self.folder, self.right, self.folds = folder, right, folds
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
        self.left_out = {}
        for fold in range(folds):
            part = self.table[number * folds // subjects == fold]
            for seed in SEEDS:
                for method, share in right.items():
                    self.write(self.path(fold, seed, method), part, share, rng)

    def path(self, fold, seed, method):
        stage = "teachers" if method in TEACHERS else "students"
        return self.folder / stage / f"fold_{fold}" / f"seed_{seed}" / method / "predictions.parquet"

    def write(self, path, part, share, rng):
        truth = (part["y"] == "k1").to_numpy()
        said = np.where(rng.random(len(part)) < share, truth, ~truth)
        one = np.where(said, 0.5, 0.0) + 0.5 * rng.random(len(part))
        table = part.drop(columns="y").assign(target=part["y"], prediction=np.array(["k0", "k1"])[said.astype(int)])
        path.parent.mkdir(parents=True, exist_ok=True)
        table.assign(score_0=1 - one, score_1=one).to_parquet(path, index=False)

    def fold(self, fold, methods=None):
        params = FoldParams(
            fold=fold,
            seeds=SEEDS,
            methods=methods or [method for method in self.right if method not in TEACHERS],
            modalities=["face", "eda"],
            task=TaskParams(),
        )
        parts = (self.folder / stage / f"fold_{fold}" for stage in ("teachers", "students"))
        evaluate_fold(self.manifest, *parts, self.folder / "folds", params)
        return json.loads((self.folder / "folds" / f"fold_{fold}.json").read_text())

    def summary(self, kind="classification", **changes):
        folds = []
        for fold in range(self.folds):
            self.fold(fold, **changes)
            folds.append(self.folder / "folds" / f"fold_{fold}.json")
        evaluation = EvaluationParams(bootstrap=300)
        params = SummaryParams(
            experiment="tiny", task=TaskParams(kind=kind), teachers=list(TEACHERS), evaluation=evaluation
        )
        summarise(self.manifest, folds, self.folder / "out", params)
        return json.loads((self.folder / "out" / "summary.json").read_text())


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    contest = Contest(tmp_path_factory.mktemp("contest"))
    return contest, contest.summary()


def test_a_fold_scores_every_method_and_seed(contest):
    contest, _ = contest
    described = json.loads((contest.folder / "folds" / "fold_1.json").read_text())
    assert described["samples"] == 48
    assert described["left_out"] == 0
    assert described["methods"].keys() == RIGHT.keys()
    table = pd.read_parquet(contest.path(1, 1, "kd"))
    assert described["methods"]["kd"]["1"]["accuracy"] == pytest.approx(
        accuracy_score(table["target"], table["prediction"])
    )


def test_the_tidy_table_has_a_row_for_each_number(contest):
    contest, summary = contest
    metrics = pd.read_csv(contest.folder / "out" / "metrics.csv")
    assert list(metrics) == ["fold", "seed", "method", "metric", "value"]
    assert len(metrics) == 2 * 2 * len(RIGHT) * 4
    assert not metrics.duplicated(["fold", "seed", "method", "metric"]).any()
    predictions = pd.read_parquet(contest.folder / "out" / "predictions.parquet")
    assert len(predictions) == len(contest.table) * len(SEEDS) * len(RIGHT)
    assert {"fold", "seed", "method", "sample_id", "subject_id", "target", "prediction"} <= set(predictions)
    assert summary["primary_metric"] == "accuracy"
    assert not summary["grouped"]
    assert len(summary["rows"]) == 4 * len(RIGHT)


def test_rows_say_what_they_mean(contest):
    contest, summary = contest
    predictions = pd.read_parquet(contest.folder / "out" / "predictions.parquet")
    rows = {row["method"]: row for row in summary["rows"] if row["metric"] == "accuracy"}
    hit = predictions["target"] == predictions["prediction"]
    for method, row in rows.items():
        own = predictions["method"] == method
        assert row["mean"] == pytest.approx(hit[own].mean())
        per_fold = [hit[own & (predictions["fold"] == fold)].mean() for fold in (0, 1)]
        assert row["se"] == pytest.approx(np.std(per_fold, ddof=1) / np.sqrt(2))
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]
        assert row["n_subjects"] == 8
    baseline = rows["student_only"]
    assert [baseline[key] for key in ("diff", "diff_ci_low", "diff_ci_high", "p", "p_holm")] == [None] * 5
    assert rows["teacher"]["diff"] == pytest.approx(rows["teacher"]["mean"] - baseline["mean"])
    assert rows["teacher"]["diff_ci_low"] > 0
    assert rows["teacher"]["p"] == 2 / 2**8, "every one of eight subjects is predicted better: exact"
    others = [row for method, row in rows.items() if method != "student_only"]
    assert [row["p_holm"] for row in others] == pytest.approx(holm([row["p"] for row in others]))


def test_the_share_of_the_gap(contest):
    _, summary = contest
    mean = {row["method"]: row["mean"] for row in summary["rows"] if row["metric"] == "accuracy"}
    shares = {entry["method"]: entry for entry in summary["gap_closed"]}
    assert shares.keys() == {"kd", "sp"}
    want = (mean["kd"] - mean["student_only"]) / (mean["teacher"] - mean["student_only"])
    assert shares["kd"]["share"] == pytest.approx(want)
    assert shares["kd"]["ci_low"] < want < shares["kd"]["ci_high"]


def test_the_share_of_no_gap_is_not_a_number(tmp_path):
    summary = Contest(tmp_path, right={**RIGHT, "teacher": 0.6}).summary()
    assert all(entry["share"] is entry["ci_low"] is entry["ci_high"] is None for entry in summary["gap_closed"])


def test_the_same_predictions_differ_by_nothing(tmp_path):
    contest = Contest(tmp_path)
    for fold in (0, 1):
        for seed in SEEDS:
            contest.path(fold, seed, "kd").write_bytes(contest.path(fold, seed, "student_only").read_bytes())
    (row,) = [row for row in contest.summary()["rows"] if row["method"] == "kd" and row["metric"] == "accuracy"]
    assert (row["diff"], row["diff_ci_low"], row["diff_ci_high"], row["p"]) == (0, 0, 0, 1)


def test_methods_are_compared_on_samples_that_all_could_predict(tmp_path):
    contest = Contest(tmp_path)
    path = contest.path(0, 1, "teacher")
    table = pd.read_parquet(path)
    table.iloc[3:].to_parquet(path, index=False)
    described = contest.fold(0)
    assert (described["samples"], described["left_out"]) == (45, 3)
    kept = pd.read_parquet(tmp_path / "folds" / "fold_0.predictions.parquet")
    assert not set(kept["sample_id"]) & set(table["sample_id"].iloc[:3])
    assert (kept.groupby(["method", "seed"]).size() == 45).all()


def test_a_fold_that_no_method_shares_is_refused(tmp_path):
    contest = Contest(tmp_path)
    path = contest.path(0, 0, "teacher")
    pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"no test sample of fold 0 has every modality"):
        contest.fold(0)
    assert not (tmp_path / "folds").exists()


def test_what_is_not_defined_is_none_and_not_a_number(tmp_path):
    """Leave one subject out, where each has one class: no fold has an AUC, and the whole has none either."""
    summary = Contest(tmp_path, subjects=4, folds=4, one_class_a_subject=True).summary(kind="ordinal")
    rows = {(row["method"], row["metric"]): row for row in summary["rows"]}
    auc = rows["kd", "auc"]
    assert [auc[key] for key in ("mean", "se", "ci_low", "ci_high", "diff", "diff_ci_low")] == [None] * 6
    assert auc["p"] == 1
    assert rows["kd", "accuracy"]["mean"] is not None
    assert rows["kd", "quadratic_kappa"]["mean"] is not None


def test_one_fold_has_no_error_over_folds(tmp_path):
    rows = Contest(tmp_path, folds=1).summary()["rows"]
    assert all(row["se"] is None for row in rows)
    assert all(row["mean"] is not None for row in rows)


def test_the_baseline_must_be_there(tmp_path):
    with pytest.raises(DataError, match=r"'student_only', the baseline"):
        Contest(tmp_path).summary(methods=["kd"])


def test_a_missing_method_is_told(tmp_path):
    with pytest.raises(DataError, match=r"rkd/predictions.parquet: no such file"):
        Contest(tmp_path).fold(0, methods=["student_only", "rkd"])


def test_the_test_is_of_the_difference_that_is_shown():
    """A student that knows each person's level, a baseline that knows the changes: apart, and of other signs alone."""
    rng = np.random.default_rng(0)
    level, change = np.repeat(rng.normal(0, 3, 12), 20), rng.normal(0, 0.3, 240)
    known = {"subject_id": np.repeat([f"s{i:02d}" for i in range(12)], 20), "fold": 0, "seed": 0, "output": "valence"}
    known |= {"group_id": known["subject_id"], "target": level + change}
    said = {"student_only": change, "pkdot": level - change}
    tables = [pd.DataFrame({**known, "method": method, "prediction": values}) for method, values in said.items()]
    params = SummaryParams(
        experiment="e",
        task=TaskParams(kind="regression", loss="mse"),
        teachers=[],
        evaluation=EvaluationParams(bootstrap=100),
    )
    contest = _Contest(pd.concat(tables), SimpleNamespace(classes=None), params)
    alone = [run.by_subject()["ccc_valence"] for run in (contest.runs["pkdot"][0], contest.runs["student_only"][0])]
    assert np.mean(alone[0] - alone[1]) < 0 < contest.value["pkdot"]["ccc_valence"]
    swapped = []
    for places in itertools.product([False, True], repeat=12):
        here = np.repeat(places, 20)
        ours, theirs = (np.where(at, said["student_only"], said["pkdot"]) for at in (here, ~here))
        swapped.append(concordance(ours, known["target"]) - concordance(theirs, known["target"]))
    share = np.mean(np.abs(swapped) >= abs(swapped[0]) * (1 - 1e-9))
    assert contest.p["pkdot"]["ccc_valence"] == pytest.approx(share)


def concordance(said, truth):
    """Lin's coefficient by its definition."""
    both = 2 * np.mean((said - said.mean()) * (truth - truth.mean()))
    return both / (said.var() + truth.var() + (said.mean() - truth.mean()) ** 2)
