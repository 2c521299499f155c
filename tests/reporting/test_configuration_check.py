"""Results are compared to what the configuration asks for, and to no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import REPO

from pkdot import jobs
from pkdot.errors import DataError
from pkdot.experiment import load
from pkdot.files import read_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.reporting.configuration_check import check_configuration
from pkdot.simulation.prepare import PrepareParams


def recorded(root: Path, params: Params) -> dict[Path, dict]:
    """The record of stand-in data that were made in a root."""
    with job("pkdot.simulation.prepare", root, params) as scratch:
        (scratch / "SIMULATED.md").write_text("made up\n")
    return {root / "run.json": read_json(root / "run.json")}


def other_options(asked: PrepareParams, **changes) -> PrepareParams:
    return PrepareParams(preparation={**asked.plain()["preparation"], **changes})


def experiment_on(root: str):
    e = load(REPO / "config" / "biovid.yaml")
    return e.model_copy(update={"dataset": e.dataset.model_copy(update={"root": root})})


def test_stand_in_data_that_were_made_by_hand_are_what_they_are(tmp_path):
    """`pkdot simulate --out data/raw/own` with options of its own: the configuration says nothing of them."""
    e = experiment_on("data/raw/own")
    asked = jobs.prepare(e)
    made = other_options(asked, clips=3)
    check_configuration(e, "biovid", recorded(tmp_path / "own", made))


def test_stand_in_data_that_the_workflow_makes_must_be_those_asked_for(tmp_path):
    e = experiment_on("data/simulated/own")
    asked = jobs.prepare(e)
    check_configuration(e, "biovid", recorded(tmp_path / "own", asked))
    other = other_options(asked, clips=3)
    with pytest.raises(DataError, match=rf"preparation.clips = 3, but .* Delete {tmp_path}/own and run again"):
        check_configuration(e, "biovid", recorded(tmp_path / "own", other))


def test_teachers_of_a_control_arm_are_what_the_configuration_wants_of_that_arm(tmp_path):
    e = load(REPO / "config" / "digits.yaml")
    for arm in ("", "controls/shuffled/"):
        params = jobs.teachers(e, 0, arm)
        folder = tmp_path / arm / "teachers"
        with job("pkdot.training.teacher", folder, params) as scratch:
            (scratch / "teachers.json").write_text("{}\n")
        records = {folder / "run.json": read_json(folder / "run.json")}
        check_configuration(e, "digits", records)
        other = {path: {**record, "params": {**record["params"], "dim": 5}} for path, record in records.items()}
        with pytest.raises(DataError, match="made with dim = 5"):
            check_configuration(e, "digits", other)
