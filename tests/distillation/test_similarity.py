"""Similarities of a batch and the anchors of its rows."""

import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from pkdot.distillation.similarity import ANCHOR_RULES, SIMILARITIES, anchor_columns, similarity_matrix
from pkdot.errors import ConfigError


def features(rows=6, dim=4, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "rows", "expected"),
    [
        ("cosine", [[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [1, 0, math.sqrt(0.5)]),
        ("correlation", [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 7.0, 9.0]], [1, -1, 1]),
        ("euclidean", [[0.0, 0.0], [3.0, 4.0]], [0, -2]),  # the mean distance is 2.5
        ("rbf", [[0.0, 0.0], [3.0, 4.0]], [1, math.exp(-1)]),  # the mean squared distance is 12.5
    ],
)
def test_similarities_known_by_hand(kind, rows, expected):
    assert_close(similarity_matrix(tensor(rows), kind)[0], tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_scale_and_order_of_features_change_nothing(kind):
    x = features()
    matrix = similarity_matrix(x, kind)
    assert_close(matrix, matrix.mT)
    assert_close(similarity_matrix(7 * x[:, [2, 0, 3, 1]], kind), matrix)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_gradients_are_the_slopes_in_a_batch_of_batches(kind):
    x = features(10).view(2, 5, 4).requires_grad_()
    weights = features(10, 5, seed=1).view(2, 5, 5)
    torch.autograd.gradcheck(lambda x: (weights * similarity_matrix(x, kind)).sum((-2, -1)), x)


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("case", ["zero row", "zero rows", "equal rows", "one row"])
def test_degenerate_features_have_finite_similarities_and_gradients(kind, case):
    x = {"zero row": features(), "zero rows": torch.zeros(3, 4), "equal rows": torch.ones(3, 4)}.get(case, features(1))
    if case == "zero row":
        x[2] = 0
    x = x.requires_grad_()
    matrix = similarity_matrix(x, kind)
    matrix.square().sum().backward()
    assert matrix.isfinite().all()
    assert x.grad.isfinite().all()
    if case == "zero row" and kind == "cosine":
        assert matrix[2].abs().max() == x.grad[2].abs().max() == 0


def test_autocast_does_not_lower_the_precision():
    x = features().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(similarity_matrix(x), similarity_matrix(x.clone()))
        assert similarity_matrix(x).dtype == torch.float32
    assert_close(similarity_matrix(x).diagonal(), torch.ones(6))


SIMILAR = tensor([[1.0, 0.2, 0.5, 0.1], [0.2, 1.0, 0.6, 0.3], [0.5, 0.6, 1.0, 0.4], [0.1, 0.3, 0.4, 1.0]])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("dissimilar", [[3, 1], [0, 3], [3, 0], [0, 1]]),
        ("similar", [[0, 2], [1, 2], [2, 1], [3, 2]]),
        ("shared", [[0, 3]] * 4),
    ],
)
def test_anchors_known_by_hand(rule, expected):
    columns = anchor_columns(SIMILAR, 2, rule)
    if rule == "shared":  # columns 0 and 3 have the same mean
        columns = columns.sort().values
    assert columns.tolist() == expected


def test_random_anchors_follow_the_generator_and_the_order_of_the_teacher():
    matrix = similarity_matrix(features(20))
    one, same, other = (anchor_columns(matrix, 5, "random", torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert all(len(set(row)) == 5 for row in one.tolist())
    assert (matrix.gather(-1, one).diff() >= 0).all()


@pytest.mark.parametrize("rule", ANCHOR_RULES[:-1])
def test_a_small_batch_uses_all_its_rows(rule):
    assert anchor_columns(SIMILAR, 30, rule).sort().values.tolist() == [[0, 1, 2, 3]] * 4


def test_unknown_choices_are_refused():
    with pytest.raises(ConfigError, match="Choose one of: cosine"):
        similarity_matrix(features(), "cosinus")
    for k, rule in ((0, "dissimilar"), (3, "nearest")):
        with pytest.raises(ConfigError, match="Give at least 1"):
            anchor_columns(SIMILAR, k, rule)
