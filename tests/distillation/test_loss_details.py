"""Truths about single losses: small cases by hand, limits, and what other libraries say."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy, kendalltau, multivariate_normal
from sklearn.metrics.pairwise import rbf_kernel
from torch import tensor
from torch.testing import assert_close

from pkdot.distillation.c2kd import rank_correlation
from pkdot.distillation.cc import correlation_matrix
from pkdot.distillation.crd import contrast
from pkdot.distillation.dkd import dkd_loss, target_loss
from pkdot.distillation.kd import kd_loss
from pkdot.distillation.mfh import permutation_effect
from pkdot.distillation.mmanet import margin_weights
from pkdot.distillation.mst_distill import balance_loss, route
from pkdot.distillation.nontarget import without
from pkdot.distillation.rkd import rkd_angle_loss
from pkdot.distillation.vid import vid_loss
from pkdot.distillation.wkd_f import wkd_feature_loss
from pkdot.distillation.wkd_l import class_costs, histogram_transport

ROWS, DIM, CLASSES = 7, 5, 4
DRAW = np.random.default_rng(0)
S, T = DRAW.normal(size=(2, ROWS, DIM))
X, Y = 2 * DRAW.normal(size=(2, ROWS, CLASSES))
TARGET = tensor([0, 3, 2, 1, 1, 0, 3])
MEMBERS = torch.nn.functional.one_hot(TARGET).T.double()


def test_angles_by_hand():
    """A mirrored square has the angles it had; a right triangle has not those of an equilateral one."""
    square = tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert rkd_angle_loss(square, square * tensor([1.0, -1.0])) == 0
    equilateral = tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])
    right = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # corners: 60 degrees thrice against 90, 45 and 45
    expected = (0.5**2 / 2 + 2 * (math.sqrt(0.5) - 0.5) ** 2 / 2) / 3
    assert float(rkd_angle_loss(right, equilateral)) == pytest.approx(expected, rel=1e-5)


def test_crd_by_hand():
    """Two rows, two negatives each, one of which does not count for the first row."""
    positive, negative = tensor([2.0, 0.5]), tensor([[1.0, -1.0], [0.0, 3.0]])
    valid, log_odds = tensor([[True, False], [True, True]]), tensor(math.log(2.0))

    def h(similarity):
        return math.exp(similarity) / (math.exp(similarity) + 2)

    first = -math.log(h(2)) - math.log(1 - h(1))
    second = -math.log(h(0.5)) - math.log(1 - h(0)) - math.log(1 - h(3))
    assert float(contrast(positive, negative, valid, log_odds)) == pytest.approx((first + second) / 2)
    inputs = positive.double().requires_grad_(), negative.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, n: contrast(p, n, valid, log_odds.double()), inputs)


P, Q = softmax(X, axis=1), softmax(Y, axis=1)
COST = np.abs(DRAW.normal(size=(CLASSES, CLASSES)))
COST = (COST + COST.T) * (1 - np.eye(CLASSES)) / 4


def test_histogram_transport_is_that_of_pot():
    cost = torch.from_numpy(COST).expand(ROWS, -1, -1)
    value = histogram_transport(torch.from_numpy(P), torch.from_numpy(Q), cost, 0.1, 2000)
    expected = [
        (ot.sinkhorn(p, q, COST, 0.1, numItermax=10000, stopThr=1e-13) * COST).sum() for p, q in zip(P, Q, strict=True)
    ]
    assert_close(value, tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)


def test_histogram_transport_tends_to_the_exact_one():
    cost = torch.from_numpy(COST).expand(ROWS, -1, -1)
    value = histogram_transport(torch.from_numpy(P), torch.from_numpy(Q), cost, 0.02, 5000)
    expected = [ot.emd2(p, q, COST) for p, q in zip(P, Q, strict=True)]
    assert_close(value, tensor(expected, dtype=torch.float64), rtol=1e-2, atol=1e-3)


def test_gradient_of_histogram_transport():
    cost, q = torch.from_numpy(COST).expand(ROWS, -1, -1), torch.from_numpy(Q)
    logits = torch.from_numpy(X).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: histogram_transport(x.softmax(dim=1), q, cost, 0.1, 10), (logits,))


def test_classes_that_are_alike_cost_little():
    likeness = tensor([[1.0, 0.0], [0.0, 1.0]])
    assert_close(class_costs(likeness, 2.0), tensor([[0.0, 1 - math.exp(-2)], [1 - math.exp(-2), 0.0]]))


def test_the_gaussian_distance_of_a_shifted_class_is_the_length_of_the_shift():
    t = torch.from_numpy(T)
    shift = tensor([3.0, 4.0, 0.0, 0.0, 0.0]).double()
    assert float(wkd_feature_loss(t + shift, t, MEMBERS)) == pytest.approx(25)
    only_first = torch.where((TARGET == 0)[:, None], t + shift, t)
    assert float(wkd_feature_loss(only_first, t, MEMBERS)) == pytest.approx(25 * 2 / ROWS)


def test_two_classes_leave_dkd_the_target_part():
    x, y = torch.from_numpy(X[:, :2].copy()), torch.from_numpy(Y[:, :2].copy())
    target = TARGET % 2
    assert_close(dkd_loss(x, y, target, beta=100.0), kd_loss(x, y))
    assert_close(target_loss(x, y, target, 4.0), kd_loss(x, y))


def test_rank_correlation_is_kendalls():
    expected = [kendalltau(x, y)[0] for x, y in zip(X, Y, strict=True)]
    assert_close(rank_correlation(torch.from_numpy(X), torch.from_numpy(Y)), tensor(expected).double())


def test_margin_weights_are_large_near_the_boundary():
    weights = margin_weights(tensor([[0.0, 0.0], [9.0, 0.0], [math.log(3), 0.0]]))
    assert float(weights.sum()) == pytest.approx(1)
    assert weights[0] > weights[2] > weights[1]


def test_without_drops_the_target():
    values = torch.arange(12.0).view(3, 4)
    assert without(values, tensor([0, 2, 3])).tolist() == [[1, 2, 3], [4, 5, 7], [8, 9, 10]]
    matrices = values[:, None] + 100 * torch.arange(2)[:, None]
    assert without(matrices, tensor([0, 2, 3]))[1].tolist() == [[4, 5, 7], [104, 105, 107]]


def test_vid_is_the_density_of_a_gaussian_with_that_covariance():
    mean, variance = torch.zeros(1, 2), tensor([4.0, 0.25])
    outputs = float(vid_loss(mean, variance, tensor([[1.0, 0.5]])))
    density = multivariate_normal.logpdf([1.0, 0.5], cov=np.diag([4.0, 0.25]))
    assert outputs == pytest.approx(-(density + math.log(2 * math.pi)) / 2)


def test_permutation_effect_is_the_mean_over_all_permutations():
    """Every row gets every other row's value, and its own, equally often."""
    weight = DRAW.normal(size=(CLASSES, DIM))
    other = Y
    difference = T @ weight.T - other

    def mean_square(features):
        return ((features @ weight.T - other) ** 2).sum(axis=1).mean()

    expected = []
    for i in range(DIM):
        rolled = []
        for step in range(ROWS):
            moved = T.copy()
            moved[:, i] = np.roll(moved[:, i], step)
            rolled.append(mean_square(moved))
        expected.append(np.mean(rolled) - mean_square(T))
    outputs = permutation_effect(*(torch.from_numpy(x) for x in (T, weight, difference)))
    assert_close(outputs, torch.from_numpy(np.array(expected)))


def test_routing_takes_the_likeliest_teacher_and_asks_for_an_even_use():
    logits = torch.arange(12.0).view(2, 3, 2)
    shares = tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    assert route(logits, shares).tolist() == [[2, 3], [6, 7]]
    mean = shares.mean(dim=0).numpy()
    assert float(balance_loss(shares)) == pytest.approx(entropy([1 / 3] * 3, mean))
    assert float(balance_loss(torch.full((5, 4), 0.25))) == pytest.approx(0, abs=1e-6)


def test_the_series_of_cc_tends_to_the_gaussian_kernel():
    unit = S / np.linalg.norm(S, axis=1, keepdims=True)
    assert_close(correlation_matrix(torch.from_numpy(S), 0.4, order=20), torch.from_numpy(rbf_kernel(unit, gamma=0.4)))
