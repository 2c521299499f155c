"""The whole workflow, for real, on a tiny table of arrays: raw files to report."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from synthetic import write_config

from pkdot.provenance import verified
from tests.workflow.conftest import RAW, call, checkout, environment, jobs_of, metrics, states, tiny_config

TARGET = "results/tiny/report.html"
METHODS = ("student_only", "kd")


def run(folder: Path, *words: str, cores: int = 2, check: bool = True) -> str:
    """Run the workflow, for the report if nothing else is said."""
    return call(folder, "snakemake", *(words or [TARGET]), "--cores", str(cores), check=check)


def planned(folder: Path, **changes) -> dict[str, int]:
    """Jobs of each rule that a run would make now, or with some sections of the configuration changed."""
    path = folder / "config" / "tiny.yaml"
    before = path.read_text()
    write_config(path, {**tiny_config(), **changes})
    try:
        output = run(folder, TARGET, "--dry-run", "--quiet", "host")
    finally:
        path.write_text(before)
    if "Nothing to be done" in output:
        return {}
    rows = re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)
    return {rule: int(count) for rule, count in rows if rule != "total"}


def students(*methods) -> dict:
    """The section of the students with other methods."""
    return {"students": {**tiny_config()["students"], "methods": list(methods)}}


@pytest.fixture(scope="module")
def ran(reproduced, tmp_path_factory) -> Path:
    """A copy of a checkout with its results; what a test changes in it, it changes back."""
    return Path(shutil.copytree(reproduced, tmp_path_factory.mktemp("ran") / "folder", symlinks=True))


def test_the_files_of_the_contract_are_there(ran):
    data, results = ran / "data" / "processed" / "tiny", ran / "results" / "tiny"
    names = ["manifest.parquet", "ledger.csv", "splits.json"]
    names += [f"{modality}/{name}" for modality in ("motion", "pulse") for name in ("shard_0.npy", "index.parquet")]
    assert [name for name in names if not (data / name).is_file()] == []
    names = ["predictions.parquet", "metrics.csv", "summary.json", "report.html"]
    for fold in (0, 1):
        names += [f"folds/fold_{fold}.json"]
        for modality in ("motion", "pulse"):
            names += [f"encoders/fold_{fold}/{modality}/{name}" for name in ("weights.safetensors", "embeddings.npy")]
        for teacher in ("teacher", "tnet"):
            head = f"teachers/fold_{fold}/seed_0/{teacher}"
            names += [
                f"{head}/{name}" for name in ("weights.safetensors", "outputs.safetensors", "metrics.json", "run.json")
            ]
        for method in METHODS:
            head = f"students/fold_{fold}/seed_0/{method}"
            files = ("weights.safetensors", "predictions.parquet", "metrics.json", "history.csv", "run.json")
            names += [f"{head}/{name}" for name in files]
    assert [name for name in names if not (results / name).is_file()] == []
    assert [path for path in results.rglob("*") if "partial" in path.name or "checkpoint" in path.name] == []


def test_every_output_is_as_its_record_says(ran):
    records = [record for root in ("data", "results") for record in (ran / root).rglob("*run.json")]
    assert len(records) > 30
    for record in records:
        for name in json.loads(record.read_text())["outputs"]:
            verified(record.with_name(name))


def test_the_results_are_of_all_folds_and_methods(ran):
    with open(ran / "results" / "tiny" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows} == {"0", "1"}
    assert {row["method"] for row in rows} == {*METHODS, "teacher", "modality_motion", "modality_pulse"}
    summary = json.loads((ran / "results" / "tiny" / "summary.json").read_text())
    assert summary["simulated"] is False
    assert {row["n_subjects"] for row in summary["rows"]} == {4}


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ({}, {}),
        (students("student_only", {"name": "kd", "temperature": 2}), {"students": 2, "fold": 2}),
        (students(*METHODS, "feature_mse"), {"students": 2, "fold": 2}),
        ({"overrides": {"fold_1": {"teacher": {"dim": 4}}}}, {"teachers": 1, "students": 2, "fold": 1}),
        ({"evaluation": {"bootstrap": 200}}, {}),
    ],
    ids=["nothing", "an option of a method", "one more method", "an override of a fold", "the statistics"],
)
def test_a_changed_option_reruns_what_it_must_and_no_more(ran, changes, jobs):
    assert planned(ran, **changes) == ({**jobs, "summary": 1, "report": 1} if changes else {})


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("distillation/kd.py", {"students": 2, "fold": 2, "summary": 1, "report": 1}),
        ("distillation/sp.py", {}),
    ],
)
def test_edited_code_reruns_the_jobs_that_use_it(ran, name, jobs):
    path = ran / "pkdot" / name
    text = path.read_text()
    path.write_text(text + "\nEDITED = 1\n")
    try:
        assert planned(ran) == jobs
    finally:
        path.write_text(text)


def test_an_edited_list_of_recordings_is_read_again(finished):
    path = finished / RAW / "recordings.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert planned(finished)["ingest"] == 1


def test_a_killed_run_goes_on_to_the_same_results(reproduced, tmp_path):
    """SIGKILL in the middle, one core, another folder: a plain rerun ends with the same bytes."""
    folder = checkout(tmp_path / "killed")
    with open(tmp_path / "log", "w") as log:
        first = subprocess.Popen(
            ["snakemake", TARGET, "--cores", "1"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
        try:
            wait_for(folder / "results" / "tiny" / "teachers" / "fold_0", first)
        finally:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    assert not (folder / TARGET).exists()
    done = {record: record.read_bytes() for record in folder.rglob("*run.json")}
    assert any("encoders" in record.parts for record in done)
    run(folder, cores=1)
    assert all(record.read_bytes() == text for record, text in done.items()), "what was finished is not made again"
    assert metrics(folder) == metrics(reproduced)
    weights = [path.relative_to(folder) for path in folder.rglob("weights.safetensors")]
    assert len(weights) > 10
    for path in weights:
        assert (folder / path).read_bytes() == (reproduced / path).read_bytes(), path
    assert [path for root in ("data", "results") for path in (folder / root).rglob("*partial*")] == []


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until a job has begun to write there: its folder or its scratch folder is there."""
    for _ in range(6000):
        if path.exists() or list(path.parent.glob(f".{path.name}.*")):
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError(f"{path} was never begun")


