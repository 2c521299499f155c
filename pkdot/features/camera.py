"""A camera: frames as they come, of which the newest are kept as long as a span may need them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pkdot.errors import DataError
from pkdot.features.video import NEAR, Frames

RATE = 30.0  # frames a second that a camera is taken to give until it has given some
MOST = 900  # frames that are held at most; at 640 x 480 they take 0.8 GB
WAIT = 0.01  # seconds between two looks at whether a frame has come


class Camera(Frames):
    """A camera's frames, read by a thread of its own so that none is late; times count from the first frame.

    Parameters
    ----------
    device : int or str
        Number of the camera; or a file, which is read as if it were one.
    clock : callable
        Tells the seconds at which a frame comes.
    """

    def __init__(self, device: int | str, clock: Callable[[], float] = time.monotonic) -> None:
        import cv2

        self._device = cv2.VideoCapture(device)
        if not self._device.isOpened():
            raise DataError(f"{device}: there is no camera of this number, or another program uses it")
        self.seconds, self.rate, self.times = float("inf"), RATE, np.empty(0)
        self._clock = clock
        self._held: deque[tuple[float, np.ndarray]] = deque(maxlen=MOST)
        self._needed = 0.0
        self._ended = False
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def now(self) -> float:
        """Seconds of the newest frame."""
        return self._held[-1][0] if self._held else 0.0

    def read(self, numbers: list[int]) -> list[np.ndarray | None]:
        raise DataError("a camera has no frames of the past")

    def along(self, spans: Iterable[np.ndarray]) -> Iterator[list[np.ndarray | None]]:
        """Yield the frames of spans as soon as the last of each has come; end when the camera does."""
        for times in spans:
            self._needed = float(times[0]) - 1 / RATE
            while self.now < times[-1] and not self._ended:
                time.sleep(WAIT)
            if self.now < times[-1]:
                return
            held = list(self._held)
            stamps = np.array([stamp for stamp, _ in held])
            self.rate = 1 / max(float(np.median(np.diff(stamps))), 1e-3) if len(stamps) > 1 else RATE
            nearest = [int(np.abs(stamps - at).argmin()) for at in times]
            yield [
                held[number][1] if abs(stamps[number] - at) * self.rate <= NEAR else None
                for number, at in zip(nearest, times, strict=True)
            ]

    def close(self) -> None:
        """Let the camera go."""
        self._ended = True
        self._reader.join()
        self._device.release()

    def _listen(self) -> None:
        """Read until the end; what lies before the span that is wanted next is let go."""
        import cv2

        begun: float | None = None
        while not self._ended:
            came, frame = self._device.read()
            if not came:
                self._ended = True
                return
            now = self._clock()
            begun = now if begun is None else begun
            self._held.append((now - begun, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
            while self._held and self._held[0][0] < self._needed:
                self._held.popleft()
