"""What made a file: every output folder carries a run.json, and every input is checked against its own.

A job writes into a scratch folder beside its output. When it succeeds the files are moved into place, the record
last; so a record always speaks of complete files, and a killed job leaves nothing that looks finished.

A file is hashed once, when it is written. A later job trusts its size and time of modification; where they are not
those of the record, as after a pull or a copy, it reads the whole file. ``pkdot check --full`` always does.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from pkdot.errors import DataError
from pkdot.files import read_json, sha256, write_json
from pkdot.params import Params, canonical
from pkdot.registry import modules_of

PACKAGES = (
    "pkdot", "torch", "numpy", "pandas", "scikit-learn", "opencv-python", "av", "neurokit2", "librosa", "pot",
    "snakemake",
)  # fmt: skip
# by a pattern, since each job asks for a hundred modules, and to parse them takes it more than most jobs work
IMPORT = re.compile(r"^ *(?:from (pkdot[\w.]*) import (\([^)]*\)|.*)|import (pkdot[\w.]*))", re.MULTILINE)
LOOKS = ("*.html", "*.css")  # what modules of the same folder fill with values
SETTLED = 100_000_000  # nanoseconds after which a change of a file shows in its time, on every file system in use


def code_hash(module: str, params: Params) -> str:
    """Hash of the source of a stage: its module, the plug-ins that ``params`` name, all they import, and templates.

    Only modules of this package count. The imports are read from the source, so nothing is imported. Templates and
    styles count as code of the modules in their folder.
    """
    return _hash_of((module, *modules_of(params)))


@cache
def _hash_of(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    found = closure(modules)
    for name, path in sorted(found.items()):
        digest.update(f"{name} {_source_hash(path)}\n".encode())
    for folder in sorted({path.parent for path in found.values()}):
        for path in _looks(folder):
            digest.update(f"{path.name} {_source_hash(path)}\n".encode())
    return digest.hexdigest()[:16]


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """Return the modules of this package that some modules import, themselves included -> their source files."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or (path := _source(name)) is None:
            continue
        found[name] = path
        waiting += _imports(path)
    return found


@cache
def _source(name: str) -> Path | None:
    """Return the source file of a module of this package; None for what is not a module."""
    root = Path(__file__).parent
    parts = name.split(".")[1:]
    for path in (root.joinpath(*parts).with_suffix(".py"), root.joinpath(*parts, "__init__.py")):
        if path.is_file():
            return path
    return None


@cache
def _looks(folder: Path) -> tuple[Path, ...]:
    """Return the templates and styles of a folder."""
    return tuple(sorted(path for kind in LOOKS for path in folder.glob(kind)))


@cache
def _source_hash(path: Path) -> str:
    return sha256(path)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the names in this package that a module imports, anywhere in its source."""
    names: list[str] = []
    for module, several, alone in IMPORT.findall(path.read_text(encoding="utf-8")):
        names += [alone] if alone else [module, *(f"{module}.{name}" for name in re.findall(r"\w+", several))]
    return tuple(names)


def record_of(path: Path) -> Path | None:
    """Return the record in the same folder that speaks of a file; None where none does."""
    records = sorted(path.parent.glob("*run.json"))
    return next((record for record in records if path.name in read_json(record)["outputs"]), None)


def fingerprint(module: str, params: Params, inputs: Iterable[Path]) -> str:
    """Return one hash of all that decides what a job writes: its code and parameters, its inputs, the packages."""
    content = {
        "code": code_hash(module, params),
        "params": params.plain(),
        "inputs": {str(path): verified(path) for path in inputs},
        "versions": versions(),
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def verified(path: Path) -> str:
    """Check a file against the record of the job that wrote it and return its SHA-256.

    It is read only where its size and time are not those that the record knows.

    Raises
    ------
    DataError
        The file is missing, or its content is not what its record says.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Run the stage that writes it first.")
    record = record_of(path)
    if record is None:
        return sha256(path)
    content = read_json(record)
    written, state = content["outputs"][path.name], content.get("states", {}).get(path.name)
    if state == _state(path):
        return str(written)
    digest = _digest(path, *_state(path)) if _is_settled(path) else sha256(path)
    if written != digest:
        raise DataError(
            f"{path}: its content is not what {record.name} says; it was damaged or replaced. "
            f"Delete {to_delete(content, path)} and run again."
        )
    return digest