def test_a_plain_run_takes_the_profile_of_this_machine(ran):
    """Without it runs are not resumed, and the logs of failed jobs not shown."""
    output = run(ran, TARGET, "--dry-run")
    assert re.search(r"Using workflow specific profile \S*profiles/default", output)


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("results/tiny/summary.json", {"summary": 1}),
        ("results/tiny/folds/fold_0.json", {"fold": 1, "summary": 1}),
        ("results/tiny/students/fold_1/seed_0/kd/history.csv", {"students": 1, "fold": 1, "summary": 1}),
        ("data/processed/tiny/dataset.json", {"ingest": 1}),
    ],
)
def test_damage_that_only_the_report_sees_is_mended_as_told(finished, name, jobs):
    """Whatever file is named: who deletes it and runs again has the same results as before."""
    path, before = finished / name, states(finished)
    whole, stamp = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(whole + b" ")
    os.utime(path, ns=(stamp, stamp))
    (finished / TARGET).unlink()
    output = run(finished, check=False)
    assert set(re.findall(r"Delete (\S+) and run again", output)) == {name}
    path.unlink()
    output = jobs_of(run(finished))
    assert {rule: output.count(rule) for rule in jobs} == jobs
    assert path.read_bytes() == whole
    assert set(states(finished)) >= set(before) - {Path("results/tiny/tracking.json")}
    assert planned(finished) == {}


