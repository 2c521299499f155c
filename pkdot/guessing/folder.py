"""Guesses from the names of files: which part of a name is the stream, which the subject, and which the target."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pkdot.datasets.listing import LISTING
from pkdot.errors import DataError
from pkdot.guessing.guess import FEWEST, MOST, SUBJECT, TARGET_COLUMN, Guess, moments, rate_of, safe, stream_of
from pkdot.guessing.tables import Columns, of_table, of_tables
from pkdot.recordings import MEDIA, SUFFIXES, TABLES, array_names, open_labels, open_recording, read_table

MOST_FILES = 100_000
STREAMS = 12  # at most
FILES = (*SUFFIXES, *MEDIA)
FILLED = 0.6  # share of recordings that must have a stream, on the average
KNOWN = re.compile(
    r"(eda|gsr|ecg|ekg|emg|eeg|eog|ppg|bvp|acc|accel\w*|gyro\w*|mag\w*|imu|resp\w*|rsp|temp\w*|hr|pupil|gaze|face|"
    r"video|audio|voice|force|skeleton|pose)",
    re.I,
)
ABOUT = re.compile(r"(label|target|meta|participant|subject|info|index|annotation|rating)", re.I)
Tokens = tuple[str, ...]


def look(folder: Path, rate: float | None = None) -> Guess:
    """Guess what a folder holds; ``rate`` (Hz) is that of streams whose files do not tell it.

    Raises
    ------
    DataError
        There is no such folder, or nothing in it that can be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Name the folder that holds your files.")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in FILES and path.is_file()]
    files = [path for path in files if path.name != LISTING and not path.name.startswith(".")]
    if not files or len(files) > MOST_FILES:
        kinds = ", ".join(FILES)
        raise DataError(f"{folder}: has {len(files) or 'no'} files of the kinds {kinds}; it takes 1 to {MOST_FILES:,}.")
    about = [path for path in files if len(files) > FEWEST and path.suffix in TABLES and ABOUT.search(path.stem)]
    rest = [path for path in files if path not in about]
    if len(rest) == 1 and rest[0].suffix.lower() in TABLES:
        return of_table(folder, rest[0])
    return _of_rows(folder, files) or _of_recordings(folder, rest, about, rate)


def _of_rows(root: Path, files: list[Path]) -> Guess | None:
    """Guess arrays that have a row for each sample; None where that cannot be."""
    if (
        any(path.parent != root or path.suffix.lower() not in (".npy", ".csv") for path in files)
        or len(files) > STREAMS
    ):
        return None
    targets = [path for path in files if TARGET_COLUMN.fullmatch(path.stem)]
    if len(targets) != 1:
        return None
    labels = open_labels(targets[0])
    streams = [path for path in files if path not in targets]
    if len(streams) < FEWEST or {len(open_recording(path)) for path in streams} != {len(labels)}:
        return None
    guess = Guess([], [], sample="row", labels="file", subjects="own", target=safe(targets[0].stem))
    guess.known.append(f"{len(streams)} files with {len(labels)} rows each: a row is a sample")
    guess.known.append(f"the targets are in {targets[0].name}")
    guess.unknown.append("the subjects: no file names them, so each row is its own subject")
    guess.tell_targets(labels.tolist())
    row: dict[str, object] = {"recording_id": root.name, "target": targets[0].name}
    guess.rows = [row | {safe(path.stem): path.name for path in streams}]
    guess.streams = [stream_of(safe(path.stem), path, None, None) for path in streams]
    return guess


@dataclass
class Names:
    """What the names of recordings tell: each one's subject and label, and how that was found."""

    subjects: dict[str, str]
    labels: dict[str, str]
    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def _of_recordings(root: Path, files: list[Path], about: list[Path], rate: float | None) -> Guess:
    """Guess recordings: a table or an archive each, or several files each."""
    tokens = _tokens(root, files)
    place = _stream_place(tokens, files)
    keys = [_without(token, place) for token in tokens]
    ids = ["_".join(key) for key in keys]
    if place is not None:
        guess = _of_files(root, files, [token[place] for token in tokens], ids)
    elif all(path.suffix.lower() in TABLES for path in files):
        guess = of_tables(root, files, ids)
    elif all(path.suffix.lower() == ".npz" for path in files):
        guess = _of_archives(root, files, ids)
    else:
        raise DataError(
            f"{root}: the names of its files, such as {files[0].relative_to(root)}, do not tell which are streams of "
            "one recording. Write recordings.csv by hand, as docs/own-data.md shows."
        )
    _fill_in(guess, _names(dict(zip(ids, keys, strict=True)), root, about))
    if rate and not all(stream.rate for stream in guess.streams):
        _use_rate(guess, rate)
    _choose_sample(guess)
    return guess


