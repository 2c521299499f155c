"""The arrays of a recording, whatever file they lie in: .npy, .npz, .csv, .tsv or .parquet; nothing is ever unpickled.

A cell of a list of recordings names a file, or a part of it in brackets: ``eeg/r1.npy``, ``r1.npz[eeg]`` (one of its
arrays), ``r1.csv[EDA]`` or ``r1.parquet[x,y,z]`` (some of its columns).
"""

from __future__ import annotations

import os
import re
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from pkdot.errors import DataError
from pkdot.files import open_array

TABLES = (".csv", ".tsv", ".txt", ".parquet")
SUFFIXES = (".npy", ".npz", *TABLES)
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
SOUNDS = (".wav", ".mp3", ".flac", ".m4a", ".ogg")
MEDIA = (*VIDEOS, *SOUNDS)  # files that say their own rate
KEPT = 8  # files that are not memory-mapped and stay in memory, as many windows are cut from each


def split_cell(cell: str) -> tuple[str, str | None]:
    """Return the path that a cell names, and the part of that file, or None."""
    match = re.fullmatch(r"(.+?)\s*\[([^\[\]]+)\]", cell)
    return (match[1], match[2]) if match else (cell, None)


def parts_of(part: str | None) -> list[str]:
    """Return the names of columns or of the array in brackets."""
    return [name.strip() for name in part.split(",")] if part else []


def open_recording(path: Path, part: str | None = None) -> np.ndarray:
    """Return an array of real numbers, time or rows first; of a table (rows, columns).

    Raises
    ------
    DataError
        The file is missing, damaged or no array of real numbers, or it has no such part.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return _checked(path, _of_archive(*_key(path), part))
    if path.suffix.lower() in TABLES:
        return _numbers(*_key(path), part)
    if part is not None:
        raise DataError(f"{path}[{part}]: a .npy file has no parts; write its name alone")
    return open_array(path)


def forget() -> None:
    """Let go of the files that are kept in memory."""
    for kept in (_of_archive, _table, _numbers):
        kept.cache_clear()


def unpacked(path: Path) -> int:
    """Return how many bytes a file takes in memory, about; 0 where it cannot be told before it is read."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                return sum(one.file_size for one in archive.infolist())
        if path.suffix.lower() == ".parquet":
            from pyarrow.parquet import read_metadata

            about = read_metadata(path)
            return 8 * about.num_rows * about.num_columns
        return path.stat().st_size
    except (OSError, ValueError, zipfile.BadZipFile):
        return 0


def media_seconds(path: Path) -> float:
    """Return how long a video or a sound lasts, by its own header.

    Raises
    ------
    DataError
        The file is missing or damaged, or does not say it.
    """
    import av

    try:
        with av.open(str(path)) as container:
            duration = container.duration
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{path}: is not a whole video or sound") from error
    if not duration:
        raise DataError(f"{path}: does not say how long it lasts; write it anew, as with ffmpeg -c copy")
    return duration / 1e6  # libav counts microseconds


def open_labels(path: Path, part: str | None = None) -> np.ndarray:
    """Return the labels of the rows of a file as texts, the empty text where there is none.

    Whole numbers are written as such, ``3`` and not ``3.0``; a number that is not finite is no label.

    Raises
    ------
    DataError
        The file is missing or damaged, or does not hold one label a row.
    """
    if path.suffix.lower() in TABLES:
        table = _table(*_key(path))
        columns = _columns(path, table, part)
        values = columns.iloc[:, 0].to_numpy() if columns.shape[1] == 1 else columns.to_numpy()
    else:
        values = _texts(path) if path.suffix.lower() == ".npy" else _of_archive(*_key(path), part)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1:
        raise DataError(f"{path}: holds labels of shape {values.shape}, not one a row")
    return np.array([_as_text(value) for value in values.tolist()], dtype=object)


def _as_text(value: object) -> str:
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, float):
        return "" if not np.isfinite(value) else f"{value:.0f}" if value.is_integer() else f"{value!r}"
    return str(value).strip()


def _key(path: Path) -> tuple[Path, int, int]:
    """Return a path with its time and size, so that a file that changes is read again."""
    try:
        state = os.stat(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read") from error
    return path, state.st_mtime_ns, state.st_size


def _texts(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: is not a whole .npy file of numbers or texts") from error


@lru_cache(maxsize=KEPT)
def _of_archive(path: Path, time: int, size: int, part: str | None) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            if part is None and len(names) == 1:
                part = names[0]
            if part not in names:
                raise DataError(
                    f"{path}: name one of its arrays in brackets, as {path.name}[{names[0]}], or leave the others out: "
                    f"{names}"
                )
            return archive[part]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, IndexError) as error:
        raise DataError(f"{path}: is not a whole .npz file of numbers") from error


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays of an archive (.npz).

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return list(archive.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a whole .npz file of numbers") from error


def _checked(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iufb" or not array.ndim:
        raise DataError(f"{path}: holds {array.dtype} of shape {array.shape}, not an array of real numbers")
    return array


@lru_cache(maxsize=KEPT)
def _table(path: Path, time: int, size: int) -> pd.DataFrame:
    """Read a table; the separator of a text is the one that its first line has most of."""
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        with open(path, encoding="utf-8-sig") as file:
            head = [file.readline().strip() for _ in range(2)]
        separator = max(",;\t", key=head[0].count)
        comma = separator == ";" and "." not in head[1] and "," in head[1]
        header = None if _is_data(head[0].split(separator)) else 0
        decimal = "," if comma else "."
        table = pd.read_csv(path, sep=separator, decimal=decimal, header=header, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: is not a table that can be read ({str(error).splitlines()[0]})") from error
    return table.rename(columns=lambda name: str(name).strip())


def _is_data(first: list[str]) -> bool:
    """Return whether the first line of a text is no header: numbers, and not those of columns."""
    try:
        values = [float(cell) for cell in first]
    except ValueError:
        return False
    return values not in (list(range(len(values))), list(range(1, len(values) + 1)))


def read_table(path: Path) -> pd.DataFrame:
    """Return a table as it is; do not change it.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    return _table(*_key(path))


def _columns(path: Path, table: pd.DataFrame, part: str | None) -> pd.DataFrame:
    names = parts_of(part) or list(table.columns)
    for name in names:
        if name not in table:
            columns = ", ".join(map(str, table.columns[:8]))
            raise DataError(f"{path}: has no column '{name}'; it has {columns}{' ...' if table.shape[1] > 8 else ''}")
    return table[names]


@lru_cache(maxsize=KEPT)
def _numbers(path: Path, time: int, size: int, part: str | None) -> np.ndarray:
    table = _columns(path, _table(path, time, size), part)
    columns = []
    for name in table:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = values.isna() & table[name].notna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise DataError(
                f"{path}, row {row + 2}: '{table[name].iloc[row]}' in the column '{name}' is no number; mend it, "
                f"leave the column out, or name the columns to use in brackets, as {path.name}[a,b]"
            )
        columns.append(values.to_numpy(dtype=np.float64))
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0))