def test_a_file_that_is_gone_is_missed_whether_or_not_a_job_asks_for_it(finished):
    path = finished / "results/tiny/students/fold_0/seed_0/kd/predictions.parquet"
    whole = path.read_bytes()
    path.unlink()
    output = run(finished, TARGET, "-n")
    assert "students/fold_0/kd.json: this file, or another of the job that made it, is gone" in output
    assert jobs_of(run(finished)) == ["fold", "report", "students", "summary"]
    assert path.read_bytes() == whole


def test_a_mistake_in_the_configuration_is_a_sentence(ran):
    path = write_config(ran / "config" / "wrong.yaml", {**tiny_config(), "splits": {"fold": 3}})
    output = run(ran, "results/wrong/report.html", "--dry-run", check=False)
    path.unlink()
    assert "config/wrong.yaml: there is no option 'splits.fold'. Did you mean 'folds'?" in output
    assert "Traceback (most recent call last)" not in output


def test_a_file_in_the_place_of_a_folder_is_a_sentence(ran):
    logs = (ran / "logs").rename(ran / "aside")
    (ran / "logs").write_text("")
    told = run(ran, TARGET, "--dry-run", check=False)
    (ran / "logs").unlink()
    logs.rename(ran / "logs")
    assert "logs: is no folder, but results go there. Move it." in told


def test_a_fold_that_is_not_is_refused(ran):
    output = run(ran, "results/tiny/folds/fold_7.json", "--dry-run", check=False)
    assert "config/tiny.yaml: there is no fold 7; there are 2" in output
    assert "Traceback (most recent call last)" not in output


def test_a_job_that_failed_stays_due_and_a_damaged_input_is_mended_as_told(finished):
    """Edited code makes kd due, and a damaged teacher stops it: what was reported before must not pass for current."""
    code = finished / "pkdot" / "distillation" / "kd.py"
    code.write_text(code.read_text() + "\nEDITED = 1\n")
    before = metrics(finished)
    teachers = finished / "results" / "tiny" / "teachers"
    damaged = [teachers / f"fold_{fold}" / "seed_0" / "teacher" / "outputs.safetensors" for fold in (0, 1)]
    for path in damaged:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    output = run(finished, check=False)
    assert "it was damaged or replaced" in output.splitlines()[-1], "the reason stands last"
    assert re.match(r"logs/tiny/\S+\.log: pkdot \w+: ", output.splitlines()[-1])
    assert "--params '{" not in output
    named = set(re.findall(r"Delete (\S+) and run again", output))
    assert len(named) == 2
    assert planned(finished)["students"] == 2
    for name in named:
        (finished / name).unlink()
    run(finished)
    for path in damaged:
        verified(path)
    assert metrics(finished) == before
    assert planned(finished) == {}


def test_a_model_from_elsewhere_enters_without_a_training(finished):
    """Its file is made of the student's own predictions; only the folds, the summary and the report are made again."""
    table = pd.read_parquet(finished / "results/tiny/predictions.parquet")
    table = table[table["method"] == "kd"].rename(columns={"score_0": "a", "score_1": "b"})
    table[["fold", "sample_id", "a", "b"]].to_csv(finished / "their results.csv", index=False)
    changed = {**tiny_config(), "evaluation": {"bootstrap": 100, "foreign": {"theirs": "their result.csv"}}}
    config = write_config(finished / "config/tiny.yaml", changed)
    output = run(finished, check=False)
    assert "config/tiny.yaml: evaluation.foreign.theirs: their result.csv: no such file." in output
    config.write_text(config.read_text().replace("their result.csv", "their results.csv"))
    output = run(finished)
    assert jobs_of(output) == ["fold", "fold", "foreign", "report", "summary"]
    rows = json.loads((finished / "results/tiny/summary.json").read_text())["rows"]
    mean = {row["method"]: row["mean"] for row in rows if row["metric"] == "accuracy"}
    assert mean["theirs"] == mean["kd"]
