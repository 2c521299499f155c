"""Masks of what is present: (samples, modalities, tokens), true where a token is there.

The rate of a mask is exact. Of ``independent`` and ``bursts`` it is the share of the tokens of the targeted modalities
that are absent, over all samples of a part; of ``whole`` the share of their (sample, modality) pairs; of ``mostly`` the
share of samples that lose the targeted modality, while each other modality is lost by ``ELSEWHERE`` times that share.
Counts are rounded to the nearest whole number, so a rate is off by at most half a token, pair or sample. Masks of
one pattern and target are nested: what is absent at a rate is absent at all higher ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Pattern = Literal["independent", "bursts", "whole", "mostly"]
PATTERNS: tuple[Pattern, ...] = ("independent", "bursts", "whole", "mostly")
ALL, PRIVILEGED, PREVALENT = "all", "privileged", "prevalent"  # targets of several modalities
ELSEWHERE = 0.2  # of the rate of the targeted modality, at which `mostly` loses the others


@dataclass(frozen=True)
class Condition:
    """What is absent: a pattern, the modalities that it falls on, and how much of them.

    Attributes
    ----------
    pattern : str
    target : str
        A modality, or ``all``, ``privileged`` or ``prevalent``.
    """

    pattern: Pattern
    target: str

    @property
    def name(self) -> str:
        """Name of its masks in files."""
        return f"{self.pattern}.{self.target}"


def conditions(patterns: Sequence[Pattern], prevalent: Sequence[str], privileged: Sequence[str]) -> list[Condition]:
    """Return the conditions of a grid: each pattern on all modalities, on those of a role, and on each alone.

    ``mostly`` falls on one modality. A role with one modality is that modality.
    """
    roles = [name for name, some in ((PREVALENT, prevalent), (PRIVILEGED, privileged)) if len(some) > 1]
    single = sorted([*prevalent, *privileged])
    return [
        Condition(pattern, target)
        for pattern in patterns
        for target in ([] if pattern == "mostly" else [ALL, *roles]) + single
    ]


def members(target: str, prevalent: Sequence[str], privileged: Sequence[str]) -> np.ndarray:
    """Return which modalities, in the order of their names, belong to a target: shape (modalities,)."""
    groups = {ALL: [*prevalent, *privileged], PRIVILEGED: privileged, PREVALENT: prevalent}
    chosen = groups.get(target, [target])
    return np.array([name in chosen for name in sorted([*prevalent, *privileged])])


def draw(
    pattern: Pattern,
    targeted: np.ndarray,
    rates: Sequence[float],
    subjects: np.ndarray,
    tokens: int,
    burst: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the masks of a condition.

    Parameters
    ----------
    pattern : str
    targeted : ndarray of bool, shape (modalities,)
        The modalities that the pattern falls on.
    rates : sequence of float
        Rates in [0, 1]; see the top of this module.
    subjects : ndarray, shape (samples,)
        Whose sample each is; the samples of a subject follow one another in time.
    tokens : int
        Tokens of a sample in each modality.
    burst : int
        Tokens of a burst, which runs on through the samples of a subject.
    rng : Generator

    Returns
    -------
    ndarray of bool, shape (rates, samples, modalities, tokens)
        Where a token is present.
    """
    absent = np.zeros((len(rates), len(subjects), len(targeted), tokens), dtype=bool)
    shape = (len(subjects), int(targeted.sum()), tokens)
    if pattern == "mostly":
        for modality in range(len(targeted)):
            order = _ranks(rng.random(len(subjects)))
            for number, rate in enumerate(rates):
                share = rate if targeted[modality] else rate * ELSEWHERE
                absent[number, :, modality] = (order < _count(share, len(subjects)))[:, None]
        return ~absent
    if pattern == "whole":
        order = np.broadcast_to(_ranks(rng.random(shape[:2]))[..., None], shape)
        whole = shape[0] * shape[1]
    else:
        keys = rng.random(shape) if pattern == "independent" else _bursts(subjects, shape, burst, rng)
        order, whole = _ranks(keys), int(np.prod(shape))
    for number, rate in enumerate(rates):
        absent[number][:, targeted] = order < _count(rate, whole)
    return ~absent


def _count(rate: float, whole: int) -> int:
    return int(np.floor(rate * whole + 0.5))


def _ranks(keys: np.ndarray) -> np.ndarray:
    """Return the place of each entry in the order of its key; equal keys keep their order."""
    ranks = np.empty(keys.size, dtype=int)
    ranks[np.argsort(keys.ravel(), kind="stable")] = np.arange(keys.size)
    return ranks.reshape(keys.shape)


def _bursts(subjects: np.ndarray, shape: tuple[int, int, int], burst: int, rng: np.random.Generator) -> np.ndarray:
    """Return keys, equal within a burst: the time of a subject and a modality is cut into bursts from a random start.

    Equal keys are ranked in the order of (sample, modality, token), so that the last burst is cut at its end.
    """
    keys = np.empty(shape)
    for subject in np.unique(subjects):
        rows = np.flatnonzero(subjects == subject)
        for modality in range(shape[1]):
            moments = np.arange(len(rows) * shape[2]) + rng.integers(burst)
            bursts = rng.random(moments[-1] // burst + 1)
            keys[rows, modality] = bursts[moments // burst].reshape(len(rows), shape[2])
    return keys


def training_masks(
    samples: int, modalities: int, tokens: int, patterns: Sequence[Pattern], rng: np.random.Generator
) -> np.ndarray:
    """Draw masks of a training batch: a rate from U(0, 1) and a pattern for each sample.

    ``independent`` drops each token with the probability of the rate; ``bursts`` one block of tokens of each modality,
    as long as the rate says; ``whole`` each modality with that probability. A sample that would lose everything keeps
    one modality, drawn at random.

    Returns
    -------
    ndarray of bool, shape (samples, modalities, tokens)
    """
    rate = rng.random((samples, 1, 1))
    chosen = rng.integers(len(patterns), size=(samples, 1, 1))
    moments = np.arange(tokens)
    length = np.floor(rate * tokens + rng.random((samples, modalities, 1)))
    start = np.floor(rng.random((samples, modalities, 1)) * (tokens - length + 1))
    drawn = {
        "independent": rng.random((samples, modalities, tokens)) >= rate,
        "bursts": (moments < start) | (moments >= start + length),
        "whole": np.broadcast_to(rng.random((samples, modalities, 1)) >= rate, (samples, modalities, tokens)),
    }
    where = [chosen == number for number in range(len(patterns))]
    present = np.select(where, [drawn[name] for name in patterns], default=False)
    kept = rng.integers(modalities, size=samples)[:, None, None] == np.arange(modalities)[:, None]
    return np.where(present.any(axis=(1, 2), keepdims=True), present, kept)
