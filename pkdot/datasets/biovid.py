"""The BioVid Heat Pain Database, Parts A and B: clips of heat pain, each with a video and biosignals.

Walter et al., The BioVid Heat Pain Database, IEEE CYBCO 2013. Ingestion opens every file but decodes none: it
looks at names, at the boxes of a video and at both ends of a table; the feature stage finds what else is wrong.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pandas as pd
from pydantic import Field, field_validator

from pkdot.datasets.base import Dataset, register
from pkdot.datasets.copies import copies
from pkdot.errors import DataError
from pkdot.ledger import Ledger
from pkdot.params import Params

Level = Literal["BL1", "PA1", "PA2", "PA3", "PA4"]

LIST = "starting_point/samples.csv"
LIST_COLUMNS = ("sample_name", "subject_name", "class_name")
NAME = re.compile(r"(?P<subject>\d{6}_[wm]_\d+)-(?P<level>BL1|PA[1-4])-\d+")
LAST_MICROSECOND = 5_400_000  # a clip lasts 5.5 s; a table that ends before this is cut off
LONGEST_ROW = 65_536  # bytes of a row of a table that are looked at
MOST_BOXES = 10_000  # at the top level of an MP4; a fragmented video of hours has fewer
BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid"}  # what an MP4 may start with


class BioVidOptions(Params):
    """Options of ``biovid``."""

    classes: list[Level] = Field(
        ["BL1", "PA1", "PA2", "PA3", "PA4"],
        min_length=2,
        description="levels of pain to tell apart, in order",
    )
    unlabelled: Literal["other_levels"] | None = Field(
        None,
        description="other_levels: clips of the levels that are not told apart take part without a label, as paired "
        "recordings that every owner of the data has; null leaves them out",
    )
    signals: Literal["filtered", "raw"] = Field(
        "filtered", description="which of the owners' folders of biosignals is read"
    )
    target: str = Field("pain", min_length=1, description="name of the target column")

    @field_validator("classes")
    @classmethod
    def _differ(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("a class is named twice")
        return classes


@dataclass(frozen=True)
class Kind:
    """One source on disk: its folder, how the names of its files end, and what finds a broken file."""

    folder: str
    suffix: str
    problem: Callable[[BinaryIO, int], str]


@register("biovid")
class BioVid(Dataset):
    """A row a clip. Its name carries subject and class; the owners' list must agree where there is one."""

    Options = BioVidOptions
    options: BioVidOptions
    preparation = "biovid"
    title = "the BioVid Heat Pain Database"
    licence = "for research alone, by an agreement with its owners"

    def sources(self) -> tuple[str, ...]:
        return ("video", "biosignals")

    def targets(self) -> dict[str, list[str] | None]:
        return {self.options.target: list(self.options.classes)}

    def _takes(self, level: str) -> bool:
        """Return whether clips of a level are read, with or without a label."""
        return level in self.options.classes or self.options.unlabelled is not None

    def read(self, ledger: Ledger) -> pd.DataFrame:
        kinds = {
            "video": Kind("video", ".mp4", mp4_problem),
            "biosignals": Kind(f"biosignals_{self.options.signals}", "_bio.csv", table_problem),
        }
        present = {source: kind for source, kind in kinds.items() if (self.root / kind.folder).is_dir()}
        self._refuse_other_trees(kinds, present)
        for source in kinds.keys() - present.keys():
            ledger.add("", source, "ingest", f"no folder {kinds[source].folder}/: no sample has this source")
        listed = _read_list(self.root / LIST, ledger)
        files = {source: self._scan(source, kind, ledger) for source, kind in present.items()}
        names = set().union(*files.values(), listed or ())
        rows = [self._row(name, kinds, files, listed, ledger) for name in sorted(names)]
        return pd.DataFrame([row for row in rows if row])

    def _row(
        self,
        name: str,
        kinds: dict[str, Kind],
        files: dict[str, dict[str, str | None]],
        listed: dict[str, str] | None,
        ledger: Ledger,
    ) -> dict[str, object] | None:
        """Return the row of a sample; None where it is of no class that is wanted, or has no file that can be used."""
        subject, level, _ = name.split("-")
        if not self._takes(level):
            return None
        if listed is not None and (problem := listed.get(name, f"not in {LIST}")):
            ledger.add(name, "", "ingest", problem)
            return None
        for source in files:
            if name not in files[source]:
                missing = f"{kinds[source].folder}/{subject}/{name}{kinds[source].suffix}"
                ledger.add(name, source, "ingest", f"no file {missing}")
        row: dict[str, object] = {"sample_id": name, "subject_id": subject, "group_id": subject}
        row[self.options.target] = level if level in self.options.classes else None
        for source in kinds:  # a clip is a whole file
            path = files.get(source, {}).get(name)
            row |= {f"{source}_path": path, f"{source}_start": float("nan"), f"{source}_stop": float("nan")}
        return row if any(row[f"{source}_path"] for source in kinds) else None

    def _refuse_other_trees(self, kinds: dict[str, Kind], present: dict[str, Kind]) -> None:
        if present:
            return
        wanted = " nor ".join(f"{kind.folder}/" for kind in kinds.values())
        inner = sorted(path.parent.name for path in self.root.glob("*/video") if path.is_dir())
        hint = f"Point dataset.root at {self.root / inner[0]}" if inner else "Point dataset.root at PartA or PartB"
        raise DataError(f"{self.root}: not a BioVid root, it holds neither {wanted}. {hint}.")

    def _scan(self, source: str, kind: Kind, ledger: Ledger) -> dict[str, str | None]:
        """Return sample -> its file, or None where the file cannot be used and the ledger says why."""
        files: dict[str, str | None] = {}
        for entry in _files(self.root / kind.folder):
            folder, name = os.path.basename(os.path.dirname(entry.path)), entry.name.removesuffix(kind.suffix)
            match = NAME.fullmatch(name)
            if match and not self._takes(match["level"]):
                continue
            if not match or not entry.name.endswith(kind.suffix):
                problem = f"{entry.path}: not the name of a BioVid clip; the file is not read"
                ledger.add(entry.name, source, "ingest", problem)
                continue
            if match["subject"] != folder:
                problem = f"the clip of {match['subject']} lies in the folder of {folder}"
            else:
                problem = _problem(entry, kind)
            if problem:
                ledger.add(name, source, "ingest", f"{entry.path}: {problem}")
            files[name] = files.get(name) if problem else entry.path
        for group in copies(Path(path) for path in files.values() if path):
            names = [path.name.removesuffix(kind.suffix) for path in group]
            for name, other in zip(names, [*names[1:], names[0]], strict=True):
                ledger.add(name, source, "ingest", f"{files[name]}: holds the same bytes as the file of {other}")
            files |= dict.fromkeys(names)
        return files


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all entries of the folders below, in the order of their names, and the files that lie beside these."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from sorted(os.scandir(entry.path), key=lambda entry: entry.name)
        else:
            yield entry