def _state(path: Path) -> list[int]:
    """Return size and time of modification of a file."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _is_settled(path: Path) -> bool:
    """Return whether a file is so old that its next change gets another time: clocks of file systems are coarse."""
    return time.time_ns() - path.stat().st_mtime_ns > SETTLED


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    """Return the SHA-256 of a file in a state, read once in a process."""
    return sha256(path)


def damaged(folders: Iterable[Path]) -> tuple[int, list[str]]:
    """Read every file below some folders that a record speaks of, whatever its size and time say.

    Returns
    -------
    int
        Number of files that were read.
    list of str
        A sentence for each file that is missing or is not what its record says.
    """
    count, problems = 0, []
    for record in sorted(path for folder in folders for path in folder.rglob("*run.json")):
        content = read_json(record)
        for name, digest in content["outputs"].items():
            path = record.with_name(name)
            count += 1
            if not path.is_file():
                problems.append(f"{path}: no such file, but {record.name} speaks of it. Run again to make it.")
            elif sha256(path) != digest:
                problems.append(
                    f"{path}: its content is not what {record.name} says; it was damaged or replaced. "
                    f"Delete {to_delete(content, path)} and run again."
                )
    return count, problems


def to_delete(content: dict, path: Path | None = None) -> Path:
    """Return what to delete so that the workflow runs the job of a record again: a damaged file itself, or the marker.

    Of data that the project made it is the whole root: without their marker, stand-in data would pass for real ones.
    """
    marker = Path(content["marker"])
    if content["stage"] == "pkdot.simulation.prepare":
        return marker.parent
    return path or marker


def chain(paths: Iterable[Path]) -> dict[Path, dict]:
    """Return the records behind files, back to the first stage, and check that they belong together.

    What a job read must be what the record of its maker says was written. Only records are compared, which costs
    no hashing (``verified`` compares a file to its record). A file without one, such as raw data, ends a chain.

    Returns
    -------
    dict
        Path of each record -> the record.

    Raises
    ------
    DataError
        A file was made anew, and what was once made of it was not.
    """
    maker = cache(record_of)
    found: dict[Path, dict] = {}
    waiting = [record for path in paths if (record := maker(path))]
    while waiting:
        record = waiting.pop()
        if record in found:
            continue
        found[record] = content = read_json(record)
        for name, digest in content["inputs"].items():
            source = Path(name)
            if (made_by := maker(source)) is None:
                continue
            if read_json(made_by)["outputs"][source.name] != digest:
                raise DataError(
                    f"{content['marker']}: it was made from another {source} than the one that lies there now. "
                    f"Delete {to_delete(content)} and run again."
                )
            waiting.append(made_by)
    return dict(sorted(found.items()))


@contextmanager
def job(module: str, out: Path, params: Params, inputs: Iterable[Path] = (), record: str = "run") -> Iterator[Path]:
    """Run a stage: check its inputs, yield a scratch folder to write to, move the files to ``out``, keep a record.

    Parameters
    ----------
    module : str
        ``__name__`` of the stage, from which the hash of its code is made.
    out : Path
        The folder that the files are moved to.
    params : Params
        The parameters of the stage.
    inputs : iterable of Path
        The files that it reads; each is checked against the record of its maker. The record's ``marker`` is a
        file that the workflow knows, so that deleting it makes the job run again.
    record : str
        Stem of the record in ``out``; ``run`` where the folder belongs to one job. Folders below it have a
        ``run.json`` of their own; ``folders`` says how many share the job's seconds, ``below`` which they are.
    """
    started = time.time()
    clock = time.monotonic()
    code = code_hash(module, params)
    inputs = sorted(set(inputs))
    digests = {str(path): verified(path) for path in inputs}
    latest = max((path.stat().st_mtime_ns for path in inputs), default=0)
    scratch = _fresh_scratch(out, record)
    own = out / (f"{record}.run.json" if record != "run" else "run.json")
    if own.is_file() and not any((out / name).is_file() for name in read_json(own)["outputs"]):
        own.unlink()  # the workflow has cleared the way; a job that fails now leaves no record of files that are gone
    try:
        yield scratch
        moved = _move(scratch, out, latest)
        marker = next((folder / name for folder, names in moved.items() for name in names if folder == out), out)
        for folder, outputs in moved.items():
            write_json(
                own if folder == out else folder / "run.json",
                {
                    "stage": module,
                    "params": params.plain(),
                    "code": code,
                    "inputs": digests,
                    "outputs": outputs,
                    "states": {name: _state(folder / name) for name in outputs if _is_settled(folder / name)},
                    "versions": versions(),
                    "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
                    "seconds": round(time.monotonic() - clock, 3),
                    "folders": len(moved),
                    "below": sorted(str(other.relative_to(out)) for other in moved if other != out),
                    "marker": str(marker),
                    "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                },
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(scratch: Path, out: Path, latest: int) -> dict[Path, dict[str, str]]:
    """Move files into place; return the hash of each, by folder and name.

    None is dated before ``latest``, the newest input: a clock that was set back would make them look out of date.
    """
    moved: dict[Path, dict[str, str]] = {}
    for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
        target = out / path.relative_to(scratch)
        moved.setdefault(target.parent, {})[target.name] = sha256(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_mtime_ns < latest:
            os.utime(path, ns=(latest, latest))
        os.replace(path, target)
    return moved


def _fresh_scratch(out: Path, record: str) -> Path:
    """Return an empty folder beside ``out``; what killed jobs left there is removed."""
    prefix = f".{out.name}.{record}.partial-"
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f"{prefix}*"):
        pid = left.name.rpartition("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    scratch = out.parent / f"{prefix}{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return scratch


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
