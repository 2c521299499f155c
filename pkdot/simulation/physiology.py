"""Signals of one clip: neurokit2's simulators, shaped by the latent pain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pkdot.simulation.gestures import pulse, smooth_noise
from pkdot.simulation.pain import Traits, Trial

RATE = 512
COLUMNS = ("gsr", "ecg", "emg_trapezius", "emg_corrugator", "emg_zygomaticus")
_RECORDING = 60  # seconds of ECG and EMG at rest that the clips of one person are cut from


class Body:
    """The recordings at rest of one person, from which the clips are cut.

    Parameters
    ----------
    rng : Generator
    traits : Traits
    """

    def __init__(self, rng: np.random.Generator, traits: Traits) -> None:
        import neurokit2 as nk

        seeds = rng.integers(0, 2**31 - 1, 4).tolist()
        self._traits = traits
        self._ecg = nk.ecg_simulate(
            duration=_RECORDING,
            sampling_rate=RATE,
            heart_rate=round(traits.heart_rate),
            heart_rate_std=2,
            noise=0.01,
            random_state=seeds[0],
        )
        self._emg = [
            nk.emg_simulate(
                duration=_RECORDING,
                sampling_rate=RATE,
                burst_number=1,
                burst_duration=_RECORDING,
                random_state=seed,
            )
            for seed in seeds[1:]
        ]

    def signals(
        self,
        rng: np.random.Generator,
        trial: Trial,
        face: Mapping[str, np.ndarray],
        face_time: np.ndarray,
        count: int,
        strength: float,
    ) -> np.ndarray:
        """Draw the signals of one clip.

        Parameters
        ----------
        rng : Generator
        trial : Trial
        face : mapping of str to ndarray, shape (T,)
            Curves of the facial actions: corrugator and zygomaticus are muscles of the face.
        face_time : ndarray, shape (T,)
            Seconds.
        count : int
            Samples at 512 Hz.
        strength : float
            Factor on the response to pain; 0: the signals tell nothing.

        Returns
        -------
        ndarray, shape (count, 5)
            Columns as in COLUMNS: microsiemens, then millivolts.
        """
        time = np.arange(count) / RATE
        traits, felt = self._traits, strength * trial.pain
        gsr = self._conductance(rng, trial, time, felt)
        response = pulse(time, trial.onset + 0.4, 1.5, 3.0, 1.0)
        rate = traits.heart * felt * response + 2.5 * smooth_noise(rng, count, 1.5 * RATE) + rng.normal(0, 3)
        ecg = self._heart(rng, rate)
        tension = rng.lognormal(0, 0.25) + traits.muscle * felt * rng.lognormal(0, 0.3) * pulse(
            time, trial.onset + rng.uniform(0, 0.5), 0.4, rng.uniform(0.8, 2.5), 0.8
        )
        if rng.random() < 0.45:  # a shift of the seat
            tension = tension + rng.uniform(0.3, 1.5) * pulse(time, rng.uniform(0, 5), 0.3, rng.uniform(0.3, 1.5), 0.5)
        muscles = [tension]
        for names in (("browDownLeft", "browDownRight"), ("mouthSmileLeft", "mouthSmileRight")):
            move = sum((face[name] for name in names if name in face), np.zeros_like(face_time)) / 2
            muscles.append(rng.lognormal(0, 0.4) + 1.5 * np.interp(time, face_time, move))
        emg = [0.01 * level * _cut(rng, record, count) for level, record in zip(muscles, self._emg, strict=True)]
        return np.stack([gsr, ecg, *emg], axis=1)

    def _conductance(self, rng: np.random.Generator, trial: Trial, time: np.ndarray, felt: float) -> np.ndarray:
        """Draw a slow drift, the response to pain, and responses that have no cause."""
        traits = self._traits
        level = traits.conductance + rng.normal(0, 0.25) + rng.normal(-0.01, 0.02) * time
        size = traits.eda * max(0.0, felt + 0.25 * rng.standard_normal() * (felt > 0))
        gsr = level + size * _response(rng, time, trial.onset + traits.latency)
        for start in rng.uniform(-3, 5, rng.poisson(0.7)):
            gsr += traits.eda * rng.uniform(0.1, 1.0) * _response(rng, time, start)
        return np.maximum(gsr + 0.004 * rng.standard_normal(len(time)), 0.05)

    def _heart(self, rng: np.random.Generator, change: np.ndarray) -> np.ndarray:
        """Cut a piece from the ECG at rest, played faster by ``change`` beats a minute."""
        speed = np.cumsum(1 + change / self._traits.heart_rate)
        start = rng.uniform(0, len(self._ecg) - speed[-1] - 1)
        return np.interp(start + speed, np.arange(len(self._ecg)), self._ecg)


def _cut(rng: np.random.Generator, record: np.ndarray, count: int) -> np.ndarray:
    start = int(rng.integers(0, len(record) - count))
    return record[start : start + count]


def _response(rng: np.random.Generator, time: np.ndarray, start: float) -> np.ndarray:
    """Draw one skin conductance response of height 1 that starts at ``start`` seconds."""
    import neurokit2 as nk

    seed = int(rng.integers(0, 2**31 - 1))
    rate, length = 64, 9
    wave = nk.eda_simulate(duration=length, sampling_rate=rate, scr_number=1, noise=0, drift=0, random_state=seed) - 1
    return np.interp(time - start, np.arange(rate * length) / rate, wave, left=0.0)
