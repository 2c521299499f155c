"""Marks of raw files: what changes them, what does not, and how they are dated."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from synthetic import make_arrays

from pkdot.datasets.base import DatasetChoice
from pkdot.datasets.changes import folder_of, refresh, scan
from pkdot.datasets.ingest import IngestParams

OPTIONS = {"streams": ["motion", "pulse"], "classes": ["a", "b"], "seconds": 1, "step": 1}


@pytest.fixture
def world(tmp_path):
    """Raw data of six subjects, and where their marks lie."""
    root = make_arrays(tmp_path / "own")
    sources = {"motion": "motion", "pulse": "pulse"}
    params = IngestParams(
        dataset=DatasetChoice(name="arrays", options=OPTIONS), root=str(root), sources=sources, shards=3
    )
    return root, tmp_path / "marks", params


def contents(marks):
    return {path.name: path.read_text() for path in marks.iterdir()}


def changed(world, change):
    """Names of the marks that a change of the raw data changes."""
    root, marks, params = world
    refresh(marks, params)
    before = contents(marks)
    change(root)
    refresh(marks, params)
    now = contents(marks)
    assert now.keys() == before.keys()
    return {name for name in now if now[name] != before[name]} - {"listing"}


def rewritten(root):
    path = root / "signals" / "s1a_pulse.npy"
    np.save(path, np.load(path) + 1)


def touched(root):
    os.utime(root / "signals" / "s1a_pulse.npy", (1, 1))


def shortened(root):
    path = root / "signals" / "s1a_pulse.npy"
    np.save(path, np.load(path)[:64])


def removed(root):
    (root / "signals" / "s5b_motion.npy").unlink()


def relabelled(root):
    path = root / "recordings.csv"
    path.write_text(path.read_text().replace("s2b,s2,b", "s2b,s2,a"))


def regrouped(root):
    path = root / "recordings.csv"
    path.write_text(path.read_text().replace("s2b,s2,b", "s2b,s1,b"))


def absent(cell):
    def change(root):
        table = pd.read_csv(root / "recordings.csv")
        table["pulse_absent"] = ""
        table.loc[2, "pulse_absent"] = cell
        table.to_csv(root / "recordings.csv", index=False)

    return change


@pytest.mark.parametrize(
    ("change", "marks"),
    [
        (rewritten, {"pulse-1"}),
        (touched, {"pulse-1"}),
        (shortened, {"manifest", "motion-1", "pulse-1"}),
        (removed, {"manifest", "motion-2", "pulse-2"}),
        (relabelled, {"manifest"}),
        (regrouped, {"manifest", "motion-1", "pulse-1", "motion-2", "pulse-2"}),
        (absent("1.25-2"), {"manifest", "pulse-1"}),
        (absent("all"), {"manifest", "pulse-1"}),
        (absent(""), set()),
        (lambda root: (root / "notes.txt").write_text("hello"), set()),
        (lambda root: None, set()),
    ],
)
def test_a_change_changes_the_marks_of_what_reads_it(world, change, marks):
    assert changed(world, change) == marks


def test_new_marks_say_nothing_and_changed_ones_are_dated_by_the_raw_data(world):
    root, marks, params = world
    refresh(marks, params)
    assert {path.stat().st_mtime_ns for path in marks.iterdir()} == {0}
    touched(root)
    latest = (root / "signals" / "s1a_pulse.npy").stat().st_ctime_ns
    refresh(marks, params)
    assert (marks / "pulse-1").stat().st_mtime_ns == latest
    assert (marks / "pulse-0").stat().st_mtime_ns == 0


def test_data_that_come_later_are_no_change(world):
    root, marks, params = world
    root.rename(root.with_name("elsewhere"))
    refresh(marks, params)
    assert set(contents(marks).values()) == {""}
    root.with_name("elsewhere").rename(root)
    refresh(marks, params)
    assert "" not in contents(marks).values()
    assert {path.stat().st_mtime_ns for path in marks.iterdir()} == {0}


def test_data_that_cannot_be_read_make_ingestion_due_and_nothing_else(world):
    assert changed(world, lambda root: (root / "recordings.csv").write_text("nothing\n")) == {"manifest"}


def test_a_scan_goes_through_links_and_ends_where_they_lead_back(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "there").symlink_to(other)
    (root / "nowhere").symlink_to(tmp_path / "missing")
    (other / "back").symlink_to(root)
    (root / os.fsdecode(b"caf\xe9")).write_text("x")
    before, _ = scan(root)
    (other / "file").write_text("x")
    after, _ = scan(root)
    assert before != after
    assert scan(tmp_path / "missing") == ("", 0)


def test_a_folder_that_counts_as_one_changes_when_files_come_or_go(tmp_path):
    crops = tmp_path / "cropped" / "video1"
    crops.mkdir(parents=True)
    (crops / "00001.jpg").write_text("x")
    os.utime(crops, (1, 1))
    before = scan(tmp_path, ("cropped",))[0]
    (crops / "00001.jpg").write_text("longer")
    assert scan(tmp_path, ("cropped",))[0] == before
    assert scan(tmp_path)[0] != before
    (crops / "00002.jpg").write_text("x")
    assert scan(tmp_path, ("cropped",))[0] != before


def test_every_job_of_ingestion_has_marks_of_its_own():
    assert folder_of('{"params":1}') != folder_of('{"params":2}')
