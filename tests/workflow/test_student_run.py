"""The student that ships, by the real workflow: made once, run from its folder alone."""

from __future__ import annotations

import json
import shutil

import pandas as pd

import pkdot
from pkdot.provenance import damaged
from tests.workflow.conftest import RAW, call, jobs_of, snakemake

STUDENT = "results/tiny/student/student.json"


def test_a_student_is_refitted_on_all_subjects_and_predicts_elsewhere(finished, tmp_path):
    said = snakemake(finished, STUDENT)
    assert jobs_of(said) == ["encoder", "encoder", "refit", "teachers"]
    assert "Nothing to be done" in snakemake(finished, STUDENT)
    bundle = shutil.copytree(finished / STUDENT.rpartition("/")[0], tmp_path / "bundle")
    student = pkdot.load_student(bundle)
    described = student.description
    everyone = pd.read_parquet(finished / "data/processed/tiny/manifest.parquet")["subject_id"].nunique()
    assert sum(described.subjects.values()) == everyone
    scores = {
        method: [
            json.loads((finished / f"results/tiny/students/fold_{fold}/{method}.json").read_text()) for fold in (0, 1)
        ]
        for method in ("student_only", "kd")
    }
    best = {
        method: sum(c["score"] for one in folds for c in one["candidates"] if c["options"] == one["chosen"])
        for method, folds in scores.items()
    }
    assert described.method == max(best, key=best.__getitem__)
    assert described.options in [one["chosen"] for one in scores[described.method]]
    table = student.predict(finished / RAW / "signals" / "s0a_motion.npy")
    assert table["start"].tolist() == [0, 1, 2]
    summary = json.loads((finished / "results/tiny/summary.json").read_text())
    rows = [row for row in summary["rows"] if row["method"] == described.method]
    card = (bundle / "card.md").read_text()
    assert all(f"| {row['mean']:.3f} |" in card for row in rows)
    predicts_and_is_exported(finished, card)


def predicts_and_is_exported(finished, card):
    """The verbs of a student in use, on the recordings that it was made of; its card says what 8 bits changed."""
    call(finished, "pkdot", "predict", "results/tiny/student", RAW, "--every", "0.5", "--out", "table.csv")
    table = pd.read_csv(finished / "table.csv")
    assert len(table) == 5 * len(pd.read_csv(finished / RAW / "recordings.csv"))
    assert table["note"].isna().all()
    call(finished, "pkdot", "export", "results/tiny/student", RAW, "--int8")
    changed = (finished / "results/tiny/student/card.md").read_text()
    count = len(pd.read_parquet(finished / "data/processed/tiny/manifest.parquet"))
    assert f"On all {count} labelled samples of the experiment the accuracy is " in changed
    assert changed.startswith(card.rstrip())
    assert damaged([finished / "results/tiny/student"])[1] == []
    assert "Nothing to be done" in snakemake(finished, STUDENT)
