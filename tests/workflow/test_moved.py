"""Files that move, are lost or are pulled: one rule says what is made again, and looking at it changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from synthetic import write_config

from tests.workflow.conftest import RAW, call, jobs_of, planned_jobs, snakemake, states, tiny_config

REPORT = "results/tiny/report.html"
STUDENTS = "results/tiny/students/fold_0"
KEPT = (REPORT, "results/tiny/summary.json", "results/tiny/means.json")


def rename_a_seed(folder: Path) -> None:
    (folder / STUDENTS / "seed_0").rename(folder / STUDENTS / "seed_9")


def remove_a_fold(folder: Path) -> None:
    shutil.rmtree(folder / STUDENTS)
    for path in (folder / "results/tiny/folds").glob("fold_0*"):
        path.unlink()


@pytest.mark.parametrize("change", [rename_a_seed, remove_a_fold])
def test_what_is_renamed_or_removed_whole_is_made_again_as_announced(finished, change):
    before = {name for name in states(finished) if "seed_9" not in name.parts}
    change(finished)
    announced = planned_jobs(finished, REPORT)
    assert announced == ["fold", "report", "students", "students", "summary"]
    assert jobs_of(snakemake(finished, REPORT)) == announced
    assert set(states(finished)) >= before
    assert planned_jobs(finished, REPORT) == []


def test_what_was_made_stays_until_the_new_is_there_and_no_job_is_forgotten(finished):
    """Only one fold is wanted at first, and its students fail; a file that nobody asks for is gone."""
    (finished / STUDENTS / "seed_0/kd/history.csv").unlink()
    teacher = finished / "results/tiny/teachers/fold_0/seed_0/teacher/outputs.safetensors"
    content, times = teacher.read_bytes(), teacher.stat()
    teacher.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "it was damaged or replaced" in snakemake(finished, "results/tiny/folds/fold_0.json", check=False)
    assert all((finished / name).is_file() for name in KEPT)
    teacher.write_bytes(content)
    os.utime(teacher, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "students" in planned_jobs(finished, "results/tiny/folds/fold_0.json")
    assert jobs_of(snakemake(finished, "results/tiny/folds/fold_0.json")) == ["fold", "students"]
    assert all((finished / name).is_file() for name in KEPT)
    assert set(planned_jobs(finished, REPORT)) <= {"summary", "report"}
    snakemake(finished, REPORT)
    assert planned_jobs(finished, REPORT) == []


def test_the_old_report_stays_where_its_own_job_fails(finished):
    fragment = finished / "pkdot/reporting/sections/tnet.html"
    whole, before = fragment.read_text(), (finished / REPORT).read_bytes()
    fragment.write_text(whole + "{% endif %}")
    assert "failed" in snakemake(finished, REPORT, check=False)
    assert (finished / REPORT).read_bytes() == before
    assert planned_jobs(finished, REPORT) == ["report"]
    fragment.write_text(whole + "<!-- mended -->")
    assert jobs_of(snakemake(finished, REPORT)) == ["report"]
    assert (finished / REPORT).read_bytes() != before


def test_to_look_at_what_does_not_belong_changes_nothing(finished):
    """As after a pull, with another configuration than that of the files."""
    shutil.rmtree(finished / ".snakemake")
    assert planned_jobs(finished, REPORT) == []
    write_config(finished / "config/tiny.yaml", {**tiny_config(), "splits": {"folds": 2, "seed": 1}})
    before = states(finished)
    for words in (["--lint"], ["--summary"], ["--dag"], ["--rulegraph"], ["--dry-run"]):
        snakemake(finished, REPORT, *words, check=words != ["--lint"])
    assert states(finished) == before
    assert "encoder" in planned_jobs(finished, REPORT)
    assert jobs_of(snakemake(finished, "data/processed/tiny/splits.json")) == ["splits"]
    assert all((finished / name).is_file() for name in KEPT), "they were not asked for"


def test_a_flipped_bit_in_the_weights_of_a_student_is_noticed(finished):
    weights = finished / STUDENTS / "seed_0/kd/weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    sentence = f"{weights.relative_to(finished)}: its content is not what run.json says"
    assert sentence in call(finished, "python", "-m", "pkdot", "check", "--full", "config/tiny.yaml", check=False)
    (finished / REPORT).unlink()
    assert sentence in snakemake(finished, REPORT, check=False)
    weights.unlink()
    snakemake(finished, REPORT)
    assert weights.read_bytes() == content
    assert (finished / RAW).is_dir()
