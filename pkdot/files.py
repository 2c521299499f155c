"""Reading and writing files: atomically, and never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pkdot.errors import DataError


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of the content of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; it takes the place of ``path`` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the stage that writes it first.") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Delete it and run its stage again.") from error


def open_array(path: Path) -> np.ndarray:
    """Memory-map a .npy file of real numbers; nothing in it is ever unpickled.

    Raises
    ------
    DataError
        The file is missing, is no .npy file, is cut off, or holds something else.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, TypeError, OverflowError, OSError, EOFError) as error:
        raise DataError(f"{path}: is not a whole .npy file of numbers") from error
    if array.dtype.kind not in "iuf" or not array.ndim:
        raise DataError(f"{path}: holds {array.dtype} of shape {array.shape}, not an array of real numbers")
    return array
