"""The BioVid Heat Pain Database, Parts A and B: clips of heat pain, each with a video and biosignals.

Walter et al., The BioVid Heat Pain Database, IEEE CYBCO 2013. Ingestion opens every file but decodes none: it
looks at names, at the boxes of a video and at both ends of a table; the rest is found by the feature stage.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pandas as pd
from pydantic import Field, field_validator

from pkdot.datasets.base import Dataset, register
from pkdot.errors import DataError
from pkdot.files import sha256
from pkdot.ledger import Ledger
from pkdot.params import Params

Level = Literal["BL1", "PA1", "PA2", "PA3", "PA4"]

LIST = "starting_point/samples.csv"
NAME = re.compile(r"(?P<subject>\d{6}_[wm]_\d+)-(?P<level>BL1|PA[1-4])-\d+")
LAST_MICROSECOND = 5_400_000  # a clip lasts 5.5 s; a table that ends before this is cut off
END = 400  # bytes that are read of both ends of a table
BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid"}  # what an MP4 may start with


class BioVidOptions(Params):
    """Options of ``biovid``."""

    classes: list[Level] = Field(
        ["BL1", "PA1", "PA2", "PA3", "PA4"],
        min_length=2,
        description="levels of pain to tell apart, in order",
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
    """One source on disk: its folder, how the names of its files end, and what tells a broken file."""

    folder: str
    suffix: str
    problem: Callable[[BinaryIO, int], str]


@register("biovid")
class BioVid(Dataset):
    """A row a clip. Its name carries subject and class; the owners' list must agree where there is one."""

    Options = BioVidOptions
    preparation = "biovid"
    title = "the BioVid Heat Pain Database"
    sources = ("video", "biosignals")

    def targets(self) -> dict[str, list[str] | None]:
        return {self.options.target: list(self.options.classes)}

    def read(self, ledger: Ledger) -> pd.DataFrame:
        kinds = {
            "video": Kind("video", ".mp4", mp4_problem),
            "biosignals": Kind(f"biosignals_{self.options.signals}", "_bio.csv", table_problem),
        }
        present = {source: kind for source, kind in kinds.items() if (self.root / kind.folder).is_dir()}
        self._refuse_other_trees(kinds, present)
        for source in kinds.keys() - present.keys():
            ledger.add(
                "",
                source,
                "ingest",
                f"no folder {kinds[source].folder}/: no sample has this source",
            )
        files = {source: self._scan(source, kind, ledger) for source, kind in present.items()}
        listed = _read_list(self.root / LIST, ledger)
        rows = []
        for name in sorted(set().union(*files.values(), listed or ())):
            subject, level = NAME.fullmatch(name).groups()
            if level not in self.options.classes:
                continue
            if listed is not None and (problem := listed.get(name, f"not in {LIST}")):
                ledger.add(name, "", "ingest", problem)
                continue
            for source in present:
                if name not in files[source]:
                    missing = f"{kinds[source].folder}/{subject}/{name}{kinds[source].suffix}"
                    ledger.add(name, source, "ingest", f"no file {missing}")
            paths = {source: files.get(source, {}).get(name) for source in kinds}
            if any(paths.values()):
                row = {
                    "sample_id": name,
                    "subject_id": subject,
                    "group_id": subject,
                    self.options.target: level,
                }
                rows.append(row | _columns(paths))
        return pd.DataFrame(rows)

    def _refuse_other_trees(self, kinds: dict[str, Kind], present: dict[str, Kind]) -> None:
        if present:
            return
        wanted = " nor ".join(f"{kind.folder}/" for kind in kinds.values())
        inner = sorted(path.parent.name for path in self.root.glob("*/video") if path.is_dir())
        hint = f"Point dataset.root at {self.root / inner[0]}" if inner else "Point dataset.root at PartA or PartB"
        raise DataError(f"{self.root}: not a BioVid root, it holds neither {wanted}. {hint}.")

    def _scan(self, source: str, kind: Kind, ledger: Ledger) -> dict[str, str | None]:
        """Sample -> its file, or None where the file cannot be used and the ledger says why."""
        files: dict[str, str | None] = {}
        alike = defaultdict(list)
        for entry in _files(self.root / kind.folder):
            folder, name = os.path.basename(os.path.dirname(entry.path)), entry.name.removesuffix(kind.suffix)
            match = NAME.fullmatch(name)
            if match and match["level"] not in self.options.classes:
                continue
            if not match or not entry.name.endswith(kind.suffix):
                ledger.add(entry.name, source, "ingest", f"{entry.path}: not the name of a BioVid clip")
                continue
            problem, mark = _look(entry, kind)
            if match["subject"] != folder:
                problem = f"the clip of {match['subject']} lies in the folder of {folder}"
            elif not problem:
                alike[mark].append(name)
            if problem:
                ledger.add(name, source, "ingest", f"{entry.path}: {problem}")
            files[name] = files.get(name) if problem else entry.path
        for names in _same_bytes(alike, files):
            for name in names:
                other = next(other for other in names if other != name)
                ledger.add(name, source, "ingest", f"{files[name]}: holds the same bytes as {other}")
                files[name] = None
        return files


