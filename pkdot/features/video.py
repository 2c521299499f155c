"""Frames of a video at given times, decoding no more than they need; folders of crops are read alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pkdot.errors import DataError

if TYPE_CHECKING:
    import av

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
        """Frames by their numbers, each (height, width, 3) uint8 RGB, or None where one cannot be decoded."""

    def at(self, times: np.ndarray) -> list[np.ndarray | None]:
        """Return the frame nearest to each time; None where the video has none within 3/4 of a frame's duration."""
        after = np.clip(np.searchsorted(self.times, times), 1, max(1, len(self.times) - 1))
        nearer = np.abs(times - self.times[after - 1]) <= np.abs(times - self.times[after % len(self.times)])
        numbers = np.where(nearer, after - 1, after % len(self.times))
        here = np.abs(self.times[numbers] - times) * self.rate <= NEAR
        found = iter(self.read(sorted(set(numbers[here].tolist()))))
        frames = {number: next(found) for number in sorted(set(numbers[here].tolist()))}
        return [frames[number] if near else None for number, near in zip(numbers.tolist(), here, strict=True)]


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
        self._aspect = float(self._stream.sample_aspect_ratio or 1) or 1.0  # width of a pixel : its height
        self._list()

    def _list(self) -> None:
        packets = [packet for packet in self._packets() if packet.size and not packet.is_discard]
        if self._counted:
            self._stamps = list(range(len(packets)))
            self._keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
            seconds = 1 / float(self._stream.average_rate or 25)
        else:
            self._stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
            self._keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
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

    def _packets(self) -> Iterator[av.Packet]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.FFmpegError):  # a file that is cut off ends here
                return

    def read(self, numbers: list[int]) -> list[np.ndarray | None]:
        stamps = [self._stamps[number] for number in numbers]
        images: dict[int, np.ndarray] = {}
        if stamps and not self._counted:
            key = max((key for key in self._keys if key <= min(stamps)), default=None)
            if key is not None:
                self._container.seek(key, stream=self._stream)
                images = self._decode(set(stamps))
        if len(images) < len(set(stamps)):  # not every file can be entered in the middle
            self._container.seek(0)
            images |= self._decode(set(stamps) - images.keys())
        return [images.get(stamp) for stamp in stamps]

    def _decode(self, wanted: set[int]) -> dict[int, np.ndarray]:
        """Decode on from here until all wanted frames are there, or the file ends.

        Where a packet is damaged, no frame counts from the key frame before it to the next one: those after it may
        refer to what was lost, and a decoder often finds the damage some frames after it.
        """
        import av

        images: dict[int, np.ndarray] = {}
        damaged: set[int] = set()  # numbers of groups of frames, each from one key frame to the next
        context, count, last, group = self._stream.codec_context, -1, max(wanted), 0
        for number, packet in enumerate(self._packets()):
            if not self._counted:
                context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            if packet.is_keyframe:
                group = self._group(number if self._counted else packet.pts)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged.add(group)
                continue
            for frame in frames:
                count += 1
                stamp = count if self._counted else frame.pts
                if frame.is_corrupt:
                    damaged.add(self._group(stamp))
                if stamp in wanted:
                    image = frame.to_ndarray(format="rgb24", width=self._width(frame.width))
                    images[stamp] = np.rot90(image, frame.rotation // 90) if frame.rotation else image
                if stamp is not None and stamp >= last:
                    return self._undamaged(images, damaged)
        return self._undamaged(images, damaged)

    def _width(self, width: int) -> int | None:
        """Return the width at which pixels are square; None where they are, for scaling takes time, also by 1."""
        return None if self._aspect == 1 else round(width * self._aspect)

    def _group(self, stamp: int | None) -> int:
        """Return the number of the last key frame that is not after a frame."""
        return bisect_right(self._keys, -1 if stamp is None else stamp)

    def _undamaged(self, images: dict[int, np.ndarray], damaged: set[int]) -> dict[int, np.ndarray]:
        return {stamp: image for stamp, image in images.items() if self._group(stamp) not in damaged}
