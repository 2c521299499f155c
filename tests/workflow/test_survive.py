"""Whatever happens to a run, a plain rerun ends in the same results, and nothing is left behind."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from synthetic import write_config

from pkdot.params import Params
from pkdot.provenance import job, verified
from tests.workflow import forks
from tests.workflow.conftest import (
    RAW,
    TARGET,
    call,
    checkout,
    environment,
    jobs_of,
    metrics,
    snakemake,
    states,
    tiny_config,
)

KILLS = 20
ENCODER = "results/tiny/encoders/fold_0/motion"


class Run:
    """A workflow in a process group of its own; as a fork it starts sooner, and is no child of the test.

    Else in a session of its own: where a group loses its last tie to its session, the system wakes and ends all that
    is suspended in it.
    """

    def __init__(self, folder: Path, *words: str, fork: bool = False):
        self.log, own = folder / "said", environment()
        own["PATH"] = (forks.path() if fork else "") + own["PATH"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["snakemake", *(words or [TARGET]), "--cores", "2"],
                cwd=folder,
                env=own,
                stdout=log,
                stderr=log,
                process_group=0 if fork else None,
                start_new_session=not fork,
            )

    def wait_for(self, sign) -> bool:
        """Wait until ``sign()`` is true or the run has ended; return which."""
        while self.process.poll() is None:
            if sign():
                return True
            time.sleep(0.02)
        return False

    def output(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """SIGKILL to the workflow and all its jobs."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def jobs_at_work(run: Run) -> list[psutil.Process]:
    """The processes of a run that do the work of a job: forks of the warm one, and those who started by themselves."""
    try:
        below = psutil.Process(run.process.pid).children(recursive=True)
        forks = [one for one in below if {"pkdot.warm"} <= {*one.cmdline()} & {*one.parent().cmdline()}]
        return forks + [one for one in below if {"pkdot", "--params"} <= {*one.cmdline()}]
    except psutil.NoSuchProcess:
        return []


def holds_the_lock(process: psutil.Process) -> bool:
    """Whether a job has begun, as its run can see."""
    try:
        opened = [file.fd for file in process.open_files() if file.path.endswith("pkdot.lock")]
        return any("FLOCK" in Path(f"/proc/{process.pid}/fdinfo/{handle}").read_text() for handle in opened)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


@contextmanager
def held(run: Run) -> Iterator[list[psutil.Process]]:
    """Keep the jobs of a run from going on until the block ends, from a moment at which one holds the lock."""
    jobs: list[psutil.Process] = []

    def caught() -> bool:
        jobs[:] = [job for job in jobs_at_work(run) if tell(job, signal.SIGSTOP)]
        if any(map(holds_the_lock, jobs)):
            return True
        for job in jobs:
            tell(job, signal.SIGCONT)
        return False

    assert run.wait_for(caught), run.output()
    try:
        yield jobs
    finally:
        for job in jobs:
            tell(job, signal.SIGCONT)


