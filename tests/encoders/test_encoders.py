"""Laws that every encoder keeps, whatever is in it."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pkdot.encoders.base import Scale, average_parts, by_token, redundancy, register
from pkdot.encoders.cnn1d import BANDS, QUANTILES, STATISTICS, _statistics
from pkdot.errors import ConfigError

DIM = 6
CASES = {
    "cnn1d": ((3, 64), {}),
    "cnn2d": ((1, 16, 32), {}),
    "eigenfaces": ((8, 32, 32, 3), {"side": 12, "components": 6}),
    "mlp": ((3, 8), {}),
    "r3d_18": ((8, 32, 32, 3), {"weights": "random"}),
    "resnet18_spectrogram": ((1, 16, 32), {}),
    "small_r3d": ((8, 32, 32, 3), {"reduce": 1}),
}


def arrays(name, count=3, seed=0):
    shape, _ = CASES[name]
    values = np.random.default_rng(seed).random((count, *shape))
    return torch.from_numpy((values * 255).astype(np.uint8) if len(shape) == 4 else values.astype(np.float32))


def encoder(name, tokens=1):
    torch.manual_seed(0)
    shape, options = CASES[name]
    cls = register.load(name)
    return cls(shape, DIM, tokens, cls.Options(**options))


def test_every_encoder_is_tested():
    assert register.names() == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tokens", [1, 4])
def test_a_batch_becomes_tokens_of_the_asked_width(name, tokens):
    assert encoder(name, tokens)(arrays(name)).shape == (3, tokens, DIM)


@pytest.mark.parametrize("name", CASES)
def test_a_sample_does_not_see_its_batch_mates(name):
    net, batch = encoder(name, 2).eval(), arrays(name)
    with torch.no_grad():
        torch.testing.assert_close(net(batch)[:1], net(batch[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_all_weights_are_trained(name):
    net = encoder(name, 2)
    net(arrays(name)).square().sum().backward()
    idle = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not idle


@pytest.mark.parametrize("name", CASES)
def test_augmentation_keeps_shape_and_is_the_same_for_the_same_seed(name):
    net, batch = encoder(name), arrays(name)
    once, again = (net.augment(batch, torch.Generator().manual_seed(5)) for _ in range(2))
    assert once.shape == batch.shape
    assert torch.equal(once, again)


@pytest.mark.parametrize("name", ["r3d_18", "resnet18_spectrogram"])
def test_a_token_is_its_own_part_of_the_time_alone(name):
    """What a whole backbone sees of one part cannot change the embedding of another."""
    net, batch = encoder(name, 4).eval(), arrays(name)
    changed = batch.clone()
    late = (slice(None), slice(6, None)) if name == "r3d_18" else (..., slice(24, None))
    changed[late] = 0
    with torch.no_grad():
        before, after = net(batch), net(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


@pytest.mark.parametrize("name", ["r3d_18", "resnet18_spectrogram"])
def test_time_that_cannot_be_shared_out_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be shared out to 3 tokens"):
        encoder(name, 3)(arrays(name))


def test_by_token_keeps_the_order_of_samples_and_of_time():
    batch = torch.arange(2 * 6).view(2, 6, 1)
    assert by_token(batch, 3, dim=1).flatten(1).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]


def test_average_parts_of_equal_length_are_plain_means():
    values = torch.randn(2, 3, 12)
    torch.testing.assert_close(average_parts(values, 4), values.unflatten(2, (4, 3)).mean(dim=3))


def test_a_step_on_a_border_counts_by_its_share():
    assert average_parts(torch.tensor([[1.0, 2.0, 6.0]]), 2).tolist() == [[pytest.approx(4 / 3), pytest.approx(14 / 3)]]


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_constant_stays_a_constant(steps):
    torch.testing.assert_close(average_parts(torch.full((1, steps), 2.5), 5), torch.full((1, 5), 2.5))


@pytest.mark.parametrize("name", ["cnn1d", "cnn2d", "mlp", "resnet18_spectrogram"])
@pytest.mark.parametrize(("unit", "offset"), [(1e-6, 0.0), (60.0, 0.0), (1.0, 1000.0)])
def test_the_unit_of_a_signal_changes_nothing(name, unit, offset):
    """Volts or microvolts: an encoder that was fitted to its training part sees the same, augmented or not."""
    seen = []
    for scale, shift in ((1.0, 0.0), (unit, offset)):
        net, batch = encoder(name).eval(), (scale * arrays(name, 8).double() + shift).float()
        net.fit_scale([batch])
        if name == "cnn2d":
            net.gain = 0.0  # decibels are a unit of their own
        changed = net.augment(batch, torch.Generator().manual_seed(0))
        seen.append([net(batch).detach(), net(changed).detach()])
    for plain, other in zip(*seen, strict=True):
        torch.testing.assert_close(plain, other, atol=2e-2, rtol=2e-2)


def test_numbers_of_one_unit_keep_their_sizes():
    values = torch.randn(50, 3, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.0]) + 7
    mlp = register.load("mlp")
    net = mlp((3,), 4, 1, mlp.Options(scale="common"))
    net.fit_scale(values.split([20, 30]))
    scaled = net.scale(values).double()
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-5, rtol=0)
    assert scaled.square().mean() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(scaled * net.scale.deviation[0], values - values.mean(dim=0), atol=1e-4, rtol=1e-5)


def test_a_scale_is_the_mean_and_deviation_of_all_batches():
    values = torch.from_numpy(np.random.default_rng(0).normal(5, 3, size=(50, 2, 7)))
    scale = Scale((2, 1))
    scale.fit(values.split([1, 30, 19]))
    torch.testing.assert_close(scale.mean[:, 0].double(), values.mean(dim=(0, 2)), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        scale.deviation[:, 0].double(), values.std(dim=(0, 2), correction=0), atol=1e-6, rtol=1e-6
    )


def test_redundancy_by_hand():
    """Copies and mirror images say the same; orthogonal columns of mean 0 do not."""
    column = torch.tensor([1.0, -1.0, 1.0, -1.0])
    other = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert redundancy(torch.stack([column, 3 * column + 1, -column], dim=1)) == pytest.approx(1)
    assert redundancy(torch.stack([column, other], dim=1)) == pytest.approx(0, abs=1e-6)
    assert redundancy(torch.stack([column, other, column], dim=1)) == pytest.approx(1 / 3)


def test_a_constant_channel_becomes_zero():
    batch = torch.full((4, 1, 9), 7.3)
    scale = Scale((1, 1))
    scale.fit([batch])
    assert scale(batch).abs().max() < 1e-5


def test_statistics_of_a_channel_by_hand():
    """Mean, deviation, mean step, quantiles; and the power of a tone lies in the band of its frequency."""
    ramp = torch.arange(101.0).view(1, 1, -1)
    moments, quantiles = _statistics(ramp, 1)[0, :, 0].split([3, len(QUANTILES) + BANDS])
    assert moments.tolist() == pytest.approx([50, np.std(np.arange(101)), 100 / 101])
    assert quantiles[: len(QUANTILES)].tolist() == [0, 10, 25, 50, 75, 90, 100]
    time = torch.arange(200) / 200
    for cycles, band in ((1, 0), (12, 2), (90, 4)):
        shares = _statistics(torch.sin(2 * torch.pi * cycles * time).view(1, 1, -1), 1)[0, -BANDS:, 0]
        assert shares.argmax() == band
        assert shares[band] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 7, 12])
def test_statistics_of_a_part_are_its_own(steps):
    """Also where there are fewer steps than parts, and where nothing varies."""
    values = torch.randn(2, 3, steps)
    together = _statistics(values, 3)
    assert together.shape == (2, 3 * STATISTICS, 3)
    assert together.isfinite().all()
    if steps == 12:
        pieces = [_statistics(piece, 1) for piece in values.split(4, dim=2)]
        torch.testing.assert_close(together, torch.cat(pieces, dim=2))
    assert _statistics(torch.full((1, 1, steps), 2.0), 3).isfinite().all()


REFUSED = (  # torch.use_deterministic_algorithms raises on a GPU where these are differentiated
    "adaptive_avg_pool2d_backward", "adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward", "avg_pool3d_backward", "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward", "max_unpool2d", "max_unpool3d", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "upsample_trilinear3d_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss2d_forward",
    "_ctc_loss_backward", "put_", "histc", "median", "grid_sampler_2d_backward", "grid_sampler_3d_backward",
    "scatter_reduce",
)  # fmt: skip


class Operations(TorchDispatchMode):
    """Collects the names of all operations, those of the backward pass too."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func._schema.name.removeprefix("aten::").removeprefix("_"))
        return func(*args, **(kwargs or {}))


