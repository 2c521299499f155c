"""PKDOT's loss: as released, its options, and what it does with degenerate batches."""

import math

import ot
import pytest
import torch
from geomloss import SamplesLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize
from torch.testing import assert_close

from pkdot.distillation.similarity import ANCHOR_RULES, SIMILARITIES
from pkdot.distillation.sinkhorn import pairwise_cost
from pkdot.distillation.transport import TRANSPORTS, exact_transport, gromov_wasserstein, transport_loss
from pkdot.errors import ConfigError, DataError


def features(rows, dim, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradient(loss, student, *others):
    student = student.clone().requires_grad_()
    value = loss(student, *others)
    value.sum().backward()
    return value.detach(), student.grad


def relative(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


def released(student, teacher):
    """The loss as released, in its own words: geomloss on the anchored similarities."""
    similarities = [normalize(f, dim=1) @ normalize(f, dim=1).T for f in (teacher, student)]
    similarities = [s - s.min() for s in similarities]
    columns = torch.topk(similarities[0], 30, dim=1, largest=False).indices
    clouds = [torch.gather(s, 1, columns) for s in similarities]
    return SamplesLoss("sinkhorn", p=2, blur=0.1, scaling=0.998, backend="tensorized")(clouds[1], clouds[0])


def test_the_defaults_are_the_loss_as_released():
    student, teacher = features(40, 20, 1), features(40, 48, 2)
    value, gradient = value_and_gradient(transport_loss, student, teacher)
    expected, expected_gradient = value_and_gradient(released, student, teacher)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert relative(gradient, expected_gradient) < 1e-4


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 10**6), st.sampled_from(SIMILARITIES))
@settings(max_examples=25, deadline=None)
def test_equal_structures_cost_nothing_and_others_something(rows, dim, seed, similarity):
    teacher, other = features(rows, dim, seed), features(rows, dim, seed + 1)
    order = torch.randperm(dim, generator=torch.Generator().manual_seed(seed))
    loss = transport_loss(3 * teacher[:, order], teacher, anchors=4, similarity=similarity)
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert transport_loss(other, teacher, anchors=4, similarity=similarity).item() >= -1e-9


