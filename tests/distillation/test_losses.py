"""The rivals' losses: the same numbers from another derivation, gradients, and the laws that each obeys."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp, softmax
from scipy.stats import entropy, kendalltau, multivariate_normal, norm, pearsonr
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from torch import tensor
from torch.testing import assert_close

from pkdot.distillation.c2kd import rank_correlation, selective_loss
from pkdot.distillation.cc import cc_loss, correlation_matrix
from pkdot.distillation.crd import contrast
from pkdot.distillation.dist import dist_loss
from pkdot.distillation.dkd import dkd_loss, target_loss
from pkdot.distillation.generalized_distillation import imitation_loss
from pkdot.distillation.ickd import ickd_loss
from pkdot.distillation.kd import kd_loss
from pkdot.distillation.logit_standardization import standardised
from pkdot.distillation.mfh import permutation_effect
from pkdot.distillation.mmanet import mad_loss, margin_weights
from pkdot.distillation.modality_hallucination import hallucination_loss
from pkdot.distillation.mst_distill import balance_loss, route
from pkdot.distillation.mt_pkdot import centroid_loss
from pkdot.distillation.nontarget import without
from pkdot.distillation.nst import nst_loss
from pkdot.distillation.pkt import pkt_loss
from pkdot.distillation.rkd import rkd_angle_loss, rkd_distance_loss
from pkdot.distillation.sp import sp_loss
from pkdot.distillation.srd import log_sum_loss
from pkdot.distillation.vid import vid_loss
from pkdot.distillation.wkd_f import wkd_feature_loss
from pkdot.distillation.wkd_l import class_costs, histogram_transport

ROWS, DIM, CLASSES = 7, 5, 4
DRAW = np.random.default_rng(0)
S, T = DRAW.normal(size=(2, ROWS, DIM))
X, Y = 2 * DRAW.normal(size=(2, ROWS, CLASSES))
TARGET = tensor([0, 3, 2, 1, 1, 0, 3])
MEMBERS = torch.nn.functional.one_hot(TARGET).T.double()


def huber(difference):
    size = np.abs(difference)
    return np.where(size < 1, size**2 / 2, size - 0.5)


def divergence_of_rows(p, q):
    return np.mean([entropy(a, b) for a, b in zip(p, q, strict=True)])


def unit_gram(features):
    gram = features @ features.T
    return gram / np.sqrt((gram**2).sum(axis=1, keepdims=True))


def sp_by_hand(s, t):
    return np.mean((unit_gram(s) - unit_gram(t)) ** 2)


def mad_by_hand(s, t):
    uncertainty = entropy(softmax(Y, axis=1), axis=1)
    rows = ((unit_gram(s) - unit_gram(t)) ** 2).sum(axis=1)
    return uncertainty @ rows / uncertainty.sum()


def rkd_distance_by_hand(s, t):
    s, t = (pdist(x) / pdist(x).mean() for x in (s, t))
    return huber(s - t).mean()


def rkd_angle_by_hand(s, t):
    def angle(x, i, j, k):
        return 1 - pdist([x[i] - x[j], x[k] - x[j]], "cosine")[0]

    n = range(len(s))
    triplets = [(i, j, k) for i in n for j in n for k in n if len({i, j, k}) == 3]
    return np.mean([huber(angle(s, *triplet) - angle(t, *triplet)) for triplet in triplets])


def pkt_by_hand(s, t):
    def neighbours(x):
        kernel = (2 - squareform(pdist(x, "cosine"))) / 2
        np.fill_diagonal(kernel, 0)
        return kernel / kernel.sum(axis=1, keepdims=True)

    p, q = neighbours(t), neighbours(s)
    return np.mean([entropy(np.delete(p[i], i), np.delete(q[i], i)) for i in range(len(s))])


def nst_by_hand(s, t):
    def kernel(x, y):
        return np.mean([[cosine_similarity([a], [b])[0, 0] ** 2 for a in x.T] for b in y.T])

    return kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)


def cc_by_hand(s, t):
    def series(x):
        z = 0.8 * cosine_similarity(x)
        return math.exp(-0.8) * (1 + z + z**2 / 2)

    return np.mean((series(s) - series(t)) ** 2)


def ickd_by_hand(s, t):
    return ((unit_gram(s.T) - unit_gram(t.T)) ** 2).sum() / s.shape[1]


TARGETS = TARGET.numpy()


def wkd_f_by_hand(s, t):
    """Gaussians with diagonal covariance: what POT's closed form says, class by class."""
    total = 0
    for c in range(CLASSES):
        one, other = s[c == TARGETS], t[c == TARGETS]
        covariances = [np.diag(x.var(axis=0) + 1e-5) for x in (one, other)]
        distance = ot.gaussian.bures_wasserstein_distance(one.mean(axis=0), other.mean(axis=0), *covariances)
        total += len(one) * distance**2
    return total / len(s)


