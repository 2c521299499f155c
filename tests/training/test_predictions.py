"""The table of predictions: a row a sample, or a frame and target, and what is written is what is read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import World

from pkdot.training.arms import ArmParams
from pkdot.training.fold import Fold, embedding_paths
from pkdot.training.predictions import prediction_table, write_predictions


def fold_of(world):
    device = torch.device("cpu")
    embeddings = embedding_paths(world.embeddings)
    arm = ArmParams(prevalent=["face"], privileged=["eda"], task=world.task, fold=0)
    return Fold(world.manifest, world.splits, embeddings, arm, device)


def predict(outputs):
    """A network that gives each row its number in the batch, and the number of the output."""
    return lambda index: SimpleNamespace(logits=torch.arange(len(index) * outputs).reshape(-1, outputs) / 7)


def test_frames_without_a_target_have_no_row(tmp_path):
    world = World(tmp_path, "regression", tokens=2)
    fold = fold_of(world)
    table = prediction_table(fold, predict(2 * 4 * 2))
    rows = world.rows("test")
    assert len(table) == len(rows) * 2 * (3 + 4)  # one frame in four of valence has no target
    one = table[(table["sample_id"] == world.table["sample_id"][rows[1]]) & (table["output"] == "arousal")]
    assert one["frame"].tolist() == list(range(8))
    truth = np.concatenate(world.table["arousal"][rows[1]])
    np.testing.assert_array_equal(one["target"], truth)
    np.testing.assert_allclose(one["prediction"], (16 + 2 * np.arange(8) + 1) / 7, rtol=1e-6)
    assert set(table["subject_id"]) == {"s4", "s5"}
    assert table["frame"].dtype == np.int32
    assert table["target"].dtype == table["prediction"].dtype == np.float32
    assert table.memory_usage(index=False).sum() < 30 * len(table) + 3000, "names are kept once"


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_what_is_written_is_what_is_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("pkdot.training.predictions.ROWS", 5)
    table = prediction_table(fold_of(World(tmp_path, kind)), predict(8 if kind == "regression" else 2))
    write_predictions(tmp_path / "table.parquet", table)
    names = {name: str for name in table if name.endswith("_id") or isinstance(table[name].dtype, pd.CategoricalDtype)}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet").astype(names), table.astype(names))
