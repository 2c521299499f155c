"""Frames of a video at given times, decoding no more than they need; folders of crops are read alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pkdot.errors import DataError
from pkdot.features.decoding import Decoding, packets_of

MICROSECONDS = 1e6  # in a second: the unit of a container's duration
CUT_OFF = 1.0  # seconds by which a file must be shorter than it declares to count as cut off
CROPS_RATE = 30.0  # frames a second that a folder of numbered images counts as, where nobody says it
NEAR = 0.75  # frame intervals; a time farther than this from every frame has none


class Frames(ABC):
    """A sequence of frames.

    Attributes
    ----------
    times : ndarray, shape (n,)
        Seconds since the first frame, increasing.
    rate : float
        Frames a second.
    seconds : float
        How long the sequence is, or should be where the file says so and has been cut off.
    """

    times: np.ndarray
    rate: float
    seconds: float

    @abstractmethod
    def read(self, numbers: list[int]) -> list[np.ndarray | None]:
        """Return frames by their numbers, each (height, width, 3) uint8 RGB, or None where one cannot be decoded."""

    def at(self, times: np.ndarray) -> list[np.ndarray | None]:
        """Return the frame nearest to each time; None where the video has none within 3/4 of a frame's duration."""
        (frames,) = self.along([times])
        return frames

    def along(self, spans: Iterable[np.ndarray]) -> Iterator[list[np.ndarray | None]]:
        """Yield the frames of many spans, each as ``at`` returns them, in memory that does not grow with their number.

        Parameters
        ----------
        spans : iterable of ndarray
            Increasing times of each span; no span starts before an earlier one.
        """
        for numbers in map(self.nearest, spans):
            wanted = sorted({number for number in numbers if number is not None})
            frames = dict(zip(wanted, self.read(wanted), strict=True))
            yield [None if number is None else frames[number] for number in numbers]

    def nearest(self, times: np.ndarray) -> list[int | None]:
        """Return the number of the frame nearest to each time; None where there is none within 3/4 of a duration."""
        after = np.clip(np.searchsorted(self.times, times), 1, max(1, len(self.times) - 1))
        nearer = np.abs(times - self.times[after - 1]) <= np.abs(times - self.times[after % len(self.times)])
        numbers = np.where(nearer, after - 1, after % len(self.times))
        here = np.abs(self.times[numbers] - times) * self.rate <= NEAR
        return [number if near else None for number, near in zip(numbers.tolist(), here, strict=True)]


def open_frames(path: Path, rate: float | None = None) -> Frames:
    """Open a video file, or a folder of crops named by their frame's number, counted from 1.

    ``rate`` is how many of a folder's frames make a second; a video says it itself.

    Raises
    ------
    DataError
        There is no such file, or it holds no video that can be read.
    """
    return Crops(path, rate or CROPS_RATE) if path.is_dir() else Video(path)


class Crops(Frames):
    """A folder of images such as ``00001.jpg``; a number that is missing is a missing frame."""

    def __init__(self, path: Path, rate: float) -> None:
        self.rate = rate
        self.paths = sorted((p for p in path.iterdir() if p.stem.isdecimal()), key=lambda p: int(p.stem))
        if not self.paths:
            raise DataError(f"{path}: no image is named by a frame's number, such as 00001.jpg")
        self.times = (np.array([int(p.stem) for p in self.paths]) - 1) / self.rate
        self.seconds = float(self.times[-1]) + 1 / self.rate

    def read(self, numbers: list[int]) -> list[np.ndarray | None]:
        import cv2

        images = (cv2.imread(str(self.paths[number]), cv2.IMREAD_COLOR) for number in numbers)
        return [None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images]


class Video(Frames):
    """A video file. Its packets are listed first, so that frames that no wanted one needs are skipped."""

    def __init__(self, path: Path) -> None:
        import av

        self.path = path
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"{path}: not a readable video ({error.strerror})") from error
        if not self._container.streams.video:
            raise DataError(f"{path}: the file holds no video")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1  # jobs run side by side, one a core
        self._counted = self._container.format.name == "avi"  # it stores no times, and frames come out in order
        self._list()

    def _list(self) -> None:
        # the packets themselves would fill the memory with the whole file
        listed = [(p.pts, p.is_keyframe) for p in packets_of(self._container) if p.size and not p.is_discard]
        if self._counted:
            self._stamps = list(range(len(listed)))
            self._keys = [number for number, (_, is_key) in enumerate(listed) if is_key]
            seconds = 1 / float(self._stream.average_rate or 25)
        else:
            self._stamps = sorted({stamp for stamp, _ in listed if stamp is not None})
            self._keys = sorted(stamp for stamp, is_key in listed if is_key and stamp is not None)
            seconds = float(self._stream.time_base or 1)
        if not self._stamps:
            raise DataError(f"{self.path}: the video has no frame")
        self.times = (np.array(self._stamps) - self._stamps[0]) * seconds
        self.rate = 1 / float(np.median(np.diff(self.times))) if len(self.times) > 1 else 25.0
        self.seconds = self._length()

    def _length(self) -> float:
        """Return the seconds that the file declares, where they are clearly more than it holds; else what it holds."""
        held = float(self.times[-1]) + 1 / self.rate
        if self._stream.duration:
            declared = float(self._stream.duration * (self._stream.time_base or 1))
        else:
            declared = (self._container.duration or 0) / MICROSECONDS
        return declared if declared > held + CUT_OFF else held

    def read(self, numbers: list[int]) -> list[np.ndarray | None]:
        stamps = [self._stamps[number] for number in numbers]
        if not stamps:
            return []
        decoding = self._decoded(stamps, set(stamps))
        images = [decoding.image(stamp) for stamp in stamps]
        decoding.close()
        return images

    def along(self, spans: Iterable[np.ndarray]) -> Iterator[list[np.ndarray | None]]:
        """Decode from the first span to the last and never twice; a stretch that no span needs is left out."""
        found = [[None if n is None else self._stamps[n] for n in self.nearest(times)] for times in spans]
        wanted = {stamp for span in found for stamp in span if stamp is not None}
        decoding: Decoding | None = None
        for span in found:
            here = [stamp for stamp in span if stamp is not None]
            if here and (decoding is None or decoding.is_short_of(min(here))):
                if decoding is not None:
                    decoding.close()
                decoding = self._decoded(here, wanted)
            elif here and decoding is not None:
                decoding.forget(min(here))
                decoding.until(max(here))
            yield [None if stamp is None or decoding is None else decoding.image(stamp) for stamp in span]

    def _decoded(self, stamps: list[int], wanted: set[int]) -> Decoding:
        """Decode the frames of some stamps, so that one may go on to later ones."""
        key = bisect_right(self._keys, min(stamps)) - 1
        entry = None if self._counted or key < 0 else self._keys[key]
        decoding = Decoding(self._container, self._keys, wanted, self._counted, entry)
        decoding.until(max(stamps))
        missing = [stamp for stamp in stamps if decoding.image(stamp) is None]
        if missing and entry is not None:  # not every file can be entered in the middle
            found = {stamp: image for stamp in stamps if (image := decoding.image(stamp)) is not None}
            later = {stamp for stamp in wanted if stamp >= min(stamps)}
            decoding.close()
            decoding = Decoding(self._container, self._keys, later, self._counted, None)
            decoding.until(max(stamps))
            decoding.adopt(found)
        return decoding
