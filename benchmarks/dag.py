"""What Snakemake costs: a dry run of the full-size problem, and the overhead of a run that was done here.

The dry run is compared with Snakemake's own on as many jobs that know nothing. Goals: under 10 s; and scheduler and
interpreters at most 20 % of the wall time of the default run, which is read from results/biovid, if it is there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[1]
METHODS, SUBJECTS = 20, 87
NOTHING = """
rule all:
    input: expand("done/{{n}}", n=range({jobs}))
rule one:
    output: "done/{{n}}"
    shell: "touch {{output}}"
"""
RUN = Path("results/biovid")
CLOCK = re.compile(r"^\[(\w{3} \w{3} +\d+ [\d:]+ \d{4})\]$", re.M)


def full_size(folder: Path) -> None:
    """The experiment of config/biovid.yaml with all of BioVid's subjects, one shard each, and twenty methods."""
    from pkdot.datasets.base import register as datasets
    from pkdot.distillation.base import register as methods
    from pkdot.experiment import load

    values = yaml.safe_load((REPO / "config/biovid.yaml").read_text())
    values["dataset"] = {"name": "biovid", "root": "data/raw/biovid"}
    values["shards"] = SUBJECTS
    values.pop("protocols", None)
    fitting = [name for name in methods.names() if "three classes" not in methods.load(name).needs]
    fitting.remove("student_only")
    values["students"]["methods"] = ["student_only", *fitting][:METHODS]
    (folder / "config").mkdir()
    (folder / "config/full.yaml").write_text(yaml.safe_dump(values))
    listing = folder / "data/raw/biovid" / datasets.load("biovid").listing
    listing.parent.mkdir(parents=True)
    listing.write_text("")
    load(folder / "config/full.yaml")


def dry_run(folder: Path, *words: str) -> tuple[float, int]:
    """Seconds of a dry run, and the jobs that it counts."""
    start = time.perf_counter()
    command = [Path(sys.executable).with_name("snakemake"), "--dry-run", "--quiet", "rules", "--cores", "8", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - start, int(re.search(r"^total +(\d+)", done.stdout + done.stderr, re.M)[1])


def think() -> None:
    """Print what a dry run costs."""
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        full_size(Path(here))
        ours, jobs = dry_run(Path(here), "--snakefile", str(REPO / "Snakefile"), "results/full/report.html")
        Path(there, "Snakefile").write_text(NOTHING.format(jobs=jobs))
        peer, _ = dry_run(Path(there))
    print(f"dry run, {SUBJECTS} subjects, {METHODS} methods, 5 folds, 3 seeds: {jobs} jobs in {ours:.1f} s (goal: 10)")
    print(f"{ours / peer:.1f} times as long as Snakemake takes for as many empty jobs")


def whole_run() -> tuple[set[str], float, int] | None:
    """Rules, seconds and cores of the newest run here that made the report and all results before it."""
    for log in sorted(Path(".snakemake/log").glob("*.log"), reverse=True):
        said = log.read_text()
        rules = set(re.findall(r"^(?:local)?rule (\w+):", said, re.M))
        if f"output: {RUN}/report.html" in said and rules >= {"features", "encoder", "teachers", "students", "report"}:
            times = [datetime.strptime(clock, "%a %b %d %H:%M:%S %Y") for clock in CLOCK.findall(said)]
            return rules, (times[-1] - times[0]).total_seconds(), int(re.search(r"Provided cores: (\d+)", said)[1])
    return None


def overhead() -> None:
    """Print what of a run was no work of a stage: starts, imports, scheduling, and cores with nothing to do."""
    run = whole_run()
    if run is None:
        print("overhead of the default run: not measured, for there is none here; `make clean report` makes one")
        return
    rules, wall, cores = run
    roots = [Path("data/processed/biovid"), RUN, *([Path("data/simulated/biovid")] if "prepare" in rules else [])]
    records = [json.loads(path.read_text()) for root in roots for path in root.rglob("*run.json")]
    work = sum(
        said["seconds"] / said.get("folders", 1) * (cores if said["stage"].endswith("prepare") else 1)
        for said in records
    )
    print(f"default run: {wall:.0f} s on {cores} cores, {1 - work / wall / cores:.0%} of it no work (goal: 20 %)")


if __name__ == "__main__":
    think()
    overhead()
