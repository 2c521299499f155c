"""What a face does over time: gestures as groups of facial actions, and the curves that drive them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Motion:
    """Where the head is, one value a frame.

    Attributes
    ----------
    yaw, pitch, roll : ndarray, shape (T,)
        Turns in degrees: to the picture's right, downwards, clockwise.
    x, y : ndarray, shape (T,)
        The middle of the eyes, as shares of the picture's width and height.
    size : ndarray, shape (T,)
        Height of an average head as a share of the picture's height.
    """

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    x: np.ndarray
    y: np.ndarray
    size: np.ndarray


def _both(**strengths: float) -> dict[str, float]:
    """Return the same strength on both sides of the face."""
    return {f"{name}{side}": value for name, value in strengths.items() for side in ("Left", "Right")}


BLINK = _both(eyeBlink=1.0)
# The units of the pain scale of Prkachin and Solomon (2008): AU 4, 6, 7, 9, 10 and 43.
PAIN_UNITS = {
    "brow_lowering": _both(browDown=1.0),
    "cheek_raising": _both(cheekSquint=1.0),
    "lid_tightening": _both(eyeSquint=1.0),
    "nose_wrinkling": _both(noseSneer=1.0),
    "lip_raising": _both(mouthUpperUp=0.9),
    "eye_closure": _both(eyeBlink=0.75),
}
SMILE = _both(mouthSmile=0.8, cheekSquint=0.4, mouthUpperUp=0.15)
FROWN = _both(browDown=0.9, eyeSquint=0.35)
GRIMACE = _both(noseSneer=0.7, cheekSquint=0.6, mouthUpperUp=0.6, eyeSquint=0.4)
SADNESS = {**_both(mouthFrown=0.9), "browInnerUp": 0.8, "mouthShrugLower": 0.3}
SURPRISE = {**_both(browOuterUp=0.8, eyeWide=0.9), "browInnerUp": 0.8, "jawOpen": 0.25}
SPEECH = {"jawOpen": 0.3, "mouthFunnel": 0.15}


def smooth_noise(rng: np.random.Generator, count: int, width: float) -> np.ndarray:
    """Draw Gaussian noise of unit deviation, smoothed over ``width`` frames; shape (count,)."""
    reach = int(4 * width) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    noise = np.convolve(rng.standard_normal(count + 2 * reach), kernel, mode="valid")
    return noise / np.sqrt((kernel**2).sum())


def pulse(time: np.ndarray, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """Return a curve from 0 to 1 and back, with smooth flanks; all in seconds."""
    up = np.clip((time - start) / rise, 0, 1)
    down = np.clip((time - start - rise - hold) / fall, 0, 1)
    return _smooth_step(up) * (1 - _smooth_step(down))


def _smooth_step(x: np.ndarray) -> np.ndarray:
    return x * x * (3 - 2 * x)


def blinks(rng: np.random.Generator, time: np.ndarray, rate: float = 0.3) -> np.ndarray:
    """Draw the closure of the eyes by blinks, ``rate`` a second on average, 0 to 1; shape of ``time``."""
    closure = np.zeros_like(time)
    for start in rng.uniform(time[0] - 0.3, time[-1], rng.poisson(rate * (time[-1] - time[0] + 0.3))):
        closure = np.maximum(closure, pulse(time, start, 0.1, 0.04, 0.16))
    return closure


def syllables(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Draw the opening of the mouth in speech, about four times a second, 0 to 1; shape of ``time``."""
    rate = 1 / (time[1] - time[0])
    phase = 2 * np.pi * np.cumsum(4.0 + 1.2 * smooth_noise(rng, len(time), 0.3 * rate)) / rate
    return np.clip(0.5 - 0.5 * np.cos(phase) + 0.2 * smooth_noise(rng, len(time), 0.08 * rate), 0, 1)


def combine(*parts: tuple[Mapping[str, float], np.ndarray]) -> dict[str, np.ndarray]:
    """Add gestures, each driven by a curve; facial actions saturate at 1.

    Parameters
    ----------
    *parts : tuple of (mapping of str to float, ndarray of shape (T,))
        Strength of each facial action at full gesture, and the gesture over time.

    Returns
    -------
    dict of str to ndarray, shape (T,)
        Curves of facial actions for ``Face.render``.
    """
    actions: dict[str, np.ndarray] = {}
    for gesture, curve in parts:
        for name, strength in gesture.items():
            actions[name] = actions.get(name, 0.0) + strength * curve
    return {name: np.clip(curve, 0, 1) for name, curve in actions.items()}


def sway(rng: np.random.Generator, count: int, rate: float, rest: Mapping[str, float], restless: float) -> Motion:
    """Draw slow, small movements of a head about its position at rest.

    Parameters
    ----------
    rng : Generator
    count : int
        Frames.
    rate : float
        Frames a second.
    rest : mapping of str to float
        ``yaw``, ``pitch``, ``roll``, ``x``, ``y`` and ``size`` as in ``Motion``.
    restless : float
        1 for someone who sits still, more for others.
    """
    reach = {"yaw": 2.5, "pitch": 1.8, "roll": 1.2, "x": 0.006, "y": 0.006, "size": 0.006}
    return Motion(
        **{name: rest[name] + restless * reach[name] * smooth_noise(rng, count, 0.6 * rate) for name in reach}
    )
