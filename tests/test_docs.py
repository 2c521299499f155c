"""What the documentation shows can be done as it is shown."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from synthetic import REPO, write_config

import pkdot.distillation
from pkdot.commands import _parser
from pkdot.config_files import merge, read
from pkdot.distillation.base import register
from pkdot.experiment import load
from pkdot.stages import STAGES

MAPS = [REPO / folder / "README.md" for folder in ("data", "results")]
STUDIES = ("ablation", "evaluation", "missing", "privilege")  # which an experiment of one's own does not begin with
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *MAPS, *sorted((REPO / "docs").glob("*.md"))]


def blocks(kind):
    """Pages of the documentation with the blocks of a language in them."""
    found = [(page, block) for page in PAGES for block in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.S)]
    return pytest.mark.parametrize(("page", "block"), found, ids=[page.name for page, _ in found])


@blocks("yaml")
def test_a_configuration_can_be_pasted(page, block, tmp_path, monkeypatch):
    """Each block stands in the place of sections of a configuration, or changes parts of them."""
    shown, own = yaml.safe_load(block), page.name == "own-data.md"
    known = read(REPO / "config" / ("watch.yaml" if own else "biovid.yaml"))
    begun = {name: section for name, section in known.items() if name not in STUDIES}
    values = {**begun, **shown} if own else merge(known, shown)
    if page.name == "own-method.md":  # its method stands in the same page
        code = re.search(r"```python\n(.*?)```", page.read_text(), re.S)[1]
        (tmp_path / "centred_cosine.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(pkdot.distillation, "__path__", [*pkdot.distillation.__path__, str(tmp_path)])
        monkeypatch.setattr(register, "module", lambda name: f"pkdot.distillation.{name}")
    plain = load(write_config(tmp_path / "config" / "pasted.yaml", values)).plain()
    assert shown.keys() <= plain.keys()


@blocks("bash")
def test_commands_are_taken_as_they_stand(page, block):
    """The parser accepts every line that calls a verb which people use; shell patterns are names like others."""
    parser, verbs = _parser()
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["pkdot"] and words[1] in verbs:
            assert parser.parse_args(words[1:]).run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_maps_of_data_and_results_name_every_stage():
    rows = [row for path in MAPS for row in re.findall(r"^\| `.*", path.read_text(), re.M)]
    written_by = {stage for row in rows for stage in re.findall(r"`(\w+)`|you", row.rsplit("|", 2)[1])}
    assert written_by - {""} == STAGES.keys()


def test_the_map_of_the_code_names_every_module():
    named = set(re.findall(r"`(\w+)(?:\.py|/)`", (REPO / "CONTRIBUTING.md").read_text().split("## What to touch")[0]))
    package = REPO / "pkdot"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert modules - named == {"__init__"}


def test_cleaning_keeps_the_maps_and_raw_data(tmp_path):
    shutil.copy(REPO / "Makefile", tmp_path)
    kept = ["data/README.md", "data/raw/own/recordings.csv", "results/README.md", "mlflow.db", "config/own.yaml"]
    for name in [*kept, "data/processed/own/manifest.parquet", "results/own/report.html", "logs/own/ingest.log"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for _ in range(2):  # also where there is nothing to remove
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, "Makefile"}
