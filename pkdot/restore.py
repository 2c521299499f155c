"""Which jobs are out of date by the records of their files: after files were moved, removed, damaged, or pulled.

Snakemake knows the parameters and the inputs of what it made in this folder, by name and time. The records know more:
every file that a job wrote and read, with its content. By them a job is *due* where a file that it wrote or read is
gone, where one that it read has another content now, and where its files came from elsewhere (`dvc pull`, a copy) and
its parameters or code are others now. So it is with pages too: an old one stays where its own job fails, and Snakemake
no longer knows what made it. The workflow forces jobs that are due, and with them all that is made of their
files; nothing is removed to that end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pkdot.errors import DataError
from pkdot.files import read_json, write_json
from pkdot.layout import PROCESSED, RESULTS, ROOTS
from pkdot.lock import quiet
from pkdot.params import canonical

GONE = "this file, or another of the job that made it, is gone"
PAGE = ".html"
OTHER = "its options or its code are others now"
FOREIGN = "it came from elsewhere and does not belong to the configuration"


def records() -> dict[str, int]:
    """Return all records of the working folder -> time of modification in nanoseconds."""
    found = [path for root in ROOTS for path in root.rglob("*run.json")]
    return {str(path): path.stat().st_mtime_ns for path in found}


def remember(ledger: Path, before: dict[str, int]) -> None:
    """Note the records that a run has made: those that are not as they were ``before`` it."""
    noted, now = _read(ledger), records()
    made = {name: at for name, at in now.items() if before.get(name) != at or noted["made"].get(name) == at}
    write_json(ledger, {**noted, "made": made})


def adopt(ledger: Path, lock: Path) -> None:
    """Give the files that no run made here one time of modification, so that none is older than what it was made from.

    Parameters
    ----------
    ledger : Path
        Where ``remember`` notes what was made here.
    lock : Path
        The lock of the folder; while a run is at work nothing is touched.
    """
    noted, now = _read(ledger), records()
    foreign = _foreign(noted, now)
    new = [name for name in foreign if noted["adopted"].get(name) != now[name]]
    with quiet(lock) as alone:
        if not (new and alone):
            return
        stamp = time.time_ns()
        for name in new:
            _touch(Path(name), stamp)
        write_json(ledger, {**noted, "adopted": {name: Path(name).stat().st_mtime_ns for name in foreign}})


def due(ledger: Path, parameters: Callable[[str], str | None]) -> dict[str, str]:
    """Return the jobs that are due, each by a file that the workflow knows -> why.

    Parameters
    ----------
    ledger : Path
        Where ``remember`` notes what was made here.
    parameters : callable (marker) -> str or None
        The parameters and code of the job of an output now (``jobs.job_params``); None where no rule makes it.
    """
    now = records()
    foreign = _foreign(_read(ledger), now)
    found = {name: _record(name) for name in sorted(now, key=now.__getitem__)}
    makers = {str(path): record for name, record in found.items() for path in _outputs(name, record)}
    reasons: dict[str, str] = {}
    for name, record in found.items():
        marker = record["marker"]
        if Path(name).parent != Path(marker).parent:
            continue  # a folder below that of the job, or what an earlier job left
        reason = _torn(name, record, found) or _changed(record, makers)
        if reason is None and (name in foreign or marker.endswith(PAGE)) and _is_other(record, parameters(marker)):
            reason = FOREIGN if name in foreign else OTHER
        if reason:
            reasons[marker] = reason
    return dict(sorted(reasons.items()))


def _foreign(noted: dict, now: dict[str, int]) -> set[str]:
    return {name for name, at in now.items() if noted["made"].get(name) != at}


def _torn(name: str, record: dict, found: dict[str, dict]) -> str | None:
    """Return a reason where a file of a job is gone; ``name`` is its record beside the marker."""
    own = [name, *(str(Path(name).parent / below / "run.json") for below in record["below"])]
    there = all(path in found and found[path]["started"] == record["started"] for path in own)
    return None if there and all(path.is_file() for one in own for path in _outputs(one, found[one])) else GONE


def _changed(record: dict, makers: dict[str, dict]) -> str | None:
    """Return a reason where a file that a job read is gone, or has another content now by the record of its maker."""
    for name, digest in record["inputs"].items():
        path = Path(name)
        if not path.is_file() and any(path.is_relative_to(root) for root in (PROCESSED, RESULTS)):
            return f"{name}, from which it was made, is gone"
        if name in makers and makers[name]["outputs"][path.name] != digest:
            return f"it was made from another {name} than the one that lies there now"
    return None


def _is_other(record: dict, now: str | None) -> bool:
    return now is not None and now != canonical({key: record.get(key) for key in ("params", "code")})


def _outputs(name: str, record: dict) -> list[Path]:
    return [Path(name).with_name(file) for file in record["outputs"]]


def _record(name: str) -> dict:
    missing: dict[str, Any] = {"marker": name, "started": None, "below": [], "inputs": {}, "outputs": {}}
    try:
        record = read_json(Path(name))
    except DataError:
        return missing
    return {**missing, **record} if isinstance(record, dict) else missing


def _touch(record: Path, stamp: int) -> None:
    for path in (record, *_outputs(str(record), _record(str(record)))):
        if path.is_file():
            os.utime(path, ns=(stamp, stamp))


def _read(ledger: Path) -> dict[str, dict[str, int]]:
    return read_json(ledger) if ledger.is_file() else {"made": {}, "adopted": {}}
