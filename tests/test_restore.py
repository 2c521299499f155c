"""Which jobs are due follows from the records of their files, wherever these came from."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pkdot import lock, restore
from pkdot.params import Params, canonical
from pkdot.provenance import code_hash, job

LEDGER, LOCK = Path("ledger.json"), Path("lock")
MODULE = "pkdot.splits"
SPLITS, WEIGHTS, REPORT = "data/processed/e/splits.json", "results/e/encoders/weights", "results/e/report.html"


class Parameters(Params):
    """The parameters of a job."""

    option: int = 1


def make(path: str, *inputs: str, option: int = 1, record: str = "run", text: str | None = None) -> None:
    """Run a job that writes one file."""
    with job(MODULE, Path(path).parent, Parameters(option=option), map(Path, inputs), record) as scratch:
        (scratch / Path(path).name).write_text(text or path)


def parameters(**options: int):
    """Return what gives the parameters of each file's job now: option 1, or as given by the file's name."""
    return lambda file: canonical(
        {"code": code_hash(MODULE, Parameters()), "params": {"option": options.get(Path(file).stem, 1)}}
    )


def due(**options: int) -> list[str]:
    return list(restore.due(LEDGER, parameters(**options)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A chain of three files that came from elsewhere, the last of them dated first, as a restoring tool may do."""
    monkeypatch.chdir(tmp_path)
    make(SPLITS)
    make(WEIGHTS, SPLITS)
    make(REPORT, WEIGHTS, record="report")
    for age, name in enumerate((SPLITS, WEIGHTS, REPORT)):
        os.utime(name, (time.time() - 100 * age,) * 2)
    return tmp_path


def ages() -> set[int]:
    return {Path(name).stat().st_mtime_ns for name in (SPLITS, WEIGHTS, REPORT)}


def test_what_came_from_elsewhere_gets_one_date_and_keeps_it(folder):
    restore.adopt(LEDGER, LOCK)
    first = ages()
    assert len(first) == 1
    restore.adopt(LEDGER, LOCK)
    assert ages() == first


def test_while_a_run_is_at_work_nothing_is_touched(folder):
    before = ages()
    handle = lock.share(LOCK)
    try:
        restore.adopt(LEDGER, LOCK)
    finally:
        os.close(handle)
    assert ages() == before


def test_what_came_from_elsewhere_is_due_where_it_does_not_belong(folder):
    assert due() == []
    assert due(weights=2) == [WEIGHTS]
    restore.adopt(LEDGER, LOCK)
    assert due(report=2) == [REPORT], "compared to every later configuration"


def test_looking_changes_no_file(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert due(weights=2, splits=2)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_file_made_from_another_than_the_one_that_lies_there_is_due_wherever_it_was_made(folder):
    restore.remember(LEDGER, {})
    make(SPLITS, text="another")
    assert due() == [WEIGHTS]
    make(WEIGHTS, SPLITS, text="other weights")
    assert due() == [REPORT], "in a later run too, if the first was not about it"
    make(REPORT, WEIGHTS, record="report")
    assert due() == []


def test_what_is_made_again_with_the_same_content_makes_nothing_due(folder):
    make(WEIGHTS, SPLITS)
    assert due() == []


def test_parameters_of_what_a_run_made_here_are_left_to_the_workflow(folder):
    restore.remember(LEDGER, {})
    before = ages()
    restore.adopt(LEDGER, LOCK)
    assert due(weights=2) == []
    assert ages() == before


def test_only_what_the_run_changed_counts_as_made_here(folder):
    before = restore.records()
    os.utime("results/e/encoders/run.json")
    restore.remember(LEDGER, before)
    assert due(weights=2, splits=2) == [SPLITS]


def test_a_file_that_no_rule_makes_is_left_alone(folder):
    assert restore.due(LEDGER, lambda file: None) == {}


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_record_that_is_none_costs_no_other_file(folder, text):
    Path("results/e/encoders/run.json").write_text(text)
    restore.adopt(LEDGER, LOCK)
    assert SPLITS not in due()


def test_a_file_that_a_job_read_is_missed_with_its_whole_folder(folder):
    """No record is left that could speak of it, but for those of the jobs that read it."""
    shutil.rmtree("results/e/encoders")
    assert due() == [REPORT]


STUDENT, MARKER = "results/e/students/seed_0/kd/predictions", "results/e/students/kd.json"
SCORES = "results/e/folds/fold_0.json"


@pytest.fixture
def students(folder):
    """A job that writes into two folders, with a file that was made of the deeper one; all of them made here."""
    with job(MODULE, Path("results/e/students"), Parameters(), [Path(WEIGHTS)], "kd") as scratch:
        (scratch / "kd.json").write_text("chosen")
        (scratch / "seed_0" / "kd").mkdir(parents=True)
        (scratch / "seed_0" / "kd" / "predictions").write_text("1")
    make(SCORES, STUDENT, record="fold_0")
    restore.remember(LEDGER, {})
    assert due() == []
    return folder


def test_a_job_of_which_a_file_is_gone_is_due_until_it_has_run(students):
    Path(MARKER).unlink()
    assert due() == [MARKER]
    assert due() == [MARKER], "to look at it does not settle it"


def test_a_job_whose_deeper_file_is_gone_is_due_with_what_read_it(students):
    Path(STUDENT).unlink()
    assert due() == [SCORES, MARKER]


@pytest.mark.parametrize("change", [shutil.rmtree, lambda path: Path(path).rename("results/e/students/seed_7")])
def test_a_folder_that_is_gone_or_renamed_is_missed(students, change):
    change("results/e/students/seed_0")
    assert due() == [SCORES, MARKER]


def test_folders_of_earlier_seeds_are_left_alone(students):
    """Their job ran again with fewer seeds; nobody asks for them."""
    shutil.copytree("results/e/students/seed_0", "results/e/students/seed_1")
    Path("results/e/students/seed_1/kd/predictions").unlink()
    assert due() == []
