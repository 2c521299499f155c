"""Physiology: a column of a table of biosignals -> cleaned signals in time, or their log spectrogram.

Decomposition and beats are neurokit2's (Makowski et al., Behavior Research Methods 2021). The size of EDA and EMG
is the response, so it is kept: in microsiemens, and as a logarithm. The size of an ECG is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, identity, register
from pkdot.features.cleaning import MARGIN, clean_signal
from pkdot.features.quality import Limits, judge, on_grid, without_outliers
from pkdot.params import Params

MICROSECONDS = 1e6  # in a second: the unit of the column 'time'
MOMENT = 1e-6  # seconds to which times are written
SLACK = 0.05  # seconds by which a table may start late or end early
BASELINE = 1e-6  # share of the whole that a logarithm starts from
DECIMAL_COMMA = r"\s*[-+]?\d+,\d+\s*"
TINY = 1e-30  # keeps a division by nothing finite
CLIPPED_FINE = 0.03  # largest share of values at a limit, where a signal is resolved finely
SMALLEST = 0.01  # an EDA that never exceeds this many times `unit` is in another unit


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
    plausible : tuple of float
        Smallest and largest value that can be, in multiples of the option ``unit``. Skin conductance lies between
        0.05 and 60 microsiemens (Kleckner et al., IEEE Transactions on Biomedical Engineering 2018), and an
        amplifier's offset may push it below zero. ECG and EMG come in many units and on many offsets.
    """

    column: str
    channels: int
    slowest: float
    rate: int
    clipped: float
    plausible: tuple[float, float] = (-np.inf, np.inf)


KINDS = {
    "eda": Kind("gsr", channels=3, slowest=4, rate=32, clipped=0.2, plausible=(-5.0, 100.0)),
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
        None,
        ge=0,
        le=1,
        description="largest share of values at a limit; none: 0.01 (ECG, EMG), 0.03 (EDA), 0.2 (EDA in coarse steps)",
    )
    plausible: tuple[float, float] | None = Field(
        None,
        description="smallest and largest value that can be, in multiples of `unit`; values outside count as missing; "
        "none: -5 to 100 (EDA, microsiemens), no limits (ECG, EMG)",
    )

    @model_validator(mode="after")
    def _fits(self) -> PhysiologyOptions:
        start, stop = self.window
        if not 0 <= start < stop:
            raise ValueError(f"window is {start} to {stop}; it must start at 0 or later and end after its start")
        if self.form == "spectrogram" and round((stop - start) * (self.rate or KINDS[self.signal].rate)) < self.segment:
            raise ValueError("segment is longer than the window; shorten it, or raise rate")
        return self