def test_the_refused_operations_are_noticed():
    with Operations() as operations:
        torch.nn.functional.adaptive_avg_pool2d(torch.ones(1, 1, 5, 5, requires_grad=True), 2).sum().backward()
    assert operations.names & {name.removeprefix("_") for name in REFUSED}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tokens", [1, 4])
def test_no_operation_has_only_a_gradient_that_differs_from_run_to_run(name, tokens):
    net, batch = encoder(name, tokens), arrays(name)
    with Operations() as operations:
        net(net.augment(batch, torch.Generator().manual_seed(0))).square().sum().backward()
    assert not operations.names & {name.removeprefix("_") for name in REFUSED}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tokens", [1, 4])
def test_a_step_on_a_gpu_under_deterministic_algorithms(name, tokens):
    from pkdot.training.loop import ComputeParams, prepare

    device = prepare(ComputeParams(device="cuda"))
    net, batch = encoder(name, tokens).to(device), arrays(name).to(device)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = net(net.augment(batch, torch.Generator().manual_seed(0))).float().square().sum()
    loss.backward()
    assert all(value.grad.isfinite().all() for value in net.parameters())


def test_a_signal_encoder_without_layers_reads_the_statistics_alone():
    cls = register.load("cnn1d")
    net, batch = cls((3, 64), DIM, 2, cls.Options(width=0)), arrays("cnn1d", 4)
    assert net(batch).shape == (4, 2, DIM)
    assert net.embed[1].in_features == 3 * STATISTICS
    net(batch).square().sum().backward()
    assert all(value.grad is not None for value in net.parameters())
