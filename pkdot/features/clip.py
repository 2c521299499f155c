"""Pictures and videos that lie in arrays: (time, height, width), with colours last where there are some."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, fill, register
from pkdot.params import Params
from pkdot.recordings import open_recording

COLOURS = (1, 3, 4)  # grey; red, green, blue; and with transparency, which is left out


class ClipOptions(Params):
    """Options of ``clip``."""

    frames: int = Field(1, ge=1, le=100_000, description="frames of a sample, evenly in time; 1: a picture")
    size: int = Field(ge=8, le=4096, description="height and width that come out, in pixels")
    white: float | None = Field(
        None, gt=0, description="the value that becomes white (255), such as 1 for shares; null: the arrays are uint8"
    )
    min_coverage: float = Field(
        0.5,
        gt=0,
        le=1,
        description="smallest share of frames that must be there, as those are not that hold nothing but NaN",
    )


@register("clip")
class Clip(Feature):
    """Frames in red, green and blue: (frames, size, size, 3), as encoders of faces read them."""

    Options = ClipOptions
    options: ClipOptions
    dtype = "uint8"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.options.frames, self.options.size, self.options.size, 3)

    def extract(self, source: Source) -> Extracted:
        film = open_recording(source.path, source.part)
        if source.start is None or source.stop is None:
            # a whole file is one picture where that is wanted, and else a film
            film = film[None] if self.options.frames == 1 and _is_picture(film) else film
            first, last = 0, len(film)
        else:
            rate = source.rate or 1.0
            first, last = round(source.start * rate), round(source.stop * rate)
        if not 0 <= first < last <= len(film):
            raise DataError(f"{source.path}: has {len(film)} frames, not {first} to {last}")
        times = np.linspace(0, last - first - 1, self.options.frames)
        chosen, hidden = times.round().astype(int), source.hidden_rows(first, last)
        frames = [None if hidden[row] or _is_empty(film[first + row]) else film[first + row] for row in chosen]
        there = np.array([frame is not None for frame in frames])
        what = f"{source.path}: {there.sum()} of {len(frames)} frames are there"
        if there.mean() < self.options.min_coverage:
            raise DataError(f"{what}; at least {self.options.min_coverage:.0%} must be")
        array = fill([frame if frame is None else self._picture(frame, source) for frame in frames], times)
        return Extracted(array) if there.all() else Extracted(array, there, f"{what}; the others are blends of those")

    def seconds(self, source: Source) -> float:
        return len(open_recording(source.path, source.part)) / (source.rate or 1.0)

    def _picture(self, picture: np.ndarray, source: Source) -> np.ndarray:
        """Return one frame in three colours and in the size that comes out."""
        import cv2

        if picture.ndim == 2:
            picture = picture[..., None]
        if picture.ndim != 3 or picture.shape[2] not in COLOURS:
            raise DataError(f"{source.path}: a frame has shape {picture.shape}, not (height, width) or (.., .., 3)")
        if self.options.white is not None:
            picture = np.clip(np.nan_to_num(picture) * (255 / self.options.white), 0, 255).round().astype(np.uint8)
        if picture.dtype != np.uint8:
            raise DataError(f"{source.path}: holds {picture.dtype}, not uint8; the option white says what becomes 255")
        colours = np.ascontiguousarray(np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[..., :3])
        smaller = max(picture.shape[:2]) > self.options.size
        side = (self.options.size, self.options.size)
        return cv2.resize(colours, side, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _is_empty(picture: np.ndarray) -> bool:
    return picture.dtype.kind == "f" and bool(np.isnan(picture).all())


def _is_picture(array: np.ndarray) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in COLOURS)
