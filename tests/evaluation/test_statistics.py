"""Intervals and tests over subjects: exact where they can be, and known results elsewhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pkdot.evaluation.statistics import bootstrap_weights, finite, holm, interval, smallest_difference, swap_test


def of_means(values):
    """The difference of a metric that is a mean over subjects: changing places turns the sign of a subject's."""
    values = np.asarray(values, dtype=float)
    return lambda places: {"mean": ((1 - 2 * places) * values).mean(axis=1)}


def p_value(values, seed=0):
    return swap_test(of_means(values), len(values), seed)["mean"]


def exact(differences):
    """Share of all sign flips whose mean is at least as far from zero."""
    values = np.asarray(differences)
    flips = np.array(list(itertools.product([1, -1], repeat=len(values))))
    means = np.abs((flips * values).mean(axis=1))
    return float((means >= abs(values.mean()) - 1e-12).mean())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=8))
def test_the_swap_test_is_exact_for_few_subjects(differences):
    assert p_value(differences) == pytest.approx(exact(differences))


def test_the_swap_test_of_a_mean_is_the_sign_flip_test_of_scipy():
    values = np.random.default_rng(0).normal(0.4, 1, 13)
    flips = {"permutation_type": "samples", "vectorized": True, "n_resamples": np.inf}
    peer = scipy.stats.permutation_test((values,), lambda x, axis: x.mean(axis=axis), **flips)
    assert p_value(values) == pytest.approx(peer.pvalue)


def test_known_p_values():
    assert p_value([1.0, 2.0, 3.0, 4.0]) == 2 / 16
    assert p_value(np.arange(1.0, 11.0)) == 2 / 1024
    assert p_value([1.0, -1.0]) == 1
    assert p_value(np.zeros(20)) == 1
    assert p_value([0.3]) == 1
    assert p_value([np.nan, 1.0, 2.0, 3.0, 4.0]) == 1, "what is not defined is no evidence"


def test_many_subjects_are_sampled_by_the_seed():
    values = np.random.default_rng(0).normal(0.3, 1, 30)
    p = p_value(values, 1)
    assert p == p_value(values, 1)
    assert p != p_value(values, 2)
    assert p == pytest.approx(p_value(values, 2), abs=0.02)
    assert p == pytest.approx(p_value(-values, 1), abs=0.02)


def test_the_swap_test_keeps_its_level():
    rng = np.random.default_rng(0)
    p = np.array([p_value(rng.normal(size=8)) for _ in range(300)])
    assert 0.02 < (p <= 0.05).mean() < 0.08


def test_holm_by_hand():
    """The example of Holm's method: 0.01 x 4, 0.02 x 3, 0.03 x 2, then never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.randoms())
def test_laws_of_holm(p, random):
    corrected = holm(p)
    assert all(a <= b <= 1 for a, b in zip(p, corrected, strict=True))
    assert min(corrected) == pytest.approx(min(1, min(p) * len(p)))
    order = list(range(len(p)))
    random.shuffle(order)
    assert holm([p[i] for i in order]) == pytest.approx([corrected[i] for i in order])


def test_resamples_draw_as_many_subjects_as_there_are():
    weights = bootstrap_weights(7, 500, seed=0)
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert abs(weights.mean() - 1) < 1e-12
    assert np.array_equal(weights, bootstrap_weights(7, 500, seed=0))
    assert not np.array_equal(weights, bootstrap_weights(7, 500, seed=1))


def test_the_interval_covers_a_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    weights = bootstrap_weights(40, 400, 0) / 40
    hits = 0
    for _ in range(300):
        low, high = interval(weights @ rng.normal(size=40))
        hits += low <= 0 <= high
    assert 0.90 < hits / 300 < 0.98


def test_the_interval_leaves_out_what_is_not_defined():
    values = np.array([*np.linspace(0, 1, 1001), np.nan, np.inf])
    assert interval(values) == pytest.approx((0.025, 0.975))
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_the_smallest_difference_in_closed_form():
    """2.80 standard errors; the bootstrap's standard error of a mean is the deviation over the root of the number."""
    values = np.random.default_rng(0).normal(size=50)
    resampled = bootstrap_weights(50, 20_000, 0) / 50 @ values
    assert smallest_difference(resampled) == pytest.approx(2.8016 * values.std() / np.sqrt(50), rel=0.02)
    z = scipy.stats.norm.ppf([0.995, 0.9]).sum()
    assert smallest_difference(resampled, 0.01, 0.9) == pytest.approx(z * resampled.std(ddof=1))
    assert smallest_difference(np.array([1.0, np.nan, 3.0])) == pytest.approx(2.8016 * np.sqrt(2), rel=1e-4)
    assert np.isnan(smallest_difference(np.array([np.nan, 1.0])))


def test_a_true_difference_of_that_size_is_shown_in_about_four_of_five_studies():
    rng = np.random.default_rng(0)
    subjects = 40
    weights = bootstrap_weights(subjects, 500, 0) / subjects
    size = np.mean([smallest_difference(weights @ rng.normal(size=subjects)) for _ in range(100)])
    shown = [
        swap_test(of_means(rng.normal(size, 1, subjects)), subjects, 0, resamples=999)["mean"] <= 0.05
        for _ in range(400)
    ]
    assert 0.72 < np.mean(shown) < 0.86


def test_what_is_not_finite_is_none():
    assert [finite(value) for value in (np.nan, np.inf, -np.inf, 0.5)] == [None, None, None, 0.5]