def _tokens(root: Path, files: list[Path]) -> list[Tokens]:
    """Return the parts of each name, as many for every file: folders, and what _ divides the rest into."""
    split = []
    for path in files:
        relative = path.relative_to(root)
        split.append((relative.parts[:-1], tuple(re.split(r"[_ ]+", relative.stem))))
    if len({(len(folders), len(pieces)) for folders, pieces in split}) == 1:
        return [folders + pieces for folders, pieces in split]
    depth = min(len(folders) for folders, _ in split)
    # names of different lengths: what they have in common is their first folders and their last piece
    return [
        (*folders[:depth], "_".join((*folders[depth:], *pieces[:-1])) or "-", pieces[-1]) for folders, pieces in split
    ]


def _without(tokens: Tokens, place: int | None) -> Tokens:
    return tokens if place is None else tokens[:place] + tokens[place + 1 :]


def _stream_place(tokens: list[Tokens], files: list[Path]) -> int | None:
    """Return which part of the names is the stream; None where each file is a recording of its own."""
    best: tuple[float, int] | None = None
    for place in range(len(tokens[0])):
        values = {token[place] for token in tokens}
        groups: dict[Tokens, list[str]] = defaultdict(list)
        for token in tokens:
            groups[_without(token, place)].append(token[place])
        unique = all(len(set(group)) == len(group) for group in groups.values())
        filled = len(tokens) / (len(groups) * len(values))
        numbered = sum(bool(SUBJECT.fullmatch(value) or value.isdigit()) for value in values)
        if not unique or not FEWEST <= len(values) <= STREAMS or filled < FILLED or numbered:
            continue
        known = sum(bool(KNOWN.fullmatch(value)) for value in values) / len(values)
        score = 2 * known + _differ([token[place] for token in tokens], files) + filled
        if score > 1 + FILLED and (best is None or score > best[0]):
            best = score, place
    return None if best is None else best[1]


def _differ(values: list[str], files: list[Path]) -> float:
    """Return 1 where files of one value have one shape of a moment, and those of others other shapes; 0 otherwise."""
    shapes: dict[str, set] = defaultdict(set)
    for value, path in zip(values, files, strict=True):
        if len(shapes[value]) < FEWEST and path.suffix.lower() == ".npy":
            shapes[value].add(open_recording(path).shape[1:])
        elif path.suffix.lower() in TABLES and not shapes[value]:
            shapes[value].add(tuple(read_table(path).columns))
        elif path.suffix.lower() in MEDIA:
            shapes[value].add(path.suffix.lower())
    single = all(len(own) == 1 for own in shapes.values())
    return float(single and len({shape for own in shapes.values() for shape in own}) > 1)


def _names(keys: dict[str, Tokens], root: Path, about: list[Path]) -> Names:
    """Find the subject and the label of each recording: in its name, or in a table beside the recordings."""
    length = len(next(iter(keys.values())))
    places = range(length)
    matching = {
        place: sum(bool(SUBJECT.fullmatch(key[place])) for key in keys.values()) / len(keys) for place in places
    }
    at = next((place for place in places if matching[place] > FILLED), None)
    if at is None:
        several = [place for place in places if FEWEST < len({key[place] for key in keys.values()}) < len(keys)]
        numbered = [place for place in several if all(key[place].isdigit() for key in keys.values())]
        at = numbered[0] if numbered else several[0] if several and several[0] < length - 1 else None
    found = Names({name: name if at is None else key[at] for name, key in keys.items()}, dict.fromkeys(keys, ""))
    if at is None:
        found.told.append(
            "the subjects: names of files do not tell them, so each recording is its own subject; mend "
            "the column 'subject_id' where several are of one person"
        )
    elif all(subject.isdigit() for subject in found.subjects.values()):
        found.told.append(
            f"the subjects: part {at + 1} of the names, a number, is taken for one; mend the column 'subject_id' if it "
            "counts recordings"
        )
    else:
        some = next(iter(found.subjects.values()))
        count = len(set(found.subjects.values()))
        found.known.append(f"{count} subjects, named by part {at + 1} of the names, such as {some}")
    if not _labels_of_tables(found, root, about):
        _labels_of_names(found, keys, at)
    return found


def _labels_of_names(found: Names, keys: dict[str, Tokens], at: int | None) -> None:
    """Take the part of the names that is a word and occurs with several subjects as the label."""
    candidates = []
    for place in range(len(next(iter(keys.values())))):
        values = {key[place] for key in keys.values()}
        owners: dict[str, set[str]] = defaultdict(set)
        for name, key in keys.items():
            owners[key[place]].add(found.subjects[name])
        several = min(len(own) for own in owners.values()) > 1
        if place != at and FEWEST <= len(values) <= MOST and several and not all(v.isdigit() for v in values):
            candidates.append((len(values), place))
    if candidates:
        _, place = min(candidates)
        found.labels = {name: key[place] for name, key in keys.items()}
        found.known.append(f"the target is part {place + 1} of the names, such as {next(iter(found.labels.values()))}")


