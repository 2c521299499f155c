"""The whole workflow, for real, on a tiny table of arrays: raw files to report."""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from synthetic import REPO, arrays_config, make_arrays, write_config

from pkdot.provenance import verified

TARGET = "results/tiny/report.html"


def project(folder, values=None):
    """A folder with own data and a configuration."""
    make_arrays(folder / "own", subjects=4, seconds=3)
    write_config(folder / "config" / "tiny.yaml", values or config())
    return folder


def config():
    """The smallest contest: one shard, two folds, one seed, two methods."""
    return {**copy.deepcopy(arrays_config()), "shards": 1}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow and the package, which the tests may edit."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pkdot", "workflow"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(REPO / name, folder / name)
    return folder


def command(checkout, folder, *arguments, cores=2):
    profile, snakefile = checkout / "workflow" / "profiles" / "default", checkout / "Snakefile"
    head = [sys.executable, "-m", "snakemake", *(arguments or [TARGET]), "-s", str(snakefile)]
    return [*head, "--directory", str(folder), "--workflow-profile", str(profile), "--cores", str(cores)]


def run(checkout, folder, *arguments, check=True, **how):
    line = command(checkout, folder, *arguments, **how)
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment())
    if check:
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout + ended.stderr


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def planned(checkout, folder, values=None):
    """Jobs of each rule that a dry run would run, with another configuration if one is given."""
    path = folder / "config" / "tiny.yaml"
    before, times = path.read_text(), path.stat()
    if values:
        write_config(path, values)
    try:
        told = run(checkout, folder, TARGET, "--dry-run", "--quiet", "host")
    finally:
        path.write_text(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if "Nothing to be done" in told:
        return {}
    rows = re.findall(r"^(\w+) +(\d+)$", told, re.MULTILINE)
    return {rule: int(count) for rule, count in rows if rule != "total"}


@pytest.fixture(scope="module")
def finished(checkout, tmp_path_factory):
    """A project that was run on two cores, without a break."""
    folder = project(tmp_path_factory.mktemp("project"))
    run(checkout, folder)
    return folder


def test_the_files_of_the_contract_are_there(finished):
    data, results = finished / "data" / "processed" / "tiny", finished / "results" / "tiny"
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
            names += [f"{head}/{name}" for name in ("weights.safetensors", "outputs.npy", "metrics.json", "run.json")]
        for method in ("student_only", "kd"):
            head = f"students/fold_{fold}/seed_0/{method}"
            files = ("weights.safetensors", "predictions.parquet", "metrics.json", "history.csv", "run.json")
            names += [f"{head}/{name}" for name in files]
    assert [name for name in names if not (results / name).is_file()] == []
    left = [path for path in results.rglob("*") if "partial" in path.name or "checkpoint" in path.name]
    assert left == []


def test_every_output_is_as_its_record_says(finished):
    records = sorted((finished / "results").rglob("*run.json")) + sorted((finished / "data").rglob("*run.json"))
    assert len(records) > 30
    for record in records:
        for name in json.loads(record.read_text())["outputs"]:
            verified(record.with_name(name))


def test_the_results_are_of_all_folds_and_methods(finished):
    with open(finished / "results" / "tiny" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows} == {"0", "1"}
    assert {row["method"] for row in rows} == {"student_only", "kd", "teacher", "modality_motion", "modality_pulse"}
    summary = json.loads((finished / "results" / "tiny" / "summary.json").read_text())
    assert summary["simulated"] is False
    assert {row["n_subjects"] for row in summary["rows"]} == {4}


def test_a_finished_project_has_nothing_to_do(checkout, finished):
    assert planned(checkout, finished) == {}


def test_another_option_of_a_method_reruns_that_method_alone(checkout, finished):
    values = config()
    values["students"]["methods"] = ["student_only", {"name": "kd", "temperature": 2}]
    assert planned(checkout, finished, values) == {"students": 2, "fold": 2, "summary": 1, "report": 1}


def test_an_override_reruns_its_fold_alone(checkout, finished):
    values = {**config(), "overrides": {"fold_1": {"teacher": {"training": {"epochs": 3}}}}}
    assert planned(checkout, finished, values) == {"teachers": 1, "students": 2, "fold": 1, "summary": 1, "report": 1}


def test_another_statistic_reruns_no_training(checkout, finished):
    values = {**config(), "evaluation": {"bootstrap": 200}}
    assert planned(checkout, finished, values) == {"summary": 1, "report": 1}


def test_another_method_is_added_to_the_rest(checkout, finished):
    values = config()
    values["students"]["methods"] += ["feature_mse"]
    assert planned(checkout, finished, values) == {"students": 2, "fold": 2, "summary": 1, "report": 1}


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("distillation/kd.py", {"students": 2, "fold": 2, "summary": 1, "report": 1}),
        ("evaluation/statistics.py", {"fold": 2, "summary": 1, "report": 1}),
        ("distillation/sp.py", {}),
    ],
)
def test_edited_code_reruns_the_jobs_that_use_it(checkout, finished, name, jobs):
    path = checkout / "pkdot" / name
    text = path.read_text()
    path.write_text(text + "\nEDITED = 1\n")
    try:
        assert planned(checkout, finished) == jobs
    finally:
        path.write_text(text)


