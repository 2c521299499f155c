"""The shipped experiment on Aff-Wild2, made tiny: raw videos to report, by the same rules as every other."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic import REPO, write_config

from pkdot.errors import ConfigError
from pkdot.experiment import load

FRAMES, DILATION, SUBCLIPS = 4, 2, 2


def shipped():
    return yaml.safe_load((REPO / "config" / "affwild2.yaml").read_text())


def tiny():
    """The shipped configuration with the smallest numbers that still make a contest."""
    values = shipped()
    short = {"steps": 2, "evaluate_every": 2, "batch_size": 8}
    values["dataset"] |= {"frames": FRAMES, "dilation": DILATION, "subclips": SUBCLIPS}
    values["dataset"]["prepare"] = {"videos": 5, "seconds": 2, "seed": 3}
    values["modalities"]["face"] |= {"encoder": {"name": "small_r3d", "width": 4}, "training": short}
    values["modalities"]["face"]["feature"] |= {"frames": FRAMES * SUBCLIPS, "size": 32}
    values["modalities"]["voice"] |= {"encoder": {"name": "cnn2d", "width": 4}, "training": short}
    values["modalities"]["voice"]["feature"]["steps"] = 16
    values["embedding"] = {"dim": 8, "tokens": SUBCLIPS}
    values["teacher"] |= {"dim": 8, "training": short}
    values["tnet"] = {"hidden": [8], "training": short}
    values["students"] = {"methods": ["student_only", "pkdot"], "candidates": 1, "training": short}
    return values | {"shards": 1, "seeds": [0], "evaluation": {"bootstrap": 100}}


@pytest.fixture(scope="module")
def finished(model_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "data" / "simulated").mkdir(parents=True)
    (folder / "data" / "simulated" / ".cache").symlink_to(model_cache, target_is_directory=True)
    write_config(folder / "config" / "affwild2.yaml", tiny())
    line = [sys.executable, "-m", "snakemake", "results/affwild2/report.html", "-s", str(REPO / "Snakefile")]
    line += ["--directory", str(folder), "--cores", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return folder


def test_everything_is_there_up_to_the_report(finished):
    summary = json.loads((finished / "results" / "affwild2" / "summary.json").read_text())
    assert summary["simulated"] is True
    assert summary["primary_metric"] == "ccc_mean"
    metrics = {f"{metric}_{of}" for metric in ("ccc", "mae", "rmse") for of in ("mean", "valence", "arousal")}
    assert {row["metric"] for row in summary["rows"]} == metrics
    assert {"student_only", "pkdot", "teacher"} <= {row["method"] for row in summary["rows"]}
    assert (finished / "results" / "affwild2" / "report.html").stat().st_size > 1000


def test_every_valid_frame_of_the_test_part_is_predicted_once(finished):
    output = pd.read_parquet(finished / "results" / "affwild2" / "predictions.parquet")
    output = output[output["method"] == "pkdot"]
    manifest = pd.read_parquet(finished / "data" / "processed" / "affwild2" / "manifest.parquet")
    predicted = manifest[manifest["sample_id"].isin(output["sample_id"])]
    assert set(predicted["official"]) == {"validation"}
    summary = json.loads((finished / "results" / "affwild2" / "summary.json").read_text())
    assert summary["grouped"] == (predicted["group_id"].nunique() < predicted["subject_id"].nunique())
    for target in ("valence", "arousal"):
        values = np.concatenate([np.stack(cell).ravel() for cell in predicted[target]])
        own = output[output["output"] == target]
        assert len(own) == np.isfinite(values).sum()
        assert not own.duplicated(["sample_id", "frame"]).any()


def test_a_licensed_copy_needs_its_root_alone(tmp_path):
    values = shipped()
    values["dataset"]["root"] = "/somewhere/Aff-Wild2"
    experiment = load(write_config(tmp_path / "own.yaml", values))
    assert not experiment.dataset.is_prepared


def test_a_method_that_needs_classes_is_refused(tmp_path):
    values = shipped()
    values["students"]["methods"].append("dkd")
    with pytest.raises(ConfigError, match=r"'dkd' needs .*, but the task is a regression"):
        load(write_config(tmp_path / "own.yaml", values))


def test_tokens_that_are_not_the_sub_clips_are_refused(tmp_path):
    values = shipped()
    values["embedding"]["tokens"] = 2
    with pytest.raises(ConfigError, match=r"embedding\.tokens is 2, but Aff-Wild2 has 4 sub-clips a sequence"):
        load(write_config(tmp_path / "own.yaml", values))
