"""``pkdot predict``: recordings in, a table of predictions out; what cannot be used costs its own row."""

from __future__ import annotations

import io
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import numpy as np
from pydantic import Field

from pkdot.errors import ConfigError
from pkdot.files import replacing
from pkdot.inference.annotate import Film
from pkdot.inference.rows import Rows, Shown
from pkdot.inference.sources import Recording, Wanted, recordings
from pkdot.inference.windows import Window, Windows
from pkdot.params import Params

if TYPE_CHECKING:
    from pkdot.inference.student import Student

T = TypeVar("T")
AHEAD = 8  # windows that are read while the network runs
MOST = 256  # windows, most of them unusable, that are held back for a batch


class PredictOptions(Params):
    """How recordings are predicted."""

    every: float | None = Field(None, gt=0, description="seconds from the start of a window to that of the next")
    everyone: bool = Field(False, description="all people of a picture, and not the largest alone")
    abstain: float | None = Field(None, ge=0, le=1, description="confidence below which no class is named")
    lines: bool = Field(False, description="a line of JSON a row, and not comma-separated values")
    batch: int = Field(16, ge=1, description="windows that the network gets at once")
    rate: float | None = Field(None, gt=0, description="Hz of arrays that come without a table")


def predict(
    student: Student,
    names: list[str],
    options: PredictOptions,
    out: Path | None = None,
    film: Path | None = None,
    given: Mapping[str, Path] | None = None,
) -> int:
    """Predict what a user has named, and write the table to ``out`` or to standard output.

    Parameters
    ----------
    student : Student
    names : list of str
        Files, folders, patterns, tables, the number of a camera, or ``-`` for names on standard input.
    film : Path, optional
        Where a copy of the one video goes, with the face and the prediction drawn into it.
    given : dict of str to Path, optional
        Modality -> its file, of one recording whose modalities lie in files of their own.

    Returns
    -------
    int
        How many recordings gave no prediction at all.
    """
    answer = student.description.answer
    if options.abstain is not None and answer.classes is None:
        raise ConfigError("--abstain: the bundle predicts values, which have no confidence; leave it out")
    wanted = Wanted(student.description.modalities, options.rate, student.takes_any)
    found = list(recordings(names, wanted, sys.stdin.buffer))
    if given:
        found.append(wanted.of_files(given))
    if not found:
        raise ConfigError("no source was named" + (" on standard input" if names else ""))
    windows = student.windows(options.every, options.everyone)
    drawn = _video_of(found, windows) if film else None
    sketch = Film(answer, options.everyone)
    failed = set(range(len(found)))
    live = any(one.camera is not None for one in found)
    with _writing(out) as file:
        shown = Shown(windows.face is not None, options.everyone, student.takes_any)
        rows = Rows(file, answer, shown, options.lines, options.abstain)
        rows.begin()
        read = _progress(ahead(_numbered(windows, found), AHEAD), len(found))
        with suppress(KeyboardInterrupt) if live else nullcontext():  # nothing else ends a camera
            for number, window, outputs in _predicted(student, read, 1 if live else options.batch):
                rows.write(window, outputs)
                if outputs is not None:
                    failed.discard(number)
                    if film:
                        sketch.add(window, outputs)
    if film and drawn and not failed:
        sketch.write(drawn, film)
    return len(failed)


def _video_of(found: list[Recording], windows: Windows) -> Path:
    """Return the one video that is to be annotated."""
    if windows.face is None:
        raise ConfigError("--annotate: the bundle looks at no face; leave it out")
    if len(found) != 1 or found[0].camera is not None:
        raise ConfigError(f"--annotate takes one video file, and {len(found)} sources are given")
    return found[0].source(windows.face, None, None).path


def _numbered(windows: Windows, found: list[Recording]) -> Iterator[tuple[int, Window]]:
    return ((number, window) for number, one in enumerate(found) for window in windows.of(one))


def _progress(read: Iterable[tuple[int, Window]], count: int) -> Iterator[tuple[int, Window]]:
    """Pass windows on, and show on standard error how much is done and how long the rest takes."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"
    with tqdm(total=count, desc="predict", bar_format=form, file=sys.stderr, disable=None) as bar:
        for number, window in read:
            bar.update(number + window.share - bar.n)
            yield number, window


def _predicted(
    student: Student, read: Iterable[tuple[int, Window]], size: int
) -> Iterator[tuple[int, Window, np.ndarray | None]]:
    """Yield windows in order with their outputs; None for those that cannot be used, of which the network gets none."""
    waiting: list[tuple[int, Window]] = []
    for one in read:
        waiting.append(one)
        if sum(bool(window.arrays) for _, window in waiting) == size or len(waiting) == MOST:
            yield from _at_once(student, waiting)
            waiting = []
    yield from _at_once(student, waiting)


def _at_once(student: Student, waiting: list[tuple[int, Window]]) -> Iterator[tuple[int, Window, np.ndarray | None]]:
    usable = [window for _, window in waiting if window.arrays]
    outputs = iter(student.predict_each([one.arrays for one in usable], [one.gaps for one in usable]) if usable else ())
    for number, window in waiting:
        yield number, window, next(outputs) if window.arrays else None


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Make items in a thread of its own, a few ahead of those that are taken: reading goes on while a network runs."""
    ready: queue.Queue[Any] = queue.Queue(count)
    given_up = threading.Event()

    def put(item: Any) -> bool:
        while not given_up.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except Exception as error:
            put((None, error))

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    try:
        while True:
            item, problem = ready.get()
            if isinstance(problem, StopIteration):
                return
            if problem is not None:
                raise problem
            yield item
    finally:
        given_up.set()
        maker.join()


@contextmanager
def _writing(out: Path | None) -> Iterator[TextIO]:
    """Yield what the table is written to: UTF-8, where what is no UTF-8 in a name becomes its code."""
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        yield sys.stdout
        return
    with replacing(out) as beside, open(beside, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file
