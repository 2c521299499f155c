"""Data that the project makes itself: stand-ins for licensed data, and data that a package carries."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from pkdot.datasets.base import DatasetChoice
from pkdot.errors import ConfigError
from pkdot.files import read_json
from pkdot.params import Params
from pkdot.provenance import job


class PrepareParams(Params):
    """Which data, and how they are made."""

    dataset: DatasetChoice = Field(description="the data set")
    options: dict[str, Any] = Field({}, description="the options of its preparation")


def prepare(out: Path, params: PrepareParams, workers: int = 1) -> None:
    """Make the root of a data set in its owners' layout; its marker is written last."""
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; it takes one or more")
    cls = params.dataset.family.load(params.dataset.name)
    preparation = params.dataset.preparation_of(params.options)
    record = out / "run.json"
    if record.is_file() and read_json(record)["stage"] == __name__:
        (out / cls.marker).touch()  # the workflow takes it away before it has the data made anew
    with job(__name__, out, params) as scratch:
        cls.prepare(out, preparation, workers)
        shutil.copy(out / cls.marker, scratch)  # so that the record speaks of it
