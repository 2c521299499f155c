"""The stage that makes the root of a data set in its owners' layout."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from pkdot.errors import ConfigError
from pkdot.files import read_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.simulation.base import PreparationChoice


class PrepareParams(Params):
    """Which data are made, and how."""

    preparation: PreparationChoice = Field(description="what makes the data, and its options")


def prepare(out: Path, params: PrepareParams, workers: int = 1) -> None:
    """Make the root of a data set; its marker is written last.

    Raises
    ------
    ConfigError
        ``workers`` is less than one, or a package of the extra ``simulate`` is missing.
    DataError
        The root holds something that the project did not make.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; it takes one or more")
    cls, options = params.preparation.load()
    cls.check_packages()
    record = out / "run.json"
    if record.is_file() and read_json(record)["stage"] == __name__:
        (out / cls.marker).touch()  # the workflow removes the marker before it has the data made anew
    with job(__name__, out, params) as scratch:
        cls.make(out, options, workers)
        shutil.copy(out / cls.marker, scratch)  # so that the record covers it
