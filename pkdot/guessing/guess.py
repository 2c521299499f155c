"""What is guessed of a folder: its recordings, their streams, subjects and targets; and what could not be known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pkdot.datasets.listing import FRAMES
from pkdot.recordings import MEDIA, VIDEOS, media_seconds, open_recording

SUBJECT = re.compile(r"(s|su|sub|subj|subject|p|pp|pid|part|participant|patient|vp|id|user|u|person)[-_ ]?\d+", re.I)
SUBJECT_COLUMN = re.compile(r"(subject|participant|patient|person|user|subj|pid|vp)([_ ]?(id|nr|no|code|name))?", re.I)
TARGET_COLUMN = re.compile(
    r"(target|label|class|y|outcome|diagnosis|condition|state|stress|emotion|activity)s?([_ ]?(id|name))?", re.I
)
TIME_COLUMN = re.compile(r"(t|time|times|timestamp|seconds|sec|secs|s|ms|time[_ ]?(s|sec|ms|seconds))", re.I)
INDEX_COLUMN = re.compile(r"(unnamed.*|index|row|sample|frame|nr)", re.I)
FEWEST, MOST = 2, 20  # different values of what can be classes
LONG = 4.0  # seconds of a window where recordings are long enough


@dataclass
class StreamGuess:
    """A stream: its name, the shape of what it holds of a moment, and its rate in Hz where that is known."""

    name: str
    shape: tuple[int, ...]
    rate: float | None = None
    shortest: float = 0  # its fewest moments in a recording
    white: float | None = None  # of pictures: the value that is white, where it is not 255
    medium: Literal["array", "video", "sound"] = "array"


@dataclass
class Guess:
    """All that a list of recordings and a configuration are written from."""

    rows: list[dict[str, object]]
    streams: list[StreamGuess]
    sample: Literal["window", "row", "recording"] = "window"
    labels: Literal["recording", "file"] = "recording"
    subjects: Literal["recording", "own", "file"] = "recording"
    target: str = "target"
    classes: list[str] | None = None
    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def tell_targets(self, values: list[str]) -> None:
        """Take classes, or real numbers, from the values that were found."""
        there = Counter(value for value in values if value)
        if not there:
            self.unknown.append(
                "the target: fill in the column 'target' of recordings.csv, and dataset.classes (or remove classes, "
                "and set task, for real numbers)"
            )
            return
        if is_numeric(there) and (len(there) > MOST or any(float(value) % 1 for value in there)):
            low, high = min(map(float, there)), max(map(float, there))
            self.known.append(f"the target is a real number, from {low:g} to {high:g}")
            return
        self.classes = sorted(there, key=lambda name: (len(name), name) if is_numeric(there) else (0, name))
        shown = ", ".join(self.classes[:8]) + (" ..." if len(there) > 8 else "")
        self.known.append(f"the classes are {shown}; put them in order if they have one")


def is_numeric(values: Iterable[str]) -> bool:
    """Return whether all values are numbers."""
    return all(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value, re.I) for value in values)


def stream_of(name: str, path: Path, part: str | None, rate: float | None) -> StreamGuess:
    """Look at one file of a stream."""
    if path.suffix.lower() in MEDIA:
        return StreamGuess(name, (), FRAMES, moments(path, part), medium="video" if is_video(path) else "sound")
    array = open_recording(path, part)
    shape = array.shape[1:] or (1,)
    white = None if array.dtype == np.uint8 or len(shape) < 2 else float(np.nanmax(array[:100])) or 1.0
    return StreamGuess(name, shape, rate, len(array), white)


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEOS


def moments(path: Path, part: str | None) -> float:
    """Return how many samples in time a file has, or rows."""
    return FRAMES * media_seconds(path) if path.suffix.lower() in MEDIA else len(open_recording(path, part))


def rate_of(table: pd.DataFrame, column: str) -> float | None:
    """Return the rate in Hz that a column of times tells; None where it does not rise evenly."""
    times = table[column]
    if not pd.api.types.is_numeric_dtype(times):
        times = pd.to_datetime(times, errors="coerce").astype("int64") / 1e9
    steps = np.diff(times.to_numpy(dtype=float))
    if not len(steps) or not np.isfinite(steps).all() or np.median(steps) <= 0:
        return None
    step = float(np.median(steps))
    if column.lower().endswith("ms") or (step >= 1 and column.lower() in ("t", "time", "times", "timestamp")):
        step /= 1000  # whole numbers are milliseconds
    rate = 1 / step
    return round(rate) if abs(rate - round(rate)) < 0.01 * rate and rate >= 1 else round(rate, 4)


def safe(name: str) -> str:
    """Return a name that a modality may have."""
    short = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return short if short and short[0].isalpha() else f"m_{short}"
