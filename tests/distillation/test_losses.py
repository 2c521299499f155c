"""The rivals' losses: the same numbers from another derivation, gradients, and the laws that each obeys."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp, softmax
from scipy.stats import entropy, kendalltau, norm, pearsonr
from sklearn.metrics.pairwise import cosine_similarity
from torch import tensor
from torch.testing import assert_close

from pkdot.distillation.c2kd import selective_loss
from pkdot.distillation.cc import cc_loss
from pkdot.distillation.dist import dist_loss
from pkdot.distillation.dkd import dkd_loss
from pkdot.distillation.generalized_distillation import imitation_loss
from pkdot.distillation.ickd import ickd_loss
from pkdot.distillation.kd import kd_loss
from pkdot.distillation.logit_standardization import standardised
from pkdot.distillation.mmanet import mad_loss
from pkdot.distillation.modality_hallucination import hallucination_loss
from pkdot.distillation.mt_pkdot import centroid_loss
from pkdot.distillation.nst import nst_loss
from pkdot.distillation.pkt import pkt_loss
from pkdot.distillation.rkd import rkd_angle_loss, rkd_distance_loss
from pkdot.distillation.sp import sp_loss
from pkdot.distillation.srd import log_sum_loss
from pkdot.distillation.vid import vid_loss
from pkdot.distillation.wkd_f import wkd_feature_loss

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
    "mmanet": (lambda s, t: mad_loss(s, t, torch.from_numpy(Y).to(s)), mad_by_hand),
    "rkd_distance": (rkd_distance_loss, rkd_distance_by_hand),
    "rkd_angle": (rkd_angle_loss, rkd_angle_by_hand),
    "pkt": (pkt_loss, pkt_by_hand),
    "nst": (nst_loss, nst_by_hand),
    "cc": (cc_loss, cc_by_hand),
    "ickd": (ickd_loss, ickd_by_hand),
    "wkd_f": (lambda s, t: wkd_feature_loss(s, t, MEMBERS.to(s)), wkd_f_by_hand),
    "centroid": (centroid_loss, centroid_by_hand),
    "hallucination": (hallucination_loss, hallucination_by_hand),
    "srd": (log_sum_loss, srd_by_hand),
    "vid": (lambda s, t: vid_loss(s, torch.linspace(0.5, 2, DIM).to(s), t), vid_by_hand),
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


@pytest.mark.parametrize("name", sorted(set(CASES) - {"srd", "vid", "generalized_distillation"}))
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


@pytest.mark.parametrize("name", ["sp", "mmanet", "rkd_distance", "rkd_angle", "pkt", "nst", "cc", "centroid"])
def test_the_widths_of_the_two_sides_may_differ(name):
    loss, by_hand = FEATURES[name]
    value = loss(torch.from_numpy(S[:, :3].copy()), torch.from_numpy(T))
    assert float(value) == pytest.approx(by_hand(S[:, :3], T), rel=1e-5)


@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("fill", ["zeros", "equal rows"])
@pytest.mark.parametrize("name", CASES)
def test_a_batch_without_differences_has_a_finite_loss_and_gradient(name, fill, side):
    loss, _, student, teacher = CASES[name]
    flat = np.zeros_like(student) if fill == "zeros" else np.tile(student[:1], (ROWS, 1))
    student, teacher = (flat if side in (one, "both") else x for one, x in (("student", student), ("teacher", teacher)))
    x = torch.from_numpy(student).float().requires_grad_()
    value = loss(x, torch.from_numpy(teacher).float())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() < 1e6
