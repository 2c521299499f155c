"""What a user names: files, folders, patterns, tables, a camera, names on standard input -> recordings."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pkdot.datasets.listing import LISTING, read_table
from pkdot.datasets.listing import Recording as Row
from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.recordings import TABLES, split_cell

if TYPE_CHECKING:
    from pkdot.inference.bundle import ModalityDescription

ARRAYS = (".npy", ".npz", ".parquet", ".csv", ".tsv", ".txt")
VIDEO = (
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".ts",
    ".mts",
    ".3gp",
    ".ogv",
)
SOUND = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
SUFFIXES = {"faces": VIDEO, "audio": (*VIDEO, *SOUND), "physiology": (".csv", ".tsv", ".txt")}  # others: ARRAYS
STDIN = "-"
WHOLE = "file"  # how a server calls a file of all modalities that it may hold; others have the name of their modality


@dataclass(frozen=True)
class Raw:
    """Where a modality of a recording lies.

    Attributes
    ----------
    path : Path
    part : str, optional
        The array or the columns of the file, where it holds more.
    rate : float, optional
        Hz, where the file does not say it.
    offset : float
        When it begins on the clock of the recording, seconds.
    absent : tuple of float
        Where spans of it begin and end that are not to be used, seconds of its own time: b, e, b, e, ...
    """

    path: Path
    part: str | None = None
    rate: float | None = None
    offset: float = 0.0
    absent: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes
    ----------
    name : str
        How the table of predictions calls it.
    raws : dict of str to Raw
        Prevalent modality -> where it lies.
    start, stop : float, optional
        Seconds of the part that is meant; none: all of it.
    camera : int, optional
        Number of a camera, which has no file.
    problem : str
        Why it cannot be used, where that is known already.
    """

    name: str
    raws: dict[str, Raw] = field(default_factory=dict)
    start: float | None = None
    stop: float | None = None
    camera: int | None = None
    problem: str = ""

    def source(self, modality: str, start: float | None, stop: float | None) -> Source:
        """Return a part of a modality."""
        raw = self.raws.get(modality) or Raw(Path(self.name))
        begin, end = (None if time is None else time - raw.offset for time in (start, stop))
        return Source(self.name, raw.path, begin, end, raw.rate, None, raw.part, raw.absent)


