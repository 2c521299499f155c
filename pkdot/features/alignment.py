"""Alignment of a face: its crop by five landmarks, and whether the landmarks can be those of a face that is in sight.

The template is that of ArcFace (Deng et al., CVPR 2019) for 112 x 112 pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE_SIZE = 112
MAX_OUTSIDE = 0.25  # largest share of a crop outside the frame: about where one eye leaves it
MAX_MISFIT = 0.1  # root mean square distance of landmarks to the template, in sides of a crop; usual is 0.02
SIDE = (np.arange(12) + 0.5) * TEMPLATE_SIZE / 12
POINTS = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)  # where a crop is tested to lie in the frame


def is_believable(landmarks: np.ndarray, width: int, height: int) -> bool:
    """Return whether most of a face lies in its frame, and its landmarks lie as those of a face do.

    Parameters
    ----------
    landmarks : ndarray, shape (5, 2)
        Pixels of the frame.
    width, height : int
        Size of the frame.
    """
    matrix = similarity(landmarks, TEMPLATE)
    misfit = landmarks @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE
    if np.sqrt((misfit**2).sum(axis=1).mean()) > MAX_MISFIT * TEMPLATE_SIZE:
        return False
    places = (POINTS - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    inside = ((places >= 0) & (places < [width, height])).all(axis=1)
    return float(1 - inside.mean()) <= MAX_OUTSIDE


def align(frame: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """Crop a face with its landmarks as near to the template's as turn, scale and shift can bring them.

    Parameters
    ----------
    frame : ndarray, shape (height, width, 3), uint8
    landmarks : ndarray, shape (5, 2)
        Pixels of the frame.
    size : int
        Side of the crop.

    Returns
    -------
    ndarray, shape (size, size, 3), uint8
        Black outside the frame. Large faces are smoothed before they are made smaller.
    """
    template = TEMPLATE * size / TEMPLATE_SIZE
    matrix = similarity(landmarks, template)
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 1:  # average over the pixels of the frame that fall into one of the crop
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
        inside = corners @ np.linalg.inv(matrix[:, :2]).T - np.linalg.solve(matrix[:, :2], matrix[:, 2])
        begin = np.clip(np.floor(inside.min(axis=0)) - 1, 0, np.array(frame.shape[1::-1]) - 1).astype(int)
        end = np.clip(np.ceil(inside.max(axis=0)) + 1, begin + 1, frame.shape[1::-1]).astype(int)
        small = np.maximum(np.round((end - begin) * scale), 1).astype(int)
        patch = frame[begin[1] : end[1], begin[0] : end[0]]
        frame = cv2.resize(patch, small.tolist(), interpolation=cv2.INTER_AREA)
        matrix = similarity((landmarks + 0.5 - begin) * small / (end - begin) - 0.5, template)
    return cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR)


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return the turn, scale and shift that bring points closest to others, in least squares.

    In complex numbers it is the line w = a z + b, so the closed form of linear regression holds.

    Parameters
    ----------
    points, onto : ndarray, shape (n, 2)

    Returns
    -------
    ndarray, shape (2, 3)
        Affine matrix.
    """
    z, w = points @ [1, 1j], onto @ [1, 1j]
    middle = z.sum() / len(z)
    centred = z - middle
    a = np.vdot(centred, w) / np.vdot(centred, centred)
    b = w.sum() / len(w) - a * middle
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
