"""Faces: a video -> crops of the subject's face, aligned by its landmarks."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.alignment import align
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.features.video import Crops, Frames, open_frames
from pkdot.params import Params

STRIDE = 4  # every fourth row and column tells whether a picture changes
CHANGED = 6  # of 255; a larger difference is more than what coding adds to a still picture
STILL = 1e-3  # share of changed pixels below which a picture is still


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
        strangers = cut_off = 0
        crops: list[np.ndarray | None]
        if isinstance(video, Crops):
            crops = [None if frame is None else _resized(frame, self.options.size) for frame in frames]
        else:
            frames = [frame if frame is None else half(frame, source.side) for frame in frames]
            faces = self._finder.follow(frames)
            strangers, cut_off = self._finder.strangers, self._finder.cut_off
            crops = [
                align(frame, face.landmarks, self.options.size) if frame is not None and face is not None else None
                for frame, face in zip(frames, faces, strict=True)
            ]
            if any(crop is not None for crop in crops) and len(frames) > 1 and is_still(frames):
                raise DataError(f"{source.path}: the picture never changes, so that it is no clip but a still")
        found = np.array([crop is not None for crop in crops])
        if found.all():
            return Extracted(fill(crops, times))
        seen = sum(frame is not None for frame in frames)
        what = f"{source.path}: of {len(frames)} frames {seen} decoded, {found.sum()} with the subject's face"
        if strangers:
            what += f", {strangers} with another person in the subject's place"
        if cut_off:
            what += f", {cut_off} with a face that is cut off at the edge"
        if found.mean() < self.options.min_coverage:
            raise DataError(f"{what}; at least {self.options.min_coverage:.0%} must have it")
        return Extracted(fill(crops, times), found, f"{what}; the others are blends of their neighbours")

    def _open(self, source: Source) -> Frames:
        """Return the source's frames; samples that follow one another are often parts of one long video."""
        if self._last is None or self._last[0] != source.path:
            self._last = source.path, open_frames(source.path, source.rate)
        return self._last[1]

    def _times(self, source: Source, video: Frames) -> np.ndarray:
        """Return the seconds of the frames: the middles of equal parts of the window."""
        start = source.start or 0.0
        stop = video.seconds if source.stop is None else source.stop
        if self.options.window:
            start, stop = start + self.options.window[0], start + self.options.window[1]
        return start + (np.arange(self.options.frames) + 0.5) * (stop - start) / self.options.frames


def half(frame: np.ndarray, side: str | None) -> np.ndarray:
    """Return the half of a picture where one of two people is; all of it where there is one."""
    middle = frame.shape[1] // 2
    return {"left": frame[:, :middle], "right": frame[:, middle:], None: frame}[side]


def is_still(frames: list[np.ndarray | None]) -> bool:
    """Return whether all frames show one and the same picture: a camera's noise alone makes a difference."""
    small = [frame[::STRIDE, ::STRIDE].astype(np.int16) for frame in frames if frame is not None]
    return all(np.mean(np.abs(other - small[0]).max(axis=2) > CHANGED) < STILL for other in small[1:])


def fill(crops: list[np.ndarray | None], times: np.ndarray) -> np.ndarray:
    """Stack crops; a missing one is the blend of its neighbours in time, or the nearest one at an end."""
    found = np.array([number for number, crop in enumerate(crops) if crop is not None])
    stack = np.stack([crop for crop in crops if crop is not None])
    if len(found) == len(crops):
        return stack
    places = np.interp(times, times[found], np.arange(len(found)))
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(found) - 1)
    share = (places - before)[:, None, None, None]
    return np.round(stack[before] * (1 - share) + stack[after] * share).astype(np.uint8)


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    import cv2

    if frame.shape[:2] == (size, size):
        return frame
    shrink = max(frame.shape[:2]) > size
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
