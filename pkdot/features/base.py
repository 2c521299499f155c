"""What a feature is: one sample's raw file in, one array of fixed shape out, or the reason why not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pkdot.errors import DataError
from pkdot.params import Params
from pkdot.registry import Choice, Registry

register = Registry("pkdot.features", "feature")


class FeatureChoice(Choice):
    """A feature by name, with its options."""

    family = register


@dataclass(frozen=True)
class Source:
    """Where a sample's raw data lie: a file and a span in seconds (None: the whole file).

    ``rate`` is that of a recording in Hz, where the data set says it and the file does not. ``side`` (left |
    right) says who is meant where two people share a picture. ``part`` names the array or the columns of a file that
    holds more than the stream. ``absent`` says where spans begin and end of which nothing is used, in seconds of the
    file: b, e, b, e, ...
    """

    sample_id: str
    path: Path
    start: float | None
    stop: float | None
    rate: float | None = None
    side: str | None = None
    part: str | None = None
    absent: tuple[float, ...] = ()

    def hidden(self, times: np.ndarray) -> np.ndarray:
        """Return which moments, in seconds of the file, shape (n,), are absent."""
        begins, ends = np.reshape(self.absent, (-1, 2)).T
        return np.logical_or.reduce((times[:, None] >= begins) & (times[:, None] < ends), axis=1)

    def hidden_rows(self, first: int, last: int) -> np.ndarray:
        """Return which rows of an array, from the first to the one before the last, are absent.

        Raises
        ------
        DataError
            Some are, and nobody has said the rate of the array.
        """
        rows = np.zeros(last - first, dtype=bool)
        if self.absent and self.rate is None:
            raise DataError(f"{self.path}: seconds of it are absent, which takes its rate; give it in Hz")
        for begin, end in np.reshape(self.absent, (-1, 2)) * (self.rate or 1.0):
            rows[max(0, round(begin) - first) : max(0, round(end) - first)] = True
        return rows

    def without_absent(self, values: np.ndarray, first: int) -> np.ndarray:
        """Return the rows of an array from the first on, NaN where they are absent."""
        rows = self.hidden_rows(first, first + len(values))
        return np.where(rows.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values) if rows.any() else values


@dataclass(frozen=True)
class Extracted:
    """One sample's array.

    Attributes
    ----------
    array : ndarray
        Of the feature's shape and dtype.
    mask : ndarray of bool, shape (steps,), optional
        False where a step (such as a frame) was filled in from its neighbours; None where nothing was.
    note : str
        What the ledger should say of a sample that is kept, with a mask or mended as a whole.
    """

    array: np.ndarray
    mask: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True)
class FaceClip(Extracted):
    """The crops of one person's face, and where they come from.

    Attributes
    ----------
    times : ndarray, shape (frames,)
        Seconds of the crops in the video.
    boxes : ndarray, shape (frames, 4)
        Left, top, right, bottom of the face in pixels of the picture; NaN where it is not seen.
    """

    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))


def gaps_of(mask: np.ndarray) -> list[float]:
    """Return where the steps that were filled in begin and end, as shares of the sample's time: b, e, b, e, ...

    Parameters
    ----------
    mask : ndarray of bool, shape (steps,)
        As in ``Extracted``.
    """
    edges = np.diff(np.concatenate([[0], ~mask, [0]]).astype(int))
    return (np.flatnonzero(edges) / len(mask)).tolist()


def present_in(gaps: Sequence[float], tokens: int) -> np.ndarray:
    """Return which of equal parts of a sample's time are present: at least half of them was not filled in.

    Parameters
    ----------
    gaps : sequence of float
        As `gaps_of` returns them.
    tokens : int

    Returns
    -------
    ndarray of bool, shape (tokens,)
    """
    borders = np.asarray(gaps, dtype=float).reshape(-1, 2) * tokens
    begins, ends = (np.clip(borders[:, [side]] - np.arange(tokens), 0, 1) for side in (0, 1))
    return (ends - begins).sum(axis=0) <= 0.5 + 1e-9


def usable_in(gaps: Sequence[float], tokens: int) -> np.ndarray:
    """Return the same, but all tokens where none is present: whether such a sample is used, its feature has said."""
    found = present_in(gaps, tokens)
    return found if found.any() else ~found


def fill(frames: list[np.ndarray | None], times: np.ndarray) -> np.ndarray:
    """Stack frames; a missing one is the blend of its neighbours in time, or the nearest one at an end."""
    found = np.array([number for number, frame in enumerate(frames) if frame is not None])
    stack = np.stack([frame for frame in frames if frame is not None])
    if len(found) == len(frames):
        return stack
    places = np.interp(times, times[found], np.arange(len(found)))
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(found) - 1)
    share = (places - before)[:, None, None, None]
    return np.round(stack[before] * (1 - share) + stack[after] * share).astype(np.uint8)


class TooFewFaces(DataError):
    """Too few frames show the face; ``share`` of them do."""

    def __init__(self, message: str, share: float) -> None:
        super().__init__(message)
        self.share = share


class Feature(ABC):
    """Turns the raw file of a sample into an array; one instance serves a whole shard.

    Attributes
    ----------
    slack : float
        Seconds by which a recording may end before a sample does.
    """

    Options: ClassVar[type[Params]]
    name: ClassVar[str]
    slack: ClassVar[float] = 1e-6
    _last: Any = None  # the recording that was read last, where a feature keeps it

    def __init__(self, options: Params) -> None:
        self.options = options

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's array."""

    @property
    @abstractmethod
    def dtype(self) -> str:
        """``uint8`` for images, ``float32`` for the rest."""

    @abstractmethod
    def extract(self, source: Source) -> Extracted:
        """Read one sample.

        Raises
        ------
        DataError
            The sample cannot be used; the message is the reason that the ledger gives.
        """

    def along(self, sources: Iterable[Source]) -> Iterator[Extracted | DataError]:
        """Extract many spans of one recording, each as ``extract`` does; one that cannot be used gives the reason.

        Parameters
        ----------
        sources : iterable of Source
            Spans of one file; none starts before an earlier one.
        """
        for source in sources:
            try:
                yield self.extract(source)
            except DataError as problem:
                yield problem

    def seconds(self, source: Source) -> float:
        """Return how long the whole recording is that a source lies in.

        Raises
        ------
        DataError
            It cannot be read.
        """
        raise DataError(f"{source.path}: the feature '{self.name}' does not tell how long a recording is")

    def forget(self) -> None:
        """Let go of the recording that was read last; it is kept open in case that a next span is of it."""
        self._last = None

    @property
    def span(self) -> float | None:
        """Seconds from the start of a sample to the end of what is read of it; None: the whole of the sample."""
        return None


def identity(path: Path) -> tuple:
    """Return what tells a file from another that later has its name: a feature keeps the last file open."""
    try:
        state = path.stat()
    except OSError:
        return (path,)
    return path, state.st_ino, state.st_size, state.st_mtime_ns


def checked(feature: Feature, source: Source, got: Extracted) -> Extracted:
    """Return what a feature gave.

    Raises
    ------
    DataError
        It is not of the feature's shape, or not finite.
    """
    if got.array.shape != feature.shape:
        raise DataError(f"{source.path}: the feature has shape {got.array.shape}, not {feature.shape}")
    if not np.isfinite(got.array).all():
        raise DataError(f"{source.path}: the feature has values that are not finite")
    return got
