"""Any table of arrays: recordings of several streams as .npy files, cut into windows that are the samples.

Layout of the root::

    recordings.csv    recording_id, subject_id, target, rate, one column a stream: path of a .npy (time, channels)

``target`` is a class for the whole recording; ``rate`` is in Hz and holds for all its streams. A path is relative to
the root, and no two recordings share a file. An empty cell says that the recording lacks the stream; spaces around
a cell do not count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from pkdot.datasets.base import Dataset, register
from pkdot.datasets.copies import copies
from pkdot.errors import ConfigError, DataError
from pkdot.files import open_array
from pkdot.ledger import Ledger
from pkdot.params import Params

LISTING = "recordings.csv"
COLUMNS = ("recording_id", "subject_id", "target", "rate")
MOST_WINDOWS = 100_000  # of one recording; more come of a mistake in its rate, or of a tiny step


class ArraysOptions(Params):
    """Options of ``arrays``."""

    title: str = Field("a table of arrays", description="how reports call the data")
    target: str = Field("class", description="how reports call the target")
    streams: list[str] = Field(min_length=1, description="the streams: columns of recordings.csv with paths")
    classes: list[str] = Field(min_length=2, description="classes in order; recordings of others are left out")
    seconds: float = Field(4.0, gt=0, description="length of a window")
    step: float = Field(4.0, gt=0, description="time from the start of a window to that of the next, in seconds")

    @field_validator("streams", "classes")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ConfigError("a name is given twice")
        return value


@register("arrays")
class Arrays(Dataset):
    """Recordings cut into windows; only the headers of the arrays are read here."""

    title = "a table of arrays"
    Options = ArraysOptions
    options: ArraysOptions

    def __init__(self, root: Path, options: ArraysOptions) -> None:
        super().__init__(root, options)
        self.title = options.title

    def sources(self) -> tuple[str, ...]:
        return tuple(self.options.streams)

    def targets(self) -> dict[str, list[str] | None]:
        return {self.options.target: list(self.options.classes)}

    def read(self, ledger: Ledger) -> pd.DataFrame:
        table = self._recordings()
        seen: set[str] = set()
        owners: dict[Path, str] = {}
        rows: list[dict] = []
        for number, recording in enumerate(table.to_dict("records")):
            name = recording["recording_id"]
            where = f"{self.root / LISTING}, row {number + 2}"
            if recording["target"] and recording["target"] not in self.options.classes:
                problem = f"{where}: the target '{recording['target']}' is not in dataset.classes"
                ledger.add(name, "", "ingest", problem, "as configured")
                continue
            try:
                if name in seen:
                    raise DataError(f"{where}: the recording_id '{name}' was used before")
                rows += self._windows(recording, where, owners, ledger)
                seen.add(name)
            except DataError as problem:
                ledger.add(name, "", "ingest", str(problem))
        return pd.DataFrame(self._without_copies(rows, owners, ledger))

    def _without_copies(self, rows: list[dict], owners: dict[Path, str], ledger: Ledger) -> list[dict]:
        """Take files away that hold the same bytes as others: whose recording they are cannot be known."""
        root, copied = self.root.resolve(), set()
        for group in copies(owners):
            for path, other in zip(group, [*group[1:], group[0]], strict=True):
                same = f"{other.relative_to(root)} of the recording '{owners[other]}'"
                problem = f"{path.relative_to(root)}: holds the same bytes as {same}; neither file is used"
                ledger.add(owners[path], "", "ingest", problem)
            copied |= set(group)
        columns = [f"{stream}_path" for stream in self.options.streams]
        named = {row[column] for row in rows for column in columns if row[column]} if copied else set()
        lost = {path for path in named if Path(path).resolve() in copied}
        for row in rows if lost else ():
            row |= {column: None for column in columns if row[column] in lost}
        return [row for row in rows if any(row[column] for column in columns)]

    def _recordings(self) -> pd.DataFrame:
        """Read the list of recordings; spaces around a cell do not count."""
        path = self.root / LISTING
        if not path.is_file():
            raise DataError(f"{self.root}: has no recordings.csv, so it is no table of arrays; see docs/own-data.md.")
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: is not a table of comma-separated values ({error}).") from error
        for column in (*COLUMNS, *self.options.streams):
            if column not in table:
                raise DataError(
                    f"{path}: has no column '{column}'; add it, or name the right streams in the configuration."
                )
        return table.apply(lambda column: column.str.strip())

    def _windows(self, recording: dict[str, str], where: str, owners: dict[Path, str], ledger: Ledger) -> list[dict]:
        """Return a row for each window of a recording."""
        options = self.options
        for column in ("recording_id", "subject_id"):
            if not recording[column]:
                raise DataError(f"{where}: the {column} is empty")
        if not recording["target"]:
            raise DataError(f"{where}: the target is empty")
        rate = _positive(recording["rate"], where)
        paths = {stream: self._path(recording[stream], where, owners) for stream in options.streams}
        seconds = [len(open_array(path)) / rate for path in paths.values() if path is not None]
        if not seconds:
            raise DataError(f"{where}: the recording has none of the streams {', '.join(options.streams)}")
        _check_count(max(seconds), rate, options, where)
        starts, longest = (
            np.arange(0, s - options.seconds + 1e-9, options.step).tolist() for s in (min(seconds), max(seconds))
        )
        if not len(starts):
            raise DataError(
                f"{where}: the recording lasts {min(seconds):.1f} s, less than a window of {options.seconds:g} s"
            )
        if len(longest) > len(starts):
            problem = f"{where}: the streams last {min(seconds):.1f} to {max(seconds):.1f} s; the rest is left out"
            ledger.add(recording["recording_id"], "", "ingest", problem, "kept with mask")
        owners |= {path.resolve(): recording["recording_id"] for path in paths.values() if path is not None}
        return [self._window(recording, paths, rate, number, start) for number, start in enumerate(starts)]

    def _window(self, recording: dict, paths: dict[str, Path | None], rate: float, number: int, start: float) -> dict:
        subject = recording["subject_id"]
        row = {
            "sample_id": f"{recording['recording_id']}-{number:04d}",
            "subject_id": subject,
            "group_id": subject,
            self.options.target: recording["target"],
        }
        for stream, path in paths.items():
            row[f"{stream}_path"] = None if path is None else str(path)
            row |= {
                f"{stream}_start": start,
                f"{stream}_stop": start + self.options.seconds,
                f"{stream}_rate": rate,
            }
        return row

    def _path(self, name: str, where: str, owners: dict[Path, str]) -> Path | None:
        """Return the file that a cell names; None where the cell is empty."""
        if not name:
            return None
        if "\0" in name:
            raise DataError(f"{where}: {name!r} is no path")
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"{where}: the path '{name}' leads out of {self.root}")
        if path.resolve() in owners:
            raise DataError(f"{where}: the file '{name}' is that of the recording '{owners[path.resolve()]}' already")
        return path


def _check_count(seconds: float, rate: float, options: ArraysOptions, where: str) -> None:
    """Refuse windows that begin at the same sample, and more of them than memory holds."""
    if options.step * rate < 0.5:
        raise DataError(f"{where}: at {rate:g} Hz a step of {options.step:g} s is no whole sample; mend one of them")
    if (seconds - options.seconds) / options.step >= MOST_WINDOWS:
        raise DataError(
            f"{where}: a recording of {seconds:g} s and a step of {options.step:g} s make more than {MOST_WINDOWS:,} "
            "windows; mend the rate or the step"
        )


def _positive(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise DataError(f"{where}: the rate '{text}' is not a number of Hz above zero")
    return value
