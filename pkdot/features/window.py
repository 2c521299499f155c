"""A window of a recording (time, channels), resampled to a fixed length; filtered and scaled where that is wanted."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pkdot.errors import ConfigError, DataError
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.params import Params
from pkdot.recordings import open_recording

ORDER = 4  # of the Butterworth filter, which runs forwards and backwards
RESPONSE = 3.0  # periods of the lowest frequency that a filter sees before and after a window


class WindowOptions(Params):
    """Options of ``window``."""

    channels: int = Field(ge=1, le=100_000, description="channels of the recordings")
    length: int = Field(ge=8, le=10_000_000, description="samples of a window after resampling")
    band: tuple[float | None, float | None] | None = Field(
        None, description="lowest and highest frequency that is kept, in Hz; null at either end: no limit there"
    )
    scaling: Literal["none", "per_window"] = Field(
        "none", description="none: the recordings' own units; per_window: each channel to mean 0 and deviation 1"
    )
    max_missing: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="largest share of moments that are not finite numbers; they are filled in from their neighbours, "
        "and the ledger says so",
    )

    @field_validator("band")
    @classmethod
    def _rises(cls, value: tuple[float | None, float | None] | None) -> tuple[float | None, float | None] | None:
        limits = [limit for limit in value or () if limit is not None]
        if value is not None and (not limits or min(limits) <= 0 or limits != sorted(set(limits))):
            raise ConfigError("band takes the lowest frequency and then a higher one, above zero; null for no limit")
        return value


@register("window")
class Window(Feature):
    """Signals in time: (channels, length)."""

    Options = WindowOptions
    options: WindowOptions
    dtype = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.options.channels, self.options.length)

    def extract(self, source: Source) -> Extracted:
        recording = self._recording(source)
        first, last = _span(recording, source)
        margin = self._margin(source)
        before, after = max(0, first - margin), min(len(recording), last + margin)
        inner = slice(first - before, last - before)
        values = source.without_absent(np.asarray(recording[before:after], dtype=np.float64), before)
        missing, note = self._missing(values[inner], source, first)
        values = _filled(values)
        still = _still(values[inner], source)
        if margin:
            values = self._filtered(values, source.rate, margin)
        part = values[inner]
        if self.options.scaling == "per_window":
            spread = part.std(axis=0)
            part = (part - part.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        old, new = (np.linspace(0, 1, count) for count in (len(part), self.options.length))
        array = np.stack([np.interp(new, old, channel) for channel in part.T]).astype(np.float32)
        mask = np.interp(new, old, missing) < 0.5 if note else None
        return Extracted(array, mask, "; ".join(one for one in (note, still) if one))

    def seconds(self, source: Source) -> float:
        if source.rate is None:
            raise DataError(f"{source.path}: an array does not say its rate; give it in Hz")
        return len(self._recording(source)) / source.rate

    def _recording(self, source: Source) -> np.ndarray:
        """Open a recording (time, channels)."""
        recording = open_recording(source.path, source.part)
        shape = recording.shape
        if len(shape) == 1 and self.options.channels == 1:
            return recording[:, None]
        if len(shape) != 2 or shape[1] != self.options.channels:
            raise DataError(f"{source.path}: has shape {shape}, not (time, {self.options.channels})")
        return recording

    def _missing(self, part: np.ndarray, source: Source, first: int) -> tuple[np.ndarray, str]:
        """Return which moments of a window are not finite numbers, and what the ledger should say of them."""
        finite = np.isfinite(part)
        missing = ~finite.all(axis=1)
        if not missing.any():
            return missing, ""
        where = f"{source.path}, row {first + int(missing.argmax())}"
        absent = "absent or " if source.absent else ""
        share, most = missing.mean(), self.options.max_missing
        if share > most or (finite.sum(axis=0) < 2).any():
            raise DataError(
                f"{where}: a value is {absent}not a finite number, as in {share:.0%} of the window's moments (at most "
                f"{most:.0%} may be)"
            )
        lost = f"{missing.sum()} of {len(part)} moments are {absent}not finite numbers"
        return missing, f"{where}: {lost} and are filled in"

    def _margin(self, source: Source) -> int:
        """Return how many moments a filter must see before and after a window; 0 where there is no filter."""
        if self.options.band is None:
            return 0
        low, high = self.options.band
        if source.rate is None:
            raise DataError(f"{source.path}: the data set does not say its rate, which a filter must know")
        if max(low or 0, high or 0) >= source.rate / 2:
            raise DataError(
                f"{source.path}: {source.rate:g} Hz hold frequencies up to {source.rate / 2:g} Hz; lower the band"
            )
        return int(RESPONSE * source.rate / (low or high or 1.0)) + 1

    def _filtered(self, values: np.ndarray, rate: float | None, margin: int) -> np.ndarray:
        """Keep the band; beyond its ends a recording goes on as its own image, turned by 180 degrees."""
        from scipy.signal import butter, sosfiltfilt

        low, high = self.options.band or (None, None)
        kind = "bandpass" if low and high else "highpass" if low else "lowpass"
        limits = [low, high] if low and high else low or high
        sections = butter(ORDER, limits, kind, fs=rate, output="sos")
        return sosfiltfilt(sections, values, axis=0, padlen=min(len(values) - 1, margin))


def _span(recording: np.ndarray, source: Source) -> tuple[int, int]:
    """Return the first row of a window, and the one after its last; of the whole recording where it has no span."""
    if source.start is None or source.stop is None:
        if len(recording) < 2:
            raise DataError(f"{source.path}: has {len(recording)} moments; a signal takes two or more")
        return 0, len(recording)
    if source.rate is None:
        raise DataError(f"{source.path}: the data set does not say the rate of its windows")
    first, last = round(source.start * source.rate), round(source.stop * source.rate)
    if not 0 <= first < last - 1 or last > len(recording):
        raise DataError(f"{source.path}: ends before {source.stop:g} s at {source.rate:g} Hz")
    return first, last


def _still(part: np.ndarray, source: Source) -> str:
    """Return what the ledger should say of channels that never change in a window, as where a sensor had no contact."""
    still = np.flatnonzero((part == part[:1]).all(axis=0)) + 1
    if not len(still):
        return ""
    which = "the signal" if part.shape[1] == 1 else f"channel {', '.join(map(str, still[:5]))} of {part.shape[1]}"
    more = f" and {len(still) - 5} others" if len(still) > 5 else ""
    when = "" if source.start is None or source.stop is None else f" from {source.start:.4g} to {source.stop:.4g} s"
    return f"{source.path}: {which}{more} never changes{when}"


def _filled(values: np.ndarray) -> np.ndarray:
    """Fill in what is no finite number, from its neighbours in time."""
    finite = np.isfinite(values)
    if finite.all():
        return values
    time = np.arange(len(values))
    channels = zip(values.T, finite.T, strict=True)
    return np.stack([np.interp(time, time[here], channel[here]) for channel, here in channels], axis=1)
