"""The study of labels: its cells are the contest with other labels, its page says no more than their intervals show."""

from __future__ import annotations

import json
import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import arrays_config, make_arrays, write_config

from pkdot import jobs
from pkdot.config import Experiment
from pkdot.data import Samples
from pkdot.errors import ConfigError, DataError
from pkdot.evaluation.contest import Contest
from pkdot.evaluation.metrics import Metrics
from pkdot.evaluation.statistics import smallest_difference, subjects_needed
from pkdot.experiment import load
from pkdot.reporting.privilege import claim, labels_of, reasons
from pkdot.stages import STAGES

STUDY = {
    "labelled": [6, 1.0],
    "label_noise": [0.0, 0.25],
    "grid": "cross",
    "primary": {"labelled": 6, "label_noise": 0.0},
}
METHODS = ["student_only", "kd", "pkdot_joint", "pkdot_joint_prevalent_teacher", "pkdot_joint_shuffled"]


def values(root="own", **changes):
    """A tiny contest with controls, and a study of labels of three cells."""
    config = {**arrays_config(str(root)), "shards": 1, "privilege": {**STUDY, **changes}}
    config["splits"] |= {"labelled_unit": "sample"}
    config["students"] |= {
        "methods": ["student_only", "kd", "feature_mse", "pkdot_joint"],
        "controls": {"pkdot_joint": ["prevalent_teacher", "shuffled"]},
    }
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study with its page; and its experiment."""
    folder = tmp_path_factory.mktemp("privilege")
    with chdir(folder):
        make_arrays(Path("own"), subjects=8, seconds=3)
        e = load(write_config(Path("config/tiny.yaml"), values()))
        data, out = Path("data/processed/tiny"), Path("results/tiny")
        STAGES["ingest"].function()(data, jobs.ingest(e))
        indexes = []
        for name in e.modalities:
            STAGES["features"].function()(data / f"{name}.shard_0.parquet", data / name, jobs.features(e, name, 0))
            STAGES["index"].function()([data / name / "shard_0.parquet"], data / name, jobs.index(e, name))
            indexes.append(data / name / "index.parquet")
        cells = []
        for cell in e.study.cells:
            for fold in range(2):
                own = out / "privilege" / cell.name
                STAGES["cell"].function()(data / "manifest.parquet", indexes, own, jobs.cell(e, cell.name, fold))
                cells.append(own / f"fold_{fold}.json")
        STAGES["privilege"].function()(data / "manifest.parquet", cells, out, jobs.privilege(e, "tiny"))
    return folder, e


def numbers(study):
    return json.loads((study[0] / "results/tiny/privilege.json").read_text())


def cell_file(study, name, fold=0):
    return study[0] / f"results/tiny/privilege/{name}/fold_{fold}.json"


def test_a_cross_has_the_row_and_the_column_of_the_primary_cell(study):
    names = ["labels_6_noise_0.0", "labels_1.0_noise_0.0", "labels_6_noise_0.25"]
    assert [cell["name"] for cell in numbers(study)["cells"]] == names
    assert len(Experiment(**values(grid="full")).study.cells) == 4


def test_a_cell_trains_on_its_labels_and_keeps_predictions_alone(study):
    found = json.loads(cell_file(study, "labels_6_noise_0.25").read_text())
    whole = json.loads(cell_file(study, "labels_1.0_noise_0.0").read_text())
    assert found["labels"]["labelled"] == 6
    assert found["labels"]["labelled"] + found["labels"]["unlabelled"] == whole["labels"]["labelled"]
    assert found["labels"]["validation"] == whole["labels"]["validation"]
    assert whole["labels"]["unlabelled"] == whole["labels"]["wrong"] == 0
    assert set(found["choices"]) == set(METHODS)
    assert all(len(choice["candidates"]) == 1 for choice in found["choices"].values())
    folder = cell_file(study, "labels_6_noise_0.25").parent
    kept = {f"fold_{fold}{end}" for fold in range(2) for end in (".json", ".predictions.parquet", ".run.json")}
    assert {path.name for path in folder.iterdir()} == kept


def test_a_cell_is_the_experiment_itself_where_the_labels_are_the_same(study):
    """The same stages with the same parameters but for the candidates, so the same predictions."""
    _, e = study
    itself = e.model_copy(update={"splits": e.splits.model_copy(update={"labelled": 6})})
    params = jobs.cell(e, "labels_6_noise_0.0", 1)
    assert params.splits == jobs.splits(itself)
    for each in params.students:
        assert each.model_copy(update={"candidates": 2}) == jobs.students(itself, 1, each.label)
    assert params.teachers[""] == jobs.teachers(itself, 1)
    assert [each.model_copy(update={"sanity": True}) for each in params.encoders] == [
        jobs.encoder(itself, name, 1) for name in itself.modalities
    ]


def test_numbers_are_those_of_the_contest_computed_directly(study):
    folder, e = study
    found = numbers(study)["cells"][0]
    tables = pd.concat(
        pd.read_parquet(cell_file(study, found["name"], fold).with_suffix(".predictions.parquet")) for fold in range(2)
    )
    samples = Samples.load(folder / "data/processed/tiny/manifest.parquet")
    subjects = sorted(samples.table["group_id"].unique())
    runs = {
        method: [Metrics(tables[tables["method"] == method], subjects, "classification", samples.classes)]
        for method in [*METHODS, "teacher", "modality_motion"]
    }
    contest = Contest(runs, len(subjects), e.evaluation.bootstrap, e.evaluation.seed)
    assert found["baseline"] == "student_only"
    for row in found["rows"]:
        assert row == contest.row(row["method"], "accuracy", found["baseline"])
    gate = contest.difference("teacher", "modality_motion", "accuracy")
    assert gate.items() <= found["gate"].items()
    right = tables.assign(right=tables["prediction"].astype(str) == tables["target"].astype(str))
    means = right.groupby("method", observed=True)["right"].mean()
    assert found["gain"]["diff"] == pytest.approx(means["pkdot_joint"] - means["student_only"])
    for control in found["controls"]:
        assert control["diff"] == pytest.approx(means["pkdot_joint"] - means[control["control"]])


def test_the_primary_metric_alone_is_what_it_is_among_all():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"subject_id": np.repeat(["s", "t", "u"], 10), "fold": 0, "score_0": 0.5})
    table["score_1"] = rng.random(30)
    table["target"], table["prediction"] = rng.choice(["a", "b"], 30), rng.choice(["a", "b"], 30)
    whole, alone = (
        Metrics(table, ["s", "t", "u"], "classification", ["a", "b"], primary=primary).all()
        for primary in (False, True)
    )
    assert alone == {"accuracy": whole["accuracy"]}
    assert len(whole) > 1


def test_the_page_answers_from_the_primary_cell_and_shows_all(study):
    html = (study[0] / "results/tiny/privilege.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<main>")[2]))
    assert claim(numbers(study)) in text
    assert all(sentence in text for sentence in reasons(numbers(study)))
    for cell in numbers(study)["cells"]:
        assert labels_of(cell, "sample") in text
    assert html.count("<svg") == 3
    assert "6 labels, 25 % of them wrong" in text


def compared(diff, verdict, **more):
    low, high = {"better": (diff / 2, diff * 2), "worse": (diff * 2, diff / 2), "open": (-1.0, 1.0)}[verdict]
    ends = {"diff": diff, "diff_ci_low": low, "diff_ci_high": high, "verdict": verdict}
    return {"method": "pkdot_joint", "reference": "student_only", **ends, **more}


def answer(gain, control=None, gate="better"):
    share = {"share": 0.5, "ci_low": 0.2, "ci_high": 0.8}
    controls = [compared(*control, control="pkdot_joint_shuffled", share=share)] if control else []
    cell = {
        "name": "it", "labelled": 100, "label_noise": 0.0, "gate": compared(0.2, gate), "gain": compared(*gain),
        "controls": controls,
    }  # fmt: skip
    return claim({"cells": [cell], "primary": "it", "labelled_unit": "sample", "method": "pkdot_joint"})


def test_the_answer_claims_what_the_intervals_show():
    both = answer((0.1, "better"), (0.06, "better"))
    assert both.startswith("With 100 labels, pkdot_joint gains 0.100 over the baseline, of which 0.060 come from")
    assert "not shown that privileged information has a part" in answer((0.1, "better"), (0.06, "open"))
    assert "no control arm" in answer((0.1, "better"))
    assert answer((0.1, "open")).endswith("is not shown to be better than the baseline.")
    assert "nothing that could be distilled" in answer((0.1, "open"), gate="open")
    assert answer((-0.1, "worse")) == "With 100 labels, pkdot_joint is worse than the baseline by 0.100."


def test_a_share_is_named_only_where_there_is_a_gain():
    def run(shift):
        def metric(weights):
            return {"accuracy": (weights * (np.arange(8) / 100 + shift)).sum(axis=1) / weights.sum(axis=1)}

        return [metric]

    runs = {"baseline": run(0.0), "control": run(0.1), "method": run(0.4), "same": run(0.0)}
    contest = Contest(runs, 8, 100, 0)
    found = contest.share("method", "control", "baseline", "accuracy")
    assert [found[key] for key in ("share", "ci_low", "ci_high")] == pytest.approx([0.75] * 3)
    assert contest.share("same", "control", "baseline", "accuracy")["share"] is None


def test_as_many_subjects_as_are_needed_show_that_difference():
    resampled = np.random.default_rng(0).normal(0.1, 0.02, 5000)
    shown = smallest_difference(resampled)
    assert subjects_needed(resampled.std(ddof=1) * np.sqrt(40), shown) in (40, 41)
    assert subjects_needed(None, 0.1) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"primary": {"labelled": 0.3}}, "no cell of the grid"),
        ({"primary": {"labelled": 6, "label_noise": 0.1}}, "no cell of the grid"),
        ({"labelled": [6, 6]}, "twice"),
        ({"methods": ["student_only", "crd"]}, "no method of the contest"),
        ({"methods": ["kd"]}, "one that never meets a teacher"),
        ({"method": "student_only"}, "is not distilled in its cells"),
    ],
)
def test_a_study_that_cannot_answer_is_refused(tmp_path, changes, sentence):
    make_arrays(tmp_path / "own", subjects=2, seconds=1)
    path = write_config(tmp_path / "config/tiny.yaml", values(tmp_path / "own", **changes))
    with pytest.raises(ConfigError, match=sentence):
        load(path)


def test_a_cell_without_results_is_an_error(study, monkeypatch):
    folder, e = study
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=r"labels_1\.0_noise_0\.0 has no results"):
        STAGES["privilege"].function()(
            Path("data/processed/tiny/manifest.parquet"),
            [cell_file(study, "labels_6_noise_0.0")],
            Path("results/other"),
            jobs.privilege(e, "tiny"),
        )
