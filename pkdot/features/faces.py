"""Faces: a video -> crops of the subject's face, aligned by its landmarks.

The template is that of ArcFace (Deng et al., CVPR 2019) for 112 x 112 pixels.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.features.video import Crops, Frames, open_frames
from pkdot.params import Params

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE_SIZE = 112


class FacesOptions(Params):
    """Options of ``faces``."""

    frames: int = Field(16, ge=1, description="frames a sample, in the middle of equal parts of the window")
    window: tuple[float, float] | None = Field(
        (2.0, 5.5),
        description="span within the sample, seconds; none: the whole span that the data set gives",
    )
    size: int = Field(112, ge=16, description="side of a crop, pixels")
    search: int = Field(160, ge=64, description="longer side of a frame where all of it is searched, pixels")
    min_coverage: float = Field(0.5, gt=0, le=1, description="smallest share of frames that must show the face")

    @model_validator(mode="after")
    def _fits(self) -> FacesOptions:
        if self.window and not 0 <= self.window[0] < self.window[1]:
            raise ValueError(f"window is {self.window}; it must start at 0 or later and end after its start")
        return self


@register("faces")
class Faces(Feature):
    """Crops (frames, size, size, 3), RGB; a frame without a face is a masked blend of its neighbours."""

    Options = FacesOptions
    options: FacesOptions

    def __init__(self, options: FacesOptions) -> None:
        from pkdot.features.detector import FaceFinder

        super().__init__(options)
        self._finder = FaceFinder(options.search)
        self._last: tuple[object, Frames] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.options.frames, self.options.size, self.options.size, 3

    @property
    def dtype(self) -> str:
        return "uint8"

    def extract(self, source: Source) -> Extracted:
        video = self._open(source)
        times = self._times(source, video)
        frames = video.at(times)
        if isinstance(video, Crops):
            crops = [None if frame is None else _resized(frame, self.options.size) for frame in frames]
        else:
            frames = [frame if frame is None else half(frame, source.side) for frame in frames]
            faces = self._finder.follow(frames)
            crops = [
                None if face is None else align(frame, face.landmarks, self.options.size)
                for frame, face in zip(frames, faces, strict=True)
            ]
        found = np.array([crop is not None for crop in crops])
        if found.all():
            return Extracted(np.stack(crops))
        seen = sum(frame is not None for frame in frames)
        what = f"{source.path}: of {len(frames)} frames {seen} decoded, {found.sum()} with the subject's face"
        if found.mean() < self.options.min_coverage:
            raise DataError(f"{what}; at least {self.options.min_coverage:.0%} must have it")
        return Extracted(fill(crops, times), found, f"{what}; the others are blends of their neighbours")

    def _open(self, source: Source) -> Frames:
        """The source's frames; samples that follow one another are often parts of one long video."""
        if self._last is None or self._last[0] != source.path:
            self._last = source.path, open_frames(source.path, source.rate)
        return self._last[1]

    def _times(self, source: Source, video: Frames) -> np.ndarray:
        """Seconds of the frames: the middles of equal parts of the window."""
        start = source.start or 0.0
        stop = video.times[-1] + 1 / video.rate if source.stop is None else source.stop
        if self.options.window:
            start, stop = start + self.options.window[0], start + self.options.window[1]
        return start + (np.arange(self.options.frames) + 0.5) * (stop - start) / self.options.frames


def half(frame: np.ndarray, side: str | None) -> np.ndarray:
    """The half of a picture where one of two people is; all of it where there is one."""
    middle = frame.shape[1] // 2
    return {"left": frame[:, :middle], "right": frame[:, middle:], None: frame}[side]


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
    import cv2

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
    """The turn, scale and shift that brings points closest to others, in least squares.

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
    centred = z - z.mean()
    a = np.vdot(centred, w) / np.vdot(centred, centred)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def fill(crops: list[np.ndarray | None], times: np.ndarray) -> np.ndarray:
    """Stack crops; a missing one is the blend of its neighbours in time, or the nearest one at an end."""
    known = np.array([number for number, crop in enumerate(crops) if crop is not None])
    stack = np.stack([crops[number] for number in known])
    places = np.interp(times, times[known], np.arange(len(known)))
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (places - before)[:, None, None, None]
    return np.round(stack[before] * (1 - share) + stack[after] * share).astype(np.uint8)


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    import cv2

    if frame.shape[:2] == (size, size):
        return frame
    shrink = max(frame.shape[:2]) > size
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
