"""Outputs that came from elsewhere, such as `dvc pull`: kept where they belong to the configuration, else made again.

Snakemake knows the parameters of what it made here, and nothing of files that were restored or copied. Those have
their run.json: one that says what the job would be told now makes its files as good as fresh; any other sends the
job, and all that was made of its files, back to work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pkdot.errors import DataError
from pkdot.files import read_json, write_json
from pkdot.layout import ROOTS
from pkdot.lock import quiet
from pkdot.params import canonical


def records() -> dict[str, int]:
    """All records of the working folder -> time of modification in nanoseconds."""
    found = [path for root in ROOTS for path in root.rglob("*run.json")]
    return {str(path): path.stat().st_mtime_ns for path in found}


def remember(ledger: Path, before: dict[str, int]) -> None:
    """Note the records that a run has made: those that are not as they were ``before`` it."""
    known, now = _read(ledger), records()
    made = {name: at for name, at in now.items() if before.get(name) != at or known["made"].get(name) == at}
    write_json(ledger, {**known, "made": made})


def adopt(ledger: Path, lock: Path, asked: Callable[[str], str | None], remove: bool) -> list[str]:
    """Look at every record that no run made here; return what does not belong to the configuration, a file a job.

    Outputs that belong get one time of modification, so that none is older than what it was made from.

    Parameters
    ----------
    ledger : Path
        Where ``remember`` notes what was made here.
    lock : Path
        The lock of the folder; while a run is at work nothing is touched.
    asked : callable (marker) -> str or None
        What the job of an output would be told now (``jobs.job_params``); None where no rule makes it.
    remove : bool
        Remove the outputs that do not belong, so that their jobs run again.
    """
    known, now = _read(ledger), records()
    foreign = {name for name, at in now.items() if known["made"].get(name) != at}
    with quiet(lock) as alone:
        return _adopt(ledger, known, now, foreign, asked, remove) if foreign and alone else []


def complete(lock: Path, remove: bool) -> list[str]:
    """Look for jobs of which a file is gone; return a file of each, by which the workflow knows it.

    Snakemake misses a file only where a job that reads it is due anyway, and else takes what was made of it for
    current. So what is left of such a job goes too, and all that was made of it, and a run makes them again.

    Parameters
    ----------
    lock : Path
        The lock of the folder; while a run is at work nothing is touched.
    remove : bool
        Remove the files; else only say which jobs these are.
    """
    told = {name: _record(name) for name in records()}
    jobs: dict[tuple, list[str]] = {}
    for name, record in told.items():
        jobs.setdefault((record["marker"], record.get("started")), []).append(name)
    torn = {name for names in jobs.values() if _is_torn(names, told) for name in names}
    wrong = _with_what_was_made_of(torn, told)
    left = [file for name in wrong for file in _outputs(name, told[name]) if file.is_file()]
    with quiet(lock) as alone:
        if not (left and alone):
            return []
        for file in left if remove else ():
            file.unlink()
    return sorted({told[name]["marker"] for name in torn})


def _is_torn(names: list[str], told: dict[str, dict]) -> bool:
    """Whether a file of a job is gone; nothing is asked of records that an earlier job left without their marker's."""
    own = [name for name in names if Path(name).parent == Path(told[name]["marker"]).parent]
    if not own:
        return False
    files = [file for name in names for file in _outputs(name, told[name])]
    return len(names) < told[own[0]].get("folders", 1) or not all(file.is_file() for file in files)


def _with_what_was_made_of(wrong: set[str], told: dict[str, dict]) -> set[str]:
    """Return records, and those of all jobs that read their files, and so on."""
    wrong, new = set(wrong), set(wrong)
    while new:
        files = {str(file) for name in new for file in _outputs(name, told[name])}
        new = {name for name in told.keys() - wrong if files & told[name]["inputs"].keys()}
        wrong |= new
    return wrong


def _outputs(name: str, record: dict) -> list[Path]:
    return [Path(name).with_name(file) for file in record["outputs"]]


def _adopt(ledger: Path, known: dict, now: dict, foreign: set, asked: Callable, remove: bool) -> list[str]:
    told = {name: _record(name) for name in now}
    wrong = _wrong(told, foreign, asked)
    markers = sorted({told[name]["marker"] for name in wrong if Path(told[name]["marker"]).is_file()})
    for name in wrong if remove else ():
        for file in told[name]["outputs"]:
            Path(name).with_name(file).unlink(missing_ok=True)
    stamp = time.time_ns()
    for name in foreign - wrong:
        if known["adopted"].get(name) != now[name]:
            _touch(Path(name), stamp)
    known["adopted"] = {name: Path(name).stat().st_mtime_ns for name in foreign - wrong}
    write_json(ledger, known)
    return markers


def _wrong(told: dict[str, dict], foreign: set[str], asked: Callable[[str], str | None]) -> set[str]:
    """Return the foreign records of jobs with other parameters now, or whose inputs are not what they were."""
    makers = {str(Path(name).parent / file): name for name in told for file in told[name]["outputs"]}

    def stale(name: str) -> bool:
        record = told[name]
        now = asked(record["marker"])
        if now is not None and now != canonical({"params": record["params"], "code": record["code"]}):
            return True
        return any(
            makers[path] in wrong or told[makers[path]]["outputs"][Path(path).name] != digest
            for path, digest in record["inputs"].items()
            if path in makers
        )

    wrong: set[str] = set()
    while more := {name for name in foreign - wrong if stale(name)}:
        wrong |= more
    return wrong


def _record(name: str) -> dict:
    try:
        return read_json(Path(name))
    except DataError:
        return {"marker": name, "params": None, "code": None, "inputs": {}, "outputs": {}}


def _touch(record: Path, stamp: int) -> None:
    for path in (record, *(record.with_name(file) for file in read_json(record)["outputs"])):
        if path.is_file():
            os.utime(path, ns=(stamp, stamp))


def _read(ledger: Path) -> dict[str, dict[str, int]]:
    return read_json(ledger) if ledger.is_file() else {"made": {}, "adopted": {}}
