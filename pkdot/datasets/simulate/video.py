"""Write frames as an H.264 video; the same frames give the same bytes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np


def write_h264(path: Path, frames: np.ndarray, rate: float, quality: int = 23) -> None:
    """Write an MP4 file with one H.264 stream.

    Parameters
    ----------
    path : Path
    frames : ndarray, shape (T, height, width, 3), uint8
        RGB; height and width are even.
    rate : float
        Frames a second.
    quality : int
        Constant rate factor of x264: 0 lossless, 51 worst.
    """
    import av

    with av.open(str(path), "w") as container:
        # One thread: with more, x264 may cut a frame differently from run to run.
        options = {"preset": "superfast", "crf": str(quality), "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