def tell(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal; return whether the process was there and, if it is to stop, has stopped."""
    try:
        process.send_signal(number)
        while number == signal.SIGSTOP and process.status() != psutil.STATUS_STOPPED:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            time.sleep(0.001)
    except psutil.NoSuchProcess:
        return False
    return True


def left_behind(folder: Path) -> list[str]:
    """Half-written files, checkpoints, locks and marks of incomplete files."""
    hidden = [path for root in ("data", "results") for path in (folder / root).rglob(".*")]
    marks = [path for name in ("locks", "incomplete") for path in (folder / ".snakemake" / name).glob("*")]
    marks = [path for path in marks if path.name != "migration_underway"]
    return [str(path) for path in [*hidden, *marks, *folder.rglob("*.checkpoint.*")]]


def check_whole(folder: Path, reproduced: Path) -> None:
    """The run is complete, the same as one without a break, every file as its record says, each MLflow run once."""
    assert metrics(folder) == metrics(reproduced)
    assert left_behind(folder) == []
    for record in [*(folder / "results").rglob("*run.json"), *(folder / "data").rglob("*run.json")]:
        for name in json.loads(record.read_text())["outputs"]:
            verified(record.with_name(name))
    keys = call(folder, "python", "-c", KEYS).split()
    assert len(keys) == len(set(keys)) == json.loads((folder / TARGET).read_text())["runs"]


def undo(folder: Path, *stages: str) -> None:
    """Remove what these stages made, and all that follows."""
    for name in (*stages, "folds"):
        shutil.rmtree(folder / "results/tiny" / name, ignore_errors=True)
    for name in ("predictions.parquet", "metrics.csv", "means.json", "summary.json", "report.html", "tracking.json"):
        (folder / "results/tiny" / name).unlink()


KEYS = """
from mlflow import MlflowClient
client = MlflowClient(tracking_uri="sqlite:///mlflow.db")
for run in client.search_runs([client.get_experiment_by_name("tiny").experiment_id], max_results=1000):
    print(run.data.tags["pkdot.key"])
"""


def test_killed_at_twenty_random_moments(reproduced, tmp_path):
    folder, draw, completed = checkout(tmp_path / "killed"), random.Random(0), 0
    for number in range(KILLS):
        run = Run(folder, fork=True)
        if number % 4:  # else also while it starts
            run.wait_for(lambda run=run: "Select jobs to execute" in run.output())
        end = time.monotonic() + draw.uniform(0, 4)
        if run.wait_for(lambda end=end: time.monotonic() > end):
            run.kill()
        else:
            assert run.process.returncode == 0, run.output()
            completed += 1
            assert metrics(folder) == metrics(reproduced)
            for name in ("results", "data/processed"):
                shutil.rmtree(folder / name)
    assert completed < KILLS / 2, "most runs were over before they could be killed"
    snakemake(folder)
    check_whole(folder, reproduced)


def test_two_at_once_in_a_folder(finished):
    undo(finished, "students")
    first = Run(finished)
    with held(first):
        output = snakemake(finished, check=False)
    assert f"snakemake (process {first.process.pid} on " in output
    assert "Wait until it has ended, or end it." in output
    assert "Traceback" not in output
    assert "--unlock" not in output
    assert first.process.wait() == 0, first.output()
    assert "Nothing to be done" in snakemake(finished)


def test_jobs_that_outlive_their_workflow_keep_the_next_one_out(finished, reproduced):
    undo(finished, "teachers", "students")
    first = Run(finished)
    with held(first) as orphans:
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert "or a job that it left behind is at work in this folder" in snakemake(finished, check=False)
    psutil.wait_procs(orphans)
    snakemake(finished)
    check_whole(finished, reproduced)


def test_a_worker_that_the_system_kills(finished, reproduced):
    undo(finished, "students")
    run = Run(finished)
    assert run.wait_for(lambda: jobs_at_work(run))
    jobs_at_work(run)[0].kill()  # as the kernel does when memory runs out
    assert run.process.wait() != 0
    assert "Error in rule students" in run.output()
    assert not (finished / TARGET).exists()
    output = snakemake(finished)
    assert "students" in jobs_of(output)
    check_whole(finished, reproduced)


@pytest.fixture
def mounted(tmp_path):
    """Mount something on a folder for the time of a test."""
    if os.geteuid():
        pytest.skip("only root may mount")
    points = []

    def mount(point: Path, *words: str) -> None:
        point.mkdir(exist_ok=True)
        subprocess.run(["mount", *words, str(point)], check=True)
        if point not in points:  # else it was a remount
            points.append(point)

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def test_a_full_disk(finished, reproduced, mounted):
    shutil.rmtree(finished / "results")
    mounted(finished / "results", "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    output = snakemake(finished, check=False)
    assert "no space is left on the disk" in output
    assert "Traceback" not in output
    assert not (finished / "results/tiny/metrics.csv").exists()
    mounted(finished / "results", "-o", "remount,size=64m")
    snakemake(finished)
    check_whole(finished, reproduced)


def test_raw_data_that_cannot_be_written(finished, reproduced, mounted):
    before = {name: time for name, time in states(finished).items() if name.is_relative_to(RAW)}
    mounted(finished / RAW, "--bind", str(finished / RAW))
    mounted(finished / RAW, "-o", "remount,bind,ro")
    shutil.rmtree(finished / "data/processed")
    snakemake(finished, "data/processed/tiny/ledger.csv", "data/processed/tiny/splits.json")
    assert {name: time for name, time in states(finished).items() if name.is_relative_to(RAW)} == before
    for name in ("manifest.parquet", "splits.json", "motion/shard_0.npy"):
        path = Path("data/processed/tiny", name)
        assert (finished / path).read_bytes() == (reproduced / path).read_bytes()


class Nothing(Params):
    """No parameters."""


def test_a_clock_that_was_set_back_makes_no_output_older_than_its_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path("source")
    source.write_text("made tomorrow")
    tomorrow = time.time() + 86400
    os.utime(source, (tomorrow, tomorrow))
    with job("pkdot.splits", Path("out"), Nothing(), inputs=[source]) as scratch:
        (scratch / "result").write_text("made today")
    assert Path("out/result").stat().st_mtime_ns >= source.stat().st_mtime_ns


def test_a_clock_that_jumps_during_a_run(finished, reproduced):
    """All that was made so far is dated tomorrow, and what comes after is made today."""
    undo(finished, "students")
    tomorrow = time.time() + 86400
    for name in states(finished):
        os.utime(finished / name, (tomorrow, tomorrow))
    snakemake(finished)
    assert metrics(finished) == metrics(reproduced)
    assert "Nothing to be done" in snakemake(finished)


def long_training(folder: Path) -> Path:
    """The tiny experiment with an encoder that trains for seconds."""
    values = tiny_config()
    values["modalities"]["motion"]["training"] = {
        "steps": 900,
        "evaluate_every": 3,
        "patience": None,
        "batch_size": 8,
        "learning_rate": 0.01,
    }
    write_config(folder / "config/tiny.yaml", values)
    shutil.rmtree(folder / "results")
    return folder


def test_a_training_that_was_interrupted_goes_on_from_its_last_look(finished, tmp_path):
    whole = Path(shutil.copytree(long_training(finished), tmp_path / "whole", symlinks=True))
    snakemake(whole, f"{ENCODER}/weights.safetensors")
    run = Run(finished, f"{ENCODER}/weights.safetensors")
    assert run.wait_for(lambda: len(_history(finished)) > 20)
    run.kill()
    at = len(_history(finished))
    assert at < 300
    snakemake(finished, f"{ENCODER}/weights.safetensors")
    for name in ("weights.safetensors", "embeddings.npy", "history.csv"):
        assert (finished / ENCODER / name).read_bytes() == (whole / ENCODER / name).read_bytes()
    assert left_behind(finished) == []
    seconds = [json.loads((folder / ENCODER / "run.json").read_text())["seconds"] for folder in (finished, whole)]
    with open(finished / ENCODER / "history.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 300
    print(f"resumed at look {at}: {seconds[0]} s instead of {seconds[1]} s")


def _history(folder: Path) -> list:
    """The looks in the checkpoint of the encoder; none where there is no checkpoint."""
    from safetensors import safe_open

    for checkpoint in (folder / ENCODER).parent.glob("motion.*.checkpoint.safetensors"):
        with safe_open(checkpoint, framework="np") as file:
            return json.loads(file.metadata()["history"])
    return []
