"""Guesses from the columns of tables: one table whose rows are samples, or a table a recording."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from pkdot.errors import DataError
from pkdot.guessing.guess import (
    FEWEST,
    INDEX_COLUMN,
    SUBJECT_COLUMN,
    TARGET_COLUMN,
    TIME_COLUMN,
    Guess,
    StreamGuess,
    rate_of,
    safe,
    stream_of,
)
from pkdot.recordings import open_labels, read_table

AXIS = re.compile(r"(.+?)([_ .-]([a-zA-Z]|left|right)|[XYZ]|[_ .-]?\d+)")
UNREADABLE = re.compile(r"[,\[\]]")  # in the name of a column: cells of recordings.csv could not name it
SEVERAL = 3  # streams that a table without groups of names is cut into, at most


class Columns:
    """What the columns of a table are for."""

    def __init__(self, table: pd.DataFrame) -> None:
        names = [str(name) for name in table.columns]
        self.time = _first(names, TIME_COLUMN)
        self.subject = _first(names, SUBJECT_COLUMN)
        self.target = _first([name for name in names if name != self.subject], TARGET_COLUMN)
        taken = {self.time, self.subject, self.target}
        numbers = [name for name in names if pd.api.types.is_numeric_dtype(table[name]) and name not in taken]
        numbers = [name for name in numbers if not UNREADABLE.search(name)]
        self.left = [name for name in names if name not in taken and name not in numbers]
        self.index = [name for name in numbers if INDEX_COLUMN.fullmatch(name)]
        self.groups = _groups([name for name in numbers if name not in self.index])


def _first(names: list[str], pattern: re.Pattern) -> str | None:
    return next((name for name in names if pattern.fullmatch(name.strip())), None)


def _groups(names: list[str]) -> dict[str, list[str]]:
    """Return stream -> its columns: those whose names begin alike, such as acc_x, acc_y, acc_z."""
    stems: dict[str, list[str]] = defaultdict(list)
    for name in names:
        axis = AXIS.fullmatch(name)
        stem = axis[1] if axis else name
        stems[stem].append(name)
    groups = {safe(stem if len(own) > 1 else own[0]): own for stem, own in stems.items()}
    if len(groups) > 2 * SEVERAL or len(groups) < FEWEST:
        firsts: dict[str, list[str]] = defaultdict(list)
        for name in names:
            firsts[safe(re.split(r"[_ .:-]|\d", name)[0] or name)].append(name)
        groups = dict(firsts) if FEWEST <= len(firsts) <= 2 * SEVERAL else {}
    return groups


def _halves(names: list[str]) -> dict[str, list[str]]:
    middle = (len(names) + 1) // 2
    return {"first_half": names[:middle], "second_half": names[middle:]}


def _streams(columns: Columns, table: pd.DataFrame, guess: Guess) -> dict[str, list[str]]:
    """Return the streams of a table, and say how they were found."""
    groups = columns.groups
    if not groups:
        taken = {columns.time, columns.subject, columns.target, *columns.index, *columns.left}
        numbers = [str(name) for name in table.columns if name not in taken]
        if len(numbers) < FEWEST:
            raise DataError("fewer than two columns hold numbers, but a teacher and a student need one stream each")
        groups = _halves(numbers)
        guess.unknown.append(
            "which columns belong together: their names do not tell, so the streams are the first and the second half"
        )
    shown = "; ".join(f"{name} ({', '.join(own[:4])}{' ...' if len(own) > 4 else ''})" for name, own in groups.items())
    guess.known.append(f"the streams are {shown}")
    for name in columns.left:
        guess.unknown.append(f"what the column '{name}' is for; it is not used")
    return groups


def of_table(root: Path, file: Path) -> Guess:
    """Guess what one table holds whose rows are the samples."""
    table, name = read_table(file), file.relative_to(root).as_posix()
    columns = Columns(table)
    guess = Guess([], [], sample="row", labels="file", subjects="own")
    guess.known.append(f"{name}: each of its {len(table)} rows is a sample")
    if columns.target is None:
        numbers = [str(column) for column in table.columns if column != columns.subject]
        last = numbers[-1] if numbers else ""
        if last and pd.api.types.is_numeric_dtype(table[last]):
            guess.unknown.append(
                f"the target: no column is called target, label or class; '{last}', the last, is taken"
            )
            columns.target = last
            columns.groups = {
                stream: kept for stream, own in columns.groups.items() if (kept := [c for c in own if c != last])
            }
    streams = _streams(columns, table, guess)
    row: dict[str, object] = {"recording_id": file.stem}
    if columns.subject:
        guess.subjects, row["subject_id"] = "file", f"{name}[{columns.subject}]"
        guess.known.append(f"the subjects are in the column '{columns.subject}'")
    else:
        guess.unknown.append("the subjects: no column names them, so each row is its own subject")
    row["target"] = f"{name}[{columns.target}]" if columns.target else ""
    if columns.target:
        guess.target = safe(columns.target)
        guess.known.append(f"the targets are in the column '{columns.target}'")
    guess.tell_targets(open_labels(file, columns.target).tolist() if columns.target else [])
    for stream, own in streams.items():
        row[stream] = f"{name}[{','.join(own)}]"
        guess.streams.append(StreamGuess(stream, (len(own),), None, len(table)))
    guess.rows = [row]
    return guess


def of_tables(root: Path, files: list[Path], ids: list[str]) -> Guess:
    """Guess what tables hold of which each is a recording with all its streams."""
    columns = Columns(read_table(files[0]))
    guess = Guess([], [])
    guess.known.append(f"each of {len(files)} files is a recording with all its streams")
    streams = _streams(columns, read_table(files[0]), guess)
    guess.streams = [stream_of(stream, files[0], ",".join(own), None) for stream, own in streams.items()]
    found: set[str] = set()
    for file, name in zip(files, ids, strict=True):
        table, path = read_table(file), file.relative_to(root).as_posix()
        rate = rate_of(table, columns.time) if columns.time is not None and columns.time in table else None
        row: dict[str, object] = {"recording_id": name, "rate": rate or ""}
        if columns.subject in table and len(table):
            row["subject_id"] = str(table[columns.subject].iloc[0])
        if columns.target in table:
            row["target"] = f"{path}[{columns.target}]"
            found |= set(open_labels(file, columns.target).tolist())
        guess.rows.append(row | {stream: f"{path}[{','.join(own)}]" for stream, own in streams.items()})
        for stream in guess.streams:
            stream.rate, stream.shortest = stream.rate or rate, min(stream.shortest, len(table))
    if guess.streams[0].rate:
        guess.known.append(f"the rate is {guess.streams[0].rate:g} Hz, from the column '{columns.time}'")
    if columns.subject:
        guess.known.append(f"the subjects are in the column '{columns.subject}'")
    if columns.target:
        guess.labels, guess.target = "file", safe(columns.target)
        guess.known.append(f"the target of each moment is in the column '{columns.target}'")
        guess.tell_targets(sorted(found))
    return guess
