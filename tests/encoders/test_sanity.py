"""Simple models on plain features, and the dimensions that embeddings use."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import World

from pkdot.data import Samples
from pkdot.encoders.sanity import effective_dimensions, forest, linear_model, plain_features, scores_of
from pkdot.tasks import Task, TaskParams


def test_directions_of_equal_spread_all_count():
    rng = np.random.default_rng(0)
    assert effective_dimensions(rng.normal(size=(20000, 8))) == pytest.approx(8, abs=0.1)


def test_embeddings_on_a_line_have_one_dimension():
    line = np.outer(np.arange(10.0), [1.0, -2.0, 0.5])
    assert effective_dimensions(line) == pytest.approx(1)
    assert effective_dimensions(np.ones((5, 3))) == 0


@pytest.mark.parametrize(
    ("shape", "count"), [((2, 100), 2 * 15), ((1, 16, 20), 32), ((6, 24, 24, 3), 3 * 64), ((7,), 7), ((2, 3), None)]
)
def test_plain_features_are_finite_and_one_row_a_sample(shape, count):
    arrays = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    found = plain_features(arrays)
    assert len(found) == 5
    assert count is None or found.shape[1] == count
    assert np.isfinite(found).all()
    assert np.isfinite(plain_features(np.zeros_like(arrays))).all()


def test_moments_and_bands_of_a_wave():
    time = np.arange(64) / 64
    slow, fast = (np.sin(2 * np.pi * f * time)[None, None] for f in (1, 30))
    mean, deviation, lowest, highest, step = plain_features(slow)[0, :5]
    assert (mean, deviation) == pytest.approx((0, np.sqrt(0.5)), abs=1e-6)
    assert (lowest, highest) == pytest.approx((-1, 1), abs=1e-6)
    assert step < plain_features(fast)[0, 4]
    assert plain_features(slow)[0, -5:].argmax() == 0
    assert plain_features(fast)[0, -5:].argmax() == 4


@pytest.mark.parametrize("model", [linear_model, lambda task: forest(task, 0)])
def test_simple_models_learn_what_is_plain(tmp_path, model):
    world = World(tmp_path)
    task = Task(TaskParams(), Samples.load(world.manifest))
    rows = {part: world.rows(part) for part in ("train", "validation", "test")}
    rng = np.random.default_rng(0)
    label = {part: task.target(own).numpy() for part, own in rows.items()}
    tables = {part: np.stack([own, rng.normal(size=len(own))], axis=1) for part, own in label.items()}
    assert scores_of(model(task), task, tables, rows) == {"test": 1, "validation": 1}


@pytest.mark.parametrize("model", [linear_model, lambda task: forest(task, 0)])
def test_values_in_time_are_scored_by_token(tmp_path, model):
    world = World(tmp_path, kind="regression", tokens=2)
    task = Task(world.task, Samples.load(world.manifest))
    rows = {part: world.rows(part) for part in ("train", "validation", "test")}
    tables = {part: np.nan_to_num(task.target(own).numpy()) for part, own in rows.items()}
    scores = scores_of(model(task), task, tables, rows)
    assert scores.keys() == {"validation", "test"}
    assert all(-1 <= score <= 1 for score in scores.values())
