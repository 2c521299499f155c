"""The stage of one fold: which samples are compared, and what is written of them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from contest_files import RIGHT, ContestFiles
from sklearn.metrics import accuracy_score

from pkdot.errors import DataError
from pkdot.training.predictions import write_predictions


def test_a_fold_scores_every_method_and_seed(tmp_path):
    contest = ContestFiles(tmp_path)
    described = contest.fold(1)
    assert described["samples"] == 48
    assert described["methods"].keys() == RIGHT.keys()
    table = pd.read_parquet(contest.path(1, 1, "kd"))
    assert described["methods"]["kd"]["1"]["accuracy"] == pytest.approx(
        accuracy_score(table["target"], table["prediction"])
    )
    written = pd.read_parquet(tmp_path / "folds" / "fold_1.predictions.parquet")
    assert list(written)[:3] == ["fold", "seed", "method"]
    own = written[(written["method"] == "kd") & (written["seed"] == 1)].reset_index(drop=True)
    assert (own["fold"] == 1).all()
    assert own[list(table)].astype(table.dtypes).equals(table)


def test_methods_are_compared_on_samples_that_all_could_predict(tmp_path):
    contest = ContestFiles(tmp_path)
    path = contest.path(0, 1, "teacher")
    table = pd.read_parquet(path)
    write_predictions(path, table.iloc[3:])
    described = contest.fold(0)
    assert described["samples"] == 45
    kept = pd.read_parquet(tmp_path / "folds" / "fold_0.predictions.parquet")
    assert not set(kept["sample_id"]) & set(table["sample_id"].iloc[:3])
    assert (kept.groupby(["method", "seed"], observed=True).size() == 45).all()


def test_a_fold_that_no_method_shares_is_refused(tmp_path):
    contest = ContestFiles(tmp_path)
    path = contest.path(0, 0, "teacher")
    write_predictions(path, pd.read_parquet(path).iloc[:0])
    with pytest.raises(DataError, match=r"no test sample of fold 0 has every modality"):
        contest.fold(0)
    assert not (tmp_path / "folds").exists()


def test_a_missing_method_gets_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"rkd/predictions.parquet: no such file"):
        ContestFiles(tmp_path).fold(0, methods=["student_only", "rkd"])


def test_the_same_numbers_whatever_the_parts(tmp_path, monkeypatch):
    """Parts of seven rows and one part give the same metrics and the same table."""
    contest = ContestFiles(tmp_path)
    whole = contest.fold(0)
    table = pd.read_parquet(tmp_path / "folds" / "fold_0.predictions.parquet")
    for module in ("pkdot.tables", "pkdot.training.predictions"):
        monkeypatch.setattr(f"{module}.ROWS", 7)
    for path in contest.folder.rglob("fold_0/*/*/predictions.parquet"):
        write_predictions(path, pd.read_parquet(path))
    assert contest.fold(0) == whole
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "folds" / "fold_0.predictions.parquet"), table)
    assert json.loads((tmp_path / "folds" / "fold_0.run.json").read_text())["stage"] == "pkdot.evaluation.fold"
