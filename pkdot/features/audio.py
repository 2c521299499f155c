"""Audio: the sound track of a video -> log-mel spectrograms, aligned to the frames of the video.

A span is read by itself, so that memory does not grow with the length of a video. Times count from the first
frame of the video, as they do for faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from pkdot.errors import DataError
from pkdot.features.base import Extracted, Feature, Source, identity, register
from pkdot.params import Params

if TYPE_CHECKING:
    import av

MARGIN = 0.1  # seconds read on either side: for the window of a spectrum, and for decoders to settle
FULL_SCALE = 0.99  # amplitude at which a sample is clipped
CLIPPED = 0.01  # share of clipped samples in a column that is not to be trusted
NOTED = 0.9  # share of columns below which the ledger says what is wrong with the others
BASELINE = 1e-10  # power that a logarithm starts from


class AudioOptions(Params):
    """Options of ``audio``."""

    steps: int = Field(128, ge=1, description="columns a sample, in equal parts of its span")
    rate: int = Field(44100, ge=8000, description="samples a second, mono")
    bands: int = Field(64, ge=1, description="mel bands")
    n_fft: int = Field(1024, ge=64, description="length of a Fourier transform, samples")
    window: int = Field(882, ge=16, description="length of its window, samples")
    hop: int = Field(441, ge=1, description="samples from one spectrum to the next")
    silence: float = Field(-60.0, lt=0, description="level below which a column is silent, dB of full scale")
    min_sound: float = Field(0.05, ge=0, le=1, description="smallest share of columns with sound")

    @model_validator(mode="after")
    def _fits(self) -> AudioOptions:
        if self.window > self.n_fft or self.n_fft > 2 * MARGIN * self.rate:
            raise ValueError(
                f"the window ({self.window}) must fit into n_fft ({self.n_fft}), and that into {2 * MARGIN:g} s"
            )
        return self


@register("audio")
class Audio(Feature):
    """Log-mel spectrograms (1, bands, steps), dB; a column is the mean power of its part of the span."""

    Options = AudioOptions
    options: AudioOptions
    dtype = "float32"
    slack = 0.1

    def __init__(self, options: AudioOptions) -> None:
        import librosa

        super().__init__(options)
        self._mel = librosa.filters.mel(sr=options.rate, n_fft=options.n_fft, n_mels=options.bands)
        self._last: tuple[tuple, SoundTrack] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.options.bands, self.options.steps

    def extract(self, source: Source) -> Extracted:
        track = self._track(source.path)
        start = 0.0 if source.start is None else source.start
        stop = track.seconds if source.stop is None else source.stop
        lead = MARGIN - 0.5 * self.options.hop / self.options.rate  # puts a spectrum into the middle of its hop
        sound, there = track.read(start - lead, stop + lead)
        absent = source.hidden(start - lead + np.arange(len(sound)) / track.rate)
        sound[absent], there[absent] = 0.0, False
        borders = lead + np.linspace(0, stop - start, self.options.steps + 1)
        parts = np.round(borders * track.rate).astype(int)
        there, clipped, power = (
            np.add.reduceat(values[: parts[-1]], parts[:-1], dtype=float) / np.maximum(np.diff(parts), 1)
            for values in (there, np.abs(sound) >= FULL_SCALE, sound**2)
        )
        where = f"{source.path}, {start:.2f} to {stop:.2f} s"
        if np.mean(decibels(power) > self.options.silence) < self.options.min_sound:
            gone = f"the sound track {'is absent' if absent.any() else 'does not reach'} here"
            raise DataError(f"{where}: {'silent' if there.mean() > 0.5 else gone}")
        array = decibels(self._spectrogram(sound, track.rate, borders))[None].astype(np.float32)
        missing, loud = there < 0.5, clipped > CLIPPED
        if not (missing | loud).any():
            return Extracted(array)
        heard = ~(missing | loud)
        note = f"{where}: of {len(heard)} columns {missing.sum()} have no sound and {loud.sum()} are clipped"
        return Extracted(array, heard, note if heard.mean() < NOTED else "")

    def seconds(self, source: Source) -> float:
        return self._track(source.path).seconds

    def _track(self, path: Path) -> SoundTrack:
        """Return a file's sound; samples that follow one another are often parts of one long video."""
        known = identity(path)
        if self._last is None or self._last[0] != known:
            self._last = known, SoundTrack(path)
        return self._last[1]

    def _spectrogram(self, sound: np.ndarray, rate: int, borders: np.ndarray) -> np.ndarray:
        """Return the mel power between the borders (seconds), shape (bands, steps)."""
        import librosa

        o = self.options
        if rate != o.rate:
            sound = librosa.resample(sound, orig_sr=rate, target_sr=o.rate)
        spectra = librosa.stft(sound, n_fft=o.n_fft, win_length=o.window, hop_length=o.hop)
        power = self._mel @ np.abs(spectra) ** 2
        centres = np.arange(power.shape[1] + 1) - 0.5  # a spectrum stands for the hop about its centre
        return means_between(power, centres * o.hop / o.rate, borders)


