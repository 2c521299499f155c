"""Processes that predict for a server: what a file does to one of them, it does to no other and not to the server.

A process loads the student once and then takes one recording after another. Its files come as open descriptors of what
has no name on the disk, and events go back one by one, as JSON can hold them. A process that takes too long, or that a
file has ended, is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from pkdot.errors import DataError, PkdotError
from pkdot.inference.sources import WHOLE

Event = dict[str, Any]
File = tuple[int, str]  # an open descriptor, which who opened it closes, and the end of a name, such as .mp4
DONE, ERROR, READY = "done", "error", "ready"  # names of events; those of a predictor have others
PATIENCE = 10.0  # seconds in which a process must notice that nobody waits for its answer any more
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class Predictor(Protocol):
    """What a process of the pool makes once, and asks for every recording."""

    def predict(self, files: Mapping[str, Path]) -> Iterator[Event]:
        """Yield the events of a recording as they are computed; a DataError says what is wrong with its files."""


Make = Callable[[], Predictor]


class Pool:
    """Processes that predict, each one recording at a time.

    Parameters
    ----------
    make : callable
        Makes the predictor of a process; it is pickled by its name.
    count : int
        Number of processes.
    seconds : float
        How long a recording may take.
    """

    def __init__(self, make: Make, count: int, seconds: float) -> None:
        self.make, self.count, self.seconds = make, count, seconds
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._tasks: set[asyncio.Task] = set()
        self._closed = False

    async def start(self) -> None:
        """Start all processes.

        Raises
        ------
        DataError
            The predictor cannot be made.
        """
        await asyncio.gather(*(self._add() for _ in range(self.count)))

    def close(self) -> None:
        """End all processes."""
        self._closed = True
        for worker in self._workers:
            worker.kill()
        for task in self._tasks:
            task.cancel()

    async def run(self, files: Mapping[str, File]) -> AsyncGenerator[Event]:
        """Yield the events of a recording; the last one is ``done``, or ``error`` with a status and a reason.

        Parameters
        ----------
        files : dict of str to File
            Its files by the names of their modalities; or one, named ``file``, for all that it may hold.
        """
        worker = await self._free.get()
        deadline = time.monotonic() + self.seconds
        whole = False
        try:
            worker.give(files)
            while not whole:
                event = await worker.next(deadline)
                whole = event["event"] in (DONE, ERROR)
                yield event
        except TimeoutError:
            yield _error(504, f"it takes longer than the {self.seconds:.4g} s that this server gives to a file")
        except (EOFError, OSError):
            yield _error(422, "reading it has ended the process that did; the file is damaged, or too much for it")
        finally:
            self._later(self._take_back(worker, whole, deadline))

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_back(self, worker: _Worker, whole: bool, deadline: float) -> None:
        """Give a process to the next file; one that does not end what nobody waits for is replaced."""
        try:
            if not whole:
                worker.stop()
                until = min(time.monotonic() + PATIENCE, max(deadline, time.monotonic()))
                while (await worker.next(until))["event"] not in (DONE, ERROR):
                    pass
            self._free.put_nowait(worker)
        except (TimeoutError, EOFError, OSError):
            worker.kill()
            self._workers.discard(worker)
            if not self._closed:
                await self._add()

    async def _add(self) -> None:
        worker = _Worker(self.make)
        self._workers.add(worker)
        first = await worker.next(None)
        if first["event"] != READY:
            raise DataError(first["reason"])
        self._free.put_nowait(worker)


class _Worker:
    """One process, as the server sees it."""

    def __init__(self, make: Make) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, files: Mapping[str, File]) -> None:
        """Hand the files of a recording over."""
        from multiprocessing.reduction import send_handle

        self.connection.send({name: suffix for name, (_, suffix) in files.items()})
        for file, _ in files.values():
            send_handle(self.connection, file, self.process.pid)

    def stop(self) -> None:
        """Say that nobody waits for the rest."""
        self.connection.send(None)

    async def next(self, deadline: float | None) -> Event:
        """Wait for the next event."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        descriptor = self.connection.fileno()
        loop.add_reader(descriptor, ready.set)
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            await asyncio.wait_for(ready.wait(), left)
        finally:
            loop.remove_reader(descriptor)
        return self.connection.recv()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, make: Make) -> None:
    """Make the predictor and predict files until nobody asks any more."""
    from multiprocessing.reduction import recv_handle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its processes
    try:
        predictor = make()
    except PkdotError as error:
        connection.send(_error(500, str(error)))
        return
    connection.send({"event": READY})
    while True:
        try:
            suffixes = connection.recv()
            if suffixes is None:  # of a recording that was done before the word came that nobody waits
                continue
            files = {name: (recv_handle(connection), suffix) for name, suffix in suffixes.items()}
        except (EOFError, OSError):
            return
        with _named(files) as paths, contextlib.suppress(BrokenPipeError):
            for event in _events(predictor, paths):
                connection.send(event)
                if event["event"] not in (DONE, ERROR) and connection.poll():
                    connection.recv()
                    connection.send({"event": DONE})
                    break


def _events(predictor: Predictor, files: Mapping[str, Path]) -> Iterator[Event]:
    """Yield what a predictor does, and how it ends."""
    try:
        for event in predictor.predict(files):
            yield event | {"note": _told(event["note"], files)} if "note" in event else event
        yield {"event": DONE}
    except PkdotError as error:
        yield _error(422, _told(str(error), files))
    except MemoryError:
        yield _error(422, "it takes more memory than there is")
    except Exception:  # whatever a file does, the next one is predicted
        traceback.print_exc(file=sys.stderr)
        yield _error(500, "something went wrong inside; the messages of the server say more")


def _error(status: int, reason: str) -> Event:
    return {"event": ERROR, "status": status, "reason": reason}


def _told(text: str, files: Mapping[str, Path]) -> str:
    """Return a sentence about files in the words of who sent them, who does not know where they lie here."""
    for name, path in files.items():
        text = text.replace(str(path), "the file" if name == WHOLE else f"the {name} file")
    return text


@contextmanager
def _named(files: Mapping[str, File]) -> Iterator[dict[str, Path]]:
    """Yield names under which this process alone finds the files, and close the files afterwards."""
    with tempfile.TemporaryDirectory(prefix="pkdot-serve-") as folder:
        paths = {}
        for name, (file, suffix) in files.items():
            ending = suffix if SUFFIX.fullmatch(suffix) else ""
            paths[name] = Path(folder, name, f"file{ending.lower()}")  # a folder each: no path begins as another does
            paths[name].parent.mkdir()
            paths[name].symlink_to(f"/dev/fd/{file}")
        try:
            yield paths
        finally:
            for file, _ in files.values():
                os.close(file)


def pool_of(bundle: Path, count: int, seconds: float, **limits: Any) -> Pool:
    """Return a pool over a bundle; ``limits`` are those of ``pkdot.inference.live``."""
    from pkdot.inference.live import live_student

    return Pool(
        functools.partial(live_student, bundle, threads=max(1, (os.cpu_count() or 1) // count), **limits),
        count,
        seconds,
    )
