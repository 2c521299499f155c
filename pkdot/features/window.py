"""A window of a recording that lies in a .npy file (time, channels), resampled to a fixed length."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.files import open_array
from pkdot.params import Params


class WindowOptions(Params):
    """Options of ``window``."""

    channels: int = Field(ge=1, le=100_000, description="channels of the recordings")
    length: int = Field(ge=8, le=10_000_000, description="samples of a window after resampling")


@register("window")
class Window(Feature):
    """Signals as they are, in their own unit: (channels, length)."""

    Options = WindowOptions
    options: WindowOptions
    dtype = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.options.channels, self.options.length)

    def extract(self, source: Source) -> Extracted:
        if source.rate is None or source.start is None or source.stop is None:
            raise DataError(f"{source.path}: the data set does not say the rate and the span of its windows")
        recording = self._recording(source)
        first, last = round(source.start * source.rate), round(source.stop * source.rate)
        part = np.asarray(recording[first:last], dtype=np.float64)
        if len(part) < 2 or last > len(recording):
            raise DataError(f"{source.path}: ends before {source.stop:g} s at {source.rate:g} Hz")
        if not np.isfinite(part).all():
            row = first + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise DataError(f"{source.path}, row {row}: a value is not a finite number")
        old, new = (np.linspace(0, 1, count) for count in (len(part), self.options.length))
        return Extracted(np.stack([np.interp(new, old, channel) for channel in part.T]).astype(np.float32))

    def seconds(self, source: Source) -> float:
        if source.rate is None:
            raise DataError(f"{source.path}: an array does not say its rate; give it in Hz")
        return len(self._recording(source)) / source.rate

    def _recording(self, source: Source) -> np.ndarray:
        """Open a recording (time, channels)."""
        recording = open_array(source.path)
        if recording.ndim != 2 or recording.shape[1] != self.options.channels:
            raise DataError(f"{source.path}: has shape {recording.shape}, not (time, {self.options.channels})")
        return recording
