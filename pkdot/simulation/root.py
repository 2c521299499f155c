"""The root of a simulation: emptied only if the project made it, filled by processes, marked last."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pkdot.errors import DataError
from pkdot.files import write_text
from pkdot.markers import SIMULATED

UNFINISHED = "SIMULATION_UNFINISHED.md"


def start_over(out: Path, folders: Iterable[str], code: str) -> None:
    """Empty the root if the project made it, and mark it as unfinished.

    Parameters
    ----------
    out : Path
        The root.
    folders : iterable of str
        What is removed in it.
    code : str
        How the names of simulated subjects or videos begin; a folder or file with another name was not made here.

    Raises
    ------
    DataError
        The root holds something that is no simulation.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder for the simulated data")
    present = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.exists() else set()
    if present and not present & {SIMULATED, UNFINISHED}:
        raise DataError(
            f"{out} is not empty and has no {SIMULATED}: it may be licensed; name another folder or empty it"
        )
    inside = [path for folder in folders for path in sorted((out / folder).glob("*"))]
    foreign = [path for path in inside if not path.name.startswith(code)]
    if foreign:
        raise DataError(f"{foreign[0]} is not simulated and is kept; move it, or name another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / UNFINISHED, "A simulation is under way or was interrupted; if so, run `pkdot simulate` again.\n")
    (out / SIMULATED).unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(out / folder, ignore_errors=True)


def finish(out: Path, card: str) -> None:
    """Write the marker, which says what the data are."""
    write_text(out / SIMULATED, card)
    (out / UNFINISHED).unlink()


def in_processes(function: Callable, calls: Iterable[tuple], workers: int, cache_dir: Path) -> list[Any]:
    """Call a function in processes, once for each tuple of arguments; results in the order of the calls.

    The human model is built into ``cache_dir`` before.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        try:
            pool.submit(_build_model, cache_dir).result()
            jobs = [pool.submit(function, *arguments) for arguments in calls]
            return [job.result() for job in jobs]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one_thread() -> None:
    """Keep a process to one thread: more would fight for the cores, and may change the last bits of sums."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _build_model(cache_dir: Path) -> None:
    """Build the human model in one process, before others ask for it."""
    from pkdot.simulation.heads import build_head_model

    build_head_model(cache_dir)
