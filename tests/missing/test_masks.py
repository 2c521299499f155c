"""Masks have the rate that they say, exactly, in the shape of their pattern."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pkdot.missing.masks import ELSEWHERE, PATTERNS, conditions, draw, members, training_masks

RATES = [number / 10 for number in range(11)]
SUBJECTS = np.repeat(["a", "b", "c"], [7, 9, 5])
BURST = 3


def masks(pattern, targeted=(True, False, True), tokens=4, seed=0):
    rng = np.random.default_rng(seed)
    return draw(pattern, np.array(targeted), RATES, SUBJECTS, tokens, BURST, rng)


def longest_run(absent):
    """Of each burst: the lengths of runs of absence in a line."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], absent.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize("pattern", ["independent", "bursts"])
@pytest.mark.parametrize("tokens", [1, 4])
def test_tokens_are_absent_at_the_rate(pattern, tokens):
    for rate, present in zip(RATES, masks(pattern, tokens=tokens), strict=True):
        absent = ~present[:, [0, 2]]
        assert abs(absent.sum() - rate * absent.size) <= 0.5
        assert present[:, 1].all()


def test_whole_modalities_are_absent_at_the_rate():
    for rate, present in zip(RATES, masks("whole"), strict=True):
        absent = ~present[:, [0, 2]]
        assert (absent.all(axis=2) | ~absent.any(axis=2)).all(), "a modality goes as a whole"
        assert abs(absent.any(axis=2).sum() - rate * 2 * len(SUBJECTS)) <= 0.5


def test_one_modality_is_lost_at_the_rate_and_the_others_at_a_share_of_it():
    for rate, present in zip(RATES, masks("mostly", targeted=(False, True, False)), strict=True):
        absent = ~present
        assert (absent.all(axis=2) | ~absent.any(axis=2)).all()
        lost = absent.all(axis=2).sum(axis=0)
        assert abs(lost[1] - rate * len(SUBJECTS)) <= 0.5
        assert (abs(lost[[0, 2]] - ELSEWHERE * rate * len(SUBJECTS)) <= 0.5).all()


def test_bursts_are_runs_through_the_samples_of_a_subject():
    present = masks("bursts")[3]
    whole = []
    for subject in np.unique(SUBJECTS):
        for modality in (0, 2):
            whole += list(longest_run(~present[np.flatnonzero(subject == SUBJECTS), modality].ravel()))
    single = [length for length in whole if length < BURST]
    # a run may be shorter at either end of a subject's time, and once where the count of the rate is reached
    assert len(single) <= 2 * 2 * 3 + 1
    assert max(whole) >= BURST
    assert np.mean(whole) > 2


def test_single_tokens_are_no_runs():
    present = masks("independent")[3]
    runs = [length for row in ~present[:, 0] for length in longest_run(row)]
    assert np.mean(runs) < 2


@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks_are_nested_and_their_seed_decides(pattern):
    first, again, other = masks(pattern), masks(pattern), masks(pattern, seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for less, more in pairwise(first):
        assert not (more & ~less).any()
    assert first[0].all()


def test_the_grid_has_each_pattern_on_all_on_roles_and_on_each_modality():
    grid = conditions(["whole", "mostly"], ["face"], ["eda", "ecg"])
    targets = {(one.pattern, one.target) for one in grid}
    whole = {("whole", name) for name in ("all", "privileged", "face", "eda", "ecg")}
    assert targets == whole | {("mostly", name) for name in ("face", "eda", "ecg")}
    assert len({one.name for one in grid}) == len(grid)
    assert members("privileged", ["face"], ["eda", "ecg"]).tolist() == [True, True, False]  # in the order of the names
    assert members("all", ["face"], ["eda", "ecg"]).all()
    assert members("face", ["face"], ["eda", "ecg"]).tolist() == [False, False, True]


@pytest.mark.parametrize("pattern", ["independent", "bursts", "whole"])
def test_training_masks_have_rates_from_none_to_all(pattern):
    present = training_masks(4000, 3, 6, [pattern], np.random.default_rng(0))
    assert present.any(axis=(1, 2)).all(), "something is left of every sample"
    absent = 1 - present.mean(axis=(1, 2))
    # the rate is uniform; a sample that would lose everything keeps a third
    assert 0.4 < absent.mean() < 0.5
    if pattern == "whole":
        assert (present.all(axis=2) | ~present.any(axis=2)).all()
        # as many lost of three as there are from a uniform rate, each as often; who would lose all loses two
        lost = np.bincount((~present.any(axis=2)).sum(axis=1)) / len(present)
        assert lost == pytest.approx([0.25, 0.25, 0.5], abs=0.03)
    else:
        histogram = np.histogram(absent, bins=4, range=(0, 1))[0] / len(absent)
        assert (histogram > 0.05).all()
    if pattern == "bursts":
        assert all(len(longest_run(~row)) <= 1 for row in present.reshape(-1, 6))


def test_training_masks_mix_their_patterns():
    rng = np.random.default_rng(0)
    present = training_masks(2000, 2, 6, ["independent", "whole"], rng)
    torn = (present.any(axis=2) & ~present.all(axis=2)).any(axis=1)
    assert 0.2 < torn.mean() < 0.5
