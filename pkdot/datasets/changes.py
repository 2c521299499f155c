"""Notice raw files that were replaced, restored, added or removed since the last run.

A *mark* is a small file that stands for what one job reads of the raw data: the manifest stands for ingestion, and
the files of one shard of one modality for the extraction of its features. Marks are inputs of these jobs in the
workflow, so that a change of a few raw files makes just the jobs due that read them. They lie in a folder that belongs
to one data set with its options, and never move to another machine, because times of modification do not.

One scan of names, sizes and times finds out whether anything has changed at all; it costs a second for tens of
thousands of files. Only then are the data ingested once more, in memory, to see which samples are concerned.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pkdot.datasets.ingest import IngestParams, read_dataset
from pkdot.errors import DataError
from pkdot.files import read_json, write_text
from pkdot.params import canonical
from pkdot.shards import samples_of_shard

MARKS = Path(".snakemake/pkdot/raw")
LISTING, MANIFEST = "listing", "manifest"


def folder_of(job: str) -> Path:
    """Return the folder of the marks of a job of ingestion; ``job`` holds its parameters and the hash of its code."""
    return MARKS / hashlib.sha256(job.encode()).hexdigest()[:16]


def mark_of(folder: Path, modality: str, shard: int) -> Path:
    """Return the mark of the raw files of one shard of one modality."""
    return folder / f"{modality}-{shard}"


def refresh(folder: Path, params: IngestParams) -> None:
    """Bring the marks of a data set up to date.

    A mark that changes gets the time of the latest change in the raw data: it is newer than what was made before
    that change, and older than what was made after it. A mark that is new gets the time zero, as nothing is known
    to have changed.
    """
    listing, latest = scan(Path(params.root), params.dataset.load()[0].folders_as_one)
    if _content(folder / LISTING) == listing:
        return
    digests = {MANIFEST: "", **{mark_of(folder, *key).name: "" for key in _shards(params)}}
    if listing:
        try:
            digests |= _digests(folder, params)
        except (DataError, OSError) as error:
            digests = {MANIFEST: f"cannot be read: {error}"}  # ingestion will say so
    for name, digest in {**digests, LISTING: listing}.items():  # the listing last: until then nothing is settled
        _write_mark(folder / name, digest, latest)


def is_current(array: Path, mark: Path, record: Path, job: str) -> bool:
    """Tell whether the array of a shard stays as it is when ingestion runs again.

    Parameters
    ----------
    array, mark : Path
        The array of the shard, and the mark of what it is made from.
    record : Path
        The record of the last ingestion.
    job : str
        The parameters and code of ingestion now; if they have changed, all arrays are made again.
    """
    if not (array.is_file() and record.is_file()):
        return False
    last = read_json(record)
    return (
        job == canonical({"params": last["params"], "code": last["code"]})
        and mark.stat().st_mtime_ns <= array.stat().st_mtime_ns
    )


def scan(root: Path, folders_as_one: tuple[str, ...] = ()) -> tuple[str, int]:
    """List names, sizes and times of modification of all files below a root.

    Parameters
    ----------
    root : Path
        The root of the data set.
    folders_as_one : tuple of str
        Folders directly below the root; what lies in a folder of them is not looked at, only its own time.

    Returns
    -------
    digest : str
        SHA-256 of the list; empty where there is no such folder.
    latest : int
        When a file or folder was last changed in any way, in nanoseconds. Unlike the time of modification this
        cannot be the past for a file that was moved or copied to its place.
    """
    if not root.is_dir():
        return "", 0
    digest, latest = hashlib.sha256(), 0
    for name, size, modified, changed in _walk(root, folders_as_one):
        digest.update(b"%s\0%d %d\n" % (name, size, modified))
        latest = max(latest, changed)
    return digest.hexdigest(), latest


def _walk(root: Path, folders_as_one: tuple[str, ...]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield name, size, time of modification and time of the last change of all files, and of some folders."""
    waiting = [(str(root), 0)]
    seen: set[tuple[int, int]] = set()  # a link may lead back to where it lies
    while waiting:
        place, depth = waiting.pop()
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        yield b"", 0, 0, about.st_ctime_ns  # a file that was removed shows in its folder
        as_one = depth == 1 and os.path.basename(place) in folders_as_one
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            try:
                is_folder, state = entry.is_dir(), entry.stat()
            except OSError:  # a link to nowhere
                is_folder, state = False, entry.stat(follow_symlinks=False)
            if is_folder and not as_one:
                waiting.append((entry.path, depth + 1))
            else:
                size = 0 if is_folder else state.st_size
                yield os.fsencode(os.path.relpath(entry.path, root)), size, state.st_mtime_ns, state.st_ctime_ns


def _shards(params: IngestParams) -> Iterator[tuple[str, int]]:
    return ((modality, shard) for modality in params.sources for shard in range(params.shards))


def _digests(folder: Path, params: IngestParams) -> dict[str, str]:
    """Return the name of each mark -> a digest of what its job would read now."""
    ingested = read_dataset(params)
    digests = {MANIFEST: _of_table(ingested.manifest, canonical(ingested.about))}
    for modality, shard in _shards(params):
        samples = samples_of_shard(ingested.manifest, modality, shard, params.shards)
        files = "".join(_state(path) for path in samples["path"].dropna().unique())
        digests[mark_of(folder, modality, shard).name] = _of_table(samples, files)
    return digests


def _state(path: str) -> str:
    """Return size and time of modification of a raw file, or the time of a folder."""
    about = os.stat(path)
    return f"{0 if os.path.isdir(path) else about.st_size} {about.st_mtime_ns}\n"


def _of_table(table: pd.DataFrame, more: str) -> str:
    """Return a digest of a table and of some text."""
    return hashlib.sha256(table.to_parquet(index=False) + more.encode()).hexdigest()


def _content(mark: Path) -> str | None:
    return mark.read_text(encoding="utf-8") if mark.is_file() else None


def _write_mark(mark: Path, digest: str, latest: int) -> None:
    before = _content(mark)
    if before == digest:
        return
    write_text(mark, digest)
    stamp = latest if before else 0  # neither a new mark nor an empty one says that anything has changed
    os.utime(mark, ns=(stamp, stamp))
