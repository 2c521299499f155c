"""DVC over the workflow: reproduce, share, restore, compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from synthetic import REPO, write_config

from pkdot.config_files import read, sources
from tests.workflow.conftest import RAW, TARGET, call, jobs_of, metrics, snakemake, states, tiny_config

NOTHING = "Nothing to be done"
UP_TO_DATE = "Data and pipelines are up to date"


def reconfigure(folder: Path, **changes) -> None:
    write_config(folder / "config/tiny.yaml", {**tiny_config(), **changes})


def test_every_experiment_has_its_stages():
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"]
    paths = sorted((REPO / "config").glob("*.yaml"))
    roots = {path.stem: read(path)["dataset"]["root"] for path in paths}
    made = {name: root for name, root in roots.items() if root.startswith(("data/simulated/", "data/packaged/"))}
    for name in ("features", "training", "report"):
        assert {key: item["root"] for key, item in stages[name]["foreach"].items()} == made, name
    assert {item["root"] for item in stages["data"]["foreach"].values()} == set(made.values())


def test_a_student_of_whatever_is_there_ships_where_its_grid_is_made():
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"]
    grids = {path.stem for path in (REPO / "config").glob("*.yaml") if "missing" in read(path)}
    assert set(stages["student_any"]["foreach"]) == set(stages["missing"]["foreach"])
    assert set(stages["missing"]["foreach"]) <= grids


def test_a_stage_depends_on_the_files_that_a_configuration_extends():
    for name, stage in yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"].items():
        for key, item in stage["foreach"].items():
            texts = [next(iter(each)) for each in stage["do"]["params"]]
            files = {text.replace("${key}", key).replace("${item.base}", item["base"]) for text in texts}
            assert files == {str(path.relative_to(REPO)) for path in sources(REPO / f"config/{key}.yaml")}, (name, key)


def test_dvc_deletes_no_output_before_its_stage():
    for name, stage in yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"].items():
        for kind in ("outs", "metrics", "plots"):
            for output in stage["do"].get(kind, []):
                ((path, options),) = output.items()
                assert options["persist"] is True, (name, path)


def test_a_second_repro_and_a_workflow_after_it_do_nothing(finished):
    before = states(finished)
    assert UP_TO_DATE in call(finished, "dvc", "repro")
    assert NOTHING in snakemake(finished)
    assert states(finished) == before
    assert call(finished, "git", "status", "--porcelain") == ""


def test_a_changed_option_runs_what_it_must_and_can_be_compared(finished):
    students = {**tiny_config()["students"], "methods": ["student_only", "kd", "linear_probe"]}
    reconfigure(finished, evaluation={"bootstrap": 200}, students=students)
    output = call(finished, "dvc", "params", "diff", "--json")
    changed = json.loads(output)["config/tiny.yaml"]["evaluation.bootstrap"]
    assert (changed["old"], changed["new"]) == (100, 200)
    output = call(finished, "dvc", "repro")
    assert jobs_of(output) == ["fold", "fold", "mirror", "report", "students", "students", "summary"]
    assert UP_TO_DATE in call(finished, "dvc", "repro")
    shown = json.loads(call(finished, "dvc", "metrics", "show", "--json"))
    means = json.loads((finished / "results/tiny/means.json").read_text())
    assert shown[""]["data"]["results/tiny/means.json"]["data"] == means
    changed = json.loads(call(finished, "dvc", "metrics", "diff", "--json"))["results/tiny/means.json"]
    assert set(changed) == {"linear_probe"}
    call(finished, "dvc", "plots", "diff", "HEAD", "--out", "plots")
    page = (finished / "plots/index.html").read_text()
    assert "student_only" in page
    assert '"facet"' in page


def test_a_fresh_clone_pulls_data_and_checkpoints_and_has_nothing_to_do(finished, tmp_path):
    clone = pulled(finished, tmp_path)
    made = {name for name in states(finished) if not name.is_relative_to(RAW)}
    assert {name for name in states(clone) if not name.is_relative_to(RAW)} == made
    assert any(name.name == "weights.safetensors" for name in made)
    for name in made:
        assert (clone / name).read_bytes() == (finished / name).read_bytes(), name
    assert NOTHING in snakemake(clone, TARGET, "--dry-run")
    assert NOTHING in snakemake(clone)
    before = states(clone)
    assert UP_TO_DATE in call(clone, "dvc", "repro")
    assert NOTHING in snakemake(clone)
    assert states(clone) == before


@pytest.mark.parametrize("tool", ["dvc", "snakemake"])
def test_what_was_pulled_is_made_again_where_it_does_not_belong(finished, tmp_path, tool):
    clone = pulled(finished, tmp_path)
    reconfigure(clone, evaluation={"bootstrap": 200})
    output = snakemake(clone, TARGET, "--dry-run")
    assert "results/tiny/means.json: it came from elsewhere and does not belong to the configuration" in output
    assert metrics(clone) == metrics(finished), "a dry run removes nothing"
    output = call(clone, "dvc", "repro") if tool == "dvc" else snakemake(clone)
    assert jobs_of(output) == ["mirror", "report", "summary"]
    record = json.loads((clone / "results/tiny/summary.run.json").read_text())
    assert record["params"]["evaluation"]["bootstrap"] == 200
    assert NOTHING in snakemake(clone)


def test_what_was_pulled_is_compared_to_later_configurations_too(finished, tmp_path):
    clone = pulled(finished, tmp_path)
    assert NOTHING in snakemake(clone)
    reconfigure(clone, splits={"folds": 2, "seed": 1})
    assert jobs_of(snakemake(clone, "data/processed/tiny/splits.json")) == ["splits"]
    assert "encoder" in snakemake(clone, TARGET, "--dry-run", "--quiet", "host")


def test_restored_into_a_folder_that_made_other_results_meanwhile(finished):
    """`dvc checkout` swaps the files behind the workflow, which still knows its own."""
    reconfigure(finished, evaluation={"bootstrap": 200})
    call(finished, "dvc", "repro")
    call(finished, "git", "checkout", "-q", "HEAD", "dvc.lock")
    call(finished, "dvc", "checkout", "--force")
    record = finished / "results/tiny/summary.run.json"
    assert json.loads(record.read_text())["params"]["evaluation"]["bootstrap"] == 100
    assert "summary" in jobs_of(snakemake(finished))
    assert json.loads(record.read_text())["params"]["evaluation"]["bootstrap"] == 200


def pulled(finished: Path, tmp_path: Path) -> Path:
    """A fresh clone after `dvc pull` from a remote that is a folder; the raw data are each user's own."""
    call(finished, "dvc", "remote", "add", "-q", "--default", "--local", "lab", str(tmp_path / "remote"))
    call(finished, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "-q", str(finished), str(clone))
    call(clone, "dvc", "remote", "add", "-q", "--default", "--local", "lab", str(tmp_path / "remote"))
    call(clone, "dvc", "pull", "-q")
    shutil.copytree(finished / RAW, clone / RAW)
    return clone
