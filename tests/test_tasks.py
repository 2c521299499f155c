"""Losses and scores of the tasks, against an independent library and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor
from torch.testing import assert_close
from torchmetrics.functional import concordance_corrcoef

from pkdot.data import Samples
from pkdot.errors import ConfigError
from pkdot.splits import Parts
from pkdot.tasks import Task, TaskParams, ccc, squared_emd

REAL = TaskParams(kind="regression", loss="ccc")


def class_task(kind="classification", loss="cross_entropy", names=("a", "b", "c")):
    table = pd.DataFrame({"y": list(names)})
    return Task(TaskParams(kind=kind, loss=loss), Samples(table, {"targets": {"y": list(names)}}))


def real_task(values, params=REAL):
    """``values`` has shape (targets, samples, tokens, frames)."""
    table = pd.DataFrame({f"y{i}": [list(sample) for sample in value] for i, value in enumerate(values)})
    return Task(params, Samples(table, {"targets": {f"y{i}": None for i in range(len(values))}}))


def reference(said, truth):
    """Of torchmetrics, which divides variances by n - 1 where Lin (1989) divides by n: so on many repeats."""
    return concordance_corrcoef(said.double().repeat(1000), truth.double().repeat(1000)).squeeze()


@settings(deadline=None)
@given(st.integers(2, 50), st.integers(0, 999), st.floats(0.1, 10), st.floats(-5, 5))
def test_ccc_is_that_of_torchmetrics(count, seed, scale, shift):
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(rng.normal(size=count))
    said = scale * truth + shift + torch.from_numpy(rng.normal(size=count))
    assert_close(ccc(said, truth), reference(said, truth), atol=1e-3, rtol=0)


def test_ccc_by_hand():
    truth = tensor([0.0, 1.0, 2.0, 3.0])
    assert_close(ccc(truth, truth), tensor(1.0))
    assert_close(ccc(-truth, truth).sign(), tensor(-1.0))
    # shifted by one: variance 1.25 each, covariance 1.25, so 2.5 / (2.5 + 1)
    assert_close(ccc(truth + 1, truth), tensor(2.5 / 3.5))
    assert ccc(torch.ones(4), truth) == 0


def test_ccc_leaves_frames_without_a_target_out():
    truth, said = tensor([0.0, torch.nan, 2.0, 3.0]), tensor([0.5, 99.0, 1.0, 3.0], requires_grad=True)
    there = ~truth.isnan()
    value = ccc(said, truth)
    assert_close(value, ccc(said[there], truth[there]))
    value.backward()
    assert said.grad[1] == 0
    assert said.grad.isfinite().all()
    for few in (tensor([torch.nan, torch.nan]), tensor([1.0, torch.nan])):
        assert ccc(tensor([1.0, 2.0], requires_grad=True), few) == 0


def test_squared_emd_by_hand():
    certain = torch.log(tensor([[1.0, 1e-9, 1e-9], [1e-9, 1e-9, 1.0]]))
    assert_close(squared_emd(certain, tensor([0, 2])), tensor(0.0), atol=1e-6, rtol=0)
    # all mass two classes away: cumulative (1, 1, 1) against (0, 0, 1)
    assert_close(squared_emd(certain[:1], tensor([2])), tensor(2.0), atol=1e-6, rtol=0)
    assert_close(squared_emd(certain[:1], tensor([1])), tensor(1.0), atol=1e-6, rtol=0)
    # even probabilities, target in the middle: (1/3, 2/3, 1) - (0, 1, 1)
    assert_close(squared_emd(torch.zeros(1, 3), tensor([1])), tensor(2 / 9))


def test_the_ordinal_loss_is_cross_entropy_and_distance():
    logits, target = torch.randn(6, 3), tensor([0, 1, 2, 0, 1, 2])
    plain, ordinal = class_task(), class_task("ordinal", "ordinal")
    assert_close(ordinal.loss(logits, target), plain.loss(logits, target) + squared_emd(logits, target))


def test_scores_of_classes():
    target = tensor([0, 0, 0, 1])
    logits = torch.eye(3)[tensor([0, 0, 2, 1])]
    assert class_task().score(logits, target) == pytest.approx((2 / 3 + 1) / 2)
    assert class_task("ordinal").score(logits, target) == pytest.approx(-2 / 4)


def test_the_pooled_ccc_is_not_the_mean_over_clips():
    """Each clip alone is predicted perfectly but for its level, which only the pooled value sees."""
    values = np.array([[[[0.0, 1.0]], [[10.0, 11.0]]]], dtype=np.float32)
    task = real_task(values)
    said = task.target(np.arange(2)) * tensor([[1.0, 1.0]])
    said[1] -= 10
    pooled = task.score(said, task.target(np.arange(2)))
    per_clip = np.mean([float(ccc(said[i], task.target(np.array([i]))[0])) for i in range(2)])
    assert pooled == pytest.approx(float(ccc(said.flatten(), task.target(np.arange(2)).flatten())), abs=1e-6)
    assert abs(pooled - per_clip) > 0.1


def test_targets_of_sequences_keep_samples_tokens_frames_and_names_apart():
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)  # targets, samples, tokens, frames
    task = real_task(values)
    assert task.outputs == 10
    assert task.rows_per_sample(4) == 4
    rows = task.target(np.array([2, 0]))
    assert rows.shape == (8, 10)
    for name in range(2):
        assert_close(rows.view(2, 4, 5, 2)[..., name], torch.from_numpy(values[name][[2, 0]]))
    features = torch.randn(2, 4, 6)
    assert_close(task.pool(features)[5], features[1, 1])


def test_a_score_of_two_targets_is_their_mean():
    rng = np.random.default_rng(0)
    task = real_task(rng.normal(size=(2, 6, 2, 3)).astype(np.float32))
    truth = task.target(np.arange(6))
    said = truth + torch.randn(truth.shape)
    each = [float(reference(said.view(-1, 2)[:, i], truth.view(-1, 2)[:, i])) for i in range(2)]
    assert task.score(said, truth) == pytest.approx(np.mean(each), abs=1e-3)
    assert float(task.loss(said, truth)) == pytest.approx(1 - np.mean(each), abs=1e-3)


def test_mse_counts_frames_with_a_target():
    task = real_task(np.array([[[[1.0, np.nan, 3.0]]]], dtype=np.float32), TaskParams(kind="regression", loss="mse"))
    truth = task.target(np.array([0]))
    assert_close(task.loss(tensor([[2.0, 50.0, 5.0]]), truth), tensor(2.5))
    assert task.loss(tensor([[2.0, 50.0, 5.0]]), truth * torch.nan) == 0


def test_tokens_of_classes_are_averaged():
    features = torch.randn(2, 3, 4)
    assert_close(class_task().pool(features), features.mean(dim=1))


def sample_task(**columns):
    table = pd.DataFrame(columns)
    return Task(REAL, Samples(table, {"targets": dict.fromkeys(columns)}))


def test_values_of_samples_are_pooled_like_classes():
    task = sample_task(height=[180.0, 165.0, None], weight=[80.0, None, 60.0])
    assert (task.outputs, task.rows_per_sample(3)) == (2, 1)
    features = torch.randn(2, 3, 4)
    assert_close(task.pool(features), features.mean(dim=1))
    assert_close(task.target(np.array([2, 0])), tensor([[torch.nan, 60.0], [180.0, 80.0]]), equal_nan=True)


def test_networks_see_values_in_units_of_the_training_part_and_owners_in_their_own():
    task = sample_task(height=[180.0, 160.0, 170.0, None, 999.0], constant=[3.0] * 5)
    nobody = np.empty(0, dtype=int)
    task.use_labels_of(Parts(np.array([0, 1, 2, 3]), np.array([4]), nobody, nobody, {}))
    seen = task.target(np.arange(5))
    assert_close(seen[:3, 0], tensor([1.0, -1.0, 0.0]) / np.sqrt(2 / 3), check_dtype=False)
    assert_close(seen[:3, 1], torch.zeros(3))
    assert seen[4].isnan().all(), "the label of an unlabelled row reaches nothing"
    np.testing.assert_allclose(task.answer.in_units(seen[:3])[:, 0], [180, 160, 170])
    np.testing.assert_allclose(task.answer.finish(seen[:3], 3)[:, 0, 0], [180, 160, 170])
    assert task.values[:3, 0, 0, 0].tolist() == [180, 160, 170]
    sequence = real_task(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    before = sequence.target(np.arange(2))
    sequence.use_labels_of(Parts(np.array([0]), nobody, np.array([1]), nobody, {}))
    assert torch.equal(sequence.target(np.arange(2)), before)
    assert sequence.answer.in_units(before) is before


@pytest.mark.parametrize(("kind", "loss"), [("regression", "ordinal"), ("classification", "ccc"), ("ordinal", "mse")])
def test_a_loss_that_does_not_serve_is_refused(kind, loss):
    with pytest.raises((ConfigError, ValueError), match=f"{loss} does not serve task.kind {kind}"):
        TaskParams(kind=kind, loss=loss)