def _problem(entry: os.DirEntry[str], kind: Kind) -> str:
    """Say what is wrong with a file; '' for nothing."""
    try:
        size = entry.stat().st_size
        if size == 0:
            return "the file is empty"
        with open(entry.path, "rb") as file:
            return kind.problem(file, size)
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"


def mp4_problem(file: BinaryIO, size: int) -> str:
    """Say what is wrong with an MP4 file of ``size`` bytes, by its top-level boxes (ISO 14496-12, 4.2)."""
    position = 0
    kinds: list[bytes] = []
    while position < size:
        if len(kinds) == MOST_BOXES:
            return "not an MP4 video"
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if not kinds and kind not in BOXES:
            return "not an MP4 video"
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - position
        kinds.append(kind)
        position += max(length, 8)
    if position > size:
        return f"the video is cut off: {position - size} bytes are missing at its end"
    return "" if {b"moov", b"mdat"} <= set(kinds) else "the video is cut off: it lacks index or frames"


def table_problem(file: BinaryIO, size: int) -> str:
    """Say what is wrong with a table of biosignals of ``size`` bytes, by its header and its last row.

    Empty cells are no problem here: the feature stage counts the values that are missing.
    """
    header = _cells(file.readline(LONGEST_ROW).decode("utf-8-sig", "replace"))
    while header and not header[-1]:  # tabs at the end of the header name nothing
        header.pop()
    if "time" not in header or len(header) < 2:
        return "not a table of biosignals: its first line does not name 'time' and signals, parted by tabs"
    return _row_problem(header, _last_row(file, size))


