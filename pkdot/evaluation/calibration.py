"""How sure a model may be: calibration error, before and after temperature scaling."""

from __future__ import annotations

import numpy as np

BINS = 10


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
