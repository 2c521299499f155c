"""Any table of arrays: recordings of several streams in files, of which a window, a row or the whole is a sample.

Layout of the root::

    recordings.csv    recording_id, subject_id, target, rate, one column a stream: the path of its file

``rate`` is in Hz; ``<stream>_rate`` and ``<stream>_offset`` (seconds) hold for one stream where they differ;
``<stream>_absent`` says of which spans of the stream nothing is to be used, in seconds of its own time (rows, where
samples are rows), such as ``1.5-3; 7.25-8``, or ``all``.
``group_id`` names subjects that must stay together, ``fold`` the fold that tests a subject (splits.scheme given; where
samples are rows it names a file, like labels). A path is relative to the root; brackets name a part of the file,
such as ``r1.csv[EDA]``. No two recordings share a file, unless each has other parts of it. An empty cell says that the
recording lacks the stream, or has no label; spaces around a cell do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from pkdot.datasets.base import Dataset, register
from pkdot.datasets.labels import LabelFile
from pkdot.datasets.listing import LISTING, Owners, Recording, Stream, read_listing, recordings_of
from pkdot.errors import ConfigError, DataError
from pkdot.ledger import Ledger
from pkdot.params import Params
from pkdot.recordings import open_labels

MOST_WINDOWS = 100_000  # of one recording; more come of a mistake in its rate, or of a tiny step


class ArraysOptions(Params):
    """Options of ``arrays``."""

    title: str = Field("a table of arrays", description="how reports call the data")
    licence: str = Field("", description="what the owners of the data allow, for the card of a student")
    units: dict[str, str] = Field({}, description="target -> its unit, for the card of a student")
    target: str | list[str] = Field(
        "class",
        description="how reports call the target; its column in recordings.csv has this name, or is called target. A "
        "list names several columns of real numbers",
    )
    streams: list[str] = Field(min_length=1, description="the streams: columns of recordings.csv with paths")
    classes: list[str] | None = Field(
        None,
        min_length=2,
        description="classes in order, others are left out; null: the targets are real numbers (task.kind regression)",
    )
    sample: Literal["window", "row", "recording"] = Field(
        "window",
        description="what a sample is: a window of a recording, a row of its arrays (all have as many), or all of it",
    )
    labels: Literal["recording", "file"] = Field(
        "recording",
        description="where labels are: in recordings.csv, one a recording; or in files that it names, one for each "
        "moment or row. A file of labels may have a rate and an offset of its own, like a stream",
    )
    label_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of a window that must have its most frequent class (or, for real numbers, any value, of "
        "which the mean is taken) where labels are in files; a window with less is unlabelled",
    )
    subjects: Literal["recording", "own", "file"] = Field(
        "recording",
        description="who a sample is of: the recording's subject_id; nobody but itself (own), where samples are rows "
        "or whole recordings; or what a file says for each row, which subject_id names",
    )
    seconds: float = Field(4.0, gt=0, description="length of a window")
    step: float = Field(4.0, gt=0, description="time from the start of a window to that of the next, in seconds")

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        whole = isinstance(value, list) and all(type(item) in (int, str) for item in value)
        return [str(item) for item in value] if whole else value

    @field_validator("streams", "classes", "target")
    @classmethod
    def _once(cls, value: Any) -> Any:
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ConfigError("a name is given twice")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> ArraysOptions:
        if self.classes and len(self.targets) > 1:
            raise ConfigError("several targets are real numbers; remove classes, or name one target")
        if self.subjects == "own" and self.sample == "window":
            raise ConfigError("windows of one recording are of one subject; subjects: own is for rows or recordings")
        if self.subjects == "file" and self.sample != "row":
            raise ConfigError("subjects: file names a subject for each row; it goes with sample: row")
        return self

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return [self.target] if isinstance(self.target, str) else self.target


@dataclass(frozen=True)
class Cut:
    """A sample of a recording: its number, and its time on the common clock (or its row)."""

    number: int
    start: float
    stop: float


@register("arrays")
class Arrays(Dataset):
    """Recordings cut into samples; of .npy files only the headers are read here."""

    title = "a table of arrays"
    Options = ArraysOptions
    options: ArraysOptions

    def __init__(self, root: Path, options: ArraysOptions) -> None:
        super().__init__(root, options)
        self.title, self.licence, self.units = options.title, options.licence, options.units

    def sources(self) -> tuple[str, ...]:
        return tuple(self.options.streams)

    def targets(self) -> dict[str, list[str] | None]:
        classes = self.options.classes
        return {name: list(classes) if classes else None for name in self.options.targets}

    def read(self, ledger: Ledger) -> pd.DataFrame:
        recordings = self._recordings()
        seen: set[str] = set()
        owners = Owners()
        rows: list[dict] = []
        for recording in recordings:
            name = recording.cell("recording_id")
            try:
                if name in seen:
                    raise DataError(f"{recording.where}: the recording_id '{name}' was used before")
                rows += self._samples(recording, owners, ledger)
                seen.add(name)
            except DataError as problem:
                ledger.add(name, "", "ingest", str(problem))
        return pd.DataFrame(owners.without_copies(rows, self.options.streams, self.root, ledger))

    def _recordings(self) -> list[Recording]:
        """Read the list of recordings, with all columns that it needs."""
        table, options = read_listing(self.root), self.options
        needed = ["recording_id", *([] if options.subjects == "own" else ["subject_id"])]
        needed += self._target_columns(table.columns).values()
        for column in table.columns:
            if column.endswith("_absent") and column.removesuffix("_absent") not in table:
                raise DataError(f"{self.root / LISTING}: the column '{column}' is of no column; rename or remove it.")
        return recordings_of(self.root, table, [*needed, *options.streams])

    def _target_columns(self, columns: Container[str]) -> dict[str, str]:
        """Return target -> the column that it stands in."""
        names = self.options.targets
        single = len(names) == 1 and names[0] not in columns
        return {name: "target" if single else name for name in names}

    def _samples(self, recording: Recording, owners: Owners, ledger: Ledger) -> list[dict]:
        """Return a row for each sample of a recording."""
        options, name = self.options, recording.name("recording_id")
        columns = self._target_columns(recording.cells)
        if options.labels == "recording" and not self._is_wanted(recording, columns, ledger):
            return []
        if options.subjects != "own":
            recording.name("subject_id")
        named = [file for stream in options.streams if (file := recording.file(stream)) is not None]
        owners.check(recording, named)
        streams = {stream: recording.stream(stream, options.sample) for stream in options.streams}
        there = [stream for stream in streams.values() if stream is not None]
        if not there:
            raise DataError(f"{recording.where}: the recording has none of the streams {', '.join(options.streams)}")
        cuts = list(self._cuts(recording, there, ledger))
        labels = self._labels(recording, columns, cuts, there)
        if "fold" in recording.cells:
            by_row = options.sample == "row"
            labels["fold"] = self._names(recording, "fold", cuts) if by_row else [recording.cell("fold")] * len(cuts)
        subjects = self._subjects(recording, cuts)
        rows = [
            self._row(recording, streams, cut, who, {column: values[place] for column, values in labels.items()})
            for place, (cut, who) in enumerate(zip(cuts, subjects, strict=True))
        ]
        owners.add(name, named)
        for stream in options.streams:
            if lost := sum(row[f"{stream}_path"] is None for row in rows):
                problem = f"by {stream}_absent {lost} of {len(rows)} samples have nothing of it"
                problem = problem if streams[stream] else "the recording lacks it"
                ledger.add(name, stream, "ingest", f"{recording.where}: {problem}", "as configured")
        return self._usable(rows, recording, ledger)

    def _is_wanted(self, recording: Recording, columns: dict[str, str], ledger: Ledger) -> bool:
        """Tell whether a recording is of a class that is used, or unlabelled."""
        if not self.options.classes:
            return True
        label = recording.cell(next(iter(columns.values())))
        if not label or label in self.options.classes:
            return True
        problem = f"{recording.where}: the target '{label}' is not in dataset.classes"
        ledger.add(recording.cell("recording_id"), "", "ingest", problem, "as configured")
        return False

    def _cuts(self, recording: Recording, streams: list[Stream], ledger: Ledger) -> Iterator[Cut]:
        """Yield the samples of a recording."""
        lengths = sorted({stream.length for stream in streams})
        if self.options.sample == "window":
            yield from self._windows(recording, streams, ledger)
        elif self.options.sample == "recording":
            yield Cut(0, 0.0, float(lengths[-1]))
        elif len(lengths) > 1:
            counts = " and ".join(map(str, lengths))
            raise DataError(f"{recording.where}: the streams have {counts} rows, but a row is a sample of all streams")
        else:
            yield from (Cut(row, float(row), row + 1.0) for row in range(int(lengths[0])))

    def _windows(self, recording: Recording, streams: list[Stream], ledger: Ledger) -> Iterator[Cut]:
        """Yield the windows of the time that all streams share."""
        options, where = self.options, recording.where
        begin, end = max(stream.offset for stream in streams), min(stream.end for stream in streams)
        common, longest = max(0.0, end - begin), max(stream.seconds for stream in streams)
        _check_count(longest, min(stream.rate for stream in streams), options, where)
        starts, possible = (np.arange(0, s - options.seconds + 1e-9, options.step) for s in (common, longest))
        if not len(starts):
            shared = "recording lasts" if begin == 0 else "time that its streams share is"
            raise DataError(f"{where}: the {shared} {common:.1f} s, less than a window of {options.seconds:g} s")
        if len(possible) > len(starts):
            problem = f"{where}: the streams last {common:.1f} to {longest:.1f} s; the rest is left out"
            ledger.add(recording.cell("recording_id"), "", "ingest", problem, "kept with mask")
        for number, start in enumerate((begin + starts).tolist()):
            yield Cut(number, start, start + options.seconds)

    def _labels(
        self, recording: Recording, columns: dict[str, str], cuts: list[Cut], streams: list[Stream]
    ) -> dict[str, list]:
        """Return target -> a value for each sample: the name of a class or a number, None where there is none."""
        numeric = not self.options.classes
        if self.options.labels == "recording":
            values: dict[str, Any] = {
                target: recording.number(column) if numeric and recording.cell(column) else recording.cell(column)
                for target, column in columns.items()
            }
            return {target: [None if value == "" else value] * len(cuts) for target, value in values.items()}
        labels: dict[str, list] = {}
        for target, column in columns.items():
            file = recording.file(column)
            if file is None:
                labels[target] = [None] * len(cuts)
                continue
            timed = self.options.sample == "window"
            rate = recording.rate(column) if timed else 1.0
            offset = recording.number(f"{column}_offset", 0.0) if timed else 0.0
            of_file = LabelFile(*file, rate, offset, numeric)
            if self.options.sample == "row" and len(of_file.values) != len(cuts):
                rows = f"{len(of_file.values)} labels for {len(cuts)} rows"
                raise DataError(f"{recording.where}: the file of the {column} has {rows}")
            share = self.options.label_share
            stop = len(of_file.values) if self.options.sample == "recording" else None
            labels[target] = [of_file.over(cut.start, stop or cut.stop, share) for cut in cuts]
        return labels

    def _subjects(self, recording: Recording, cuts: list[Cut]) -> list[str]:
        """Return the subject of each sample, the empty text where it has none."""
        options = self.options
        if options.subjects == "own":
            return [_sample_id(recording, cut, options.sample) for cut in cuts]
        if options.subjects == "recording":
            return [recording.name("subject_id")] * len(cuts)
        return self._names(recording, "subject_id", cuts)

    def _names(self, recording: Recording, column: str, cuts: list[Cut]) -> list[str]:
        """Return what a file says for each row."""
        file = recording.file(column)
        names: list[str] = open_labels(*file).tolist() if file else []
        if len(names) != len(cuts):
            counts = f"{len(names)} names for {len(cuts)} rows"
            raise DataError(f"{recording.where}: the file of the {column} has {counts}")
        return names

    def _row(
        self, recording: Recording, streams: dict[str, Stream | None], cut: Cut, subject: str, labels: dict
    ) -> dict[str, Any]:
        whole = self.options.sample == "recording"
        row: dict[str, Any] = {
            "sample_id": _sample_id(recording, cut, self.options.sample),
            "subject_id": subject,
            "group_id": recording.cell("group_id") or subject,
            **labels,
        }
        for name, stream in streams.items():
            known = stream or Stream(Path(), None, np.nan, 0.0, 0)
            start, stop = (0.0, known.seconds) if whole else (cut.start - known.offset, cut.stop - known.offset)
            row |= {
                f"{name}_path": str(known.path) if stream and not known.lacks(start, stop) else None,
                f"{name}_start": None if whole else start,
                f"{name}_stop": None if whole else stop,
                f"{name}_rate": known.rate if known.told and (known.absent or not whole) else None,
                f"{name}_part": known.part,
                f"{name}_absent": list(known.absent) or None,
            }
        return row

    def _usable(self, rows: list[dict], recording: Recording, ledger: Ledger) -> list[dict]:
        """Leave samples out that are of no subject or of another class, and count those without a label."""
        name, where, classes = recording.cell("recording_id"), recording.where, self.options.classes
        kept = [row for row in rows if row["subject_id"]]
        if len(kept) < len(rows):
            ledger.add(name, "", "ingest", f"{where}: {len(rows) - len(kept)} of {len(rows)} rows have no subject")
        if self.options.labels == "recording":
            return kept
        targets = self.options.targets
        others = Counter(row[targets[0]] for row in kept if classes and row[targets[0]] not in (None, *classes))
        for label, count in others.items():
            problem = f"{where}: the target of {count} samples is '{label}', which is not in dataset.classes"
            ledger.add(name, "", "ingest", problem, "as configured")
        kept = [row for row in kept if row[targets[0]] not in others]
        empty = sum(all(row[target] is None for target in targets) for row in kept)
        if empty:
            problem = f"{where}: {empty} of {len(kept)} samples have no label that counts, and are unlabelled"
            ledger.add(name, "", "ingest", problem, "as configured")
        return kept


def _sample_id(recording: Recording, cut: Cut, sample: str) -> str:
    name = recording.cell("recording_id")
    return name if sample == "recording" else f"{name}-{cut.number:04d}"


def _check_count(seconds: float, rate: float, options: ArraysOptions, where: str) -> None:
    """Refuse windows that begin at the same sample, and more of them than memory holds."""
    if options.step * rate < 0.5:
        raise DataError(f"{where}: at {rate:g} Hz a step of {options.step:g} s is no whole sample; mend one of them")
    if (seconds - options.seconds) / options.step >= MOST_WINDOWS:
        raise DataError(
            f"{where}: a recording of {seconds:g} s and a step of {options.step:g} s make more than {MOST_WINDOWS:,} "
            "windows; mend the rate or the step"
        )