def centroid_by_hand(s, t):
    return np.linalg.norm(cosine_similarity(s).mean(axis=0) - cosine_similarity(t).mean(axis=0))


def hallucination_by_hand(s, t):
    return np.mean((1 / (1 + np.exp(-s)) - 1 / (1 + np.exp(-t))) ** 2)


def srd_by_hand(s, t):
    return 4 * math.log(np.linalg.norm((s - t).ravel(), ord=4))


def vid_by_hand(s, t):
    """The density of a Gaussian, less the constant that the loss leaves out."""
    variance = np.linspace(0.5, 2, DIM)
    return -np.mean(norm.logpdf(t, loc=s, scale=np.sqrt(variance))) - math.log(2 * math.pi) / 2


FEATURES = {
    "sp": (sp_loss, sp_by_hand),
    "mmanet": (lambda s, t: mad_loss(s, t, torch.from_numpy(Y)), mad_by_hand),
    "rkd_distance": (rkd_distance_loss, rkd_distance_by_hand),
    "rkd_angle": (rkd_angle_loss, rkd_angle_by_hand),
    "pkt": (pkt_loss, pkt_by_hand),
    "nst": (nst_loss, nst_by_hand),
    "cc": (cc_loss, cc_by_hand),
    "ickd": (ickd_loss, ickd_by_hand),
    "wkd_f": (lambda s, t: wkd_feature_loss(s, t, MEMBERS), wkd_f_by_hand),
    "centroid": (centroid_loss, centroid_by_hand),
    "hallucination": (hallucination_loss, hallucination_by_hand),
    "srd": (log_sum_loss, srd_by_hand),
    "vid": (lambda s, t: vid_loss(s, torch.linspace(0.5, 2, DIM).double(), t), vid_by_hand),
}


def kd_by_hand(x, y):
    return 16 * divergence_of_rows(softmax(y / 4, axis=1), softmax(x / 4, axis=1))


def dist_by_hand(x, y):
    p, q = softmax(x / 2, axis=1), softmax(y / 2, axis=1)
    inter = np.mean([pearsonr(a, b)[0] for a, b in zip(p, q, strict=True)])
    intra = np.mean([pearsonr(a, b)[0] for a, b in zip(p.T, q.T, strict=True)])
    return 4 * (1 - inter + 0.5 * (1 - intra))


def dkd_by_hand(x, y):
    p, q = softmax(y / 4, axis=1), softmax(x / 4, axis=1)
    parts = []
    for i, c in enumerate(TARGET):
        own = entropy([p[i, c], 1 - p[i, c]], [q[i, c], 1 - q[i, c]])
        others = entropy(np.delete(p[i], c) / (1 - p[i, c]), np.delete(q[i], c) / (1 - q[i, c]))
        parts.append(own + 8 * others)
    return 16 * np.mean(parts)


def selective_by_hand(x, y):
    parts = []
    for i, c in enumerate(TARGET):
        p, q = softmax(np.delete(y[i], c)), softmax(np.delete(x[i], c))
        parts.append(entropy(p, q) if kendalltau(x[i], y[i])[0] > 0.2 else 0)
    assert 0 in parts  # the draw holds both kinds of rows
    assert any(parts)
    return np.mean(parts)


def standardised_by_hand(x, y):
    x, y = ((z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, ddof=1, keepdims=True) for z in (x, y))
    return 4 * divergence_of_rows(softmax(y / 2, axis=1), softmax(x / 2, axis=1))


def imitation_by_hand(x, y):
    return -np.mean((softmax(y / 2, axis=1) * (x - logsumexp(x, axis=1, keepdims=True))).sum(axis=1))


LOGITS = {
    "kd": (kd_loss, kd_by_hand),
    "dist": (lambda x, y: dist_loss(x, y, temperature=2.0, intra=0.5), dist_by_hand),
    "dkd": (lambda x, y: dkd_loss(x, y, TARGET), dkd_by_hand),
    "c2kd": (lambda x, y: selective_loss(x, y, TARGET, threshold=0.2), selective_by_hand),
    "logit_standardization": (
        lambda x, y: kd_loss(standardised(x), standardised(y), 2.0),
        standardised_by_hand,
    ),
    "generalized_distillation": (lambda x, y: imitation_loss(x, y, 2.0), imitation_by_hand),
}

CASES = {**{n: (*c, S, T) for n, c in FEATURES.items()}, **{n: (*c, X, Y) for n, c in LOGITS.items()}}


