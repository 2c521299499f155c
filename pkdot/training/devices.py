"""The device of a job: a GPU of its own, where the machine has several."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from pkdot.errors import ConfigError

LOCK = "PKDOT_LOCK"  # environment variable: the lock file of a workflow; locks of GPUs lie beside it


def device_of(wish: str) -> str:
    """Name the device that a configuration asks for, as torch calls it.

    Parameters
    ----------
    wish : {"auto", "cpu", "cuda"}
        ``auto`` takes a GPU where there is one.

    Raises
    ------
    ConfigError
        ``cuda`` on a machine without a GPU.
    """
    import torch

    if wish == "cpu" or (wish == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError("compute.device is cuda, but this machine has no GPU that torch can use; set it to auto.")
    lock = os.environ.get(LOCK)
    return f"cuda:{own_gpu(torch.cuda.device_count(), Path(lock).parent) if lock else 0}"


def own_gpu(count: int, folder: Path) -> int:
    """Return the number of a GPU that no other job of this machine uses, until this process ends.

    Where there are more jobs than GPUs, jobs are spread over them by process number.

    Parameters
    ----------
    count : int
        GPUs that are visible; a cluster shows a job only its own.
    folder : Path
        Where the lock files lie; the system frees a lock when its process ends, however it ends.
    """
    if count == 1:
        return 0
    for number in range(count):
        handle = os.open(folder / f"gpu-{socket.gethostname()}-{number}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
        else:
            return number  # the handle stays open: it is the claim
    return os.getpid() % count
