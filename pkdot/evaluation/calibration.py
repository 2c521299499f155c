"""How sure a model may be: calibration error, and the temperature that makes it as sure as it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkdot.training.calibration import TEMPERATURES

BINS = 10


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by.

    Attributes
    ----------
    value : float
        For people of whom nothing is known.
    of_others : ndarray, shape (B,)
        For each prediction, what all subjects but its own give: with it, one sees how good ``value`` is.
    """

    value: float
    of_others: np.ndarray


def temperature_of_subjects(probabilities: np.ndarray, truth: np.ndarray, subjects: np.ndarray) -> Temperature:
    """Return the temperature with the lowest log loss; 1 where temperatures do not help people who did not fit them.

    The temperature of some subjects is tried on another one, for each in turn, and it counts only if this makes the
    log loss lower than no temperature does.

    Parameters
    ----------
    probabilities : ndarray, shape (B, C)
        Of samples that trained nothing and chose nothing, such as those of the test subjects of all folds.
    truth : ndarray of int, shape (B,)
        Number of the true class.
    subjects : ndarray, shape (B,)
        Whose samples they are.
    """
    names, whose = np.unique(subjects, return_inverse=True)
    tiny = np.finfo(float).tiny
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(softened(probabilities, one)[rows, truth], tiny)) for one in TEMPERATURES]
    table = np.array([np.bincount(whose, weights=loss, minlength=len(names)) for loss in losses])
    every, grid = table.sum(axis=1), np.array(TEMPERATURES)
    others = (every[:, None] - table).argmin(axis=0)
    helped = table[others, np.arange(len(names))].sum() < every[TEMPERATURES.index(1.0)]
    if len(names) < 2 or not helped:
        return Temperature(1.0, np.ones(len(truth)))
    return Temperature(float(grid[every.argmin()]), grid[others][whose])


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error of the predicted class (Naeini, Cooper and Hauskrecht, AAAI 2015).

    Parameters
    ----------
    probabilities : ndarray, shape (B, C)
    truth : ndarray of int, shape (B,)
        Number of the true class.

    Returns
    -------
    float in [0, 1]
        Mean distance of confidence and accuracy in equal bins of confidence, each counted by its samples.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=BINS)  # count times mean gap of each bin
    return float(np.abs(gaps).sum() / len(truth))


def softened(probabilities: np.ndarray, temperature: np.ndarray | float) -> np.ndarray:
    """Return the probabilities (B, C) of logits that are divided by a temperature, one for all or one a row."""
    logits = np.log(np.maximum(probabilities, np.finfo(float).tiny)) / np.reshape(temperature, (-1, 1))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
