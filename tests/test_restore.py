"""Outputs that came from elsewhere are taken for what their records say they are."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pkdot import lock, restore
from pkdot.files import read_json
from pkdot.params import Params, canonical
from pkdot.provenance import code_hash, job

LEDGER, LOCK = Path("ledger.json"), Path("lock")
MODULE = "pkdot.splits"
SPLITS, WEIGHTS, REPORT = "data/processed/e/splits.json", "results/e/encoders/weights", "results/e/report.html"


class Told(Params):
    """What a job is told."""

    option: int = 1


def make(path: str, *inputs: str, option: int = 1, record: str = "run") -> None:
    """Run a job that writes one file."""
    with job(MODULE, Path(path).parent, Told(option=option), map(Path, inputs), record) as scratch:
        (scratch / Path(path).name).write_text(path)


def asked(**options: int):
    """What each file's job would be told now: option 1, or as given by the file's name."""
    return lambda file: canonical(
        {"code": code_hash(MODULE, Told()), "params": {"option": options.get(Path(file).stem, 1)}}
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A chain of three files, the last of them dated first, as a restoring tool may do."""
    monkeypatch.chdir(tmp_path)
    make(SPLITS)
    make(WEIGHTS, SPLITS)
    make(REPORT, WEIGHTS, record="report")
    for age, name in enumerate((SPLITS, WEIGHTS, REPORT)):
        os.utime(name, (time.time() - 100 * age,) * 2)
    return tmp_path


def ages() -> set[int]:
    return {Path(name).stat().st_mtime_ns for name in (SPLITS, WEIGHTS, REPORT)}


def there() -> list[bool]:
    return [Path(name).is_file() for name in (SPLITS, WEIGHTS, REPORT)]


def test_what_belongs_gets_one_date_and_keeps_it(folder):
    assert restore.adopt(LEDGER, LOCK, asked(), remove=True) == []
    first = ages()
    assert len(first) == 1
    assert restore.adopt(LEDGER, LOCK, asked(), remove=True) == []
    assert ages() == first


def test_what_does_not_belong_goes_with_all_that_was_made_of_it(folder):
    assert restore.adopt(LEDGER, LOCK, asked(weights=2), remove=False) == sorted([WEIGHTS, REPORT])
    assert there() == [True, True, True]
    restore.adopt(LEDGER, LOCK, asked(weights=2), remove=True)
    assert there() == [True, False, False]


def test_what_was_adopted_is_compared_to_every_later_configuration(folder):
    restore.adopt(LEDGER, LOCK, asked(), remove=True)
    restore.adopt(LEDGER, LOCK, asked(report=2), remove=True)
    assert there() == [True, True, False]


def test_a_file_made_from_another_than_the_one_that_lies_there_goes(folder):
    with job(MODULE, Path(SPLITS).parent, Told()) as scratch:
        (scratch / "splits.json").write_text("another")
    restore.adopt(LEDGER, LOCK, asked(), remove=True)
    assert there() == [True, False, False]


def test_what_a_run_made_here_is_left_to_the_workflow(folder):
    restore.remember(LEDGER, {})
    before = ages()
    assert restore.adopt(LEDGER, LOCK, asked(weights=2), remove=True) == []
    assert there() == [True, True, True]
    assert ages() == before


def test_only_what_the_run_changed_counts_as_made_here(folder):
    before = restore.records()
    os.utime("results/e/encoders/run.json")
    restore.remember(LEDGER, before)
    restore.adopt(LEDGER, LOCK, asked(weights=2, splits=2), remove=True)
    assert there() == [False, True, True]  # the workflow itself makes the weights again, and then the report


def test_a_file_that_no_rule_makes_is_left_alone(folder):
    assert restore.adopt(LEDGER, LOCK, lambda file: None, remove=True) == []
    assert there() == [True, True, True]


def test_a_record_that_is_no_json_costs_no_other_file(folder):
    Path("results/e/encoders/run.json").write_text("{")
    assert SPLITS not in restore.adopt(LEDGER, LOCK, asked(), remove=True)
    assert there()[0]


def test_while_a_run_is_at_work_nothing_is_touched(folder):
    before = ages()
    handle = lock.share(LOCK)
    try:
        assert restore.adopt(LEDGER, LOCK, asked(weights=2), remove=True) == []
    finally:
        os.close(handle)
    assert there() == [True, True, True]
    assert ages() == before


STUDENT, MARKER = "results/e/students/seed_0/kd/predictions", "results/e/students/kd.json"
SCORES = "results/e/folds/fold_0.json"


@pytest.fixture
def students(folder):
    """A job that writes into two folders, with a file that was made of the deeper one; all of them made here."""
    with job(MODULE, Path("results/e/students"), Told(), [Path(WEIGHTS)], "kd") as scratch:
        (scratch / "kd.json").write_text("chosen")
        (scratch / "seed_0" / "kd").mkdir(parents=True)
        (scratch / "seed_0" / "kd" / "predictions").write_text("1")
    make(SCORES, STUDENT, record="fold_0")
    restore.remember(LEDGER, {})
    assert restore.complete(LOCK, remove=True) == []
    return folder


@pytest.mark.parametrize("gone", [STUDENT, MARKER])
def test_a_job_of_which_a_file_is_gone_runs_again_with_all_that_was_made_of_it(students, gone):
    Path(gone).unlink()
    left = [path for path in (MARKER, STUDENT, SCORES) if path != gone]
    assert restore.complete(LOCK, remove=False) == [MARKER]
    assert all(Path(path).is_file() for path in left)
    assert restore.complete(LOCK, remove=True) == [MARKER]
    assert not any(Path(path).is_file() for path in left)
    assert there() == [True, True, True]
    assert restore.complete(LOCK, remove=True) == [], "told once"


def test_a_job_of_which_a_whole_folder_is_gone_runs_again(students):
    shutil.rmtree("results/e/students/seed_0")
    assert restore.complete(LOCK, remove=True) == [MARKER]
    assert not Path(MARKER).is_file()


def test_folders_of_earlier_seeds_are_left_alone(students):
    """Their job ran again with fewer seeds; nobody asks for them."""
    shutil.copytree("results/e/students/seed_0", "results/e/students/seed_1")
    record = Path("results/e/students/seed_1/kd/run.json")
    record.write_text(canonical({**read_json(record), "started": "earlier"}))
    Path("results/e/students/seed_1/kd/predictions").unlink()
    assert restore.complete(LOCK, remove=True) == []


def test_while_a_run_is_at_work_nothing_is_removed(students):
    Path(MARKER).unlink()
    handle = lock.share(LOCK)
    try:
        assert restore.complete(LOCK, remove=True) == []
    finally:
        os.close(handle)
    assert Path(STUDENT).is_file()
