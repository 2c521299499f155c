"""The loop: the same seed gives the same bits, also after an interruption; the best epoch is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pkdot.errors import ConfigError, DataError
from pkdot.training.loop import ComputeParams, TrainingParams, best_of, fit, prepare, seed_of

CPU = torch.device("cpu")
EPOCHS = 5


class Problem:
    """A small network with dropout and batch statistics, random augmentation, and a score that goes up and down."""

    def __init__(self, start: int = 3, breaks: int | None = None, epochs: int = EPOCHS):
        prepare(ComputeParams(device="cpu"))
        torch.manual_seed(start)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
        self.params = TrainingParams(epochs=epochs, batch_size=8, learning_rate=0.05)
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(30, 4, generator=generator)
        self.y = self.x.sum(dim=1, keepdim=True)
        self.breaks, self.steps = breaks, 0

    def step(self, rows, generator):
        if self.steps == self.breaks:
            raise KeyboardInterrupt
        self.steps += 1
        x = self.x[rows] + 0.1 * torch.randn(len(rows), 4, generator=generator)
        return (self.network(x) - self.y[rows]).square().mean()

    def score(self):
        error = float((self.network(self.x[24:]) - self.y[24:]).square().mean())
        return -round(error, 1), -error

    def fit(self, seed=7, checkpoint=None):
        return fit(self.network, self.step, self.score, np.arange(24), self.params, seed, CPU, checkpoint)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_equal_seeds_give_equal_bits_and_others_do_not():
    first, second, other = Problem(), Problem(), Problem()
    assert first.fit() == second.fit()
    other.fit(seed=8)
    assert same(first.network, second.network)
    assert not same(first.network, other.network)


def test_what_was_drawn_before_does_not_matter():
    first, second = Problem(), Problem()
    first.fit()
    torch.randn(17), np.random.default_rng().normal(size=3)
    second.fit()
    assert same(first.network, second.network)


@pytest.mark.parametrize("again", ["afresh", "on the same network"])
@pytest.mark.parametrize("breaks", range(0, 3 * EPOCHS, 2))
def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(tmp_path, breaks, again):
    whole = Problem()
    history = whole.fit()
    broken = Problem(breaks=breaks)
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        broken.fit(checkpoint=checkpoint)
    assert checkpoint.exists() == (breaks >= 3)
    resumed = Problem(start=3 if breaks < 3 else 99) if again == "afresh" else broken
    if breaks < 3:
        resumed = Problem()  # no epoch was finished, so nothing was kept: it starts again
    resumed.breaks, resumed.steps = None, 0
    assert resumed.fit(checkpoint=checkpoint) == history
    assert same(resumed.network, whole.network)
    assert resumed.steps == 3 * EPOCHS - 3 * (breaks // 3)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_was_interrupted_twice_goes_on(tmp_path):
    whole, checkpoint = Problem(), tmp_path / "c.safetensors"
    history = whole.fit()
    for breaks in (4, 5, 7):
        with pytest.raises(KeyboardInterrupt):
            Problem(breaks=breaks).fit(checkpoint=checkpoint)
    last = Problem()
    assert last.fit(checkpoint=checkpoint) == history
    assert same(last.network, whole.network)


def test_a_torn_checkpoint_is_not_trusted(tmp_path):
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        Problem(breaks=7).fit(checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    whole, resumed = Problem(), Problem()
    assert resumed.fit(checkpoint=checkpoint) == whole.fit()
    assert same(resumed.network, whole.network)


def scripted(scores, losses=None):
    """A training whose score after each epoch is given; its one weight counts the epochs."""
    module = nn.Linear(1, 1, bias=False)
    seen = []

    def step(rows, generator):
        factor = losses[len(seen)] if losses else 1.0
        return module.weight.sum() * factor

    def score():
        with torch.no_grad():
            module.weight.fill_(float(len(seen)))
        seen.append(None)
        return scores[len(seen) - 1]

    params = TrainingParams(epochs=len(scores), batch_size=4)
    history = fit(module, step, score, np.arange(4), params, 0, CPU)
    return float(module.weight.detach()), history


def test_the_best_epoch_is_kept():
    assert scripted([(0.1, 0), (0.9, 0), (0.3, 0), (0.2, 0)])[0] == 1


def test_ties_go_to_the_second_score_and_then_to_the_later_epoch():
    assert scripted([(0.5, -2), (0.5, -1), (0.5, -3)])[0] == 1
    kept, history = scripted([(0.5, -1), (0.5, -1), (0.4, 0)])
    assert kept == 1
    assert best_of(history)["epoch"] == 1


@pytest.mark.parametrize("bad", [(float("nan"), 0.0), (0.9, float("nan")), (float("inf"), 0.0)])
def test_an_epoch_without_a_finite_score_is_never_the_best(bad):
    assert scripted([(0.1, 0), bad, (0.2, 0)])[0] == 2
    assert scripted([bad, (0.1, 0), bad])[0] == 1


def test_a_training_that_diverges_is_refused():
    with pytest.raises(DataError, match=r"diverged"):
        scripted([(0.5, 0), (0.5, 0)], losses=[float("nan"), float("nan")])


def test_one_epoch_of_one_step_moves_the_weights():
    problem = Problem(epochs=1)
    problem.params = TrainingParams(epochs=1, batch_size=64, learning_rate=0.05)
    before = problem.network[0].weight.detach().clone()
    problem.fit()
    assert not torch.equal(before, problem.network[0].weight)


def test_frozen_parameters_stay():
    problem = Problem()
    problem.network[0].requires_grad_(False)
    before = problem.network[0].weight.detach().clone()
    problem.fit()
    assert torch.equal(before, problem.network[0].weight)


def test_every_row_is_seen_once_an_epoch_and_no_batch_is_small():
    problem, seen = Problem(), []
    fit(
        problem.network,
        lambda rows, generator: seen.append(rows) or problem.step(rows, generator),
        problem.score,
        np.arange(23),
        problem.params,
        0,
        CPU,
    )
    assert len(seen) == 2 * EPOCHS
    for epoch in range(EPOCHS):
        batches = seen[2 * epoch : 2 * epoch + 2]
        assert sorted(np.concatenate(batches)) == list(range(23))
        assert min(map(len, batches)) >= 8
    assert not np.array_equal(np.concatenate(seen[:2]), np.concatenate(seen[2:4]))


def test_seeds_of_purposes_differ():
    seeds = {seed_of(*parts) for parts in [(0,), (1,), (0, 1), (1, 0), (0, 0, 1), (0, 1, 0), (1, 1)]}
    assert len(seeds) == 7
    assert seed_of(5, 6) == seed_of(5, 6)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert prepare(ComputeParams()) == CPU
    with pytest.raises(ConfigError, match=r"no GPU"):
        prepare(ComputeParams(device="cuda"))


def test_the_rate_warms_up_and_falls():
    problem = Problem(epochs=20)
    rates = [entry["learning_rate"] for entry in problem.fit()]
    peak = int(np.argmax(rates))
    assert peak < 4
    assert all(a > b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert_close(max(rates), 0.05, rtol=0.2, atol=0)
    assert rates[-1] < 0.05 / 50
