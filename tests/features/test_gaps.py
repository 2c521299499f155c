"""Where a sample was filled in, and which of its tokens are there all the same."""

from __future__ import annotations

import numpy as np
import pytest

from pkdot.features.base import gaps_of, present_in


def test_gaps_are_where_the_mask_is_false():
    assert gaps_of(np.array([True, False, False, True])) == [0.25, 0.75]
    assert gaps_of(np.array([False, True, True, False, False])) == [0.0, 0.2, 0.6, 1.0]
    assert gaps_of(np.ones(7, dtype=bool)) == []
    assert gaps_of(np.zeros(3, dtype=bool)) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("gaps", "tokens", "present"),
    [
        ([], 3, [True, True, True]),
        ([0.0, 1.0], 2, [False, False]),
        ([0.0, 0.5], 1, [True]),
        ([0.0, 0.51], 1, [False]),
        ([0.25, 0.5], 4, [True, False, True, True]),
        ([0.2, 0.3, 0.7, 0.9], 2, [True, True]),
        ([0.0, 0.2, 0.3, 0.5, 0.6, 0.7], 2, [False, True]),
    ],
)
def test_a_token_is_there_where_most_of_its_time_was_not_filled_in(gaps, tokens, present):
    assert present_in(gaps, tokens).tolist() == present


def test_the_share_of_time_is_kept():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random(24) < 0.5
        shares = mask.reshape(4, 6).mean(axis=1)
        expected = shares >= 0.5
        assert present_in(gaps_of(mask), 4).tolist() == expected.tolist()