def _labels_of_tables(found: Names, root: Path, about: list[Path]) -> bool:
    """Take labels from a table that has a row for each recording or each subject."""
    for path in about:
        table = read_table(path).astype(str)
        for names, what in ((list(found.labels), "recording"), (list(found.subjects.values()), "subject")):
            for column in table:
                rows = dict(zip(table[column].str.strip(), table.index, strict=True))
                others = [name for name in table if name != column and TARGET_COLUMN.fullmatch(name)]
                others = others or [name for name in table if name != column]
                if not others or sum(name in rows for name in names) < FILLED * len(names):
                    continue
                values: list[str] = open_labels(path, others[0]).tolist()
                for recording, name in zip(found.labels, names, strict=True):
                    found.labels[recording] = values[rows[name]] if name in rows else ""
                where = f"{path.relative_to(root)}, column '{others[0]}', by the {what}'s name in '{column}'"
                found.known.append(f"the targets are those of {where}")
                return True
    return False


def _of_files(root: Path, files: list[Path], values: list[str], ids: list[str]) -> Guess:
    """Guess streams that are a file each."""
    guess = Guess([], [])
    rows: dict[str, dict] = {}
    lengths: dict[str, list[float]] = defaultdict(list)
    first: dict[str, Path] = {}
    for path, value, name in zip(files, values, ids, strict=True):
        stream = safe(value)
        rows.setdefault(name, {"recording_id": name, "rate": ""})[stream] = path.relative_to(root).as_posix()
        first.setdefault(stream, path)
        lengths[stream].append(moments(path, _numbers_of(path)))
    for stream, path in first.items():
        part, rate = _numbers_of(path), None
        if path.suffix.lower() in TABLES:
            columns = Columns(read_table(path))
            rate = rate_of(read_table(path), columns.time) if columns.time else None
        guess.streams.append(stream_of(stream, path, part, rate))
        guess.streams[-1].shortest = min(lengths[stream])
        for row in rows.values():
            if stream in row:
                row[stream] += f"[{part}]" if part else ""
                row[f"{stream}_rate"] = rate or ""
    guess.rows = list(rows.values())
    guess.known.append(f"{len(rows)} recordings with the streams {', '.join(first)}, a file each")
    return guess


def _numbers_of(path: Path) -> str | None:
    """Return the columns of a table that are numbers but no time; None for an array, or where all are."""
    if path.suffix.lower() not in TABLES:
        return None
    table = read_table(path)
    columns = Columns(table)
    kept = [
        str(name)
        for name in table.columns
        if pd.api.types.is_numeric_dtype(table[name]) and name not in (columns.time, *columns.index)
    ]
    return None if len(kept) == table.shape[1] else ",".join(kept)


def _of_archives(root: Path, files: list[Path], ids: list[str]) -> Guess:
    """Guess archives (.npz) of which each holds all streams of a recording."""
    guess = Guess([], [])
    names = [name for name in array_names(files[0]) if np.ndim(open_recording(files[0], name)) > 0]
    for path, name in zip(files, ids, strict=True):
        own = {safe(array): f"{path.relative_to(root).as_posix()}[{array}]" for array in names}
        guess.rows.append({"recording_id": name, "rate": "", **own})
    guess.streams = [stream_of(safe(array), files[0], array, None) for array in names]
    guess.known.append(f"each of {len(files)} files is a recording with the streams {', '.join(names)}")
    return guess


def _fill_in(guess: Guess, names: Names) -> None:
    """Complete the rows by what the names of recordings tell, where no column has told it."""
    by_column = "subject_id" in guess.rows[0]
    labelled = "target" in guess.rows[0]
    for row in guess.rows:
        row.setdefault("subject_id", names.subjects[str(row["recording_id"])])
        row.setdefault("target", names.labels[str(row["recording_id"])])
    if not by_column:
        guess.unknown += names.told
    guess.known += [line for line in names.known if not (by_column and "subjects" in line)]
    if not labelled:
        guess.tell_targets(list(names.labels.values()))


def _choose_sample(guess: Guess) -> None:
    """Take pictures and short recordings of one label as samples; cut the rest into windows."""
    if all(stream.shortest < FEWEST for stream in guess.streams) or any(
        not stream.rate and len(stream.shape) > 1 for stream in guess.streams
    ):
        guess.sample = "recording"
        guess.known.append("each recording is a sample")
    elif not all(stream.rate for stream in guess.streams):
        guess.unknown.append("the rate: fill in the column 'rate' of recordings.csv, in Hz, or give --rate")


def _use_rate(guess: Guess, rate: float) -> None:
    """Give the recordings a rate that the user knows."""
    for stream in guess.streams:
        stream.rate = stream.rate or rate
    for row in guess.rows:
        row["rate"] = row.get("rate") or rate
