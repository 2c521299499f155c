"""The latent pain of a simulated experiment, and how a person shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.simulation.gestures import (
    BLINK,
    FROWN,
    GRIMACE,
    PAIN_UNITS,
    SMILE,
    SPEECH,
    SURPRISE,
    Motion,
    blinks,
    combine,
    pulse,
    smooth_noise,
    sway,
    syllables,
)

CODE = "99"  # begins the code of every simulated subject; the owners' codes are dates
# Mean latent pain of a person of average sensitivity; it shows about 2 s into the clip.
LEVELS = {"BL1": 0.0, "PA1": 0.3, "PA2": 0.5, "PA3": 0.75, "PA4": 1.0}
_ONSET = (1.6, 2.6)
_ABSENT = 0.24  # chance, for a unit of noise, that pain does not show at all in a clip
# Chance of each distractor in a clip, the same for every class.
_DISTRACTORS = ((SMILE, 0.25), (FROWN, 0.3), (GRIMACE, 0.15), (SURPRISE, 0.15), (SPEECH, 0.2))


@dataclass(frozen=True)
class Traits:
    """How one person feels and shows pain.

    Attributes
    ----------
    name : str
        ``<code>_<w|m>_<age>``.
    female : bool
    age : int
        Years.
    sensitivity : float
        Pain felt at the strongest heat, about 1.
    expressiveness : float
        Share of the pain that reaches the face, 0 to 1; some people hardly show any.
    units : dict of str to float
        How much each unit of the pain scale takes part, 0 to 1.
    habits : float
        Strength of gestures that have nothing to do with pain.
    eda, heart, muscle : float
        Gain of skin conductance (microsiemens), heart rate (beats a minute) and trapezius (shares of its
        tension at rest) for a unit of pain.
    latency : float
        Of the skin conductance response, seconds.
    conductance : float
        Of the skin at rest, microsiemens.
    heart_rate : float
        At rest, beats a minute.
    rest : dict of str to float
        Where the head is at rest, as in ``Motion``.
    """

    name: str
    female: bool
    age: int
    sensitivity: float
    expressiveness: float
    units: dict[str, float]
    habits: float
    eda: float
    heart: float
    muscle: float
    latency: float
    conductance: float
    heart_rate: float
    rest: dict[str, float]


def draw_traits(rng: np.random.Generator, number: int, stoics: float = 1 / 3) -> Traits:
    """Draw a person; ``number`` makes the name unique, and even numbers are women.

    ``stoics`` is the share of people who hardly show pain.
    """
    female, age = number % 2 == 0, int(rng.integers(20, 66))
    hardly_shows = rng.random() < stoics
    return Traits(
        name=f"{CODE}{number:04d}_{'w' if female else 'm'}_{age}",
        female=female,
        age=age,
        sensitivity=float(rng.lognormal(0, 0.15)),
        expressiveness=float(rng.uniform(0.0, 0.15) if hardly_shows else rng.beta(3.5, 2.5)),
        units={unit: float(rng.uniform(0.3, 1.0)) for unit in PAIN_UNITS},
        habits=float(rng.uniform(0.5, 1.2)),
        eda=float(rng.lognormal(-1.0, 0.7)),
        heart=float(rng.normal(5, 3)),
        muscle=float(rng.lognormal(-1.2, 0.7)),
        latency=float(rng.uniform(0.3, 0.9)),
        conductance=float(rng.lognormal(1.2, 0.5)),
        heart_rate=float(rng.normal(72, 8)),
        rest={
            "yaw": float(rng.normal(0, 5)),
            "pitch": float(rng.normal(0, 4)),
            "roll": float(rng.normal(0, 2)),
            "x": float(rng.normal(0.5, 0.025)),
            "y": float(rng.normal(0.47, 0.015)),
            "size": float(rng.uniform(0.6, 0.7)),
        },
    )


@dataclass(frozen=True)
class Trial:
    """One clip of one person.

    Attributes
    ----------
    pain : float
        Latent pain, 0 or more: what both modalities follow.
    onset : float
        When it begins to show, seconds.
    """

    pain: float
    onset: float


def draw_trial(rng: np.random.Generator, traits: Traits, level: float) -> Trial:
    """Draw a trial: pain varies from trial to trial at the same heat, and is slight at rest."""
    felt = level * traits.sensitivity * rng.lognormal(-0.1, 0.45) + 0.05 * rng.standard_normal()
    return Trial(float(np.clip(felt, 0, 2)), float(rng.uniform(*_ONSET)))


def face_curves(
    rng: np.random.Generator, traits: Traits, trial: Trial, time: np.ndarray, strength: float, noise: float = 0.5
) -> dict[str, np.ndarray]:
    """Return the curves of the facial actions in one clip.

    Parameters
    ----------
    rng : Generator
    traits : Traits
    trial : Trial
    time : ndarray, shape (T,)
        Seconds.
    strength : float
        Factor on the expression of pain; 0: the face tells nothing.
    noise : float
        How loosely the expression follows the pain that is felt: deviation of the logarithm of its strength.

    Returns
    -------
    dict of str to ndarray, shape (T,)
    """
    shown = strength * traits.expressiveness * trial.pain**1.2 * rng.lognormal(0, noise)
    shown = shown * (rng.random() > _ABSENT * noise)
    rise, hold = rng.uniform(0.4, 1.2), rng.uniform(0.8, 3.0)
    course = pulse(time, trial.onset, rise, hold, rng.uniform(0.5, 1.5))
    course = course * (1 + 0.15 * smooth_noise(rng, len(time), 6))
    parts = [
        (actions, shown * traits.units[unit] * rng.uniform(0.6, 1.2) * course + _idle(rng, len(time)))
        for unit, actions in PAIN_UNITS.items()
    ]
    for gesture, chance in _DISTRACTORS:
        start, length, size = rng.uniform(-0.5, 4.5), rng.uniform(0.4, 2.5), rng.uniform(0.2, 0.8)
        curve = traits.habits * size * pulse(time, start, 0.35, length, 0.5)
        if gesture is SPEECH:
            curve = curve * syllables(rng, time)
        if rng.random() < chance:
            parts.append((gesture, curve))
    parts.append((BLINK, blinks(rng, time)))
    gaze = 0.25 * smooth_noise(rng, len(time), 12)
    parts.append(({"eyeLookOutLeft": 1, "eyeLookInRight": 1}, np.clip(gaze, 0, 1)))
    parts.append(({"eyeLookInLeft": 1, "eyeLookOutRight": 1}, np.clip(-gaze, 0, 1)))
    return combine(*parts)


def _idle(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw slight, slow activity of a unit at any time; it hides the weakest expressions of pain."""
    return np.clip(rng.normal(0.02, 0.05) + 0.05 * smooth_noise(rng, count, 15), 0, 1)


def head_motion(rng: np.random.Generator, traits: Traits, count: int, rate: float) -> Motion:
    """Draw the motion of the head, alike in every class: it sits a little differently in every clip."""
    spread = {"yaw": 3.0, "pitch": 2.0, "roll": 1.0, "x": 0.008, "y": 0.008, "size": 0.01}
    rest = {name: value + spread[name] * rng.standard_normal() for name, value in traits.rest.items()}
    return sway(rng, count, rate, rest, restless=rng.uniform(0.5, 1.6))
