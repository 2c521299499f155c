"""A checkout with a tiny experiment in it, run once by `dvc repro`, and copied by the tests that need it."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from synthetic import REPO, arrays_config, make_arrays, write_config

from tests.workflow import forks

NAMES = (
    "pkdot",
    "workflow",
    "profiles",
    ".dvc/plots",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "environment.yml",
    "Snakefile",
)
TARGET = "results/tiny/tracking.json"
RAW = "data/raw/own"


def tiny_config() -> dict:
    """The smallest contest: one shard, two folds, one seed, two methods."""
    return {**copy.deepcopy(arrays_config(RAW)), "shards": 1}


def checkout(folder: Path) -> Path:
    """A new checkout with raw data and a configuration, and the stages of this one experiment."""
    for name in NAMES:
        source, target = REPO / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target, follow_symlinks=False)
    make_arrays(folder / RAW, subjects=4, seconds=3)
    write_config(folder / "config" / "tiny.yaml", tiny_config())
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    kept = {
        name: {**stage, "foreach": {"tiny": {"base": "tiny", "root": RAW}}}
        for name, stage in stages.items()
        if name not in ("data", "student", "privilege", "missing", "student_any")  # this experiment has none of these
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}))
    return folder


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has activated the virtual environment, and has no tracking server.

    Compiled code is kept, as everywhere: compiling all modules takes each job a second.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI")
    names = {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "PATH": path, **names, **more}


def call(folder: Path, *words: str, check: bool = True, **more: str) -> str:
    """Run a command in a folder and return all that it says."""
    own = environment(**more)
    own["PATH"] = forks.path() + own["PATH"]
    done = subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert done.returncode == 0 or not check, output[-4000:]
    return output


def snakemake(folder: Path, *words: str, **how) -> str:
    """Run the workflow, as a user would."""
    return call(folder, "snakemake", *(words or [TARGET]), "--cores", "2", **how)


def commit(folder: Path, message: str) -> None:
    """Commit all that git does not ignore."""
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-q", "-m", message)


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, worker_id) -> Path:
    """A checkout after its first `dvc repro`; the workers of a parallel run share one."""
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent
    with FileLock(root / "reproduced.lock"):
        folder = root / "reproduced"
        if not folder.exists():
            made = checkout(root / "unfinished" / "reproduced")
            call(made, "git", "init", "-q")
            commit(made, "the experiment")
            call(made, "dvc", "repro")
            commit(made, "its results")
            made.rename(folder)
    return folder


@pytest.fixture
def finished(reproduced, tmp_path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(reproduced, tmp_path / "finished", symlinks=True))


def metrics(folder: Path) -> bytes:
    """The metrics of the tiny experiment."""
    return (folder / "results/tiny/metrics.csv").read_bytes()


def states(folder: Path) -> dict[Path, int]:
    """Times of modification of all data and results."""
    paths = [path for root in ("data", "results") for path in (folder / root).rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in paths}


def jobs_of(output: str) -> list[str]:
    """Rules of the jobs that a workflow has run, from its output."""
    return sorted(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", output))


def planned_jobs(folder: Path, *targets: str) -> list[str]:
    """Rules of the jobs that a run would make now."""
    output = snakemake(folder, *targets, "--dry-run", "--quiet", "host")
    assert ("Nothing to be done" in output) != ("Job stats" in output)
    rows = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    return sorted(rule for rule, count in rows.items() if rule != "total" for _ in range(int(count)))
