"""Predictions of models from elsewhere: a file of them is checked against the folds and takes the form of our own.

A file is a CSV or Parquet table of the test samples of all folds, with a row a sample: ``fold``, ``sample_id`` and a
column for each class with its probability, or for each target with its value. For sequences it has a row a frame, and
a column ``frame``, counted from 0 in its sample. A column ``seed`` may tell several trainings apart: then the seeds of
the experiment, each with all samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from pkdot import layout
from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.files import read_json, write_json
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.tasks import Task, TaskParams

CHUNK = 1 << 17  # rows of a CSV file that are read at once
TOLERANCE = 0.01  # of the sum of probabilities, which people round


class ForeignParams(Params):
    """Predictions of one model from elsewhere."""

    label: str = Field(description="name of the model in the report")
    task: TaskParams = Field(description="what is predicted")
    seeds: list[int] = Field(min_length=1, description="seeds of the contest")


def read_foreign(manifest: Path, splits: Path, predictions: Path, out: Path, params: ForeignParams) -> None:
    """Check the predictions of a model from elsewhere, and write them as our own students' are written.

    ``<name>.json`` counts them; ``fold_<k>/seed_<s>/<name>/predictions.parquet`` has them.

    Raises
    ------
    DataError
        Something is wrong with the file; the message names its row.
    """
    from pkdot.training.predictions import write_predictions

    with job(__name__, out, params, inputs=[manifest, splits, predictions], record=params.label) as scratch:
        foreign = Foreign(predictions, Samples.load(manifest), read_json(splits), params.task, params.seeds)
        for fold in range(foreign.folds):
            for seed in params.seeds:
                folder = layout.trained(scratch / layout.fold_name(fold), seed, params.label)
                folder.mkdir(parents=True)
                write_predictions(folder / layout.PREDICTIONS, foreign.table(fold, seed))
        described = {"samples": int(foreign.predicted.any(axis=0).sum()), "seeds": foreign.seeds}
        write_json(scratch / f"{params.label}.json", described)


class Foreign:
    """The predictions of a model from elsewhere, checked.

    Parameters
    ----------
    path : Path
        The file.
    samples : Samples
        The manifest.
    splits : dict
        The content of splits.json.
    task : TaskParams
        What is predicted.
    seeds : list of int
        The seeds of the contest.

    Attributes
    ----------
    folds : int
        Number of folds.
    seeds : list of int or None
        The seeds that the file tells apart; None where it has one training, which then counts for every seed.
    predicted : ndarray of bool, shape (seeds, samples)
        Which samples have a prediction.
    """

    def __init__(self, path: Path, samples: Samples, splits: dict, task: TaskParams, seeds: list[int]) -> None:
        self.path, self.samples, self.task, self.contest_seeds = path, samples, Task(task, samples), seeds
        self._numbers = pd.Index(samples.table["sample_id"])
        self.labelled = samples.labelled
        self.folds = len(splits["folds"])
        self.columns = self.task.names if self.task.regression else list(self.task.classes)
        self.fold_of = np.full((self.folds, len(samples)), False)
        for number, parts in enumerate(splits["folds"]):
            self.fold_of[number, samples.rows(parts["test"], splits["unit"])] = True
        frames = int(np.prod(self.task.targets.shape[1:3])) if self.task.regression else 1
        self.keys = ["fold", "sample_id", *(["frame"] if self.task.sequence else [])]
        self.seeds: list[int] | None = None
        self.values: np.ndarray = np.empty(0)
        for first, part in _parts(path, self.keys, self.columns):
            if not len(self.values):
                self.seeds = list(seeds) if "seed" in part else None
                shape = (len(self.seeds or [0]), len(samples), frames, len(self.columns))
                self.values, self._row = np.full(shape, np.nan, dtype=np.float32), np.zeros(shape[:-1], dtype=np.int64)
            self._add(part, first)
        self.predicted = np.asarray((self._row > 0).any(axis=2))
        self._check_frames()

    def table(self, fold: int, seed: int) -> pd.DataFrame:
        """Return the predictions for the test part of a fold, with the columns of our own students' tables."""
        from pkdot.training.predictions import IDS, class_table, frame_table

        run = self.seeds.index(seed) if self.seeds else 0
        rows = np.flatnonzero(self.fold_of[fold] & self.predicted[run] & self.labelled)
        ids = self.samples.table.iloc[rows][IDS].reset_index(drop=True)
        values = self.values[run, rows]
        if self.task.regression:
            return frame_table(ids, values, self.task.values[rows], self.task.names)
        return class_table(ids, values[:, 0].astype(float), self.task.targets[rows], self.columns)

    def _add(self, part: pd.DataFrame, first: int) -> None:
        """Place some rows of the file; ``first`` is the number of the first of them."""
        sample = self._numbers.get_indexer(part["sample_id"])
        self._refuse(part, first, sample < 0, "sample_id '{sample_id}' is not in the manifest")
        fold = self._whole(part, first, "fold", self.folds)
        tested = self.fold_of[:, sample]
        self._refuse(part, first, np.asarray(~tested.any(axis=0)), "no fold tests '{sample_id}'; remove the row")
        wrong = ~tested[fold, np.arange(len(part))]
        right = tested.argmax(axis=0)
        self._refuse(part, first, wrong, "'{sample_id}' is tested in fold {right}, not in fold {fold}", right=right)
        frame = self._whole(part, first, "frame", self.values.shape[2]) if self.task.sequence else 0 * sample
        run = self._runs(part, first)
        values = part[self.columns].to_numpy(dtype=float)
        self._check_values(part, first, values)
        place = np.ravel_multi_index((run, sample, frame), self._row.shape)
        self._check_doubles(part, first, place)
        self._row.reshape(-1)[place] = first + np.arange(len(part))
        self.values.reshape(-1, len(self.columns))[place] = values

    def _runs(self, part: pd.DataFrame, first: int) -> np.ndarray:
        """Return the place of each row's seed among the seeds of the contest."""
        if self.seeds is None:
            return np.zeros(len(part), dtype=np.int64)
        numbers = pd.Index([str(seed) for seed in self.seeds]).get_indexer(part["seed"].astype(str))
        listed = ", ".join(map(str, self.seeds))
        self._refuse(part, first, numbers < 0, f"seed {{seed}} is none of the seeds of the contest, {listed}")
        return numbers

    def _whole(self, part: pd.DataFrame, first: int, name: str, count: int) -> np.ndarray:
        """Return a column of whole numbers below ``count``."""
        numbers = pd.to_numeric(part[name], errors="coerce").to_numpy(dtype=float)
        wrong = ~((numbers >= 0) & (numbers < count) & (numbers == np.round(numbers)))
        self._refuse(part, first, wrong, f"{name} is '{{{name}}}', not a whole number from 0 to {count - 1}")
        return numbers.astype(np.int64)

    def _check_values(self, part: pd.DataFrame, first: int, values: np.ndarray) -> None:
        """Refuse what is no number, and probabilities that are none."""
        for place, name in enumerate(self.columns):
            wrong = ~np.isfinite(values[:, place])
            self._refuse(part, first, wrong, "{what} of '{sample_id}' is not a finite number", what=name)
        if self.task.regression:
            return
        outside = (values.min(axis=1) < 0) | (values.max(axis=1) > 1)
        self._refuse(part, first, outside, "a probability of '{sample_id}' is below 0 or above 1")
        sums = values.sum(axis=1)
        unequal = np.abs(sums - 1) > TOLERANCE
        self._refuse(
            part, first, unequal, "the probabilities of '{sample_id}' sum to {total:.4g}, not to 1", total=sums
        )

    def _check_doubles(self, part: pd.DataFrame, first: int, place: np.ndarray) -> None:
        """Refuse a sample, or a frame of it, that has a row already."""
        before = self._row.reshape(-1)[place]
        own = first + pd.Series(np.arange(len(place))).groupby(place).transform("first").to_numpy()
        before = np.where(before > 0, before, own)
        twice = before < first + np.arange(len(part))
        what = "frame {frame} of '{sample_id}'" if self.task.sequence else "'{sample_id}'"
        self._refuse(part, first, twice, f"{what} is in row {{before}} too", before=before)

    def _check_frames(self) -> None:
        """Refuse a sample that has predictions for some of its annotated frames alone."""
        if not self.task.sequence:
            return
        truth = ~np.isnan(self.task.values).all(axis=3).reshape(len(self.samples), -1)
        for run in range(len(self.values)):
            missing = truth & (self._row[run] == 0) & self.predicted[run][:, None]
            for sample, frame in np.argwhere(missing)[:1]:
                name = self.samples.table["sample_id"].iloc[sample]
                raise DataError(f"{self.path}: '{name}' has no row for frame {frame}, which is annotated; add it.")

    def _refuse(self, part: pd.DataFrame, first: int, wrong: np.ndarray, sentence: str, **more: Any) -> None:
        """Raise the sentence about the first wrong row; names in braces are columns, or one of ``more``."""
        for place in np.flatnonzero(wrong)[:1]:
            values = {name: part[name].iloc[place] for name in part} | {
                name: value[place] if isinstance(value, np.ndarray) else value for name, value in more.items()
            }
            raise DataError(f"{self.path}, row {first + place}: {sentence.format(**values)}.")


