"""The optimiser is torch's own, bit for bit, and starts fast."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pkdot.training.optimiser import AdamW, cosine

STEPS = 25


def descend(network: torch.nn.Module, zero, step) -> list[torch.Tensor]:
    """Some steps; the second layer has no gradient at first."""
    generator = torch.Generator().manual_seed(1)
    for number in range(STEPS):
        zero()
        hidden = network[0](torch.randn(8, 3, generator=generator))
        (network[1](hidden) if number > 4 else hidden).square().mean().backward()
        step()
    return [p.detach().clone() for p in network.parameters()]


@pytest.fixture
def network():
    """Makes equal networks."""

    def make():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2))

    return make


def test_the_same_bits_as_the_class_of_torch(network):
    ours, theirs = network(), network()
    optimiser = AdamW(ours.parameters(), 0.02, 0.1, STEPS)
    peer = torch.optim.AdamW(theirs.parameters(), 0.02, weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(peer, lambda s: cosine((s + 0.5) / STEPS))

    def step():
        assert peer.param_groups[0]["lr"] == optimiser_rates.pop(0)
        peer.step()
        schedule.step()

    optimiser_rates = [0.02 * cosine((s + 0.5) / STEPS) for s in range(STEPS)]
    expected = descend(theirs, peer.zero_grad, step)
    for mine, torchs in zip(descend(ours, optimiser.zero_grad, optimiser.step), expected, strict=True):
        assert torch.equal(mine, torchs)


def test_a_state_that_was_kept_goes_on_to_the_same_bits(network):
    whole, broken = network(), network()
    first = AdamW(whole.parameters(), 0.02, 0.1, 2 * STEPS)
    descend(whole, first.zero_grad, first.step)
    kept = {name: value.clone() for name, value in first.state().items()}
    broken.load_state_dict(whole.state_dict())
    second = AdamW(broken.parameters(), 0.02, 0.1, 2 * STEPS)
    second.load(kept)
    assert second.rate == first.rate
    for one, other in zip(
        descend(whole, first.zero_grad, first.step), descend(broken, second.zero_grad, second.step), strict=True
    ):
        assert torch.equal(one, other)


def test_the_schedule_rises_and_falls():
    values = [cosine(step / 100) for step in range(101)]
    assert values[0] == 0
    assert values[10] == max(values) == 1
    assert values[100] == pytest.approx(0, abs=1e-12)


def test_a_training_loads_no_compiler():
    code = (
        "import sys, numpy as np, torch\n"
        "import pkdot.training.student\n"
        "from pkdot.training.loop import ComputeParams, TrainingParams, fit, prepare\n"
        "net = torch.nn.Linear(2, 1)\n"
        "step = lambda rows, generator: net(torch.ones(len(rows), 2)).square().mean()\n"
        "cpu, params = prepare(ComputeParams(device='cpu')), TrainingParams(steps=2, batch_size=4)\n"
        "fit(net, step, lambda: (0.0, 0.0), np.arange(8), params, 0, cpu)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
