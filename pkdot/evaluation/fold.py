"""The stage of one fold: the metrics of every method and seed, and their predictions in one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pkdot import layout
from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.evaluation.foreign import check_complete
from pkdot.evaluation.statistics import finite
from pkdot.files import write_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.tasks import TaskParams

if TYPE_CHECKING:
    import pandas as pd

    from pkdot.tables import TableWriter


class FoldParams(Params):
    """Parameters of the evaluation of one fold."""

    fold: int = Field(ge=0, description="number of the fold")
    seeds: list[int] = Field(min_length=1, description="seeds")
    methods: list[str] = Field(description="methods, in the order of the report")
    foreign: list[str] = Field([], description="models from elsewhere, whose predictions were given as files")
    teachers: list[str] = Field(description="teachers that are scored too")
    task: TaskParams = Field(description="what is predicted")


def evaluate_fold(manifest: Path, teachers: Path, students: Path, foreign: Path, out: Path, params: FoldParams) -> None:
    """Write ``fold_<k>.json`` (metrics of every method and seed) and ``fold_<k>.predictions.parquet``.

    Methods are compared on the samples that all of them could predict. A model from elsewhere has to predict all of
    these.

    Raises
    ------
    DataError
        A method has no predictions, a model from elsewhere lacks some, or no sample was predicted by all methods.
    """
    from pkdot.evaluation.metrics import Metrics
    from pkdot.tables import TableWriter

    samples = Samples.load(manifest)
    files = _prediction_files(teachers, students, params)
    given = {
        (name, seed): layout.trained(foreign, seed, name) / layout.PREDICTIONS
        for seed in params.seeds
        for name in params.foreign
    }
    name = layout.fold_name(params.fold)
    with job(__name__, out, params, inputs=[manifest, *files.values(), *given.values()], record=name) as scratch:
        common = set.intersection(*map(sample_ids, files.values()))
        if not common:
            raise DataError(f"{manifest}: no test sample of fold {params.fold} has every modality; see ledger.csv.")
        for (method, _seed), path in given.items():
            check_complete(f"evaluation.foreign.{method}", params.fold, sample_ids(path), common)
        scored: dict[str, dict] = {}
        with TableWriter(scratch / f"{name}.predictions.parquet") as writer:
            for (method, seed), path in (files | given).items():
                parts = _kept(path, common, {"fold": params.fold, "seed": seed, "method": method}, writer)
                # the metrics of the whole fold: all of it counts as one subject
                values = Metrics(parts, [method], params.task.kind, samples.classes, unit="method").all()
                scored.setdefault(method, {})[seed] = {key: finite(value) for key, value in values.items()}
        write_json(scratch / f"{name}.json", {"fold": params.fold, "samples": len(common), "methods": scored})


def _prediction_files(teachers: Path, students: Path, params: FoldParams) -> dict[tuple[str, int], Path]:
    """Return the file of each method and seed."""
    folders = dict.fromkeys(params.methods, students) | dict.fromkeys(params.teachers, teachers)
    return {
        (method, seed): layout.trained(folder, seed, method) / layout.PREDICTIONS
        for seed in params.seeds
        for method, folder in folders.items()
    }


def sample_ids(path: Path) -> set[str]:
    """Return the samples that a method predicted."""
    from pkdot.tables import read_parts

    return {name for part in read_parts(path, ["sample_id"]) for name in part["sample_id"].unique()}


def _kept(path: Path, common: set[str], first: dict, writer: TableWriter) -> Iterator[pd.DataFrame]:
    """Yield the predictions of common samples, part by part, with the columns ``first``, after writing them."""
    import numpy as np
    import pandas as pd

    from pkdot.tables import read_parts

    for part in read_parts(path):
        part = part[part["sample_id"].isin(common)].reset_index(drop=True)
        if part.empty:
            continue
        method = pd.Categorical.from_codes(np.zeros(len(part), dtype=np.int8), [first["method"]])
        part.insert(0, "fold", np.int32(first["fold"]))
        part.insert(1, "seed", first["seed"])
        part.insert(2, "method", method)
        writer.write(part)
        yield part
