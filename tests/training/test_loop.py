"""The loop: the same seed gives the same bits, also after an interruption; the best look is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pkdot.errors import ConfigError, DataError
from pkdot.training.loop import ComputeParams, Order, TrainingParams, best_of, fit, prepare, seed_of

CPU = torch.device("cpu")
LOOKS = 5


class Problem:
    """A small network with dropout and batch statistics, random augmentation, and a score that goes up and down."""

    def __init__(self, start: int = 3, breaks: int | None = None, steps: int = 3 * LOOKS):
        prepare(ComputeParams(device="cpu"))
        torch.manual_seed(start)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
        self.params = TrainingParams(steps=steps, evaluate_every=3, patience=None, batch_size=8, learning_rate=0.05)
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
        return -round(error, 1), error

    def fit(self, seed=7, checkpoint=None):
        return fit(self.network, self.step, self.score, np.arange(24), self.params, seed, CPU, checkpoint=checkpoint)


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
@pytest.mark.parametrize("breaks", range(0, 3 * LOOKS, 2))
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
        resumed = Problem()  # nothing was kept before the first look: it starts again
    resumed.breaks, resumed.steps = None, 0
    assert resumed.fit(checkpoint=checkpoint) == history
    assert same(resumed.network, whole.network)
    assert resumed.steps == 3 * LOOKS - 3 * (breaks // 3)
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


def scripted(scores, losses=None, **params):
    """A training whose score at each look is given; its one weight counts the looks."""
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

    start = params.pop("start", False)
    params = TrainingParams(**{"steps": len(scores) - start, "evaluate_every": 1, "batch_size": 4, **params})
    history = fit(module, step, score, np.arange(4), params, 0, CPU, start=start)
    return float(module.weight.detach()), history


def test_the_best_look_is_kept():
    assert scripted([(0.1, 0), (0.9, 0), (0.3, 0), (0.2, 0)])[0] == 1


def test_ties_go_to_the_lower_loss_and_then_to_the_later_look():
    assert scripted([(0.5, 2), (0.5, 1), (0.5, 3)])[0] == 1
    kept, history = scripted([(0.5, 1), (0.5, 1), (0.4, 0)])
    assert kept == 1
    assert best_of(history)["step"] == 2


def test_a_training_that_looks_at_its_start_cannot_end_below_it():
    kept, history = scripted([(0.9, 0), (0.3, 0), (0.2, 0)], start=True)
    assert kept == 0
    assert [entry["step"] for entry in history] == [0, 1, 2]
    assert history[0]["loss"] is None


def test_the_log_says_how_far_a_training_is_while_it_runs(capsys):
    scripted([(0.1, 0), (0.5, 0), (float("nan"), 0)])
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"step {step} of 3" for step in (1, 2, 3)]
    assert told[-1].endswith("validation score nan (best 0.5000 at step 2)")


def test_training_stops_when_patience_is_over():
    scores = [(0.1, 0), (0.5, 0), (0.4, 0), (0.3, 0), (0.9, 0), (0.8, 0)]
    kept, history = scripted(scores, patience=2)
    assert kept == 1
    assert [entry["step"] for entry in history] == [1, 2, 3, 4]
    assert scripted(scores, patience=3)[0] == 4
    assert scripted(scores, patience=None)[0] == 4


def test_a_lower_loss_at_the_same_score_is_progress():
    assert len(scripted([(0.5, 4), (0.5, 3), (0.5, 2), (0.5, 1)], patience=1)[1]) == 4


def test_a_module_without_anything_to_train_is_scored_once():
    module = nn.Linear(1, 1).requires_grad_(False)
    history = fit(module, None, lambda: (0.7, 0.2), np.arange(4), TrainingParams(), 0, CPU)
    assert [(entry["step"], entry["score"]) for entry in history] == [(0, 0.7)]


@pytest.mark.parametrize("bad", [(float("nan"), 0.0), (0.9, float("nan")), (float("inf"), 0.0)])
def test_a_look_without_a_finite_score_is_never_the_best(bad):
    assert scripted([(0.1, 0), bad, (0.2, 0)])[0] == 2
    assert scripted([bad, (0.1, 0), bad])[0] == 1


@pytest.mark.parametrize("start", [False, True])
def test_a_training_that_diverges_is_refused(start):
    with pytest.raises(DataError, match=r"diverged"):
        scripted([(0.5, 0)] * 3, losses=[float("nan")] * 4, start=start)


def test_one_step_with_fewer_rows_than_a_batch_moves_the_weights():
    problem = Problem()
    problem.params = TrainingParams(steps=1, batch_size=64, learning_rate=0.05)
    before = problem.network[0].weight.detach().clone()
    problem.fit()
    assert not torch.equal(before, problem.network[0].weight)


def test_frozen_parameters_stay():
    problem = Problem()
    problem.network[0].requires_grad_(False)
    before = problem.network[0].weight.detach().clone()
    problem.fit()
    assert torch.equal(before, problem.network[0].weight)


@pytest.mark.parametrize("size", [1, 5, 8, 23])
def test_every_row_is_seen_once_an_epoch_and_every_batch_is_full(size):
    order = Order(np.arange(100, 123), size, seed=1)
    batches = [order.batch(step) for step in range(69)]
    assert {len(batch) for batch in batches} == {size}
    seen = np.concatenate(batches)[: 23 * (69 * size // 23)].reshape(-1, 23)
    assert (np.sort(seen, axis=1) == np.arange(100, 123)).all()
    assert len({tuple(epoch) for epoch in seen}) == len(seen)


def test_the_order_does_not_depend_on_what_was_taken_before():
    one, other = Order(np.arange(23), 8, seed=1), Order(np.arange(23), 8, seed=1)
    batches = [one.batch(step) for step in range(12)]
    assert all(np.array_equal(other.batch(step), batches[step]) for step in (11, 0, 5))
    assert not np.array_equal(Order(np.arange(23), 8, seed=2).batch(0), batches[0])


def test_a_training_part_that_is_smaller_than_a_batch_is_one_batch():
    assert sorted(Order(np.arange(5), 64, seed=0).batch(3)) == list(range(5))


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
    problem = Problem(steps=60)
    rates = [entry["learning_rate"] for entry in problem.fit()]
    peak = int(np.argmax(rates))
    assert peak < 4
    assert all(a > b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert_close(max(rates), 0.05, rtol=0.2, atol=0)
    assert rates[-1] < 0.05 / 50