@pytest.mark.parametrize("name", CASES)
def test_value_is_that_of_another_derivation(name):
    loss, by_hand, student, teacher = CASES[name]
    value = loss(torch.from_numpy(student), torch.from_numpy(teacher))
    assert value.shape == ()
    assert float(value) == pytest.approx(by_hand(student, teacher), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_finite_differences(name):
    loss, _, student, teacher = CASES[name]
    x, y = torch.from_numpy(student).requires_grad_(), torch.from_numpy(teacher)
    # ``centroid`` is differentiable once only, and gradcheck asks for no more.
    assert torch.autograd.gradcheck(lambda x: loss(x, y), (x,))


@pytest.mark.parametrize("name", set(CASES) - {"srd", "vid", "generalized_distillation"})
def test_a_student_like_its_teacher_has_no_loss(name):
    loss, _, _, teacher = CASES[name]
    teacher = torch.from_numpy(teacher)
    assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["vid", "generalized_distillation"])
def test_the_gradient_vanishes_at_the_optimum(name):
    """VID at the teacher's features; imitation at logits whose softmax is the teacher's softened one."""
    loss, _, _, teacher = CASES[name]
    best = torch.from_numpy(teacher / (2 if name == "generalized_distillation" else 1)).requires_grad_()
    loss(best, torch.from_numpy(teacher)).backward()
    assert_close(best.grad, torch.zeros_like(best), atol=1e-12, rtol=0)


ROTATION = torch.linalg.qr(torch.from_numpy(DRAW.normal(size=(DIM, DIM)))).Q
TRANSFORMS = {
    "scale": lambda x: 3.7 * x,
    "rotation": lambda x: x @ ROTATION,
    "shift": lambda x: x + 2,
    "order of features": lambda x: x.flip(1),
    "signs of features": lambda x: x * torch.linspace(-1, 1, DIM).sign().where(torch.arange(DIM) != 2, 1),
}
INVARIANT = [
    *[(name, law) for name in ("sp", "mmanet", "pkt", "cc", "centroid") for law in ("scale", "rotation")],
    *[(name, law) for name in ("rkd_distance", "rkd_angle") for law in ("scale", "rotation", "shift")],
    *[("nst", law) for law in ("scale", "order of features", "signs of features")],
    ("ickd", "scale"),
]


@pytest.mark.parametrize(("name", "law"), INVARIANT)
def test_what_the_student_may_do_without_changing_the_loss(name, law):
    loss, _ = FEATURES[name]
    s, t = torch.from_numpy(S), torch.from_numpy(T)
    assert_close(loss(TRANSFORMS[law](s), t), loss(s, t))


@pytest.mark.parametrize(
    "name", ["sp", "mmanet", "rkd_distance", "rkd_angle", "pkt", "nst", "cc", "centroid"]
)
def test_the_widths_of_the_two_sides_may_differ(name):
    loss, by_hand = FEATURES[name]
    value = loss(torch.from_numpy(S[:, :3].copy()), torch.from_numpy(T))
    assert float(value) == pytest.approx(by_hand(S[:, :3], T), rel=1e-5)


def test_the_series_of_cc_tends_to_the_gaussian_kernel():
    unit = S / np.linalg.norm(S, axis=1, keepdims=True)
    assert_close(
        correlation_matrix(torch.from_numpy(S), 0.4, order=20), torch.from_numpy(rbf_kernel(unit, gamma=0.4))
    )


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
        (ot.sinkhorn(p, q, COST, 0.1, numItermax=10000, stopThr=1e-13) * COST).sum()
        for p, q in zip(P, Q, strict=True)
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
    assert torch.autograd.gradcheck(
        lambda x: histogram_transport(x.softmax(dim=1), q, cost, 0.1, 10), (logits,)
    )


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
    said = float(vid_loss(mean, variance, tensor([[1.0, 0.5]])))
    density = multivariate_normal.logpdf([1.0, 0.5], cov=np.diag([4.0, 0.25]))
    assert said == pytest.approx(-(density + math.log(2 * math.pi)) / 2)


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
    said = permutation_effect(*(torch.from_numpy(x) for x in (T, weight, difference)))
    assert_close(said, torch.from_numpy(np.array(expected)))


def test_routing_takes_the_likeliest_teacher_and_asks_for_an_even_use():
    logits = torch.arange(12.0).view(2, 3, 2)
    shares = tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    assert route(logits, shares).tolist() == [[2, 3], [6, 7]]
    mean = shares.mean(dim=0).numpy()
    assert float(balance_loss(shares)) == pytest.approx(entropy([1 / 3] * 3, mean))
    assert float(balance_loss(torch.full((5, 4), 0.25))) == pytest.approx(0, abs=1e-6)
