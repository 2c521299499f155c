"""One run at a time in a folder, and no lock that outlives its run.

The workflow and each of its jobs hold a shared lock on one file; a new workflow needs it for itself alone for a
moment. The system lets go of such a lock when its process ends, however it ends: after a kill nothing is to be
removed by hand, and a job that outlived its workflow is noticed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pkdot.errors import PkdotError

VARIABLE = "PKDOT_LOCK"  # tells a job where the lock lies
HALF = re.compile(r"\..+\.(partial-)?\d+")  # names of what a job writes before it is complete


def claim(lock: Path) -> int:
    """Take the folder for this process, until it ends; return the handle of the lock.

    Raises
    ------
    PkdotError
        Another run, or a job of a run that was killed, is at work.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(handle, f"{os.getpid()} on {socket.gethostname()}".ljust(80).encode(), 0)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 80, 0).decode(errors="replace").strip()
        os.close(handle)
        raise PkdotError(
            f"{lock.parent.absolute().parent}: snakemake (process {holder}) or a job that it left behind is at work "
            "in this folder. Wait until it has ended, or end it."
        ) from None
    return handle


def share(lock: Path) -> int:
    """Take part in the run of the folder, as its jobs do, until this process ends."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextmanager
def quiet(lock: Path) -> Iterator[bool]:
    """Whether nobody is at work in the folder; if so, nobody begins before the block ends."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
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
