"""The page of missing modalities says what its sums say, and no more than its intervals show."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import chdir
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tree
from pydantic import ValidationError
from safetensors.numpy import load_file
from test_browser import CHROMIUM

import pkdot
from pkdot import jobs
from pkdot.config import Experiment
from pkdot.errors import ConfigError, DataError
from pkdot.evaluation.missing import MissingSection
from pkdot.reporting.missing import claim, reasons
from pkdot.stages import STAGES

SECTION = {
    "models": ["any_subset", "zero_imputation", "tnet", "modality_dropout"],
    "patterns": ["bursts", "whole", "mostly"],
    "rates": [0.0, 0.5, 1.0],
}
MADE = {"tiny": tree.tiny, "sequences": tree.sequences}


def with_grid(name, **changes):
    """An experiment that was run, with a grid."""
    plain = MADE[name](tree.ROOT).plain()
    return Experiment(**{**plain, "missing": {**SECTION, **changes}})


def paths(name, e):
    """The files that the page reads, of all folds."""
    results, folds = Path("results") / name, range(e.splits.fold_count)
    grid = [results / f"missing/fold_{fold}/fold_{fold}.json" for fold in folds]
    return Path(f"data/processed/{name}/manifest.parquet"), grid, [results / f"folds/fold_{k}.json" for k in folds]


@pytest.fixture(scope="module")
def grids(ran, tmp_path_factory):
    """Both experiments with their pages."""
    folder = tmp_path_factory.mktemp("missing") / "copy"
    shutil.copytree(ran, folder)
    with chdir(folder):
        for name in MADE:
            e, results = with_grid(name), Path("results") / name
            manifest, grid, folds = paths(name, e)
            for fold, found in enumerate(grid):
                embeddings = [results / f"encoders/fold_{fold}/{m}/embeddings.npy" for m in e.modalities]
                STAGES["completion"].function()(
                    manifest, manifest.with_name("splits.json"),
                    embeddings, results / f"teachers/fold_{fold}", found.parent, jobs.completion(e, fold),
                )  # fmt: skip
            STAGES["missing"].function()(manifest, grid, folds, results, jobs.missing(e, name))
    return folder


def numbers(grids, name):
    return json.loads((grids / f"results/{name}/missing.json").read_text())


def test_curves_and_areas_are_those_of_the_sums(grids):
    found = numbers(grids, "tiny")
    sums = [load_file(path) for path in sorted((grids / "results/tiny/missing").glob("*/*.sums.safetensors"))]
    assert len(sums) == 2
    for condition in found["conditions"]:
        for place, label in enumerate(found["contenders"]):
            confusion = sum(
                each[f"{label}.0.{condition['pattern']}.{condition['target']}"].sum(axis=1) for each in sums
            )
            accuracy = np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))
            assert condition["curves"][label] == pytest.approx(accuracy)
            row = condition["areas"][place]
            assert row["method"] == label
            assert row["mean"] == pytest.approx(accuracy @ [0.25, 0.5, 0.25])
            assert row["ci_low"] <= row["mean"] <= row["ci_high"]
        main, best = condition["areas"][0], found["contenders"].index(found["best_imputation"])
        gap = main["mean"] - condition["areas"][best]["mean"]
        assert condition["against_imputation"]["diff"] == pytest.approx(gap)


def test_what_is_left_is_compared_with_the_contest(grids):
    found = numbers(grids, "tiny")
    summary = json.loads((grids / "results/tiny/summary.json").read_text())
    mean = {row["method"]: row["mean"] for row in summary["rows"] if row["metric"] == "accuracy"}
    for kind, reference in (("everything", "teacher"), ("no privileged", "pkdot")):
        left = found["left"][kind]
        rows = {row["method"]: row["mean"] for row in left["rows"]}
        assert left["reference"] == reference
        assert rows[reference] == pytest.approx(mean[reference])
        assert left["against"]["diff"] == pytest.approx(rows["any_subset"] - mean[reference])
    assert len({row["mean"] for row in found["left"]["nothing"]["rows"]}) == 1


def test_a_regression_is_scored_by_the_metric_of_the_contest(grids):
    found = numbers(grids, "sequences")
    assert found["primary_metric"] == "ccc_mean"
    summary = json.loads((grids / "results/sequences/summary.json").read_text())
    teacher = next(r for r in summary["rows"] if (r["method"], r["metric"]) == ("teacher", "ccc_mean"))
    row = next(row for row in found["left"]["everything"]["rows"] if row["method"] == "teacher")
    assert row["mean"] == pytest.approx(teacher["mean"])
    assert found["left"]["no privileged"]["reference"] == "tnet_only"


def test_rivals_are_chosen_by_validation(grids):
    found = numbers(grids, "tiny")
    score = {each["label"]: (each["score"], -each["loss"]) for each in found["networks"]}
    assert found["best_imputation"] == max(("zero_imputation", "tnet"), key=score.__getitem__)
    rivals = [label for label in found["contenders"] if not label.startswith("any_subset")]
    assert found["best_rival"] == max(rivals, key=score.__getitem__)


@pytest.mark.parametrize("name", MADE)
def test_the_page_shows_its_numbers(grids, name):
    html = (grids / f"results/{name}/missing.html").read_text(encoding="utf-8")
    text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<main>")[2])))
    found = numbers(grids, name)
    assert claim(found) in text
    assert all(sentence in text for sentence in reasons(found))
    assert all(label in text for label in found["contenders"])
    assert html.count("<svg") == 1 + len(SECTION["patterns"])
    assert html.count("SIMULATED DATA") == int(found["simulated"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")
def test_it_reads_well_in_a_browser(grids):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (1280, 400):
            for name in MADE:
                page = browser.new_page(viewport={"width": width, "height": 900})
                complaints = []
                page.on("console", lambda message, seen=complaints: seen.append(message.text))
                page.on("pageerror", lambda error, seen=complaints: seen.append(str(error)))
                page.goto((grids / f"results/{name}/missing.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert page.locator("h1").is_visible()
                assert page.evaluate(
                    "[...document.querySelectorAll('main svg')].every(svg => svg.getBoundingClientRect().height > 40)"
                )
                assert complaints == []
                page.close()
        browser.close()


def test_the_model_ships_trained_on_all_subjects_with_what_the_grid_says(grids, monkeypatch):
    """From the encoders of all subjects to a bundle that predicts from the file of one modality."""
    monkeypatch.chdir(grids)
    e, results, data = with_grid("tiny"), Path("results/tiny"), Path("data/processed/tiny")
    manifest, splits = data / "manifest.parquet", data / "splits.json"
    encoders = {name: results / "encoders/fold_all" / name for name in e.modalities}
    for name, folder in encoders.items():
        STAGES["encoder"].function()(manifest, splits, data / name, folder, jobs.encoder(e, name, "all"))
    embeddings = [folder / "embeddings.npy" for folder in encoders.values()]
    teachers, networks = results / "teachers/fold_all", results / "missing/fold_all"
    STAGES["teachers"].function()(manifest, splits, embeddings, teachers, jobs.teachers(e, "all"))
    params = jobs.completion(e, "all")
    STAGES["completion"].function()(manifest, splits, embeddings, teachers, networks, params)
    STAGES["refit_any"].function()(
        manifest, splits, embeddings, networks / "fold_all.json", results / "missing.json", results / "student_any",
        jobs.refit_any(e, "tiny"),
    )  # fmt: skip
    card = (results / "student_any/card.md").read_text(encoding="utf-8")
    rows = {row["method"]: row for row in numbers(grids, "tiny")["left"]["no privileged"]["rows"]}
    assert f"| the privileged ones are absent | {rows['any_subset']['mean']:.3f} |" in card
    assert "SIMULATED" in card
    student = pkdot.load_student(results / "student_any")
    assert student.description.method == "any_subset"
    for given in (["motion"], ["pulse"], ["motion", "pulse"]):
        table = student.predict({name: tree.ROOT / f"r00-{name}.npy" for name in given}, rate=tree.RATE)
        assert len(table) == tree.PER_SUBJECT
        assert table.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)


def compared(verdict, diff=0.1, se=0.05):
    return {"verdict": verdict, "diff": diff, "se": se, "diff_ci_low": diff - 2 * se, "diff_ci_high": diff + 2 * se}


def answer(everything, privileged, prevalent, **changes):
    left = {
        "everything": {"against": everything, "reference": "teacher"},
        "no privileged": {"against": privileged, "reference": "pkdot"},
        "no prevalent": {"against": prevalent, "reference": None},
    }
    return {
        "left": left, "main": "any_subset", "privileged": ["eda", "ecg"], "prevalent": ["face"], "conditions": [],
        "primary_metric": "accuracy", **changes,
    }  # fmt: skip


def test_the_answer_claims_what_the_intervals_show():
    open_, worse = compared("open", -0.02), compared("worse", -0.1)
    said = claim(answer(open_, compared("better"), compared("better")))
    assert said == (
        "With everything present, any_subset is not shown to differ from the teacher, without eda and ecg it is better "
        "by 0.100 than pkdot, and without face it predicts better than by the classes' shares."
    )
    assert "is worse by 0.100 than the teacher" in claim(answer(worse, open_, open_))
    assert claim(answer(worse, open_, open_)).endswith("without face it is not shown to know more than the prior.")
    first, second, _ = reasons(answer(open_, worse, open_))
    assert "So it is not worse by more than that." in first
    assert "So it is worse by more than that." in second
    # an error is better where it is lower
    assert "So it is worse" in reasons(answer(compared("worse", 0.1), open_, open_, primary_metric="mae"))[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models": ["any_subset"]}, "a completion that imputes"),
        ({"models": ["zero_imputation", "tnet"]}, "models takes any_subset"),
        ({"models": ["any_subset", "tnet", "tnet"]}, "twice"),
        ({"rates": [0.0, 0.5]}, "rise from 0 to 1"),
        ({"rates": [0.0, 0.5, 0.5, 1.0]}, "name no rate twice"),
        ({"patterns": ["bursts"]}, "takes whole"),
    ],
)
def test_a_grid_that_cannot_answer_is_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        MissingSection(**{**SECTION, **changes})


def test_a_grid_needs_its_teachers_and_its_student():
    with pytest.raises(ConfigError, match="of which there is no teacher"):
        MissingSection(seeds=[7]).check(["kd"], [0, 1])
    with pytest.raises(ConfigError, match="no method of the contest"):
        MissingSection(student="crd").check(["kd"], [0, 1])
    assert MissingSection().student_of(["student_only", "pkdot", "kd"], ["student_only"]) == "pkdot"
    assert MissingSection().student_of(["student_only", "pkdot", "pkdot_joint"], ["student_only"]) == "pkdot_joint"
    assert MissingSection().student_of(["student_only", "kd"], ["student_only"]) == "kd"
    assert MissingSection(student="student_only").student_of(["student_only", "kd"], []) == "student_only"
    with pytest.raises(ConfigError, match="no section missing"):
        _ = tree.tiny(tree.ROOT).missing_grid


def test_a_regression_has_no_model_that_needs_classes():
    labels = [[each.label for each in MissingSection().contenders(regression)] for regression in (False, True)]
    assert "mmanet" in labels[0]
    assert "mmanet" not in labels[1]
    assert labels[0][:2] == ["any_subset", "any_subset_unlike"]


def test_other_samples_than_those_of_the_contest_are_an_error(grids, monkeypatch, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(grids, folder)
    monkeypatch.chdir(folder)
    e = with_grid("tiny")
    manifest, grid, folds = paths("tiny", e)
    table = pd.read_parquet(folds[0].with_name("fold_0.predictions.parquet"))
    sample = table["sample_id"].iloc[0]
    found = json.loads(grid[0].read_text())
    found["samples"].remove(sample)
    grid[0].write_text(json.dumps(found))
    (grid[0].with_name("fold_0.run.json")).unlink()
    with pytest.raises(DataError, match="run both again"):
        STAGES["missing"].function()(manifest, grid, folds, Path("results/other"), jobs.missing(e, "tiny"))
