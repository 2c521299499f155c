"""Raw files that were replaced, restored, added or removed are noticed, and make no more due than they must."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_config

from tests.workflow.conftest import RAW, checkout, snakemake, tiny_config

TARGET = "data/processed/tiny/ledger.csv"
FIRST, OTHER = "s0a_pulse.npy", "s1a_pulse.npy"  # of subjects in different shards
ALL = {"ingest": 1, "features": 4, "index": 2, "ledger": 1}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> Path:
    """A checkout with two shards, whose features are extracted; one file of a recording is missing."""
    folder = checkout(tmp_path_factory.mktemp("extracted"))
    write_config(folder / "config" / "tiny.yaml", {**tiny_config(), "shards": 2})
    (folder / RAW / "signals" / OTHER).rename(folder / OTHER)
    snakemake(folder, TARGET)
    return folder


@pytest.fixture
def folder(extracted, tmp_path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(extracted, tmp_path / "copy", symlinks=True))


def planned(folder: Path) -> dict[str, int]:
    """Jobs of each rule that a run would make now."""
    output = snakemake(folder, TARGET, "--dry-run", "--quiet", "host")
    assert ("Nothing to be done" in output) != ("Job stats" in output)
    rows = re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)
    return {rule: int(count) for rule, count in rows if rule != "total"}


def shards_of(folder: Path) -> dict[str, int]:
    """Times of modification of all arrays."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "data/processed/tiny/pulse").glob("*.npy")}


def signal(folder: Path, name: str = FIRST) -> Path:
    return folder / RAW / "signals" / name


def test_a_replaced_file_makes_its_shard_due_and_nothing_else(folder):
    assert planned(folder) == {}
    before = shards_of(folder)
    np.save(signal(folder), np.load(signal(folder)) + 1)
    due = {"features": 1, "index": 1, "ledger": 1}
    assert planned(folder) == due
    assert planned(folder) == due, "to look at it does not settle it"
    snakemake(folder, TARGET)
    changed = {name for name, time in shards_of(folder).items() if time != before[name]}
    assert changed == {"shard_0.npy"}
    assert planned(folder) == {}


def test_a_file_that_is_replaced_by_an_older_one_is_noticed(folder):
    beside = folder / "old.npy"
    np.save(beside, np.load(signal(folder)) + 1)
    os.utime(beside, (0, 0))
    shutil.move(beside, signal(folder))
    assert planned(folder) == {"features": 1, "index": 1, "ledger": 1}


def test_a_restored_file_is_taken_up(folder):
    ledger = folder / TARGET
    assert OTHER in ledger.read_text()
    shutil.move(folder / OTHER, signal(folder, OTHER))
    assert planned(folder) == {**ALL, "features": 2}, "both modalities of its subject"
    snakemake(folder, TARGET)
    assert OTHER not in ledger.read_text()
    assert planned(folder) == {}


def test_a_removed_file_is_missed(folder):
    signal(folder).unlink()
    assert planned(folder) == {**ALL, "features": 2}


def test_a_changed_list_of_recordings_makes_the_subjects_due_that_it_changes(folder):
    path = folder / RAW / "recordings.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert planned(folder) == {**ALL, "features": 2}
    path.write_text("nothing of use\n")
    assert planned(folder)["ingest"] == 1
    assert "has no column" in snakemake(folder, TARGET, check=False)


def test_a_file_that_is_no_part_of_the_data_makes_nothing_due(folder):
    (folder / RAW / "notes.txt").write_text("hello")
    os.utime(folder / RAW / "recordings.csv")
    assert planned(folder) == {}


def test_a_fresh_clone_with_pulled_results_has_nothing_to_do(folder):
    """Times of raw files differ from machine to machine; without a run on this one they say nothing."""
    for path in (folder / RAW).rglob("*.npy"):
        os.utime(path)
    shutil.rmtree(folder / ".snakemake")
    assert planned(folder) == {}


def test_other_options_of_the_data_set_are_another_story(folder):
    config = {**tiny_config(), "shards": 2}
    write_config(folder / "config" / "tiny.yaml", {**config, "dataset": {**config["dataset"], "step": 0.5}})
    assert planned(folder) == ALL
    write_config(folder / "config" / "tiny.yaml", config)
    assert planned(folder) == {}, "what was only looked at is forgotten"
