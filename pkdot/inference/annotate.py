"""A copy of a video with the face's box, a bar for each class or value, and their course in time below."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.errors import DataError
from pkdot.files import replacing

if TYPE_CHECKING:
    import av

    from pkdot.answer import Answer
    from pkdot.inference.windows import Window

COLOURS = [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167)]  # Okabe, Ito
MOST = len(COLOURS)  # series that are drawn
PAPER, INK, GRID = (24, 24, 27), (228, 228, 231), (82, 82, 91)
WIDTHS = (480, 1280)  # of the picture, pixels
ROW, COURSE, NAME = 20, 90, 130  # height of a bar's row, height of the course, width of a name
TICKS = Fraction(1, 90_000)  # seconds; the unit of time that is written


class Film:
    """Keeps what was predicted of a video, and draws it into a copy.

    Parameters
    ----------
    answer : Answer
    everyone : bool
        Several people: one series each, of the last class or the first value. Otherwise a series a class or value.
    """

    def __init__(self, answer: Answer, everyone: bool) -> None:
        self._answer, self._everyone = answer, everyone
        self._spans: dict[int, list[tuple[float, float, np.ndarray]]] = {}
        self._boxes: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, window: Window, outputs: np.ndarray) -> None:
        """Keep a window: outputs (classes,), or (frames, targets) of its frames."""
        rows = outputs[None] if self._answer.classes is not None else outputs
        borders = np.linspace(window.start or 0.0, window.stop or 0.0, len(rows) + 1)
        spans = self._spans.setdefault(window.track or 0, [])
        spans += zip(borders[:-1].tolist(), borders[1:].tolist(), rows, strict=True)
        self._boxes.setdefault(window.track or 0, []).append((window.times, window.boxes))

    def write(self, video: Path, out: Path) -> None:
        """Draw everything into a copy of the video, which has no sound.

        Raises
        ------
        DataError
            Nothing was predicted.
        """
        import av

        if not self._spans:
            raise DataError(f"{video}: nothing was predicted that could be drawn; {out} is not written")
        places = {track: Places(clips) for track, clips in self._boxes.items()}
        with replacing(out) as beside, av.open(str(beside), "w", format="mp4") as film:
            stream: Any = None
            for time, picture in pictures(video):
                if stream is None:
                    size = _size(picture)
                    board = Board(self._series(), size[0], self._range())
                    stream = film.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
                    stream.width, stream.height = size[0], size[1] + board.height
                    stream.pix_fmt, stream.time_base = "yuv420p", TICKS
                    stream.codec_context.time_base = TICKS
                frame = av.VideoFrame.from_ndarray(self._drawn(picture, size, board, places, time), format="rgb24")
                frame.pts, frame.time_base = round(time / TICKS), TICKS
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))

    def _names(self) -> list[str]:
        return self._answer.targets if self._answer.classes is None else self._answer.classes

    def _range(self) -> tuple[float, float]:
        if self._answer.classes is not None:
            return 0.0, 1.0
        values = np.array([values for spans in self._spans.values() for _, _, values in spans])
        low, high = float(values.min()), float(values.max())
        return low - 0.05 * (high - low + 1e-6), high + 0.05 * (high - low + 1e-6)

    def _series(self) -> dict[str, Course]:
        """Return what is drawn, by name."""

        def course(track: int, place: int) -> Course:
            return Course([(start, stop, float(values[place])) for start, stop, values in self._spans[track]])

        if self._everyone:
            place = 0 if self._answer.classes is None else len(self._names()) - 1
            return {f"{track}: {self._names()[place]}": course(track, place) for track in sorted(self._spans)[:MOST]}
        return {name: course(0, place) for place, name in enumerate(self._names()[:MOST])}

    @staticmethod
    def _drawn(
        picture: np.ndarray, size: tuple[int, int], board: Board, places: dict[int, Places], time: float
    ) -> np.ndarray:
        import cv2

        canvas = np.empty((size[1] + board.height, size[0], 3), np.uint8)
        canvas[: size[1]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        scale = np.array(size) / picture.shape[1::-1]
        for track, place in sorted(places.items()):
            box = place.at(time)
            if box is not None:
                left, top, right, bottom = np.round(box * np.tile(scale, 2)).astype(int).tolist()
                colour = COLOURS[(track - 1) % MOST] if track else INK
                cv2.rectangle(canvas[: size[1]], (left, top), (right, bottom), colour, 2)
                if track:
                    _text(canvas, str(track), (left + 4, max(14, top - 5)), colour)
        board.draw(canvas[size[1] :], time)
        return canvas


class Board:
    """What stands below the picture: a bar for each series, and the course of all of them.

    Parameters
    ----------
    series : dict of str to Course
    width : int
    limits : tuple of float
        Smallest and largest value.
    """

    def __init__(self, series: dict[str, Course], width: int, limits: tuple[float, float]) -> None:
        import cv2

        self._series, self._limits, self._width = series, limits, width
        self._bars = ROW * len(series) + 6
        self.height = (self._bars + COURSE) // 2 * 2
        self._end = max(course.end for course in series.values())
        self._paper = np.full((self.height, width, 3), PAPER, np.uint8)
        top, bottom = self._bars, self.height - 4
        cv2.rectangle(self._paper, (4, top), (width - 4, bottom), GRID, 1)
        for colour, course in zip(COLOURS, series.values(), strict=False):
            pairs = zip(course.middles.tolist(), course.values.tolist(), strict=True)
            points = [(self._x(middle), self._y(value, top, bottom)) for middle, value in pairs]
            cv2.polylines(self._paper, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
            for point in points if len(points) < width / 8 else ():
                cv2.circle(self._paper, point, 2, colour, -1, cv2.LINE_AA)

    def draw(self, canvas: np.ndarray, time: float) -> None:
        """Draw the board as it is at a time into an image of its size."""
        import cv2

        canvas[:] = self._paper
        low, high = self._limits
        room = self._width - NAME - 70
        for row, (colour, (name, course)) in enumerate(zip(COLOURS, self._series.items(), strict=False)):
            y = ROW * row + ROW // 2
            _text(canvas, name[:16], (6, y + 9), colour)
            value = course.at(time)
            if value is None:
                continue
            length = round(room * (value - low) / max(high - low, 1e-9))
            cv2.rectangle(canvas, (NAME, y - 2), (NAME + max(0, length), y + ROW - 8), colour, -1)
            _text(canvas, f"{value:.2f}", (NAME + room + 10, y + 9), INK)
        x = self._x(time)
        cv2.line(canvas, (x, self._bars), (x, self.height - 4), INK, 1)

    def _x(self, time: float) -> int:
        return 5 + round((self._width - 10) * min(1.0, max(0.0, time / max(self._end, 1e-9))))

    def _y(self, value: float, top: int, bottom: int) -> int:
        low, high = self._limits
        return round(bottom - 2 - (bottom - top - 4) * (value - low) / max(high - low, 1e-9))


def pictures(video: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yield all frames of a video that can be decoded, with their seconds since the first, in order of time."""
    import av

    from pkdot.features.decoding import Pictures, aspect_of, packets_of

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        picture, rate = Pictures(aspect_of(stream)), float(stream.average_rate or 25)
        first: float | None = None
        last, count = -1.0, 0
        for packet in packets_of(container):
            try:
                frames: list[av.VideoFrame] = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                time = count / rate if frame.time is None else frame.time
                count += 1
                first = time if first is None else first
                if time - first > last:
                    last = time - first
                    yield last, picture.of(frame)


