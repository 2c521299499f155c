"""Calibration on probabilities whose error is known."""

import numpy as np
import pytest

from pkdot.evaluation.calibration import calibration_error, softened, temperature_of_subjects


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


def drawn(temperatures, count=400, seed=0):
    """Probabilities of each subject that are right once its logits are divided by its temperature; classes by these."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(len(temperatures), count, 3))
    scaled = logits / np.reshape(temperatures, (-1, 1, 1))
    shares = np.exp(scaled) / np.exp(scaled).sum(axis=2, keepdims=True)
    truth = (shares.cumsum(axis=2) < rng.random((*shares.shape[:2], 1))).sum(axis=2)
    plain = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    subjects = np.repeat([f"subject {i}" for i in range(len(temperatures))], count)
    return plain.reshape(-1, 3), truth.ravel(), subjects


@pytest.mark.parametrize("true", [0.5, 1.6, 4.0])
def test_the_temperature_that_made_the_data_is_found_and_mends_the_calibration(true):
    probabilities, truth, subjects = drawn([true] * 6)
    found = temperature_of_subjects(probabilities, truth, subjects)
    assert found.value == pytest.approx(true, rel=0.1)
    np.testing.assert_allclose(found.of_others, true, rtol=0.15)
    before = calibration_error(probabilities, truth)
    assert calibration_error(softened(probabilities, found.of_others), truth) < 0.03 < before


def test_what_some_people_give_is_left_out_where_it_makes_it_worse_for_another():
    probabilities, truth, subjects = drawn([0.3, 3.0])
    found = temperature_of_subjects(probabilities, truth, subjects)
    assert found.value == 1
    np.testing.assert_array_equal(found.of_others, 1)


def test_the_temperature_of_a_subject_does_not_know_its_own_labels():
    probabilities, truth, subjects = drawn([2.0, 2.0, 2.0, 2.0])
    mine = subjects == "subject 0"
    changed = np.where(mine, probabilities.argmin(axis=1), truth)
    before, after = (temperature_of_subjects(probabilities, labels, subjects) for labels in (truth, changed))
    assert before.value != 1
    others = temperature_of_subjects(probabilities[~mine], truth[~mine], subjects[~mine])
    np.testing.assert_array_equal(before.of_others[mine], others.value)
    assert after.value != before.value


def test_one_subject_gives_no_temperature():
    probabilities, truth, subjects = drawn([3.0])
    assert temperature_of_subjects(probabilities, truth, subjects).value == 1