def decibels(power: np.ndarray) -> np.ndarray:
    """Return the power as a level: 0 dB is 1, and nothing is below -100 dB."""
    return 10 * np.log10(np.maximum(power, BASELINE))


def means_between(values: np.ndarray, edges: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Return the means between borders of a signal that is constant between its edges.

    Parameters
    ----------
    values : ndarray, shape (..., n)
    edges : ndarray, shape (n + 1,)
        Where each value begins and ends, increasing.
    borders : ndarray, shape (m + 1,)
        Increasing, within the edges.

    Returns
    -------
    ndarray, shape (..., m)
    """
    widths = np.diff(edges)
    total = np.cumsum(values * widths, axis=-1)
    total = np.concatenate([np.zeros_like(total[..., :1]), total], axis=-1)
    after = np.clip(np.searchsorted(edges, borders), 1, len(edges) - 1)
    share = (borders - edges[after - 1]) / widths[after - 1]
    until = total[..., after - 1] * (1 - share) + total[..., after] * share
    return np.diff(until, axis=-1) / np.diff(borders)


class SoundTrack:
    """The sound of a file, decoded in parts.

    Attributes
    ----------
    rate : int
        Samples a second.
    seconds : float
        When it ends, counted from the first frame of the video (or from the first sample where there is none).

    Raises
    ------
    DataError
        The file cannot be read, or holds no sound.
    """

    def __init__(self, path: Path) -> None:
        import av

        self.path = path
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"{path}: not a readable sound or video file ({error.strerror})") from error
        streams = self._container.streams
        if not streams.audio:
            raise DataError(f"{path}: the file holds no sound")
        self._stream = streams.audio[0]
        first = streams.video[0] if streams.video else self._stream
        self._base = float(self._stream.time_base or 1)
        self._zero = float((first.start_time or 0) * (first.time_base or 1))
        self.rate = self._stream.rate
        self.seconds = self._end() - self._zero

    def _end(self) -> float:
        if self._stream.duration:
            return ((self._stream.start_time or 0) + self._stream.duration) * self._base
        return (self._container.duration or 0) / 1e6

    def read(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples from ``start`` to ``stop`` seconds, mono, and which of them the track has; both (n,)."""
        import av

        count = round((stop - start) * self.rate)
        sound, there = np.zeros(count, np.float32), np.zeros(count, bool)
        mono = av.AudioResampler(format="fltp", layout="mono", rate=self.rate)
        for frame in self._frames_from(start) if start < self.seconds else ():
            first = round(((frame.time or 0.0) - self._zero - start) * self.rate)
            if first >= count:
                break
            samples = np.concatenate([part.to_ndarray()[0] for part in mono.resample(frame)])
            begin, end = max(0, first), min(count, first + len(samples))
            if begin < end:
                sound[begin:end] = samples[begin - first : end - first]
                there[begin:end] = True
        return sound, there

    def _frames_from(self, start: float) -> Iterator[av.AudioFrame]:
        """Yield decoded frames from some time before ``start`` on; not every file can be entered in the middle."""
        entry = max(0.0, start + self._zero - MARGIN)
        frames = self._decode(entry)
        first = next(frames, None)
        if entry > 0 and (first is None or (first.time or 0.0) - self._zero > start):
            yield from self._decode(0.0)
        elif first is not None:
            yield first
            yield from frames

    def _decode(self, entry: float) -> Iterator[av.AudioFrame]:
        import av

        self._container.seek(int(entry / self._base), stream=self._stream)
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):  # a file that is cut off ends here
                return
            try:
                yield from (frame for frame in packet.decode() if frame.time is not None)
            except av.FFmpegError:  # a damaged packet leaves a gap
                continue
