"""Faces: a video -> crops of the subject's face, aligned by its landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, tee
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.alignment import align
from pkdot.features.base import Extracted, FaceClip, Feature, Source, TooFewFaces, fill, identity, register
from pkdot.features.video import Crops, Frames, open_frames
from pkdot.params import Params

if TYPE_CHECKING:
    from pkdot.features.detector import Walk

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
    slack = 0.1

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
        return self._clip(source, _shown(video.at(times), source, times), times, isinstance(video, Crops))

    def along(self, sources: Iterable[Source], video: Frames | None = None) -> Iterator[Extracted | DataError]:
        """Extract many spans of one video, which is decoded once; ``video`` where it is open already."""
        for source, frames, times, ready in self._spans(sources, video):
            try:
                yield self._clip(source, frames, times, ready)
            except DataError as problem:
                yield problem

    def everyone(
        self, sources: Iterable[Source], video: Frames | None = None
    ) -> Iterator[dict[int, Extracted | DataError]]:
        """Extract many spans as ``along`` does, of all people in the picture: number of a person -> the clip.

        A person keeps the number from span to span. Where there is nobody, the number 0 has the reason.
        """
        from pkdot.features.people import People

        people = People(self._finder)
        for source, frames, times, ready in self._spans(sources, video):
            found = {} if ready else people.among(frames, times)
            if not found:
                try:
                    yield {0: self._clip(source, frames, times, ready)}
                except DataError as problem:
                    yield {0: problem}
                continue
            clips: dict[int, Extracted | DataError] = {}
            for number, walk in found.items():
                try:
                    clips[number] = self._cropped(source, frames, times, walk)
                except DataError as problem:
                    clips[number] = problem
            yield clips

    def seconds(self, source: Source) -> float:
        return self._open(source).seconds

    @property
    def span(self) -> float | None:
        return self.options.window[1] if self.options.window else None

    def _spans(
        self, sources: Iterable[Source], video: Frames | None
    ) -> Iterator[tuple[Source, list[np.ndarray | None], np.ndarray, bool]]:
        """Yield each span with its frames, their times, and whether they are ready crops."""
        wanted, answered = tee(sources)
        first = next(wanted, None)
        if first is None:
            return
        frames_of = video or self._open(first)
        spans = (self._times(source, frames_of) for source in chain([first], wanted))
        for source, frames in zip(answered, frames_of.along(spans), strict=False):
            times = self._times(source, frames_of)
            yield source, _shown(frames, source, times), times, isinstance(frames_of, Crops)

    def _clip(self, source: Source, frames: list[np.ndarray | None], times: np.ndarray, ready: bool) -> Extracted:
        """Return the crops of the subject; frames that are ready crops are only brought to size."""
        if ready:
            crops = [None if frame is None else _resized(frame, self.options.size) for frame in frames]
            return self._filled(source, frames, times, crops, "")
        frames = [frame if frame is None else half(frame, source.side) for frame in frames]
        return self._cropped(source, frames, times, self._finder.follow(frames))

    def _cropped(self, source: Source, frames: list[np.ndarray | None], times: np.ndarray, walk: Walk) -> FaceClip:
        """Return the crops of a person whose face was followed."""
        crops = [
            align(frame, face.landmarks, self.options.size) if frame is not None and face is not None else None
            for frame, face in zip(frames, walk.faces, strict=True)
        ]
        if any(crop is not None for crop in crops) and len(frames) > 1 and is_still(frames):
            raise DataError(f"{source.path}: the picture never changes, so that it is no clip but a still")
        why = f", {walk.strangers} with another person in the subject's place" if walk.strangers else ""
        why += f", {walk.cut_off} with a face that is cut off at the edge" if walk.cut_off else ""
        got = self._filled(source, frames, times, crops, why)
        boxes = np.array([np.full(4, np.nan) if face is None else face.box for face in walk.faces])
        return FaceClip(got.array, got.mask, got.note, times, boxes)

    def _filled(
        self,
        source: Source,
        frames: list[np.ndarray | None],
        times: np.ndarray,
        crops: list[np.ndarray | None],
        why: str,
    ) -> Extracted:
        """Return crops of which missing ones are filled in; too few of them are refused."""
        found = np.array([crop is not None for crop in crops])
        if found.all():
            return Extracted(fill(crops, times))
        seen = sum(frame is not None for frame in frames)
        absent = source.hidden(times).sum()
        why += f", {absent} absent as told" if absent else ""
        what = f"{source.path}: of {len(frames)} frames {seen} decoded, {found.sum()} with the subject's face{why}"
        if found.mean() < self.options.min_coverage:
            problem = f"{what}; at least {self.options.min_coverage:.0%} must have it"
            raise TooFewFaces(problem, float(found.mean()))
        return Extracted(fill(crops, times), found, f"{what}; the others are blends of their neighbours")

    def _open(self, source: Source) -> Frames:
        """Return the source's frames; samples that follow one another are often parts of one long video."""
        known = identity(source.path)
        if self._last is None or self._last[0] != known:
            self._last = known, open_frames(source.path, source.rate)
        return self._last[1]

    def _times(self, source: Source, video: Frames) -> np.ndarray:
        """Return the seconds of the frames: the middles of equal parts of the window."""
        start = source.start or 0.0
        stop = video.seconds if source.stop is None else source.stop
        if self.options.window:
            start, stop = start + self.options.window[0], start + self.options.window[1]
        return start + (np.arange(self.options.frames) + 0.5) * (stop - start) / self.options.frames


def _shown(frames: list[np.ndarray | None], source: Source, times: np.ndarray) -> list[np.ndarray | None]:
    """Return frames without those that are absent."""
    return [None if lost else frame for frame, lost in zip(frames, source.hidden(times), strict=True)]


def half(frame: np.ndarray, side: str | None) -> np.ndarray:
    """Return the half of a picture where one of two people is; all of it where there is one."""
    middle = frame.shape[1] // 2
    return {"left": frame[:, :middle], "right": frame[:, middle:], None: frame}[side]


def is_still(frames: list[np.ndarray | None]) -> bool:
    """Return whether all frames show one and the same picture: a camera's noise alone makes a difference."""
    small = (frame[::STRIDE, ::STRIDE].astype(np.int16) for frame in frames if frame is not None)
    first = next(small)
    return all(np.mean(np.abs(other - first).max(axis=2) > CHANGED) < STILL for other in small)


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    import cv2

    if frame.shape[:2] == (size, size):
        return frame
    shrink = max(frame.shape[:2]) > size
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
