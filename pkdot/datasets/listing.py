"""The list of recordings of a table of arrays: its cells, and the files that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pkdot.datasets.copies import copies
from pkdot.errors import DataError
from pkdot.ledger import Ledger
from pkdot.recordings import MEDIA, media_seconds, open_recording, parts_of, split_cell

LISTING = "recordings.csv"
SECONDS = r"(\d+\.?\d*|\.\d+)"
ALL = "all"  # of a stream is absent, as if its cell were empty
FRAMES = 25.0  # a second of a video or a sound, only for its length: it says its rate itself


@dataclass(frozen=True)
class Stream:
    """A stream of a recording.

    Attributes
    ----------
    path : Path
        Its file.
    part : str or None
        The array or the columns of the file, where it holds more.
    rate : float
        In Hz; 1 where there is no time.
    offset : float
        When it begins on the clock that the streams share, in seconds.
    length : float
        Its number of samples in time, or of rows.
    told : bool
        Whether the rate must be told, as its file does not say it.
    absent : tuple of float
        Where spans begin and end that are not to be used, in seconds of the stream, in order: b, e, b, e, ...
    """

    path: Path
    part: str | None
    rate: float
    offset: float
    length: float
    told: bool = True
    absent: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / self.rate

    @property
    def end(self) -> float:
        """When it ends on the common clock."""
        return self.offset + self.seconds

    def lacks(self, start: float, stop: float) -> bool:
        """Return whether all of a span, in seconds of the stream, is absent."""
        spans = zip(self.absent[::2], self.absent[1::2], strict=True)
        return any(begin <= start and stop <= end for begin, end in spans)


def as_number(text: str) -> float:
    """Return what a cell says as a number; NaN where it is none, such as ``3_2``, which Python takes for 32."""
    try:
        return float("nan" if "_" in text else text)
    except ValueError:
        return float("nan")


class Recording:
    """A row of the list.

    Parameters
    ----------
    root : Path
        The folder of the list.
    number : int
        Number of the row in the list, the first of which is 0.
    cells : dict of str
        Its cells.
    """

    def __init__(self, root: Path, number: int, cells: dict[str, str]) -> None:
        self.root, self.cells = root, cells
        self.where = f"{root / LISTING}, row {number + 2}"

    def cell(self, column: str) -> str:
        """Return a cell, the empty text where there is no such column."""
        return self.cells.get(column, "")

    def name(self, column: str) -> str:
        """Return a cell that may not be empty.

        Raises
        ------
        DataError
            It is.
        """
        if not self.cell(column):
            raise DataError(f"{self.where}: the {column} is empty")
        return self.cells[column]

    def number(self, column: str, default: float | None = None) -> float:
        """Return a cell as a number.

        Raises
        ------
        DataError
            It is none, or it is empty and there is no default.
        """
        text = self.cell(column)
        if not text and default is not None:
            return default
        value = as_number(text)
        if not abs(value) < float("inf"):
            raise DataError(f"{self.where}: the {column} '{text}' is not a number")
        return value

    def rate(self, stream: str) -> float:
        """Return the rate of a stream: its own, or else that of the recording.

        Raises
        ------
        DataError
            It is not a number of Hz above zero.
        """
        column = f"{stream}_rate" if self.cell(f"{stream}_rate") else "rate"
        text = self.cell(column)
        value = as_number(text)
        if not 0 < value < float("inf"):
            raise DataError(f"{self.where}: the {column} '{text}' is not a number of Hz above zero")
        return value

    def absent(self, stream: str) -> tuple[float, ...]:
        """Return where spans of a stream begin and end that are not to be used, in order; those that touch are one.

        Raises
        ------
        DataError
            The cell says it in another form than ``1.5-3; 7.25-8``.
        """
        column = f"{stream}_absent"
        spans: list[tuple[float, float]] = []
        for part in re.split("[,;]", self.cell(column)) if self.cell(column) else ():
            found = re.fullmatch(rf"\s*{SECONDS}\s*-\s*{SECONDS}\s*", part)
            if found is None or not float(found[1]) < float(found[2]):
                raise DataError(
                    f"{self.where}: the {column} '{self.cell(column)}' is not like '1.5-3; 7.25-8', spans in seconds "
                    f"that end after their start; write it so, or {ALL}, or nothing"
                )
            spans.append((float(found[1]), float(found[2])))
        borders: list[float] = []
        for begin, end in sorted(spans):
            if borders and begin <= borders[-1]:
                borders[-1] = max(borders[-1], end)
            else:
                borders += [begin, end]
        return tuple(borders)

    def file(self, column: str) -> tuple[Path, str | None] | None:
        """Return the file that a cell names, and the part of it; None where the cell is empty, or all of it absent.

        Raises
        ------
        DataError
            The path leads out of the root, or round in a circle of links.
        """
        cell = self.cell(column)
        if not cell or self.cell(f"{column}_absent").lower() == ALL:
            return None
        if "\0" in cell:
            raise DataError(f"{self.where}: {cell!r} is no path")
        name, part = split_cell(cell)
        path = self.root / name
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError) as error:
            raise DataError(f"{self.where}: the path '{name}' is a link that leads back to itself") from error
        if not inside:
            raise DataError(f"{self.where}: the path '{name}' leads out of {self.root}")
        return path, part

    def stream(self, column: str, sample: str) -> Stream | None:
        """Return a stream; None where the recording lacks it.

        Parameters
        ----------
        column : str
            Its name.
        sample : str
            What a sample is: a window, which takes a rate; a row; or the whole recording.
        """
        file, timed = self.file(column), sample == "window"
        if file is None:
            return None
        offset = self.number(f"{column}_offset", 0.0) if timed else 0.0
        absent = self.absent(column)
        if file[0].suffix.lower() in MEDIA:
            if sample == "row" or file[1] is not None:
                raise DataError(f"{self.where}: {file[0].name} has no rows and no parts; it serves windows and wholes")
            stream = Stream(*file, FRAMES, offset, FRAMES * media_seconds(file[0]), told=False, absent=absent)
        else:
            rate = self.rate(column) if timed or (absent and sample == "recording") else 1.0
            stream = Stream(*file, rate, offset, len(open_recording(*file)), absent=absent)
        late = [begin for begin in absent[::2] if begin >= stream.seconds]
        if late:
            raise DataError(
                f"{self.where}: the {column}_absent begins at {late[0]:g}, but the {column} ends at "
                f"{stream.seconds:g}; count in {'rows' if sample == 'row' else 'seconds'} of its own"
            )
        return stream


class Owners:
    """Whose recording a file is; no two recordings share a file, unless each has other parts of it."""

    def __init__(self) -> None:
        self._uses: dict[Path, list[tuple[str, str | None]]] = {}

    def check(self, recording: Recording, files: Iterable[tuple[Path, str | None]]) -> None:
        """Refuse files that an earlier recording has, or that two streams of this one share.

        Raises
        ------
        DataError
            A file, or the part that is named of it, is used already.
        """
        own: list[tuple[Path, str | None]] = []
        for path, part in files:
            shown = f"the file '{recording_path(path, recording.root)}'"
            for owner, other in self._uses.get(path.resolve(), ()):
                if _overlap(part, other):
                    raise DataError(f"{recording.where}: {shown} is that of the recording '{owner}' already")
            if any(path.resolve() == earlier.resolve() and _overlap(part, other) for earlier, other in own):
                raise DataError(f"{recording.where}: {shown} is that of two streams; name different parts of it")
            own.append((path, part))

    def add(self, name: str, files: Iterable[tuple[Path, str | None]]) -> None:
        """Note the files of a recording that is used."""
        for path, part in files:
            self._uses.setdefault(path.resolve(), []).append((name, part))

    def without_copies(self, rows: list[dict], streams: list[str], root: Path, ledger: Ledger) -> list[dict]:
        """Take files away that hold the same bytes as others: whose recording they are cannot be known."""
        copied, resolved = set(), root.resolve()
        owners = {path: uses[0][0] for path, uses in self._uses.items()}
        for group in copies(owners):
            for path, other in zip(group, [*group[1:], group[0]], strict=True):
                same = f"{other.relative_to(resolved)} of the recording '{owners[other]}'"
                problem = f"{path.relative_to(resolved)}: holds the same bytes as {same}; neither file is used"
                ledger.add(owners[path], "", "ingest", problem)
            copied |= set(group)
        columns = [f"{stream}_path" for stream in streams]
        named = {row[column] for row in rows for column in columns if row[column]} if copied else set()
        lost = {path for path in named if Path(path).resolve() in copied}
        for row in rows if lost else ():
            row |= {column: None for column in columns if row[column] in lost}
        return [row for row in rows if any(row[column] for column in columns)]


def recording_path(path: Path, root: Path) -> str:
    """Return a path as the list names it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _overlap(part: str | None, other: str | None) -> bool:
    return part is None or other is None or bool(set(parts_of(part)) & set(parts_of(other)))


def read_listing(root: Path) -> pd.DataFrame:
    """Read the list of recordings.

    Raises
    ------
    DataError
        There is none.
    """
    path = root / LISTING
    if not path.is_file():
        raise DataError(f"{root}: has no recordings.csv, so it is no table of arrays; see docs/own-data.md.")
    return read_table(path)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of comma-separated texts; spaces around a cell do not count.

    Raises
    ------
    DataError
        It is none.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not a table of comma-separated values ({error}).") from error
    return table.rename(columns=str.strip).apply(lambda column: column.str.strip())


def recordings_of(root: Path, table: pd.DataFrame, columns: list[str]) -> list[Recording]:
    """Return the rows of the list.

    Raises
    ------
    DataError
        It has not these columns.
    """
    for column in columns:
        if column not in table:
            raise DataError(
                f"{root / LISTING}: has no column '{column}'; add it, or name the right streams in the configuration."
            )
    return [Recording(root, number, cells) for number, cells in enumerate(table.to_dict("records"))]