@given(st.integers(2, 12), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_order_of_samples_and_rotation_of_features_change_nothing(rows, seed):
    student, teacher = features(rows, 3, seed), features(rows, 5, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(rows, generator=generator)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    loss = transport_loss(student, teacher, anchors=4)
    assert_close(transport_loss(student[order] @ rotation, teacher[order], anchors=4), loss, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("rule", ANCHOR_RULES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_gradient_is_the_slope_for_every_description_of_a_row(similarity, rule):
    student, teacher = features(6, 3, 1).requires_grad_(), features(6, 4, 2)

    def loss(student):
        generator = torch.Generator().manual_seed(0)
        options = {"similarity": similarity, "anchor_rule": rule, "generator": generator}
        return transport_loss(student, teacher, anchors=3, blur=0.3, tolerance=1e-13, **options)

    torch.autograd.gradcheck(loss, student)


def test_the_teacher_has_a_gradient_only_if_asked_for():
    student, teacher = features(12, 4, 1).requires_grad_(), features(12, 5, 2).requires_grad_()
    transport_loss(student, teacher, anchors=3).backward()
    assert teacher.grad is None
    torch.autograd.gradcheck(
        lambda t: transport_loss(student.detach(), t, anchors=3, detach_teacher=False, tolerance=1e-13),
        teacher,
    )


def test_entropic_transport_is_the_divergence_without_its_self_terms():
    student, teacher = features(20, 4, 1), features(20, 5, 2)
    plain = transport_loss(student, teacher, anchors=5, transport="entropic")
    assert plain.item() == transport_loss(student, teacher, anchors=5, debias=False).item()
    assert transport_loss(student, student, anchors=5, transport="entropic").item() > 1e-3


@pytest.mark.parametrize("p", [1, 2])
def test_exact_transport_is_that_of_pot(p):
    x, y = features(15, 4, 1), features(12, 4, 2)
    value, gradient = value_and_gradient(lambda x: exact_transport(x, y, p), x)
    expected, slope = value_and_gradient(lambda x: ot.emd2([], [], pairwise_cost(x, y, p)), x)
    assert_close(value, expected)
    assert_close(gradient, slope)


def test_exact_transport_finds_a_permutation():
    x = features(9, 3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(exact_transport, x + 0.01, x[order])
    assert value.item() == pytest.approx(3 * 0.01**2 / 2)
    assert_close(gradient, torch.full_like(x, 0.01 / 9))


def test_gromov_wasserstein_is_that_of_pot_and_its_gradient_the_slope_of_the_entropic_objective():
    x, y, direction = (torch.cdist(f, f) for f in (features(12, 3, 1), features(10, 3, 2), features(12, 3, 3)))

    def pot(x):
        plan, log = ot.gromov.entropic_gromov_wasserstein(x, y, epsilon=0.5, tol=1e-12, log=True)
        return log["gw_dist"].item(), log["gw_dist"].item() + 0.5 * (plan * plan.log()).sum().item()

    value, gradient = value_and_gradient(lambda x: gromov_wasserstein(x, y, 0.5, 1e-12)[0], x)
    slope = (pot(x + 1e-4 * direction)[1] - pot(x - 1e-4 * direction)[1]) / 2e-4
    assert value.item() == pytest.approx(pot(x)[0], rel=1e-9)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5)


def test_gromov_wasserstein_refuses_a_blur_that_pot_cannot_take():
    with pytest.raises(ConfigError, match="Set a larger blur"):
        transport_loss(features(20, 3, 1), features(20, 3, 2), transport="gromov_wasserstein", blur=0.001)


def test_sample_alignment_costs_at_least_the_best_plan():
    student, teacher = features(20, 4, 1), features(20, 5, 2)
    aligned, gradient = value_and_gradient(
        lambda s: transport_loss(s, teacher, anchor_rule="all", alignment="sample_aligned"), student
    )

    def by_hand(student):
        shifted = [s - s.min() for s in (normalize(f, dim=1) @ normalize(f, dim=1).T for f in (student, teacher))]
        return (shifted[0] - shifted[1]).square().sum() / 2 / 20

    expected, slope = value_and_gradient(by_hand, student)
    assert_close(aligned, expected)
    assert_close(gradient, slope)
    best = transport_loss(student, teacher, anchor_rule="all", transport="exact")
    assert best.item() < aligned.item()
    equal, slope = value_and_gradient(lambda s: transport_loss(s, student, alignment="sample_aligned"), student)
    assert equal.item() == slope.abs().max().item() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_batch_of_batches_is_as_its_batches(transport):
    student, teacher = features(24, 4, 1).view(3, 8, 4), features(24, 5, 2).view(3, 8, 5)
    options = {"anchors": 3, "transport": transport, "blur": 0.5}
    value, gradient = value_and_gradient(lambda s: transport_loss(s, teacher, **options), student)
    for i in range(3):
        alone = value_and_gradient(lambda s, i=i: transport_loss(s, teacher[i], **options), student[i])
        assert_close(value[i], alone[0], rtol=1e-7, atol=1e-10)
        assert_close(gradient[i], alone[1], rtol=1e-6, atol=1e-9)


def degenerate(case):
    student, teacher = features(6, 4, 1).float(), features(6, 5, 2).float()
    match case:
        case "one row":
            return student[:1], teacher[:1]
        case "duplicate rows":
            return student[[0, 0, 1, 1, 2, 2]], teacher[[0, 0, 1, 1, 2, 2]]
        case "zero vectors":
            return student * torch.tensor([0, 1, 0, 1, 1, 1.0])[:, None], teacher
        case "all zero":
            return 0 * student, 0 * teacher
        case "constant features":
            return torch.ones_like(student), torch.full_like(teacher, 2.5)
        case "huge and tiny":
            return student * 1e12, teacher * 1e-12
    return student, teacher


@pytest.mark.parametrize("transport", ["sinkhorn_divergence", "exact", "gromov_wasserstein"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(
    "case",
    [
        "one row",
        "duplicate rows",
        "zero vectors",
        "all zero",
        "constant features",
        "huge and tiny",
        "small batch",
    ],
)
def test_degenerate_batches_have_a_finite_loss_and_gradient(case, similarity, transport):
    student, teacher = degenerate(case)
    value, gradient = value_and_gradient(
        lambda s: transport_loss(s, teacher, similarity=similarity, transport=transport), student
    )
    assert math.isfinite(value.item())
    assert gradient.isfinite().all()
    if case in ("one row", "all zero", "constant features"):
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert gradient.abs().max().item() == pytest.approx(0, abs=1e-6)


def test_a_batch_smaller_than_the_anchors_uses_all_of_its_rows():
    student, teacher = features(6, 4, 1), features(6, 5, 2)
    assert transport_loss(student, teacher).item() == transport_loss(student, teacher, anchors=6).item()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_feature_that_is_not_finite_is_one_clear_error(bad, side, transport):
    batch = {"student": features(6, 4, 1), "teacher": features(6, 5, 2)}
    batch[side][3, 1] = bad
    with pytest.raises(DataError, match=f"the features of the {side} are not finite in row 3"):
        transport_loss(**batch, transport=transport)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_give_the_loss_of_float32(dtype):
    student, teacher = features(40, 16, 1).to(dtype), features(40, 16, 2).to(dtype)
    expected, slope = value_and_gradient(transport_loss, student.float(), teacher.float())
    value, gradient = value_and_gradient(transport_loss, student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = transport_loss(student.float(), teacher.float())
    assert value.item() == cast.item() == expected.item()
    assert gradient.dtype == dtype
    assert relative(gradient.float(), slope) < 1e-2


def test_the_same_input_gives_the_same_bits():
    student, teacher = features(40, 16, 1).float(), features(40, 16, 2).float()
    runs = [value_and_gradient(transport_loss, student, teacher) for _ in range(2)]
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


def test_it_tells_its_iterations():
    student, teacher = features(20, 4, 1), features(20, 5, 2)
    _, info = transport_loss(student, teacher, anchors=5, tolerance=1e-6, return_info=True)
    assert info.iterations > 0
    assert info.error <= 1e-6
    _, info = transport_loss(student, teacher, transport="exact", return_info=True)
    assert info == (0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alignment": "rows"}, "Choose one of: permutation_invariant"),
        ({"transport": "emd"}, "Choose one of: sinkhorn_divergence"),
        ({"similarity": "dot"}, "Choose one of: cosine"),
        ({"anchors": 0}, "Give at least 1"),
        ({"blur": -1}, "Give a blur above 0"),
        ({"transport": "exact", "p": 0}, "Give a blur above 0"),
        ({"alignment": "sample_aligned", "transport": "gromov_wasserstein"}, "finds its own plan"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        transport_loss(features(6, 4), features(6, 4), **options)


@pytest.mark.parametrize("shape", [(5, 4), (6,), (2, 6, 4), (6, 0)])
def test_batches_that_do_not_fit_are_refused(shape):
    with pytest.raises(DataError, match="do not fit"):
        transport_loss(features(6, 4), torch.zeros(shape))
