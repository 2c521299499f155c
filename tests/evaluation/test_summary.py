"""The stage of all folds: the baseline, the declared contrasts, and that nothing undefined is a number."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from contest_files import RIGHT, SEEDS, ContestFiles

from pkdot.evaluation.contest import Contest
from pkdot.evaluation.metrics import Metrics, metric_names
from pkdot.evaluation.statistics import holm

NAMES = metric_names("classification", [])


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    contest = ContestFiles(tmp_path_factory.mktemp("contest"))
    return contest, contest.summary(contrasts=[("kd", "sp")])


def primary(entries, metric="accuracy"):
    """The entries of a metric by method and, for contrasts, reference."""
    found = [entry for entry in entries if entry["metric"] == metric]
    return {
        (entry["method"], entry["reference"]) if "reference" in entry else entry["method"]: entry for entry in found
    }


def test_the_tidy_table_has_a_row_for_each_number(contest):
    contest, summary = contest
    metrics = pd.read_csv(contest.folder / "out" / "metrics.csv")
    assert list(metrics) == ["fold", "seed", "method", "metric", "value"]
    assert len(metrics) == 2 * 2 * len(RIGHT) * len(NAMES)
    assert not metrics.duplicated(["fold", "seed", "method", "metric"]).any()
    predictions = pd.read_parquet(contest.folder / "out" / "predictions.parquet")
    assert len(predictions) == len(contest.table) * len(SEEDS) * len(RIGHT)
    assert {"fold", "seed", "method", "sample_id", "subject_id", "target", "prediction"} <= set(predictions)
    assert summary["primary_metric"] == "accuracy"
    assert not summary["grouped"]
    assert len(summary["rows"]) == len(NAMES) * len(RIGHT)


def test_rows_say_what_they_mean(contest):
    contest, summary = contest
    predictions = pd.read_parquet(contest.folder / "out" / "predictions.parquet")
    rows = primary(summary["rows"])
    hit = predictions["target"].astype(str) == predictions["prediction"].astype(str)
    for method, row in rows.items():
        own = predictions["method"] == method
        assert row["mean"] == pytest.approx(hit[own].mean())
        per_fold = [hit[own & (predictions["fold"] == fold)].mean() for fold in (0, 1)]
        assert row["se"] == pytest.approx(np.std(per_fold, ddof=1) / np.sqrt(2))
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]
        assert row["n_subjects"] == 8
    baseline = rows["student_only"]
    assert [baseline[key] for key in ("diff", "diff_ci_low", "diff_ci_high")] == [None] * 3
    assert rows["teacher"]["diff"] == pytest.approx(rows["teacher"]["mean"] - baseline["mean"])
    assert rows["teacher"]["diff_ci_low"] > 0


def test_the_declared_contrasts_are_corrected_and_teachers_are_not_among_them(contest):
    _, summary = contest
    found = primary(summary["contrasts"])
    declared = [pair for pair, entry in found.items() if entry["family"] == "declared"]
    assert declared == [("kd", "student_only"), ("sp", "student_only"), ("kd", "sp")]
    assert [found[pair]["p_holm"] for pair in declared] == pytest.approx(holm([found[pair]["p"] for pair in declared]))
    teachers = {pair[0]: entry for pair, entry in found.items() if entry["family"] == "teachers"}
    assert teachers.keys() == {"teacher", "modality_face", "modality_eda"}
    assert all(entry["p_holm"] is None for entry in teachers.values())
    assert teachers["teacher"]["p"] == 2 / 2**8, "every one of eight subjects is predicted better: exact"
    assert all(entry["p_holm"] is None for entry in summary["contrasts"] if entry["metric"] != "accuracy")
    rows = primary(summary["rows"])
    between = found["kd", "sp"]
    assert between["diff"] == pytest.approx(rows["kd"]["mean"] - rows["sp"]["mean"])
    assert between["diff_ci_low"] < between["diff"] < between["diff_ci_high"]
    assert between["smallest_difference"] > 0


def test_a_contrast_that_is_declared_twice_counts_once(tmp_path):
    summary = ContestFiles(tmp_path).summary(contrasts=[("kd", "student_only"), ("kd", "sp"), ("kd", "sp")])
    declared = [c for c in summary["contrasts"] if c["family"] == "declared" and c["metric"] == "accuracy"]
    assert len(declared) == 3


def test_the_baseline_is_the_strongest_on_validation_subjects(tmp_path):
    """encoder_head is better in validation and worse in test: it is the baseline all the same."""
    right = {"student_only": 0.8, "encoder_head": 0.55, **{k: v for k, v in RIGHT.items() if k != "student_only"}}
    validation = {"student_only": [0.6, 0.6], "encoder_head": [0.4, 0.9]}
    summary = ContestFiles(tmp_path, right=right, validation=validation).summary()
    assert summary["baseline"]["method"] == "encoder_head"
    assert summary["baseline"]["validation"] == pytest.approx({"student_only": 0.6, "encoder_head": 0.65})
    assert summary["upper_bound"] == "teacher"
    rows = primary(summary["rows"])
    assert rows["encoder_head"]["diff"] is None
    assert rows["student_only"]["diff"] == pytest.approx(rows["student_only"]["mean"] - rows["encoder_head"]["mean"])
    references = {entry["reference"] for entry in summary["contrasts"]}
    assert references == {"encoder_head"}
    assert ("student_only", "encoder_head") not in primary(summary["contrasts"])
    assert {entry["method"] for entry in summary["gap_closed"]} == {"student_only", "kd", "sp"}


def test_the_summary_says_what_the_intervals_are_conditional_on(contest):
    _, summary = contest
    assert "seed 5" in summary["seeds_note"]
    assert "seed 6" in summary["seeds_note"]
    assert "(0, 1)" in summary["seeds_note"]


def test_the_share_of_the_gap(contest):
    _, summary = contest
    mean = {method: row["mean"] for method, row in primary(summary["rows"]).items()}
    shares = {entry["method"]: entry for entry in summary["gap_closed"]}
    assert shares.keys() == {"kd", "sp"}
    want = (mean["kd"] - mean["student_only"]) / (mean["teacher"] - mean["student_only"])
    assert shares["kd"]["share"] == pytest.approx(want)
    assert shares["kd"]["ci_low"] < want < shares["kd"]["ci_high"]


def test_the_share_of_no_gap_is_not_a_number(tmp_path):
    summary = ContestFiles(tmp_path, right={**RIGHT, "teacher": 0.6}).summary()
    assert all(entry["share"] is entry["ci_low"] is entry["ci_high"] is None for entry in summary["gap_closed"])


def test_the_same_predictions_differ_by_nothing(tmp_path):
    contest = ContestFiles(tmp_path)
    for fold in (0, 1):
        for seed in SEEDS:
            contest.path(fold, seed, "kd").write_bytes(contest.path(fold, seed, "student_only").read_bytes())
    entry = primary(contest.summary()["contrasts"])["kd", "student_only"]
    assert (entry["diff"], entry["diff_ci_low"], entry["diff_ci_high"], entry["p"]) == (0, 0, 0, 1)
    assert entry["smallest_difference"] == 0


def test_what_is_not_defined_is_none_and_not_a_number(tmp_path):
    """Leave one subject out, where each has one class: no fold has an AUC, and the whole has none either."""
    summary = ContestFiles(tmp_path, subjects=4, folds=4, one_class_a_subject=True).summary(kind="ordinal")
    auc = primary(summary["rows"], "auc")["kd"]
    assert [auc[key] for key in ("mean", "se", "ci_low", "ci_high", "diff", "diff_ci_low")] == [None] * 6
    contrast = primary(summary["contrasts"], "auc")["kd", "student_only"]
    assert contrast["p"] == 1
    assert contrast["smallest_difference"] is None
    assert primary(summary["rows"], "accuracy")["kd"]["mean"] is not None
    assert primary(summary["rows"], "quadratic_kappa")["kd"]["mean"] is not None


def test_one_fold_has_no_error_over_folds(tmp_path):
    rows = ContestFiles(tmp_path, folds=1).summary()["rows"]
    assert all(row["se"] is None for row in rows)
    assert all(row["mean"] is not None for row in rows)


def test_people_of_one_group_are_drawn_together(tmp_path):
    contest = ContestFiles(tmp_path)
    for path in contest.folder.rglob("predictions.parquet"):
        table = pd.read_parquet(path)
        number = table["subject_id"].astype(str).str[1:].astype(int)
        table.assign(group_id="g" + (number // 2).astype(str)).to_parquet(path, index=False)
    summary = contest.summary()
    assert summary["grouped"]
    assert {row["n_subjects"] for row in summary["rows"]} == {4}


def test_the_test_is_of_the_difference_that_is_shown():
    """A student that knows each person's level, a baseline that knows the changes: apart, and of other signs alone."""
    rng = np.random.default_rng(0)
    level, change = np.repeat(rng.normal(0, 3, 12), 20), rng.normal(0, 0.3, 240)
    subjects = [f"s{i:02d}" for i in range(12)]
    common = {"subject_id": np.repeat(subjects, 20), "output": "valence", "target": level + change}
    predicted = {"student_only": change, "pkdot": level - change}
    runs = {
        method: [Metrics(pd.DataFrame({**common, "prediction": values}), subjects, "regression", None)]
        for method, values in predicted.items()
    }
    contest = Contest(runs, 12, bootstrap=100, seed=0)
    alone = [runs[method][0].by_subject() for method in ("pkdot", "student_only")]
    assert np.mean(alone[0] - alone[1]) < 0 < contest.value["pkdot"]["ccc_valence"]
    swapped = []
    for places in itertools.product([False, True], repeat=12):
        here = np.repeat(places, 20)
        ours, theirs = (np.where(at, predicted["student_only"], predicted["pkdot"]) for at in (here, ~here))
        swapped.append(concordance(ours, common["target"]) - concordance(theirs, common["target"]))
    share = np.mean(np.abs(swapped) >= abs(swapped[0]) * (1 - 1e-9))
    found = contest.contrast("pkdot", "student_only", "declared")
    assert primary(found, "ccc_valence")["pkdot", "student_only"]["p"] == pytest.approx(share)


def concordance(predicted, truth):
    """Lin's coefficient by its definition."""
    both = 2 * np.mean((predicted - predicted.mean()) * (truth - truth.mean()))
    return both / (predicted.var() + truth.var() + (predicted.mean() - truth.mean()) ** 2)