def test_a_killed_run_goes_on_to_the_same_results(checkout, finished, tmp_path):
    """SIGKILL in the middle, one core, another folder: a plain rerun ends with the same bytes."""
    folder = project(tmp_path / "killed")
    with open(tmp_path / "log", "w") as log:
        first = subprocess.Popen(
            command(checkout, folder, cores=1),
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
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("embeddings.npy")}
    run(checkout, folder, cores=1)
    assert {path: path.stat().st_mtime_ns for path in done} == done, "what was finished is not made again"
    for name in ("metrics.csv", "summary.json"):
        assert (folder / "results" / "tiny" / name).read_bytes() == (finished / "results" / "tiny" / name).read_bytes()
    weights = [path.relative_to(folder) for path in folder.rglob("weights.safetensors")]
    assert len(weights) > 10
    for path in weights:
        assert (folder / path).read_bytes() == (finished / path).read_bytes(), path
    assert [path for path in folder.rglob("*partial*")] == []


def wait_for(path, process):
    """Until a job has begun to write there: its folder or its scratch folder is there."""
    for _ in range(3000):
        if path.exists() or list(path.parent.glob(f".{path.name}.*")):
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError(f"{path} was never begun")


def test_a_mistake_in_the_configuration_is_a_sentence(checkout, finished):
    values = config()
    values["splits"] = {"fold": 3}
    path = finished / "config" / "wrong.yaml"
    write_config(path, values)
    told = run(checkout, finished, "results/wrong/report.html", "--dry-run", check=False)
    path.unlink()
    assert "config/wrong.yaml: there is no option 'splits.fold'. Did you mean 'folds'?" in told
    assert "Traceback (most recent call last)" not in told


def test_a_fold_that_is_not_is_refused(checkout, finished):
    told = run(checkout, finished, "results/tiny/folds/fold_7.json", "--dry-run", check=False)
    assert "there is no fold 7; there are 2" in told
    assert "Traceback (most recent call last)" not in told


def test_a_job_that_failed_stays_due_and_a_damaged_input_is_mended_as_told(checkout, finished):
    """Edited code makes kd due, and a damaged teacher stops it: what was reported before must not pass for current."""
    code = checkout / "pkdot" / "distillation" / "kd.py"
    code.write_text(code.read_text() + "\nEDITED = 1\n")
    metrics = finished / "results" / "tiny" / "metrics.csv"
    before = metrics.read_bytes()
    damaged = [
        finished / "results" / "tiny" / "teachers" / f"fold_{fold}" / "seed_0" / "teacher" / "outputs.npy"
        for fold in (0, 1)
    ]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = run(checkout, finished, check=False)
    assert "it was damaged or replaced" in told
    named = set(re.findall(r"Delete (\S+) and run again", told))
    assert planned(checkout, finished)["students"] == 2
    assert len(named) == 2
    for name in named:
        (finished / name).unlink()
    run(checkout, finished)
    for path in damaged:
        verified(path)
    assert metrics.read_bytes() == before
    assert planned(checkout, finished) == {}
