"""Find files that are copies of one another, however many there are, and read as little of them as possible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

from pkdot.files import sha256

TAIL = 4096  # bytes at the end of a file that are compared before it is read as a whole


def copies(files: Iterable[Path]) -> list[list[Path]]:
    """Return groups of two or more files with the same bytes, in the order of the files.

    Only files of the same size are opened, and only files with the same end are read as a whole. A file that cannot
    be read is no copy.
    """
    groups = [list(files)]
    for key in (_size, _tail, sha256):
        groups = [alike for group in groups for alike in _alike(group, key)]
    return groups


def _alike(files: list[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    groups: dict[Hashable, list[Path]] = defaultdict(list)
    for path in files:
        try:
            groups[key(path)].append(path)
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _tail(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, _size(path) - TAIL))
        return file.read()
