"""Calibration on probabilities whose error is known."""

import numpy as np
import pytest

from pkdot.evaluation.calibration import calibration_error, softened


def test_sure_and_right_is_no_error_and_sure_and_wrong_is_all_of_it():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert calibration_error(sure, np.array([0, 1])) == 0
    assert calibration_error(sure, np.array([1, 0])) == 1


def test_eighty_percent_of_the_predictions_with_confidence_0_8_are_right():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    truth = np.array([0] * 8 + [1] * 2)
    assert calibration_error(probabilities, truth) == pytest.approx(0)
    assert calibration_error(probabilities, np.zeros(10, dtype=int)) == pytest.approx(0.2)


def test_bins_do_not_make_up_for_one_another():
    probabilities = np.array([[0.95, 0.05]] * 10 + [[0.55, 0.45]] * 10)
    truth = np.array([0] * 5 + [1] * 5 + [0] * 10)
    assert calibration_error(probabilities, truth) == pytest.approx((0.45 + 0.45) / 2)


def test_a_temperature_divides_logits():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    halved = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softened(probabilities, 2.0), halved)
    np.testing.assert_allclose(softened(probabilities, np.array([1.0, 2.0])), [probabilities[0], halved[1]])
    np.testing.assert_allclose(softened(np.array([[1.0, 0.0]]), 5.0).sum(), 1)