class Places:
    """Where a face is in time.

    Parameters
    ----------
    clips : list of tuple of ndarray
        Times (n,) and boxes (n, 4) of each window, in order; NaN where the face is not seen.
    """

    def __init__(self, clips: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._clips = [(times, boxes) for times, boxes in clips if len(times)]
        self._starts = np.array([times[0] for times, _ in self._clips])
        self._length = max((times[-1] - times[0] for times, _ in self._clips), default=0.0)

    def at(self, time: float) -> np.ndarray | None:
        """Return the box (4,) at a time, between those of the nearest frames that were looked at; None without one."""
        step = self._length / max(1, len(self._clips[0][0]) - 1) if self._clips else 0.0
        first, last = np.searchsorted(self._starts, [time - self._length - step, time + step], side="right")
        for times, boxes in reversed(self._clips[max(0, first - 1) : last]):
            seen = ~np.isnan(boxes[:, 0])
            if seen.any() and np.abs(times[seen] - time).min() <= max(step, 1e-3):
                return np.array([np.interp(time, times[seen], boxes[seen, side]) for side in range(4)])
        return None


class Course:
    """The course of one value in time.

    Parameters
    ----------
    parts : list of tuple of float
        Start, stop and value of each part; all are of one length.
    """

    def __init__(self, parts: list[tuple[float, float, float]]) -> None:
        table = np.array(sorted(parts))
        self.middles, self.values = table[:, :2].mean(axis=1), table[:, 2]
        self.end = float(table[:, 1].max())
        self._half = float((table[:, 1] - table[:, 0]).max()) / 2

    def at(self, time: float) -> float | None:
        """Return the value of the part whose middle is nearest; None where no part is about that time."""
        after = int(np.clip(np.searchsorted(self.middles, time), 1, max(1, len(self.middles) - 1)))
        nearest = min((after - 1, after % len(self.middles)), key=lambda place: abs(self.middles[place] - time))
        return float(self.values[nearest]) if abs(self.middles[nearest] - time) <= self._half + 1e-6 else None


def _size(picture: np.ndarray) -> tuple[int, int]:
    """Return width and height, both even, at which a picture is shown."""
    height, width = picture.shape[:2]
    scale = min(max(1.0, WIDTHS[0] / width), WIDTHS[1] / width)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


def _text(canvas: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write a line; the letters that OpenCV lacks become question marks."""
    import cv2

    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
