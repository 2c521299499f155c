"""One run at a time in a folder, and no lock that outlives its run.

The workflow and each of its jobs hold a shared lock on one file; a new workflow needs it for itself alone for a
moment. The system lets go of such a lock when its process ends, however it ends: after a kill nothing is to be
removed by hand, and a job that outlived its workflow is noticed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pkdot.errors import PkdotError

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
LOCK, RUN = "PKDOT_LOCK", "PKDOT_RUN"  # what tells a job where the lock lies, and which run it belongs to
HALF = re.compile(r"\..+\.(partial-)?\d+")  # names of what a job writes before it is complete


def this_run() -> str:
    """Return how a run is called: its process and its machine."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def claim(lock: Path) -> int:
    """Take the folder for this process, until it ends; return the handle of the lock.

    Raises
    ------
    PkdotError
        Another run, or a job of a run that was killed, is at work; or the file system knows no locks.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, lock)
        os.ftruncate(handle, 0)
        os.pwrite(handle, this_run().encode(), 0)
        _flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB, lock)
    except BlockingIOError:
        holder = _holder(handle)
        os.close(handle)
        raise PkdotError(
            f"{lock.parent.absolute().parent}: snakemake ({holder}) or a job that it left behind is at work in this "
            "folder. Wait until it has ended, or end it."
        ) from None
    return handle


def share(lock: Path, run: str | None = None) -> int:
    """Take part in a run, as its jobs do, until this process ends; return the handle of the lock.

    Raises
    ------
    PkdotError
        The run was killed before this job began, and another has taken the folder; or the file system knows no locks.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    _flock(handle, fcntl.LOCK_SH, lock)
    if run and run != _holder(handle):
        os.close(handle)
        raise PkdotError(f"the run that started this job ({run}) is no more, and another has taken its place")
    return handle


def _flock(handle: int, operation: int, lock: Path) -> None:
    """Lock a file; close it and say in a sentence why the file system cannot."""
    try:
        fcntl.flock(handle, operation)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        os.close(handle)
        raise PkdotError(
            f"{lock.absolute().parent}: the file system of this folder has no file locks ({error.strerror}), by which "
            "two runs are kept apart. Work in a folder on a local disk, or mount this one with locks."
        ) from None


def _holder(handle: int) -> str:
    """Return the run that claimed the folder last."""
    return os.pread(handle, 300, 0).decode(errors="replace")


@contextmanager
def quiet(lock: Path) -> Iterator[bool]:
    """Tell whether nobody is at work in the folder; if so, nobody begins before the block ends."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, lock)
    except BlockingIOError:
        alone = False
    else:
        alone = True
    try:
        yield alone
    finally:
        os.close(handle)


def sweep(*roots: Path) -> None:
    """Remove what killed jobs left half-written; only for who has claimed the folder."""
    for root in roots:
        for left in [path for path in root.rglob(".*") if HALF.fullmatch(path.name)]:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
