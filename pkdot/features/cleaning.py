"""Cleaning of biosignals: filters without transients at the edges, the direction of an ECG, and its heart rate.

A filter has no past at the first value and no future at the last one. Each signal is therefore continued by its own
mirror image before it is filtered, and cut afterwards.
"""

from __future__ import annotations

import numpy as np

from pkdot.errors import DataError

MARGIN = 2  # seconds that a signal is continued at either end, longer than the response of every filter below
EMG_LOWEST = 20.0  # Hz; below it lie movements of the cable (De Luca et al., Journal of Biomechanics 2010)
EDA_HIGHEST = 3.0  # Hz; neurokit2's low-pass filter, above which there is no skin conductance
DOWNWARD = 1.3  # times as large as its largest value is the smallest value of an ECG that is upside down
TURNED = "{}: the ECG was upside down and is turned"
ABOUT_LEVEL = 0.1  # share of an EDA's level below which its fast part is harmless noise
BEATS = 4  # fewest beats that give a heart rate
PULSE = (30.0, 220.0)  # plausible heart rates, beats a minute
IRREGULAR = 1.8  # a pause this much longer than the shortest one is a missed beat


def clean_signal(
    signal: str, values: np.ndarray, rate: int, where: str, derive: bool = True
) -> tuple[list[np.ndarray], str]:
    """Clean one signal and derive from it what belongs to it.

    Parameters
    ----------
    signal : str
        ``eda``, ``ecg`` or ``emg``.
    values : ndarray, shape (n,)
        Even in time, without a hole.
    rate : int
        Values a second.
    where : str
        How messages call the signal.
    derive : bool
        False: the cleaned signal alone is wanted.

    Returns
    -------
    list of ndarray, shape (n + 2 * MARGIN * rate,)
        The cleaned signal, then the tonic and the phasic part (EDA), the heart rate (ECG) or the envelope (EMG).
        Each is continued by ``MARGIN`` seconds at either end, so that it can be resampled without an edge.
    str
        What the ledger should say; empty where there is nothing to say.

    Raises
    ------
    DataError
        The signal is not what it should be.
    """
    return {"eda": _clean_eda, "ecg": _clean_ecg, "emg": _clean_emg}[signal](values, rate, where, derive)


def _clean_eda(values: np.ndarray, rate: int, where: str, derive: bool) -> tuple[list[np.ndarray], str]:
    import neurokit2 as nk

    longer = continued(values, rate, "odd")
    clean = nk.eda_clean(longer, sampling_rate=rate)
    slow = clean[MARGIN * rate : MARGIN * rate + len(values)]
    fast = float((values - slow).std())
    if fast > slow.std() and fast > ABOUT_LEVEL * abs(float(slow.mean())):
        raise DataError(
            f"{where}: most of the signal is faster than {EDA_HIGHEST:g} Hz, which no skin conductance is; "
            "is it another signal, or noise of a loose electrode?"
        )
    if not derive:
        return [clean], ""
    parts = nk.eda_phasic(clean, sampling_rate=rate)
    return [clean, parts["EDA_Tonic"].to_numpy(), parts["EDA_Phasic"].to_numpy()], ""


def _clean_ecg(values: np.ndarray, rate: int, where: str, derive: bool) -> tuple[list[np.ndarray], str]:
    import neurokit2 as nk

    clean = nk.ecg_clean(continued(values, rate, "odd"), sampling_rate=rate)
    inner = clean[MARGIN * rate : MARGIN * rate + len(values)]
    turned = upside_down(inner, rate)
    signs = (-1, 1) if turned else (1, -1)
    if not derive:
        return [signs[0] * clean], TURNED.format(where) if turned else ""
    problem = None
    for sign in signs:
        try:
            beats = heart_rate(sign * inner, rate, where)
        except DataError as error:
            problem = problem or error
            continue
        return [sign * clean, np.pad(beats, MARGIN * rate, mode="edge")], TURNED.format(where) if sign < 0 else ""
    raise problem or DataError(where)


def _clean_emg(values: np.ndarray, rate: int, where: str, derive: bool) -> tuple[list[np.ndarray], str]:
    import neurokit2 as nk

    longer = continued(values, rate, "even")  # a muscle's signal jumps: about its last value it would lie off zero
    clean = nk.signal_filter(longer, sampling_rate=rate, lowcut=EMG_LOWEST, method="butterworth", order=4)
    return [clean, nk.emg_amplitude(clean)] if derive else [clean], ""


def continued(values: np.ndarray, rate: int, mirror: str) -> np.ndarray:
    """Continue a signal by ``MARGIN`` seconds at either end.

    Parameters
    ----------
    values : ndarray, shape (n,)
    rate : int
        Values a second.
    mirror : str
        ``odd``: turned by 180 degrees about the first and the last value, which keeps level and slope;
        ``even``: mirrored.
    """
    return np.pad(values, MARGIN * rate, mode="reflect", reflect_type=mirror)  # type: ignore[call-overload]


def upside_down(clean: np.ndarray, rate: int) -> bool:
    """Return whether the beats of a cleaned ECG (n,) clearly point down, as with swapped electrodes."""
    parts = np.array_split(clean - np.median(clean), max(1, len(clean) // (2 * rate)))  # each holds a beat
    return float(np.median([-part.min() for part in parts])) > DOWNWARD * np.median([part.max() for part in parts])


def heart_rate(clean: np.ndarray, rate: int, where: str) -> np.ndarray:
    """Return the beats a minute at every sample of a cleaned ECG.

    Between the R peaks it is interpolated monotonically.

    Parameters
    ----------
    clean : ndarray, shape (n,)
    rate : int
        Values a second.
    where : str
        How messages call the signal.

    Returns
    -------
    ndarray, shape (n,)

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