def _row_problem(header: list[str], row: str) -> str:
    """Say what is wrong with the last row of a table, given with the end of its line; '' for nothing."""
    last, time = _cells(row), header.index("time")
    with_commas = [cell for cell in last if not _is_number(cell) and _is_number(cell.replace(",", ".", 1))]
    if with_commas:
        return f"numbers are written with a decimal comma, such as {with_commas[0]}; write them with a point"
    if len(last) <= time or not _is_number(last[time]):
        return "the table has no row of numbers at its end"
    if len(last) < len(header):
        what = f"its last row has {len(last)} values, its header {len(header)} names"
        return f"a row is incomplete: {what}" if row.endswith(("\r", "\n")) else f"the table is cut off: {what}"
    if any(last[len(header) :]):
        return f"the rows do not fit the header: the last one has {len(last)} values, the header {len(header)} names"
    if float(last[time]) < LAST_MICROSECOND:
        return f"the table is cut off: it ends at {float(last[time]) / 1e6:.2f} s of 5.50 s"
    return ""


def _last_row(file: BinaryIO, size: int) -> str:
    """Return the last row that is not empty, with what ends its line; most rows are short, so little is read."""
    text = ""
    for reach in (400, LONGEST_ROW):
        file.seek(max(0, size - reach))
        text = file.read().decode("utf-8", "replace")
        before, newline, _ = text.rstrip("\r\n").rpartition("\n")
        if newline:
            return text[len(before) + 1 :]
    return text


def _cells(row: str) -> list[str]:
    """Return the cells of a row, without the spaces around them."""
    return [cell.strip() for cell in row.rstrip("\r\n").split("\t")]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_list(path: Path, ledger: Ledger) -> dict[str, str] | None:
    """Return sample -> what the owners' list has wrong about it ('' for nothing); None where there is no list."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    header, _, _ = text.partition("\n")
    delimiter = max("\t;,", key=header.count)
    try:
        lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines(), delimiter=delimiter)]
    except csv.Error as error:  # such as a quotation mark that is never closed
        ledger.add("", "", "ingest", f"{path}: is no table ({error}); the names of files count", "kept")
        return None
    if not lines or not set(LIST_COLUMNS) <= set(lines[0]):
        problem = f"{path}: no columns {', '.join(LIST_COLUMNS)}; the names of files count"
        ledger.add("", "", "ingest", problem, "kept")
        return None
    columns = [lines[0].index(name) for name in LIST_COLUMNS]
    listed: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        name, subject, level = (line[column] if column < len(line) else "" for column in columns)
        match = NAME.fullmatch(name)
        if not match:
            ledger.add(name, "", "ingest", f"{path}, line {number}: '{name}' is not the name of a BioVid clip")
        elif (match["subject"], match["level"]) != (subject, level):
            listed[name] = f"mislabelled: {path}, line {number} says {subject} and {level}"
        elif name in listed:
            problem = f"{path}, line {number}: listed twice; the first line counts"
            ledger.add(name, "", "ingest", problem, "kept")
        else:
            listed[name] = ""
    return listed
