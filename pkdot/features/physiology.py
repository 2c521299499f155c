"""Physiology: a column of a table of biosignals -> cleaned signals in time, or their log spectrogram.

Cleaning, decomposition and beats are neurokit2's (Makowski et al., Behavior Research Methods 2021). The size
of EDA and EMG is the response, so it is kept: in microsiemens, and as a logarithm. That of an ECG is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, register
from pkdot.features.quality import Limits, judge, on_grid
from pkdot.params import Params

MICROSECONDS = 1e6  # in a second: the unit of the column 'time'
MOMENT = 1e-6  # seconds to which times are written
SLACK = 0.05  # seconds by which a table may start late or end early
BASELINE = 1e-6  # share of the whole that a logarithm starts from
TINY = 1e-30  # keeps a division by nothing finite
BEATS = 4  # fewest beats that a heart rate is told from
PULSE = (30.0, 220.0)  # plausible heart rates, beats a minute
IRREGULAR = 1.8  # a pause this much longer than the shortest one is a missed beat


@dataclass(frozen=True)
class Kind:
    """Defaults of one kind of signal.

    Attributes
    ----------
    column : str
        Its name in BioVid's tables.
    channels : int
        Channels of the form ``signals``.
    slowest : float
        Lowest sampling rate in Hz that its cleaning works at.
    rate : int
        Output rate in Hz: twice the highest frequency that matters.
    clipped : float
        Largest share of values at a limit. A slow signal rests at its own peak, a fast one does not.
    """

    column: str
    channels: int
    slowest: float
    rate: int
    clipped: float


KINDS = {
    "eda": Kind("gsr", channels=3, slowest=4, rate=32, clipped=0.2),
    "ecg": Kind("ecg", channels=2, slowest=100, rate=128, clipped=0.01),
    "emg": Kind("emg_trapezius", channels=2, slowest=250, rate=512, clipped=0.01),
}


class PhysiologyOptions(Params):
    """Options of ``physiology``."""

    signal: Literal["eda", "ecg", "emg"] = Field("eda", description="what the column is: it decides the cleaning")
    column: str | None = Field(None, description="name of the column; none: gsr, ecg or emg_trapezius")
    form: Literal["signals", "spectrogram"] = Field(
        "signals",
        description="signals: EDA (level and tonic part, both above their start; phasic part), ECG and heart "
        "rate, or EMG and the logarithm of its envelope. spectrogram: log power of the cleaned signal",
    )
    window: tuple[float, float] = Field((0.0, 5.5), description="span within the sample, seconds")
    rate: int | None = Field(None, ge=4, description="samples a second that come out; none: 32, 128 or 512")
    unit: float = Field(1.0, gt=0, description="what becomes 1 of EDA and EMG, in the unit of the column")
    baseline: float = Field(1.0, gt=0, description="seconds at the window's start that EDA is measured from")
    segment: int = Field(64, ge=8, description="samples in a column of the spectrogram, at the output rate")
    step: float = Field(0.0625, gt=0, description="seconds between columns of the spectrogram")
    max_missing: float = Field(0.1, ge=0, le=1, description="largest share of values that is filled in")
    max_flat: float = Field(1.0, gt=0, description="seconds that the signal may stand still")
    max_clipped: float | None = Field(
        None, ge=0, le=1, description="largest share of values at a limit; none: 0.2 (EDA), 0.01 (ECG, EMG)"
    )

    @model_validator(mode="after")
    def _fits(self) -> PhysiologyOptions:
        start, stop = self.window
        if not 0 <= start < stop:
            raise ValueError(f"window is {start} to {stop}; it must start at 0 or later and end after its start")
        if (
            self.form == "spectrogram"
            and round((stop - start) * _or(self.rate, KINDS[self.signal].rate)) < self.segment
        ):
            raise ValueError("segment is longer than the window; shorten it, or raise rate")
        return self


@register("physiology")
class Physiology(Feature):
    """One signal of a sample, resampled to one rate whatever the rate of its file."""

    Options = PhysiologyOptions

    def __init__(self, options: PhysiologyOptions):
        super().__init__(options)
        self.kind = KINDS[options.signal]
        self.column = _or(options.column, self.kind.column)
        self.rate = _or(options.rate, self.kind.rate)
        self.limits = Limits(options.max_missing, options.max_flat, _or(options.max_clipped, self.kind.clipped))
        self.steps = round((options.window[1] - options.window[0]) * self.rate)
        self.hop = max(1, round(options.step * self.rate))

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, time) of signals, (1, frequency, time) of a spectrogram."""
        if self.options.form == "signals":
            return self.kind.channels, self.steps
        return 1, self.options.segment // 2 + 1, 1 + (self.steps - self.options.segment) // self.hop

    @property
    def dtype(self) -> str:
        return "float32"

    def extract(self, source: Source) -> Extracted:
        where = f"{source.path}, column {self.column}"
        start = (source.start or 0.0) + self.options.window[0]
        stop = start + self.options.window[1] - self.options.window[0]
        time, values = read_signal(source.path, self.column)
        rate = self._sampling_rate(time, where)
        inside = (time > (source.start or 0.0) - MOMENT) & (time < (source.stop or np.inf) - MOMENT)
        time, values = time[inside], values[inside]
        self._covers(time, start, stop, where)
        judge(time, values, self.limits, where)
        grid, values, missing = on_grid(time, values, rate)
        first = round((start - grid[0]) * self.rate)
        channels = np.stack([self._cut(channel, rate, first) for channel in self._channels(values, rate, where)])
        if self.options.form == "signals":
            array = self._scaled(channels)
            begins = np.arange(self.steps)
            ends = begins + 1
        else:
            array = self._spectrogram(channels[0])
            begins = np.arange(self.shape[-1]) * self.hop
            ends = begins + self.options.segment
        if not missing.any():
            return Extracted(array.astype(np.float32))
        before = np.concatenate([[0], np.cumsum(missing)])
        begins, ends = (np.searchsorted(grid, start + steps / self.rate) for steps in (begins, ends))
        note = f"{where}: {missing.mean():.1%} of the values were missing and are filled in"
        return Extracted(array.astype(np.float32), before[begins] == before[ends], note)

    def _covers(self, time: np.ndarray, start: float, stop: float, where: str) -> None:
        if not len(time) or time[0] > start + SLACK or time[-1] < stop - SLACK:
            span = f"from {time[0]:.2f} to {time[-1]:.2f} s" if len(time) else "nowhere"
            raise DataError(f"{where}: recorded {span}, but the window is {start:.2f} to {stop:.2f} s")

    def _sampling_rate(self, time: np.ndarray, where: str) -> int:
        rate = 1 / np.median(np.diff(time)) if len(time) > 1 else 0.0
        if not self.kind.slowest <= rate <= 50_000:
            raise DataError(
                f"{where}: {rate:.4g} values a second by the column 'time', which is in microseconds; "
                f"{self.options.signal} needs {self.kind.slowest:g} to 50000"
            )
        return round(rate)

    def _channels(self, values: np.ndarray, rate: int, where: str) -> list[np.ndarray]:
        """The cleaned signal, then what is derived from it, at the file's own rate."""
        import neurokit2 as nk

        if self.options.signal == "eda":
            clean = nk.eda_clean(values, sampling_rate=rate)
            if self.options.form == "spectrogram":
                return [clean]
            parts = nk.eda_phasic(clean, sampling_rate=rate)
            return [clean, parts["EDA_Tonic"].to_numpy(), parts["EDA_Phasic"].to_numpy()]
        if self.options.signal == "ecg":
            clean = nk.ecg_clean(values, sampling_rate=rate)
            return [clean] if self.options.form == "spectrogram" else [clean, heart_rate(clean, rate, where)]
        clean = nk.emg_clean(values, sampling_rate=rate)
        return [clean] if self.options.form == "spectrogram" else [clean, nk.emg_amplitude(clean)]

    def _cut(self, channel: np.ndarray, rate: int, first: int) -> np.ndarray:
        """The window of a channel at the output rate; its last value is held where the table ends early."""
        from scipy.signal import resample_poly

        resampled = resample_poly(channel, self.rate, rate, padtype="line")
        return resampled[np.clip(np.arange(first, first + self.steps), 0, len(resampled) - 1)]

    def _scaled(self, channels: np.ndarray) -> np.ndarray:
        """Channels on scales that are the same for every clip."""
        if self.options.signal == "eda":
            start = channels[:2, : max(1, round(self.options.baseline * self.rate))].mean(axis=1)
            return (channels - np.array([*start, 0.0])[:, None]) / self.options.unit
        clean, derived = channels
        if self.options.signal == "ecg":
            return np.stack([clean / _deviation(clean), (derived - 70) / 10])
        # neurokit2's envelope is one of Teager-Kaiser energy, which grows with the square of the signal
        energy = np.maximum(derived, BASELINE * _deviation(clean) ** 2)
        return np.stack([clean / _deviation(clean), np.log10(energy) / 2 - np.log10(self.options.unit)])

    def _spectrogram(self, channel: np.ndarray) -> np.ndarray:
        """Decadic logarithm of the power density of Hann windows, each less its mean."""
        from scipy.signal import spectrogram

        unit = _deviation(channel) if self.options.signal == "ecg" else self.options.unit
        segment = self.options.segment
        power = spectrogram(channel / unit, self.rate, "hann", segment, segment - self.hop, detrend="constant")[2]
        return np.log10(power + BASELINE * max(power.mean(), TINY))[None]