def check_complete(where: object, fold: int, held: set[str], wanted: set[str]) -> None:
    """Refuse predictions that lack a sample which the others have predicted; ``where`` begins the sentence.

    Raises
    ------
    DataError
        The message names the first sample that is missing.
    """
    if missing := sorted(wanted - held):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{where}: there is no prediction for '{missing[0]}'{more} of fold {fold}; a model that fails on a sample "
            "still has to answer, such as with the share of each class in training."
        )


def _parts(path: Path, keys: list[str], columns: list[str]) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the number of the first row and the rows, part by part; the header is row 1, as a spreadsheet counts."""
    first = 2
    for part in _raw_parts(path):
        _check_columns(path, [str(name) for name in part], keys, columns)
        if part.empty:
            continue
        part = part.assign(**{name: pd.to_numeric(part[name], errors="coerce") for name in columns})
        yield first, part.assign(sample_id=part["sample_id"].astype(str))
        first += len(part)
    if first == 2:
        raise DataError(f"{path}: has no rows. Write one for each test sample.")


def _raw_parts(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the table in a file as it stands, part by part."""
    import pyarrow as pa

    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        if path.suffix == ".parquet":
            from pyarrow.parquet import ParquetFile

            with ParquetFile(path) as file:
                yield from (batch.to_pandas() for batch in file.iter_batches(CHUNK, use_threads=False))
            return
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        with pd.read_csv(path, chunksize=CHUNK, skip_blank_lines=False, **options) as reader:
            for part in reader:
                if not isinstance(part.index, pd.RangeIndex):  # pandas takes the first cells for names of rows
                    raise pd.errors.ParserError("its rows have more cells than its header")
                yield part
    except (pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV in UTF-8"
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: is not a table in {kind} ({reason}).") from error


def _check_columns(path: Path, found: list[str], keys: list[str], columns: list[str]) -> None:
    """Refuse a file that lacks a column or has one that means nothing here."""
    wanted = [*keys, *columns]
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in (*wanted, "seed")]
    if missing or unknown:
        what = f"has no column '{missing[0]}'" if missing else f"has a column '{unknown[0]}' that means nothing here"
        raise DataError(f"{path}: {what}. Its columns are {', '.join(wanted)}, and seed where there are several.")
