"""Windows of recordings: where they lie, and what the features give of each, a recording being read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import tee
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.errors import ConfigError, DataError
from pkdot.features.base import Extracted, FaceClip, Feature, TooFewFaces, checked, gaps_of, present_in

if TYPE_CHECKING:
    from pkdot.features.video import Frames
    from pkdot.inference.sources import Recording

MOMENT = 1e-3  # seconds before its beginning that a modality may be said to be there
MOST = 1_000_000  # windows of a recording, which are two weeks of a second each


@dataclass(frozen=True)
class Span:
    """A part of a recording, seconds; none: from its start, or to its end."""

    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True)
class Window:
    """A window of a recording, or of one person in it.

    Attributes
    ----------
    recording : Recording
    start, stop : float, optional
        Seconds; none where the recording cannot be read at all.
    track : int, optional
        Number of the person, where all are wanted.
    arrays : dict of str to ndarray
        Modality -> array; empty where the window cannot be used.
    gaps : dict of str to list of float
        Modality -> where its time was filled in, as ``gaps_of`` says.
    face : float, optional
        Share of frames that show the face, where one is looked for.
    note : str
        What was masked, or why the window cannot be used.
    times, boxes : ndarray, shape (frames,) and (frames, 4)
        Where the face is: seconds, and left, top, right, bottom in pixels.
    share : float
        Share of the recording that is done with this window.
    """

    recording: Recording
    start: float | None = None
    stop: float | None = None
    track: int | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    gaps: dict[str, list[float]] = field(default_factory=dict)
    face: float | None = None
    note: str = ""
    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    share: float = 1.0


class Windows:
    """Cuts recordings into windows, as long as a sample of the training.

    Parameters
    ----------
    features : dict of str to Feature
        Prevalent modality -> its feature.
    seconds : float, optional
        Length of a sample in training; none where a sample was a whole file. Then it is what the features read of it.
    every : float, optional
        Seconds from the start of a window to that of the next; none: one window after the other.
    everyone : bool
        All people of a picture, and not the largest alone.
    shortest : float, optional
        A recording that is shorter than ``seconds`` and not than this is one window, as samples of the training were.
    tokens : int, optional
        Tokens of a sample where some of the modalities are enough; a modality without any is absent. None: all
        modalities are needed.
    """

    def __init__(
        self,
        features: dict[str, Feature],
        seconds: float | None,
        every: float | None = None,
        everyone: bool = False,
        shortest: float | None = None,
        tokens: int | None = None,
    ) -> None:
        self.features, self.seconds, self.everyone = features, seconds, everyone
        self.shortest, self.tokens = shortest, tokens
        spans = [feature.span for feature in features.values()]
        self.span = seconds or max((span for span in spans if span and all(spans)), default=None)
        if every is not None and self.span is None:
            raise ConfigError("--every: a sample of this bundle is a whole recording, so that there is no next window")
        self.every = every or self.span
        faces = [name for name, feature in features.items() if feature.name == "faces"]
        self.face = faces[0] if faces else None
        if everyone and len(faces) != 1:
            raise ConfigError("--subject all: the bundle looks at no face; leave it out")

    def of(self, recording: Recording) -> Iterator[Window]:
        """Yield the windows of a recording in order; one that says why, where it cannot be used."""
        try:
            if recording.problem:
                raise DataError(recording.problem)
            few, note = self._readable(recording)
            if len(few) < len(self.features):
                everyone = self.everyone and self.face in few
                less = Windows(few, self.seconds, self.every, everyone, self.shortest, self.tokens)
                for window in less.of(recording):
                    yield replace(window, note="; ".join(filter(None, (note, window.note))))
            elif recording.camera is not None:
                yield from self._of_camera(recording)
            else:
                spans, seconds = self._plan(recording)
                yield from self._read(recording, spans, len(spans), seconds)
        except DataError as problem:
            yield Window(recording, note=str(problem))

    def _readable(self, recording: Recording) -> tuple[dict[str, Feature], str]:
        """Return the features of a recording that are there, and why others are not, where some are enough."""
        if self.tokens is None:
            return self.features, ""
        if recording.camera is not None:
            return {name: one for name, one in self.features.items() if name == self.face}, ""
        few, problems = {}, []
        for name, feature in self.features.items():
            if name in recording.raws:
                try:
                    _length(feature, recording, name)
                    few[name] = feature
                except DataError as problem:
                    problems.append(str(problem))
        if not few:
            raise DataError("; ".join(dict.fromkeys(problems)) or "it has none of the modalities of the bundle")
        return few, "; ".join(dict.fromkeys(problems))

    def _plan(self, recording: Recording) -> tuple[list[Span], float | None]:
        """Return the windows of a recording, and where it ends; None where that is not known."""
        if self.span is None and any(name != self.face for name in self.features):
            return [Span(recording.start, recording.stop)], recording.stop  # a whole file, that may have no time
        lengths = [_length(feature, recording, name) for name, feature in self.features.items()]
        begins = [recording.raws[name].offset for name in self.features]
        last = max(lengths) if self.tokens else min(lengths)  # where some are enough, none ends the others
        begin, end = max(recording.start or 0.0, *begins), min(recording.stop or np.inf, last)
        whole = [Span(recording.start, recording.stop)]
        if self.span is None or self.every is None:
            return whole, end
        slack = min(feature.slack for feature in self.features.values())
        parts = [(begin, end)]
        if self.tokens:  # nor does one that begins late take windows from the others
            first = recording.start or 0.0
            parts = [(max(first, one), min(end, other)) for one, other in zip(begins, lengths, strict=True)]
        starts = begin + self.every * self._numbers(recording, [(b - begin, e - begin + slack) for b, e in parts])
        if not len(starts) and self.shortest is not None and end - begin + slack >= self.shortest:
            return [Span(begin, end)], end
        if not len(starts):
            what = f"{recording.name}: lasts {max(0.0, end - begin):.2f} s"
            raise DataError(f"{what}, and a window of this bundle is {self.span:.4g} s long")
        if len(starts) == 1 and self.seconds is None:
            return whole, end  # the file is one sample, and is read as in training
        return [Span(start, start + self.span) for start in starts.tolist()], end

    def _numbers(self, recording: Recording, parts: list[tuple[float, float]]) -> np.ndarray:
        """Return the numbers of the windows that lie in one of the parts of a recording; number 0 starts at 0 s."""
        span, every = self.span or 0.0, self.every or 1.0
        bounds = [(np.ceil(begin / every - 1e-6), np.floor((end - span) / every)) for begin, end in parts]
        count = sum(max(0.0, last - first + 1) for first, last in bounds)
        if count > MOST:
            raise DataError(f"{recording.name}: has {count:.3g} windows, and {MOST:,} are allowed; see to its rate")
        return np.unique(np.concatenate([np.arange(first, last + 1) for first, last in bounds]))

    def _of_camera(self, recording: Recording) -> Iterator[Window]:
        """Yield windows as they come, until the camera ends; those for which there was no time are left out."""
        from pkdot.features.camera import Camera

        if len(self.features) > 1 or self.face is None or self.span is None or self.every is None:
            others = ", ".join(self.features)
            raise DataError(f"camera {recording.name}: it gives a face alone, and the bundle takes {others}")
        length, every = self.span, self.every
        camera = Camera(recording.camera or 0)

        def spans() -> Iterator[Span]:
            start = 0.0
            while True:
                yield Span(start, start + length)
                start += every * max(1, int((camera.now - length - start) / every))

        try:
            yield from self._read(recording, spans(), 0, np.inf, camera)
        finally:
            camera.close()

    def _read(
        self, recording: Recording, spans: Iterable[Span], count: int, end: float | None, video: Frames | None = None
    ) -> Iterator[Window]:
        """Yield what the features give of each window, or of each person in it."""
        own, *others = tee(spans, 1 + len(self.features))
        streams = [self._stream(name, recording, part, video) for name, part in zip(self.features, others, strict=True)]
        for number, (span, *results) in enumerate(zip(own, *streams, strict=False), start=1):
            begin, stop = span.start or 0.0, end if span.stop is None else span.stop
            window = Window(recording, begin, stop, share=number / count if count else 0.0)
            by_name = dict(zip(self.features, results, strict=True))
            people = by_name[self.face] if self.face else {0: None}
            for person in people:
                got = {name: found.get(person, found.get(0)) for name, found in by_name.items()}
                yield self._filled(window, span, person or None, got)

    def _stream(
        self, name: str, recording: Recording, spans: Iterable[Span], video: Frames | None
    ) -> Iterator[dict[int, Any]]:
        """Yield what a feature gives of each window: number of a person, 0 where none is told apart -> array."""
        feature: Any = self.features[name]
        sources = (recording.source(name, span.start, span.stop) for span in spans)
        if name != self.face:
            return ({0: got} for got in feature.along(sources))
        if self.everyone:
            return feature.everyone(sources, video)
        return ({0: got} for got in feature.along(sources, video))

    def _filled(self, window: Window, span: Span, track: int | None, got: dict[str, Any]) -> Window:
        """Return a window with the arrays that the features gave, or with the reason why it has none."""
        notes = {name: str(one) if isinstance(one, DataError) else one.note for name, one in got.items()}
        face = got.get(self.face or "")
        if face is not None:
            window = replace(window, face=_share(face))
        if isinstance(face, FaceClip):
            window = replace(window, times=face.times, boxes=face.boxes)
        arrays, gaps = {}, {}
        for name, one in got.items():
            source = window.recording.source(name, span.start, span.stop)
            try:
                if source.start is not None and source.start < -MOMENT:
                    raise DataError(f"{source.path}: begins at {window.recording.raws[name].offset:g} s")
                if not isinstance(one, DataError):
                    array = checked(self.features[name], source, one).array
                    gap = [] if one.mask is None else gaps_of(one.mask)
                    if self.tokens and not present_in(gap, self.tokens).any():
                        raise DataError(f"{name}: more than half of every part of its time was filled in")
                    arrays[name], gaps[name] = array, gap
            except DataError as problem:
                notes[name] = str(problem)
        if len(arrays) < len(got) and self.tokens is None:
            arrays = {}
        note = "; ".join(dict.fromkeys(note for note in notes.values() if note))
        return replace(window, track=track, arrays=arrays, gaps=gaps, note=note)


def _share(face: Extracted | DataError) -> float | None:
    """Return the share of frames that show the face; None where nobody looked."""
    if isinstance(face, DataError):
        return face.share if isinstance(face, TooFewFaces) else None
    return 1.0 if face.mask is None else float(face.mask.mean())


def _length(feature: Feature, recording: Recording, modality: str) -> float:
    """Return when a modality ends on the clock of its recording."""
    raw = recording.raws[modality]
    return raw.offset + feature.seconds(recording.source(modality, None, None))
