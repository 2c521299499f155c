"""What a student says of a recording, window by window while it is computed: for a page or a program that waits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot import recordings
from pkdot.errors import DataError
from pkdot.inference.sources import WHOLE, Recording, Wanted
from pkdot.inference.windows import Window

if TYPE_CHECKING:
    from pkdot.inference.student import Student


class Live:
    """A student that tells as it goes.

    Parameters
    ----------
    student : Student
    every : float, optional
        Seconds from the start of a window to that of the next; half a window by default.
    length : float, optional
        Seconds that a recording may last.
    pixels : int, optional
        Pixels that a picture may have.
    megabytes : float, optional
        Size of a file, unpacked: a small archive may hold more than there is memory.
    """

    def __init__(
        self,
        student: Student,
        every: float | None = None,
        length: float | None = None,
        pixels: int | None = None,
        megabytes: float | None = None,
    ) -> None:
        self.student, self.length, self.pixels, self.megabytes = student, length, pixels, megabytes
        self.windows = student.windows()
        if self.windows.span is not None:
            self.windows.every = every or self.windows.span / 2
        self.wanted = Wanted(student.description.modalities, partial=student.takes_any)

    def predict(self, files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        """Yield an event for each window of a recording: where it lies, where the face is, and what is predicted.

        Parameters
        ----------
        files : dict of str to Path
            Modality -> its file; or one, named ``file``, for all modalities that it may hold.

        Raises
        ------
        DataError
            The recording cannot be read, or breaks a limit; or no window of it can be used.
        """
        whole = None if WHOLE in self.wanted.modalities else files.get(WHOLE)
        recording = self.wanted.of_files(files) if whole is None else self.wanted.recording(whole)
        try:
            self._check(recording)
            answered, reason = False, ""
            for window in self.windows.of(recording):
                if window.start is None:
                    raise DataError(window.note)
                answered, reason = answered or bool(window.arrays), reason or window.note
                yield self._event(window)
            if not answered:
                raise DataError(reason or f"{recording.name}: no part of it can be used")
        finally:
            for feature in self.student.features.values():
                feature.forget()
            recordings.forget()

    def _check(self, recording: Recording) -> None:
        """Refuse what breaks a limit, before much of it is read."""
        for name, raw in recording.raws.items():
            size = recordings.unpacked(raw.path) / 1e6
            if self.megabytes is not None and size > self.megabytes:
                raise DataError(f"{raw.path}: unpacked it has {size:,.1f} MB, and {self.megabytes:.4g} MB are allowed")
            if self.pixels is not None and name == self.windows.face:
                _check_picture(raw.path, self.pixels)
            if self.length is None:
                continue
            try:
                seconds = self.student.features[name].seconds(recording.source(name, None, None))
            except DataError:
                if self.wanted.partial:
                    continue  # the others may be enough, and the notes of the windows say it
                raise
            if seconds > self.length:
                raise DataError(f"{raw.path}: it lasts {seconds:.1f} s, and {self.length:.4g} s are allowed")

    def _event(self, window: Window) -> dict[str, Any]:
        """Return what is known of one window, as JSON can hold it."""
        seen = ~np.isnan(window.boxes).any(axis=1)
        event = {
            "event": "window",
            "start": window.start,
            "stop": window.stop,
            "share": window.share,
            "face": window.face,
            "note": window.note,
            "boxes": np.column_stack([window.times, window.boxes])[seen].round(2).tolist() if len(seen) else [],
        }
        if self.wanted.partial:
            event["present"] = sorted(window.arrays)
        if not window.arrays:
            return event
        outputs = self.student.predict_each([window.arrays], [window.gaps])
        rows = self.student.table(outputs).to_dict("records")
        return event | {"answer": _answer(rows, self.student.classes, self.student.targets)}


def _answer(rows: list[dict], classes: list[str] | None, targets: list[str]) -> dict[str, Any]:
    """Return a prediction with what is shown of it."""
    if classes is None:
        return {"values": {name: [float(row[name]) for row in rows] for name in targets}}
    (row,) = rows
    return {
        "prediction": row["prediction"],
        "confidence": float(row["confidence"]),
        "probabilities": {name: float(row[f"p_{name}"]) for name in classes},
    }


def _check_picture(path: Path, pixels: int) -> None:
    """Refuse pictures that would take too much memory, before one is decoded."""
    import av

    try:
        with av.open(str(path)) as container:
            for stream in container.streams.video:
                if stream.width * stream.height > pixels:
                    raise DataError(
                        f"{path}: a picture has {stream.width} x {stream.height} pixels, and {pixels:,} are allowed"
                    )
    except av.error.FFmpegError:
        return  # what reads it will say what is wrong with it


def live_student(bundle: Path, threads: int, **options: Any) -> Live:
    """Load a student for one of several processes of a server.

    Parameters
    ----------
    bundle : Path
        Its folder, or its exported file.
    threads : int
        CPU threads of the networks, where torch runs them.
    **options
        Those of ``Live``.
    """
    from pkdot.inference.loading import OtherCode, load_student

    if bundle.suffix != ".onnx":
        import torch

        torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OtherCode)  # the server has said it once
        student = load_student(bundle)
    return Live(student, **options)
