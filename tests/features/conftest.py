"""Clips for the face stage: a photograph of a face, moved about in a short video."""

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut

FACE = astronaut()[:300, 60:400]  # the face is about 85 pixels wide, at (165, 115)


def moved(turn, scale, x, y, width=320, height=240, background=None):
    """The photograph turned (degrees), scaled, its face put at (x, y); and the matrix that does it."""
    matrix = cv2.getRotationMatrix2D((165, 115), turn, scale)
    matrix[:, 2] += [x - 165, y - 115]
    canvas = np.full((height, width, 3), 90, np.uint8) if background is None else background.copy()
    mask = cv2.warpAffine(np.ones(FACE.shape[:2], np.uint8), matrix, (width, height))
    image = cv2.warpAffine(FACE, matrix, (width, height))
    return np.where(mask[..., None] > 0, image, canvas), matrix


def motion(number):
    """Where the face is in a frame: it turns, grows and wanders."""
    return (
        8 * np.sin(number / 15),
        0.7 + 0.1 * np.sin(number / 20),
        160 + 40 * np.sin(number / 12),
        120 + 10 * np.cos(number / 9),
    )


def write_video(path, images, codec="libx264", rate=25, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {key: str(value) for key, value in options.items()}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A clip of 5.52 s in which the face moves about."""
    path = tmp_path_factory.mktemp("clips") / "moving.mp4"
    write_video(path, [moved(*motion(number))[0] for number in range(138)])
    return path
