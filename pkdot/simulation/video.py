"""Write frames, and sound, as a video file; the same input gives the same bytes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import AudioFrame

BLOCK = 1024  # samples of a packet of AAC


def write_h264(
    path: Path,
    frames: np.ndarray,
    rate: float,
    quality: int = 23,
    sound: tuple[np.ndarray, int] | None = None,
) -> None:
    """Write an MP4 file with one H.264 stream and, where there is sound, one AAC stream.

    Parameters
    ----------
    path : Path
    frames : ndarray, shape (T, height, width, 3), uint8
        RGB; height and width are even.
    rate : float
        Frames a second.
    quality : int
        Constant rate factor of x264: 0 lossless, 51 worst.
    sound : tuple of ndarray and int, optional
        Samples (n,) in [-1, 1], and how many there are a second. It starts with the first frame.
    """
    import av

    with av.open(str(path), "w") as container:
        # One thread: with more, x264 may cut a frame differently from run to run.
        options = {"preset": "superfast", "crf": str(quality), "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if sound:
            voice = container.add_stream("aac", rate=sound[1], layout="mono")
        written = 0
        for number, frame in enumerate(frames, start=1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            while sound and written < min(len(sound[0]), number / rate * sound[1]):
                container.mux(voice.encode(_block(*sound, written)))
                written += BLOCK
        container.mux(stream.encode(None))
        if sound:
            container.mux(voice.encode(None))


def _block(samples: np.ndarray, rate: int, first: int) -> AudioFrame:
    """Return one packet of the samples from ``first`` on, with its time, or the sound would start too late."""
    import av

    part = np.ascontiguousarray(samples[None, first : first + BLOCK], dtype=np.float32)
    block = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
    block.sample_rate, block.pts, block.time_base = rate, first, Fraction(1, rate)
    return block