def _deviation(channel: np.ndarray) -> float:
    return max(float(channel.std()), TINY)


def _or(value, default):
    return default if value is None else value


def read_signal(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Read ``time`` and one column of a tab-separated table of biosignals.

    Returns
    -------
    time : ndarray, shape (n,)
        Seconds, increasing.
    values : ndarray, shape (n,)
        As in the file; NaN where there is no number.

    Raises
    ------
    DataError
        No such file or column, or a time that is no number or does not increase.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    for name in ("time", column):
        if name not in table:
            raise DataError(f"{path}: no column '{name}', only {', '.join(table.columns)}")
    time = pd.to_numeric(table["time"], errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~np.isfinite(time) | (np.diff(time, prepend=-np.inf) <= 0))
    if len(wrong):
        found = table["time"].iloc[wrong[0]]
        raise DataError(f"{path}, line {wrong[0] + 2}: the time is {found}; it must be a number that increases")
    return time / MICROSECONDS, pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)


def heart_rate(clean: np.ndarray, rate: int, where: str) -> np.ndarray:
    """Beats a minute at every sample of a cleaned ECG, between the R peaks by monotone interpolation.

    Raises
    ------
    DataError
        Too few beats, implausible ones, or a pause as if a beat was missed.
    """
    import neurokit2 as nk

    peaks = np.asarray(nk.ecg_findpeaks(clean, sampling_rate=rate)["ECG_R_Peaks"])
    if len(peaks) < BEATS:
        raise DataError(f"{where}: {len(peaks)} heart beats found, {BEATS} are needed for a heart rate")
    beats = 60 * rate / np.diff(peaks)
    if beats.min() < PULSE[0] or beats.max() > PULSE[1] or beats.max() > IRREGULAR * beats.min():
        raise DataError(
            f"{where}: the heart beats at {beats.min():.0f} to {beats.max():.0f} a minute, "
            "which is no regular pulse; the beats cannot be told apart"
        )
    return nk.signal_rate(peaks, sampling_rate=rate, desired_length=len(clean))