@register("physiology")
class Physiology(Feature):
    """One signal of a sample, resampled to one rate whatever the rate of its file."""

    Options = PhysiologyOptions
    options: PhysiologyOptions
    slack = SLACK

    def __init__(self, options: PhysiologyOptions) -> None:
        super().__init__(options)
        self._last: tuple[tuple, tuple[np.ndarray, np.ndarray, list[str]]] | None = None
        self.kind = KINDS[options.signal]
        self.column = options.column or self.kind.column
        self.rate = options.rate or self.kind.rate
        clipped = (
            [self.kind.clipped, min(self.kind.clipped, CLIPPED_FINE)]
            if options.max_clipped is None
            else [options.max_clipped] * 2
        )
        self.limits = Limits(
            options.max_missing, options.max_flat, clipped[0], clipped[1], rests=options.signal == "eda"
        )
        low, high = options.plausible or self.kind.plausible
        self.plausible = low * options.unit, high * options.unit
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
        time, values, notes = self._read(source.path)
        rate = self._sampling_rate(time, where)
        values = np.where(source.hidden(time), np.nan, values)
        inside = (time > (source.start or 0.0) - MOMENT) & (time < (source.stop or np.inf) - MOMENT)
        time, values = time[inside], values[inside]
        self._covers(time, start, stop, where)
        values, note = without_outliers(values, self.plausible, where)
        notes = [*notes, note]
        judge(time, values, self.limits, where)
        self._is_in_its_unit(values, where)
        grid, values, missing = on_grid(time, values, rate)
        channels, note = clean_signal(self.options.signal, values, rate, where, self.options.form == "signals")
        notes.append(note)
        array, begins, ends = self._formed(channels, rate, round((start - grid[0] + MARGIN) * self.rate))
        mask = None
        if missing.any():
            before = np.concatenate([[0], np.cumsum(missing)])
            begins, ends = (np.searchsorted(grid, start + steps / self.rate) for steps in (begins, ends))
            mask = before[begins] == before[ends]
            notes.append(f"{where}: {missing.mean():.1%} of the values were missing and are filled in")
        return Extracted(array.astype(np.float32), mask, "; ".join(note for note in notes if note))

    def seconds(self, source: Source) -> float:
        time, _, _ = self._read(source.path)
        return float(time[-1]) if len(time) else 0.0

    @property
    def span(self) -> float | None:
        return self.options.window[1]

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return a file's signal; samples that follow one another are often parts of one long recording."""
        known = identity(path)
        if self._last is None or self._last[0] != known:
            self._last = known, read_signal(path, self.column)
        return self._last[1]

    def _formed(self, channels: list[np.ndarray], rate: int, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the array, and the output sample at which each of its steps begins and ends, both (steps,)."""
        if self.options.form == "signals":
            array = self._scaled(np.stack([self._cut(channel, rate, first) for channel in channels]))
            begins = np.arange(self.steps)
            return array, begins, begins + 1
        array = self._spectrogram(self._cut(channels[0], rate, first))
        begins = np.arange(self.shape[-1]) * self.hop
        return array, begins, begins + self.options.segment

    def _is_in_its_unit(self, values: np.ndarray, where: str) -> None:
        """Refuse an EDA that is so small that its column cannot be in the unit that the options give."""
        largest = float(np.nanmax(np.abs(values))) / self.options.unit
        if self.options.signal == "eda" and largest < SMALLEST:
            raise DataError(
                f"{where}: no value exceeds {largest:.2g} microsiemens; the column is in another unit. "
                "Set the option `unit` to what one microsiemens is in it"
            )

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

    def _cut(self, channel: np.ndarray, rate: int, first: int) -> np.ndarray:
        """Return the window of a channel at the output rate, from its sample ``first`` on."""
        from scipy.signal import resample_poly

        resampled = resample_poly(channel, self.rate, rate, padtype="line")
        return resampled[np.clip(np.arange(first, first + self.steps), 0, len(resampled) - 1)]

    def _scaled(self, channels: np.ndarray) -> np.ndarray:
        """Bring channels to scales that are the same for every clip."""
        if self.options.signal == "eda":
            start = channels[:2, : max(1, round(self.options.baseline * self.rate))].mean(axis=1)
            return (channels - np.array([*start, 0.0])[:, None]) / self.options.unit
        clean, derived = channels
        size = _size(clean)
        if self.options.signal == "ecg":
            return np.stack([clean / size, (derived - 70) / 10])
        # neurokit2's envelope is one of Teager-Kaiser energy, which grows with the square of the signal
        energy = np.maximum(derived, BASELINE * size**2)
        return np.stack([clean / size, np.log10(energy) / 2 - np.log10(self.options.unit)])

    def _spectrogram(self, channel: np.ndarray) -> np.ndarray:
        """Return the decadic logarithm of the power density of Hann windows, each less its mean."""
        from scipy.signal import spectrogram

        unit = _size(channel) if self.options.signal == "ecg" else self.options.unit
        segment = self.options.segment
        power = spectrogram(channel / unit, self.rate, "hann", segment, segment - self.hop, detrend="constant")[2]
        return np.log10(power + BASELINE * max(power.mean(), TINY))[None]


def _size(channel: np.ndarray) -> float:
    """Return the standard deviation of a channel (n,) whose outermost hundredths are brought in to the others."""
    return max(float(channel.clip(*np.quantile(channel, [0.01, 0.99])).std()), TINY)


def read_signal(path: Path, column: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read ``time`` and one column of a tab-separated table of biosignals.

    Returns
    -------
    time : ndarray, shape (n,)
        Seconds, increasing.
    values : ndarray, shape (n,)
        As in the file; NaN where there is no number.
    notes : list of str
        What the ledger should say of a file that is damaged in part.

    Raises
    ------
    DataError
        No such file or column, numbers with a comma, or a time that is no number or does not increase.
    """
    import pandas as pd

    try:
        content, notes = _without_nul(path)
        table = pd.read_csv(BytesIO(content), sep="\t", skipinitialspace=True, encoding="utf-8-sig")
        header = content.split(b"\n", 1)[0].decode("utf-8-sig").split("\t")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    for name in ("time", column):
        if name not in table:
            raise DataError(f"{path}: no column '{name}', only {', '.join(table.columns)}")
        if [cell.strip() for cell in header].count(name) > 1:
            raise DataError(f"{path}: two columns are called '{name}'; rename one")
    time = pd.to_numeric(table["time"], errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~np.isfinite(time) | (np.diff(time, prepend=-np.inf) <= 0))
    if len(wrong):
        found = table["time"].iloc[wrong[0]]
        raise DataError(f"{path}, line {wrong[0] + 2}: the time is {found}; it must be a number that increases")
    values = pd.to_numeric(table[column], errors="coerce")
    comma = table[column].astype(str).str.fullmatch(DECIMAL_COMMA) if values.isna().any() else values.isna()
    if comma.any():
        line = int(np.flatnonzero(comma)[0])
        raise DataError(f"{path}, line {line + 2}: {table[column][line]} has a decimal comma; write a point instead")
    return time / MICROSECONDS, values.to_numpy(dtype=float), notes


def _without_nul(path: Path) -> tuple[bytes, list[str]]:
    """Return a file without the lines that hold NUL bytes, as a failed copy leaves them, and what was left out."""
    content = path.read_bytes()
    if b"\0" not in content:
        return content, []
    lines = content.split(b"\n")
    whole = [line for line in lines if b"\0" not in line]
    if b"\0" in lines[0]:
        raise DataError(f"{path}: not a readable table (NUL bytes in its first line)")
    return b"\n".join(whole), [f"{path}: {content.count(0)} NUL bytes; the file is damaged, their rows are missing"]
