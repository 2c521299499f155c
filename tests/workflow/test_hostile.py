"""Names and cells with HTML, shell and path tricks are data: they do no harm, and arrive in the report as text."""

from __future__ import annotations

import csv
import os
import pickle
from html import escape
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import RAW, checkout, snakemake

TRICKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "$(touch pwned)",
    "`touch pwned`; touch pwned",
    "../../outside",
    "'\"{{ 7 * 7 }}{0}",
    "=cmd|' /C calc'!A0",
]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Path:
    """A finished run over raw data whose every name is an attack; one subject has no usable recording."""
    folder = checkout(tmp_path_factory.mktemp("attacked") / "$(touch pwned) <b>&'")
    root = folder / RAW
    with open(root / "recordings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        trick = TRICKS[number // 2 % len(TRICKS)]
        row["subject_id"] = trick
        row["recording_id"] = f"{row['recording_id']} {trick}"
        for stream in ("motion", "pulse"):
            path = root / f"signals/{number} {trick.replace('/', '_')}; touch pwned.npy"
            (root / row[stream]).rename(path.with_stem(f"{path.stem} {stream}"))
            row[stream] = str(path.with_stem(f"{path.stem} {stream}").relative_to(root))
    lost = dict(rows[0], recording_id=TRICKS[1], subject_id=TRICKS[-1], motion="../../../../etc/passwd", pulse="")
    absent = dict(rows[0], recording_id=TRICKS[2], target="<b>no class</b>")
    with open(root / "recordings.csv", "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows([*rows, lost, absent])
    before = set(folder.parent.rglob("*"))
    snakemake(folder, "results/tiny/report.html")
    made = [path for path in set(folder.parent.rglob("*")) - before if "__pycache__" not in path.parts]
    roots = [folder / name for name in ("data", "results", "logs", ".snakemake")]
    assert [path for path in made if not any(path.is_relative_to(root) for root in roots)] == []
    return folder


def test_nothing_was_executed(attacked):
    assert list(attacked.parent.rglob("pwned")) == []
    assert list(Path(".").glob("pwned")) == []


def test_the_report_shows_the_names_as_text(attacked):
    page = (attacked / "results/tiny/report.html").read_text()
    for trick in TRICKS[:2]:
        assert trick not in page
    assert "<b>no class</b>" not in page
    assert escape(TRICKS[0]) in page
    assert "leads out of" in page
    assert "onerror=alert" not in page.replace(escape(TRICKS[1]), "")


def test_the_ledger_keeps_the_names_whole(attacked):
    with open(attacked / "data/processed/tiny/ledger.csv", newline="") as file:
        assert {TRICKS[1], TRICKS[2]} <= {row["sample_id"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["../evil", "a b", "$(touch pwned)", "<b>", "x;touch pwned", "A" * 300])
def test_a_modality_of_such_a_name_is_refused(attacked, name):
    config = attacked / "config/tiny.yaml"
    values = yaml.safe_load(config.read_text())
    values["modalities"][name] = values["modalities"].pop("motion")
    other = config.with_name("other.yaml")
    other.write_text(yaml.safe_dump(values))
    output = snakemake(attacked, "results/other/report.html", check=False)
    other.unlink()
    assert "config/other.yaml" in output
    assert "Traceback (most recent call last)" not in output
    assert list(attacked.parent.rglob("pwned")) == []


def test_a_configuration_executes_nothing(attacked):
    other = attacked / "config/other.yaml"
    other.write_text("dataset: !!python/object/apply:os.system ['touch pwned']\n")
    output = snakemake(attacked, "results/other/report.html", check=False)
    other.unlink()
    assert "config/other.yaml" in output
    assert "Traceback (most recent call last)" not in output
    assert list(attacked.parent.rglob("pwned")) == []


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


@pytest.mark.parametrize(
    "name", ["encoders/fold_0/motion/embeddings.npy", "teachers/fold_0/seed_0/teacher/outputs.safetensors"]
)
def test_an_array_that_is_a_pickle_is_refused(attacked, name):
    snakemake(attacked, "results/tiny/report.html")
    path = attacked / "results/tiny" / name
    kept, times = path.read_bytes(), path.stat()
    path.write_bytes(pickle.dumps(Evil()))
    output = snakemake(attacked, "results/tiny/report.html", "--forcerun", "students", check=False)
    path.write_bytes(kept)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "Traceback (most recent call last)" not in output
    assert "damaged or replaced" in output
    assert list(attacked.parent.rglob("pwned")) == []