@dataclass(frozen=True)
class Wanted:
    """What a bundle takes.

    Attributes
    ----------
    modalities : dict of str to ModalityDescription
        The prevalent modalities.
    rate : float, optional
        Hz of arrays that do not say it, and of which the training does not either.
    partial : bool
        Whether some of the modalities are enough.
    """

    modalities: dict[str, ModalityDescription]
    rate: float | None = None
    partial: bool = False

    @property
    def features(self) -> list[str]:
        """Names of their features."""
        return [one.feature.name for one in self.modalities.values()]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the names of files that hold all that is wanted; empty where no single file does."""
        kinds = [SUFFIXES.get(feature, ARRAYS) for feature in self.features]
        if self.partial:
            return tuple(dict.fromkeys(suffix for kind in kinds for suffix in kind))
        if len(kinds) > 1 and ARRAYS in kinds:
            return ()
        return tuple(suffix for suffix in kinds[0] if all(suffix in kind for kind in kinds))

    @property
    def arrays(self) -> bool:
        """Whether some of it comes as arrays, which a table lists."""
        return any(feature not in SUFFIXES for feature in self.features)

    def recording(self, path: Path) -> Recording:
        """Return the recording that a single file is."""
        if not self.suffixes:
            names = " and ".join(self.modalities)
            return Recording(
                str(path), problem=f"{path}: the bundle takes {names}; name a table with a column for each"
            )
        chosen = [name for name, one in self.modalities.items() if not self.partial or _holds(path, one)]
        taken = {name: self.modalities[name] for name in chosen or self.modalities}
        if problem := one_of_several(taken, path):
            return Recording(str(path), problem=problem)
        return self.of_files(dict.fromkeys(taken, path))

    def of_files(self, files: Mapping[str, Path]) -> Recording:
        """Return the recording whose modalities lie in these files, or in parts of them, as ``many.npz[a]``."""
        lacking = sorted(self.modalities.keys() - files)
        name = " and ".join(dict.fromkeys(str(path) for path in files.values()))
        if lacking and not self.partial:
            takes = " and ".join(self.modalities)
            return Recording(name, problem=f"the bundle takes {takes}; the {lacking[0]} is missing")
        raws = {each: self._raw(self.modalities[each], path) for each, path in files.items()}
        absent = [raw.path for raw in raws.values() if not raw.path.exists()]
        if absent and (len(absent) == len(files) or not self.partial):
            return Recording(name, problem=f"{absent[0]}: there is no such file or folder")
        return Recording(name, raws)

    def _raw(self, said: ModalityDescription, path: Path) -> Raw:
        """Return where a modality lies; brackets name a part of a file, unless they are of its own name."""
        name, part = (str(path), None) if path.exists() else split_cell(str(path))
        return Raw(Path(name), part or part_of(said, Path(name)), self.rate or said.rate)

    def row(self, name: str, row: Row) -> Recording:
        """Return the recording that a row of a table is.

        Raises
        ------
        DataError
            A cell is empty or cannot be read.
        """
        raws = {}
        for modality, said in self.modalities.items():
            column = modality if row.cell(modality) else said.source
            file = row.file(column)
            if file is None and self.partial:
                continue
            if file is None:
                raise DataError(f"{row.where}: the {column} is empty, and the bundle cannot do without it")
            known = row.cell(f"{column}_rate") or row.cell("rate")
            rate = row.rate(column) if known else self.rate or said.rate
            raws[modality] = Raw(*file, rate, row.number(f"{column}_offset", 0.0), row.absent(column))
        if not raws:
            raise DataError(f"{row.where}: it names no file of {' or '.join(self.modalities)}")
        begin, end = (row.number(key) if row.cell(key) else None for key in ("start", "stop"))
        if begin is not None and end is not None and begin >= end:
            raise DataError(f"{row.where}: it starts at {begin:g} s, which is not before its stop at {end:g} s")
        return Recording(name, raws, begin, end)


def part_of(said: ModalityDescription, path: Path) -> str | None:
    """Return the part of a file that a modality takes, as in training; a file that holds one array has no parts."""
    return said.part if path.suffix.lower() in (".npz", *TABLES) else None


def one_of_several(modalities: Mapping[str, ModalityDescription], path: Path) -> str:
    """Say that a file holds one of several modalities and not which; nothing where it may hold all of them."""
    parts: dict[str | None, list[str]] = {}
    for name, said in modalities.items():
        if said.feature.name not in SUFFIXES:  # the others find what is theirs in a file of several
            parts.setdefault(part_of(said, path), []).append(name)
    alike = next((names for names in parts.values() if len(names) > 1), None)
    return f"{path}: may be {' or '.join(alike)}; give it by the name of its modality" if alike else ""


def _holds(path: Path, said: ModalityDescription) -> bool:
    """Return whether a file may hold a modality, by the end of its name."""
    return path.is_dir() or path.name.lower().endswith(SUFFIXES.get(said.feature.name, ARRAYS))


def recordings(names: Iterable[str], wanted: Wanted, stdin: BinaryIO) -> Iterator[Recording]:
    """Yield what a user has named, in that order; folders are searched and sorted.

    A name that leads to nothing gives a recording with the reason. ``-`` stands for names on standard input, one a
    line, or ended by NUL bytes as ``find -print0`` writes them.
    """
    for name in names:
        if name == STDIN:
            yield from recordings(_names(stdin.read()), wanted, stdin)
        else:
            yield from _of_name(name, wanted)


def _names(content: bytes) -> list[str]:
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip() and line != b"-"]


def _of_name(name: str, wanted: Wanted) -> Iterator[Recording]:
    path = Path(name)
    try:
        if path.is_dir():
            yield from _of_folder(path, wanted)
        elif path.exists():
            yield from _of_file(path, wanted)
        elif name.isdecimal() and "faces" in wanted.features:
            yield Recording(name, camera=int(name))
        elif has_magic(name) and (found := sorted(glob(name, recursive=True))):
            for one in found:
                yield from _of_name(one, wanted)
        else:
            yield Recording(name, problem=f"{name}: there is no such file or folder")
    except DataError as problem:  # a table that cannot be read
        yield Recording(name, problem=str(problem))
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL byte
        yield Recording(name, problem=f"{name}: cannot be read ({error})")


def _of_folder(folder: Path, wanted: Wanted) -> Iterator[Recording]:
    """Yield the recordings below a folder; a folder of numbered images is a video."""
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        names = sorted(name for name in files if not name.startswith("."))
        if LISTING in names and wanted.arrays:
            found = list(_of_table(here / LISTING, wanted))
            folders.clear()  # the table says which of the files below it are wanted
        else:
            found = [wanted.recording(here / name) for name in names if name.lower().endswith(wanted.suffixes)]
        if not found and "faces" in wanted.features and any(is_crop(name) for name in names):
            found = [wanted.recording(here)]
        count += len(found)
        yield from found
    if not count:
        endings = ", ".join(wanted.suffixes) or LISTING
        yield Recording(str(folder), problem=f"{folder}: the folder holds no file that the bundle takes ({endings})")


def is_crop(name: str) -> bool:
    """Return whether a file is an image that is named by the number of its frame."""
    stem, _, suffix = name.rpartition(".")
    return stem.isdecimal() and suffix.lower() in ("jpg", "jpeg", "png")


def _of_file(path: Path, wanted: Wanted) -> Iterator[Recording]:
    if path.suffix.lower() == ".csv" and _is_table(path, wanted):
        yield from _of_table(path, wanted)
    else:
        yield wanted.recording(path)


def _is_table(path: Path, wanted: Wanted) -> bool:
    """Return whether a file is a table of recordings: its first line names every modality."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    columns = {name.strip() for name in header}
    named = [bool({name, said.source} & columns) for name, said in wanted.modalities.items()]
    return any(named) if wanted.partial else all(named)


def _of_table(path: Path, wanted: Wanted) -> Iterator[Recording]:
    """Yield the rows of a table with a column of paths for each modality, as ``recordings.csv`` of docs/own-data.md."""
    for number, cells in enumerate(read_table(path).to_dict("records")):
        row = Row(path.parent, number, cells)
        row.where = f"{path}, row {number + 2}"
        name = row.cell("recording_id") or row.where
        try:
            yield wanted.row(name, row)
        except DataError as problem:
            yield Recording(name, problem=str(problem))
