"""The latent valence and arousal of a simulated video, and how a person shows them in the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.simulation.gestures import (
    BLINK,
    FROWN,
    GRIMACE,
    SADNESS,
    SMILE,
    SPEECH,
    SURPRISE,
    Motion,
    blinks,
    combine,
    pulse,
    smooth_noise,
    sway,
)

_EXCITED = {
    "browInnerUp": 0.5,
    "browOuterUpLeft": 0.5,
    "browOuterUpRight": 0.5,
    "eyeWideLeft": 0.7,
    "eyeWideRight": 0.7,
}
_TIRED = {"eyeBlinkLeft": 0.45, "eyeBlinkRight": 0.45}
_DISTRACTORS = (SMILE, FROWN, SURPRISE, GRIMACE)
_EVERY = 7.0  # seconds from one distractor to the next, on average


@dataclass(frozen=True)
class Manner:
    """How one person shows emotion.

    Attributes
    ----------
    valence, arousal : float
        Share of either that reaches the face, 0 to 1; a third of all people show little.
    habits : float
        Strength of expressions that mean nothing.
    restless : float
        1 for someone who sits still, more for others.
    """

    valence: float
    arousal: float
    habits: float
    restless: float


def draw_manner(rng: np.random.Generator) -> Manner:
    """Draw a manner."""
    open_face = rng.random() > 1 / 3
    return Manner(
        valence=float(rng.uniform(0.55, 0.95) if open_face else rng.uniform(0.1, 0.35)),
        arousal=float(rng.uniform(0.2, 0.5) if open_face else rng.uniform(0.0, 0.15)),
        habits=float(rng.uniform(0.2, 0.6)),
        restless=float(rng.uniform(0.6, 1.5)),
    )


def mood(rng: np.random.Generator, count: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw latent valence and arousal in (-1, 1), of shape (count,): a level of the video, and changes over seconds."""
    level = rng.normal([0.1, 0.05], 0.25)
    slow, fast = 2.5 * rate, 0.6 * rate
    valence, arousal = (
        np.tanh(centre + 0.5 * smooth_noise(rng, count, slow) + 0.25 * smooth_noise(rng, count, fast))
        for centre in level
    )
    return valence, arousal


def annotate(rng: np.random.Generator, latent: np.ndarray, rate: float) -> np.ndarray:
    """Return the annotation of a latent trajectory: a little late, and with errors that last a second."""
    late = np.concatenate([np.repeat(latent[:1], round(0.2 * rate)), latent])[: len(latent)]
    return np.clip(late + 0.1 * smooth_noise(rng, len(latent), 0.5 * rate), -1, 1)


def face_curves(
    rng: np.random.Generator,
    manner: Manner,
    valence: np.ndarray,
    arousal: np.ndarray,
    mouth: np.ndarray,
    rate: float,
    strength: float,
) -> dict[str, np.ndarray]:
    """Return the curves of the facial actions.

    Parameters
    ----------
    rng : Generator
    manner : Manner
    valence, arousal, mouth : ndarray, shape (T,)
        In [-1, 1], and how far speech opens the mouth, 0 to 1.
    rate : float
        Frames a second.
    strength : float
        Factor on emotion in the face; 0: the face tells nothing.

    Returns
    -------
    dict of str to ndarray, shape (T,)
    """
    count = len(valence)

    def shown(share: float, latent: np.ndarray) -> np.ndarray:
        wander = 1 + 0.3 * smooth_noise(rng, count, 1.2 * rate)
        return strength * share * np.clip(latent, 0, 1) * np.clip(wander, 0, 2)

    heat = np.clip(0.5 + 0.5 * arousal, 0, 1)
    parts = [
        (SMILE, 2 * shown(manner.valence, valence)),
        (FROWN, 2 * shown(manner.valence, -valence) * heat),
        (SADNESS, 2 * shown(manner.valence, -valence) * (1 - heat)),
        (_EXCITED, 2 * shown(manner.arousal, arousal)),
        (_TIRED, 2 * shown(manner.arousal, -arousal)),
        (SPEECH, mouth),
        (BLINK, blinks(rng, np.arange(count) / rate)),
    ]
    time = np.arange(count) / rate
    for _ in range(rng.poisson(time[-1] / _EVERY)):
        gesture = _DISTRACTORS[int(rng.integers(len(_DISTRACTORS)))]
        start, length, size = rng.uniform(-1, time[-1]), rng.uniform(0.5, 2.5), rng.uniform(0.2, 0.7)
        parts.append((gesture, manner.habits * size * pulse(time, start, 0.35, length, 0.5)))
    return combine(*parts)


def head_motion(rng: np.random.Generator, manner: Manner, count: int, rate: float, x: float, size: float) -> Motion:
    """Draw the motion of a head: its eyes are at about ``x`` of the picture's width, its size is that of the height."""
    rest = {"yaw": 5, "pitch": 4, "roll": 2, "x": 0.015, "y": 0.02, "size": 0.02}
    middle = {"yaw": 0, "pitch": 0, "roll": 0, "x": x, "y": 0.46, "size": size}
    drawn = {name: middle[name] + spread * float(rng.standard_normal()) for name, spread in rest.items()}
    return sway(rng, count, rate, drawn, manner.restless)
