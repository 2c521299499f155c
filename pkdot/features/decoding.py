"""One way through the packets of a video: from a key frame onward, decoding no more than the wanted frames need."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av


class Decoding:
    """Decodes on as far as it is asked to, and holds the wanted frames until they are let go.

    Where a packet is damaged, no frame counts from the key frame before it to the next one: those after it may
    refer to what was lost, and a decoder often finds the damage some frames after it.

    Parameters
    ----------
    container : InputContainer
    keys : list of int
        Sorted stamps of the key frames.
    wanted : set of int
        Stamps of the frames that will be asked for.
    counted : bool
        Frames are told by their number and not by a stamp, as in a format that stores no times.
    entry : int, optional
        Stamp of the key frame to begin at; none: the start of the file.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        keys: list[int],
        wanted: set[int],
        counted: bool,
        entry: int | None,
    ) -> None:
        self._stream = container.streams.video[0]
        self._keys, self._wanted, self._counted = keys, wanted, counted
        self._picture = Pictures(aspect_of(self._stream))
        self._images: dict[int, np.ndarray] = {}
        self._adopted: dict[int, np.ndarray] = {}
        self._damaged: set[int] = set()  # numbers of groups of frames, each from one key frame to the next
        self._reached: int | None = None
        if entry is None:
            container.seek(0)
        else:
            container.seek(entry, stream=self._stream)
        self._frames = self._decode(packets_of(container))

    def until(self, last: int) -> None:
        """Decode until the frame of a stamp, or the end of the file."""
        while self._reached is None or self._reached < last:
            stamp = next(self._frames, None)
            if stamp is None:
                return
            self._reached = stamp

    def image(self, stamp: int) -> np.ndarray | None:
        """Return a wanted frame; None where it did not come, or came damaged."""
        if stamp in self._adopted:
            return self._adopted[stamp]
        return None if self._group(stamp) in self._damaged else self._images.get(stamp)

    def adopt(self, images: dict[int, np.ndarray]) -> None:
        """Take over frames that another way through the file has given."""
        self._adopted |= images

    def forget(self, before: int) -> None:
        """Let the frames before a stamp go."""
        for images in (self._images, self._adopted):
            for stamp in [stamp for stamp in images if stamp < before]:
                del images[stamp]

    def close(self) -> None:
        """Let all frames go at once; else they wait for a collection of garbage, as the iteration holds this object."""
        self._frames.close()
        self._images.clear()
        self._adopted.clear()

    def is_short_of(self, stamp: int) -> bool:
        """Return whether a key frame lies between what has been reached and a stamp, so that one may leap there."""
        return self._reached is not None and not self._counted and self._group(stamp) > self._group(self._reached)

    def _decode(self, packets: Iterator[av.Packet]) -> Generator[int]:
        """Yield the stamps of the frames, in order of time."""
        import av

        context, count, group = self._stream.codec_context, -1, 0
        for number, packet in enumerate(packets):
            if not self._counted:
                context.skip_frame = "DEFAULT" if packet.pts in self._wanted else "NONREF"
            if packet.is_keyframe:
                group = self._group(number if self._counted else packet.pts)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._damaged.add(group)
                continue
            for frame in frames:
                count += 1
                stamp = count if self._counted else frame.pts
                if frame.is_corrupt:
                    self._damaged.add(self._group(stamp))
                if stamp in self._wanted:
                    self._images[stamp] = self._picture.of(frame)
                if stamp is not None:
                    yield stamp

    def _group(self, stamp: int | None) -> int:
        """Return the number of the last key frame that is not after a frame."""
        return bisect_right(self._keys, -1 if stamp is None else stamp)


def packets_of(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """Yield the packets of the first video stream; a file that is cut off ends where it breaks."""
    import av

    packets = container.demux(container.streams.video[0])
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def aspect_of(stream: av.VideoStream) -> float:
    """Return the width of a pixel, its height being 1."""
    return float(stream.sample_aspect_ratio or 1) or 1.0


class Pictures:
    """Makes pictures of decoded frames, all by one converter: to set up another one for every frame takes longer.

    Parameters
    ----------
    aspect : float
        The width of a pixel, its height being 1.
    """

    def __init__(self, aspect: float) -> None:
        from av.video.reformatter import VideoReformatter

        self._aspect, self._converter = aspect, VideoReformatter()

    def of(self, frame: av.VideoFrame) -> np.ndarray:
        """Return a frame upright and with square pixels, (height, width, 3) uint8 RGB."""
        # a width that is not needed is none: scaling takes time, also by 1
        width = None if self._aspect == 1 else round(frame.width * self._aspect)
        image = self._converter.reformat(frame, width=width, format="rgb24", threads=1).to_ndarray()
        return np.rot90(image, frame.rotation // 90) if frame.rotation else image