def _columns(paths: dict[str, str | None]) -> dict:
    """The manifest's columns of every source; a clip is a whole file."""
    spans = {f"{source}_{part}": float("nan") for source in paths for part in ("start", "stop")}
    return {f"{source}_path": path for source, path in paths.items()} | spans


def _files(folder: Path) -> Iterator[os.DirEntry]:
    """All entries one folder down, in the order of their names; and the files that lie beside the folders."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from sorted(os.scandir(entry.path), key=lambda entry: entry.name)
        else:
            yield entry


def _look(entry: os.DirEntry, kind: Kind) -> tuple[str, tuple]:
    """What is wrong with a file ('' for nothing), and a mark that files of the same bytes share."""
    try:
        size = entry.stat().st_size
        if size == 0:
            return "the file is empty", ()
        with open(entry.path, "rb") as file:
            problem = kind.problem(file, size)
            file.seek(max(0, size - END))
            return problem, (size, file.read())
    except OSError as error:
        return f"the file cannot be read ({error.strerror})", ()


def _same_bytes(alike: dict[tuple, list[str]], files: dict[str, str | None]) -> Iterator[list[str]]:
    """Groups of samples whose files are copies of one another; only files with the same mark are read."""
    for names in alike.values():
        if len(names) > 1:
            groups = defaultdict(list)
            for name in names:
                groups[sha256(Path(files[name]))].append(name)
            yield from (group for group in groups.values() if len(group) > 1)


def mp4_problem(file: BinaryIO, size: int) -> str:
    """What is wrong with an MP4 file of ``size`` bytes, seen from its top-level boxes (ISO 14496-12, 4.2)."""
    position, kinds = 0, []
    while position < size:
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
    """What is wrong with a table of biosignals of ``size`` bytes, seen from its header and its last row."""
    header = [name.strip() for name in file.readline(END).decode("utf-8-sig", "replace").split("\t")]
    if "time" not in header or len(header) < 2:
        return "not a table of biosignals: its first line does not name 'time' and signals, parted by tabs"
    file.seek(max(0, size - END))
    last = file.read().decode("utf-8", "replace").rstrip().rpartition("\n")[2].split("\t")
    try:
        time = float(last[header.index("time")])
    except (IndexError, ValueError):
        return "the table has no row of numbers at its end"
    if len(last) != len(header):
        return f"the table is cut off: its last row has {len(last)} values, its header {len(header)} names"
    if time < LAST_MICROSECOND:
        return f"the table is cut off: it ends at {time / 1e6:.2f} s of 5.50 s"
    return ""


def _read_list(path: Path, ledger: Ledger) -> dict[str, str] | None:
    """Sample -> what the owners' list has wrong about it ('' for nothing); None where no list is."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    header, _, _ = text.partition("\n")
    delimiter = max("\t;,", key=header.count)
    lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines(), delimiter=delimiter)]
    wanted = ("sample_name", "subject_name", "class_name")
    if not lines or not set(wanted) <= set(lines[0]):
        ledger.add(
            "",
            "",
            "ingest",
            f"{path}: no columns {', '.join(wanted)}; the names of files count",
        )
        return None
    columns = [lines[0].index(name) for name in wanted]
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
            ledger.add(name, "", "ingest", f"{path}, line {number}: listed twice; the first line counts")
        else:
            listed[name] = ""
    return listed
