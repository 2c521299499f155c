"""Laws that every encoder keeps, whatever is in it."""

import numpy as np
import pytest
import torch

from pkdot.encoders.base import average_parts, by_token, register
from pkdot.errors import ConfigError

DIM = 6
CASES = {
    "cnn1d": ((3, 64), {}),
    "cnn2d": ((1, 16, 32), {}),
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


def test_a_level_of_all_sounds_is_nothing_to_a_normalised_spectrogram():
    """In training, cnn2d sees each frequency in units of its own mean and deviation."""
    net, batch = encoder("cnn2d").train(), arrays("cnn2d")
    net.embed[0].p = 0.0
    torch.testing.assert_close(net(batch), net(3 * batch + 7), atol=1e-3, rtol=1e-3)
