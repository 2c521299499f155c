"""Entropic transport: truths in closed form, laws, and the same numbers as geomloss and POT."""

import math

import ot
import pytest
import torch
from geomloss import SamplesLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor
from torch.testing import assert_close

from pkdot.distillation.sinkhorn import pairwise_cost, sinkhorn_divergence
from pkdot.errors import ConfigError, DataError

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def cloud(points, dim, seed=0, spread=0.3):
    return spread * torch.randn(points, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradient(loss, x, y):
    x = x.clone().requires_grad_()
    value = loss(x, y)
    value.sum().backward()
    return value.detach(), x.grad


def relative(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@st.composite
def clouds(draw, count=2):
    dim, points = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    spread, seed = draw(st.floats(0.01, 1)), draw(st.integers(0, 10**6))
    return [cloud(points, dim, seed + i, spread) for i in range(count)]


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize(("p", "cost"), [(2, 12.5), (1, 5.0), (1.5, 5**1.5 / 1.5)])
def test_two_diracs_cost_what_their_distance_says(p, cost, debias):
    x, y = tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]])
    assert sinkhorn_divergence(x, y, p=p, debias=debias).item() == pytest.approx(cost, rel=1e-6)


@given(clouds(1), st.lists(st.floats(-5, 5), min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_shifted_cloud_costs_half_the_squared_shift(pair, shift):
    (x,) = pair
    shift = tensor(shift, dtype=x.dtype)[: x.shape[1]]
    value, gradient = value_and_gradient(sinkhorn_divergence, x + shift, x)
    assert_close(value, shift.square().sum() / 2, atol=1e-8, rtol=1e-8)
    assert_close(gradient, (shift / len(x)).expand_as(x), atol=1e-7, rtol=1e-7)


@given(clouds(1))
@settings(max_examples=25, deadline=None)
def test_equal_clouds_cost_nothing_in_any_order(pair):
    (x,) = pair
    value, gradient = value_and_gradient(sinkhorn_divergence, x, x.flip(0))
    assert value.item() == pytest.approx(0, abs=1e-10)
    assert gradient.abs().max().item() < 1e-8


@given(clouds(), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_order_rotation_and_exchange_change_nothing(pair, seed):
    x, y = pair
    value = sinkhorn_divergence(x, y)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=x.dtype)).Q
    order = torch.randperm(len(x), generator=generator)
    assert value.item() >= -1e-10
    assert_close(sinkhorn_divergence(y, x), value, atol=1e-9, rtol=1e-7)
    assert_close(sinkhorn_divergence(x[order] @ rotation, y @ rotation), value, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_far_apart_are_carried_one_to_one(dtype):
    x, y = cloud(50, 3, 1, spread=20).to(dtype), cloud(50, 3, 2, spread=20).to(dtype)
    value, gradient = value_and_gradient(lambda x, y: sinkhorn_divergence(x, y, max_iterations=5000), x, y)
    plan = ot.emd([], [], pairwise_cost(x, y, 2).double())
    assert value.item() == pytest.approx((plan * pairwise_cost(x, y, 2)).sum().item(), rel=1e-4)
    assert relative(gradient, x / 50 - plan.to(dtype) @ y) < 1e-3


@pytest.mark.parametrize(("p", "debias"), [(2, True), (2, False), (1, False)])
def test_values_and_gradients_of_geomloss(p, debias):
    # Farther apart, geomloss does not converge; with p = 1 it keeps a point 1e-4 away from itself.
    x, y = cloud(40, 8, 1, spread=0.05), cloud(30, 8, 2, spread=0.05) + 0.1
    peer = SamplesLoss("sinkhorn", p=p, blur=0.1, scaling=0.999, debias=debias, backend="tensorized")
    value, gradient = value_and_gradient(lambda x, y: sinkhorn_divergence(x, y, p=p, debias=debias), x, y)
    expected, expected_gradient = value_and_gradient(peer, x, y)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert relative(gradient, expected_gradient) < 1e-4


def pot_entropic(x, y, p, epsilon):
    """Entropic cost and its gradient by x, from POT's plan."""
    x = x.clone().requires_grad_()
    cost = pairwise_cost(x, y, p)
    n, m = cost.shape
    weights = [torch.full((k,), 1 / k, dtype=x.dtype) for k in (n, m)]
    plan = ot.sinkhorn(
        *weights, cost.detach(), epsilon, method="sinkhorn_log", stopThr=1e-12, numItermax=20_000, warn=False
    )
    entropic = (plan * cost).sum() + epsilon * (plan * (plan * n * m + 1e-300).log()).sum()
    entropic.backward()
    return entropic.detach(), x.grad


@pytest.mark.parametrize(("n", "m", "p", "blur"), [(40, 40, 2, 0.1), (25, 40, 2, 0.2), (30, 20, 1, 0.1)])
def test_values_and_gradients_of_pot(n, m, p, blur):
    x, y = cloud(n, 5, 3, spread=0.2), cloud(m, 5, 4, spread=0.2) - 0.1
    plain = value_and_gradient(lambda x, y: sinkhorn_divergence(x, y, p=p, blur=blur, debias=False), x, y)
    expected = pot_entropic(x, y, p, blur**p)
    assert_close(plain[0], expected[0], rtol=1e-6, atol=0)
    assert relative(plain[1], expected[1]) < 1e-6

    debiased = sinkhorn_divergence(x, y, p=p, blur=blur)
    own = pot_entropic(x, x, p, blur**p)[0] + pot_entropic(y, y, p, blur**p)[0]
    assert_close(debiased, expected[0] - own / 2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("p", [1.5, 2])
@pytest.mark.parametrize("m", [4, 6])
def test_gradients_of_both_sides_are_the_slopes(p, debias, m):
    x, y = cloud(4, 3, 5).requires_grad_(), (cloud(m, 3, 6) + 0.1).requires_grad_()
    torch.autograd.gradcheck(
        lambda x, y: sinkhorn_divergence(x, y, p=p, blur=0.3, debias=debias, tolerance=1e-13), (x, y)
    )


def test_a_batch_is_as_its_problems():
    x, y = (
        torch.stack([cloud(9, 4, i) for i in range(6)]),
        torch.stack([cloud(7, 4, i + 50) for i in range(6)]),
    )
    value, gradient = value_and_gradient(sinkhorn_divergence, x.view(2, 3, 9, 4), y.view(2, 3, 7, 4))
    each = [value_and_gradient(sinkhorn_divergence, a, b) for a, b in zip(x, y, strict=True)]
    assert_close(value.flatten(), torch.stack([v for v, _ in each]), rtol=1e-8, atol=1e-12)
    assert_close(gradient.view_as(x), torch.stack([g for _, g in each]), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("p", [1, 2])
def test_float32_is_near_float64(p, device):
    x, y = cloud(64, 30, 1), cloud(64, 30, 2) + 0.1
    value, gradient = value_and_gradient(lambda x, y: sinkhorn_divergence(x, y, p=p), x, y)
    single = value_and_gradient(lambda x, y: sinkhorn_divergence(x, y, p=p), x.float().to(device), y.float().to(device))
    assert single[0].dtype == single[1].dtype == torch.float32
    assert single[0].item() == pytest.approx(value.item(), rel=1e-4)
    assert relative(single[1].double().cpu(), gradient) < 1e-3


def test_half_precision_and_autocast_are_computed_in_float32():
    x, y = cloud(20, 5, 1).bfloat16(), cloud(20, 5, 2).bfloat16()
    expected = sinkhorn_divergence(x.float(), y.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = sinkhorn_divergence(x.float(), y.float())
    assert value.dtype == torch.float32
    assert value.item() == sinkhorn_divergence(x, y).item() == expected.item()


def test_it_stops_at_the_tolerance_or_at_the_limit_and_says_so():
    x, y = cloud(60, 5, 1, spread=0.1), cloud(60, 5, 2, spread=0.1)
    loose, tight = (sinkhorn_divergence(x, y, tolerance=t, return_info=True)[1] for t in (1e-2, 1e-8))
    assert loose.error <= 1e-2
    assert tight.error <= 1e-8
    assert loose.iterations < tight.iterations
    value, stopped = sinkhorn_divergence(x, y, tolerance=1e-12, max_iterations=7, return_info=True)
    assert math.isfinite(value.item())
    assert stopped.error > 1e-12


def test_a_second_derivative_is_refused():
    x = cloud(5, 2).requires_grad_()
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(sinkhorn_divergence(x, cloud(5, 2, 1)), x, create_graph=True)


@pytest.mark.parametrize("options", [{"blur": 0}, {"p": 3}, {"p": 0.5}, {"max_iterations": 0}])
def test_parameters_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="Give a blur above 0"):
        sinkhorn_divergence(cloud(3, 2), cloud(3, 2), **options)


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 2), (0, 2), (2,)])
def test_clouds_that_do_not_fit_are_refused(shape):
    with pytest.raises(DataError, match="cannot be transported"):
        sinkhorn_divergence(torch.zeros(4, 2), torch.zeros(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_are_refused(bad, p, side):
    pair = [cloud(4, 2, 0), cloud(4, 2, 1)]
    pair[side][2, 1] = bad
    with pytest.raises(DataError, match="not finite"):
        sinkhorn_divergence(*pair, p=p)
