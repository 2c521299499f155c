"""The encoder stage: frozen embeddings of every sample, learned from the training subjects alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import World

from pkdot.data import Features, Samples
from pkdot.encoders.base import EncoderChoice, Scale, flip, shift
from pkdot.encoders.cnn1d import Cnn1d
from pkdot.errors import DataError
from pkdot.tasks import Task, TaskParams
from pkdot.training import encoder as stage
from pkdot.training.encoder import EncoderParams, head_of, mixture, train_encoder
from pkdot.training.loop import ComputeParams, TrainingParams

LONG = {"steps": 60, "evaluate_every": 20, "batch_size": 8, "learning_rate": 0.02}


class Signals:
    """Arrays of one modality for the samples of a world, in two shards."""

    def __init__(self, folder, lacking=(), garbled=False):
        self.world = World(folder)
        rng = np.random.default_rng(0)
        label = np.arange(36) % 2
        time = np.arange(24) / 24
        arrays = np.sin(2 * np.pi * np.outer(2 + 3 * label, time))[:, None] + 0.1 * rng.normal(size=(36, 1, 24))
        arrays = arrays.astype(np.float32)
        if garbled:
            arrays[self.world.rows("test")] = 50 * rng.normal(size=(12, 1, 24))
        self.folder = folder / "eda"
        self.folder.mkdir()
        parts = []
        for shard in range(2):
            rows = np.arange(36)[shard::2]
            np.save(self.folder / f"shard_{shard}.npy", arrays[rows])
            columns = {"sample_id": self.world.table["sample_id"][rows], "shard": f"shard_{shard}", "row": range(18)}
            parts.append(pd.DataFrame({**columns, "valid": ~np.isin(rows, lacking), "coverage": 1.0}))
        pd.concat(parts, ignore_index=True).sample(frac=1, random_state=0).to_parquet(self.folder / "index.parquet")
        self.arrays = arrays

    def params(self, **changes):
        return EncoderParams(
            **{
                "modality": "eda",
                "encoder": {"name": "cnn1d", "width": 4, "kernel": 3},
                "training": TrainingParams(steps=9, evaluate_every=3, batch_size=8, learning_rate=0.02),
                "dim": 4,
                "tokens": 2,
                "task": TaskParams(),
                "fold": 0,
                "seed": 0,
                "compute": ComputeParams(),
                **changes,
            }
        )

    def train(self, out, **changes):
        params = self.params(**changes)
        train_encoder(self.world.manifest, self.world.splits, self.folder, out, params)
        return np.load(out / "embeddings.npy")


def test_embeddings_of_all_samples_in_units_of_the_training_part(tmp_path):
    signals = Signals(tmp_path, lacking=[1, 33])
    embeddings = signals.train(tmp_path / "out" / "eda")
    assert embeddings.shape == (36, 2, 4)
    assert embeddings.dtype == np.float32
    assert np.isnan(embeddings[[1, 33]]).all()
    assert np.isfinite(np.delete(embeddings, [1, 33], axis=0)).all()
    train = np.setdiff1d(signals.world.rows("train"), [1])
    np.testing.assert_allclose(embeddings[train].mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(embeddings[train].std(axis=(0, 1)), 1, atol=1e-3)
    scores = json.loads((tmp_path / "out" / "eda" / "metrics.json").read_text())
    parts = {"train", "validation", "test"}
    assert scores.keys() == parts | {"effective_dimensions", "probe", "sanity", "warning"}
    assert all(scores[part].keys() == {"score", "loss"} for part in parts)
    assert 1 <= scores["effective_dimensions"]["validation"] <= 4
    rows = [scores["probe"], *scores["sanity"].values()]
    assert all(row.keys() == {"validation", "test"} for row in rows)
    assert scores["sanity"].keys() == {"logistic_regression", "extra_trees"}
    assert scores["sanity"]["extra_trees"]["test"] == 1, "slow and fast waves are told apart by their bands"
    assert len(pd.read_csv(tmp_path / "out" / "eda" / "history.csv")) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["eda"], "no checkpoint is left"


def test_no_test_subject_has_a_say(tmp_path):
    plain, garbled = (Signals(tmp_path / name, garbled=name == "garbled") for name in ("plain", "garbled"))
    embeddings = [signals.train(signals.folder.parent / "out") for signals in (plain, garbled)]
    weights = [(signals.folder.parent / "out" / "weights.safetensors").read_bytes() for signals in (plain, garbled)]
    assert weights[0] == weights[1]
    test = plain.world.rows("test")
    assert not np.allclose(embeddings[0][test], embeddings[1][test])
    np.testing.assert_array_equal(np.delete(embeddings[0], test, axis=0), np.delete(embeddings[1], test, axis=0))


def test_features_come_in_the_order_of_the_manifest(tmp_path):
    signals = Signals(tmp_path)
    features = Features(signals.folder, Samples.load(signals.world.manifest))
    rows = np.array([35, 0, 7, 7])
    np.testing.assert_array_equal(features[rows], signals.arrays[rows])


def interrupted(signals, out, monkeypatch, after, **changes):
    """Stop a training in its step number ``after``."""
    step, seen = stage._EncoderRun._step, []

    def breaking(self, rows, generator):
        seen.append(rows)
        if len(seen) == after:
            raise KeyboardInterrupt
        return step(self, rows, generator)

    with monkeypatch.context() as patch:
        patch.setattr(stage._EncoderRun, "_step", breaking)
        with pytest.raises(KeyboardInterrupt):
            signals.train(out, **changes)


def counted(signals, out, monkeypatch, **changes):
    """Train; return the embeddings and the number of steps that it took."""
    step, seen = stage._EncoderRun._step, []
    with monkeypatch.context() as patch:
        patch.setattr(stage._EncoderRun, "_step", lambda *given: seen.append(0) or step(*given))
        return signals.train(out, **changes), len(seen)


def test_an_interrupted_encoder_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    signals = Signals(tmp_path)
    whole, steps = counted(signals, tmp_path / "whole" / "eda", monkeypatch)
    interrupted(signals, tmp_path / "out" / "eda", monkeypatch, after=6)
    assert not (tmp_path / "out" / "eda").exists()
    resumed, left = counted(signals, tmp_path / "out" / "eda", monkeypatch)
    assert left < steps
    np.testing.assert_array_equal(resumed, whole)
    names = [(tmp_path / name / "eda" / "weights.safetensors").read_bytes() for name in ("whole", "out")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"training": {"steps": 9, "evaluate_every": 3, "batch_size": 8, "learning_rate": 0.5}}]
)
def test_a_checkpoint_of_other_parameters_is_not_taken(tmp_path, monkeypatch, changes):
    signals = Signals(tmp_path)
    whole, steps = counted(signals, tmp_path / "whole" / "eda", monkeypatch, **changes)
    interrupted(signals, tmp_path / "out" / "eda", monkeypatch, after=6)
    resumed, taken = counted(signals, tmp_path / "out" / "eda", monkeypatch, **changes)
    assert taken == steps
    np.testing.assert_array_equal(resumed, whole)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["eda"], "the old checkpoint is removed"


def test_a_checkpoint_of_other_features_is_not_taken(tmp_path, monkeypatch):
    signals = Signals(tmp_path)
    interrupted(signals, tmp_path / "out" / "eda", monkeypatch, after=6)
    np.save(signals.folder / "shard_0.npy", 2 * np.load(signals.folder / "shard_0.npy"))
    _, steps = counted(signals, tmp_path / "whole" / "eda", monkeypatch)
    _, taken = counted(signals, tmp_path / "out" / "eda", monkeypatch)
    assert taken == steps


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_without_the_modality_is_refused(tmp_path, part):
    rows = World(tmp_path / "other").rows(part)
    with pytest.raises(DataError, match=rf"no sample of the {part} part of fold 0 has the modality 'eda'"):
        Signals(tmp_path / "here", lacking=rows).train(tmp_path / "out")


SHAPES = {"cnn1d": (3, 40), "small_r3d": (6, 24, 24, 3)}


@pytest.fixture(params=SHAPES)
def built(request):
    torch.manual_seed(0)
    shape = SHAPES[request.param]
    cls, options = EncoderChoice(name=request.param).load()
    batch = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    return cls(shape, 5, 3, options), batch if len(shape) == 2 else (255 * batch).to(torch.uint8)


def test_an_encoder_gives_tokens_and_trains_throughout(built):
    encoder, batch = built
    embeddings = encoder(batch)
    assert embeddings.shape == (4, 3, 5)
    embeddings.square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_encoder_at_rest_sees_one_sample_at_a_time(built):
    encoder, batch = built
    encoder.eval()
    together = encoder(batch)
    for i in range(4):
        torch.testing.assert_close(encoder(batch[i : i + 1]), together[i : i + 1], atol=1e-5, rtol=1e-4)


def test_augmentation_is_the_generators_and_keeps_shape_and_dtype(built):
    encoder, batch = built
    once, again, other = (encoder.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert once.shape == batch.shape
    assert once.dtype == batch.dtype
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_flips_and_shifts_by_hand():
    clip = torch.arange(24.0).view(1, 1, 4, 6, 1)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(flip(clip, 1.0, generator)[0, 0, 0, :, 0], torch.arange(5.0, -1, -1))
    assert torch.equal(flip(clip, 0.0, generator), clip)
    moved = [shift(clip, 1, generator) for _ in range(200)]
    assert len({tuple(m.flatten().tolist()) for m in moved}) == 9
    assert torch.equal(moved[0].flatten().sort().values, clip.flatten())


def test_embeddings_without_spread_are_not_divided_by_zero():
    standard = Scale((1, 2))
    standard.fit([torch.tensor([[[1.0, 5.0]], [[3.0, 5.0]]])])
    assert standard(torch.tensor([[2.0, 5.0]])).tolist() == [[0, 0]]
    assert standard(torch.tensor([[2.0, 6.0]])).isfinite().all()


def test_the_head_reads_the_embeddings_that_were_written(tmp_path):
    """Its score on test subjects is the one that metrics.json has."""
    signals = Signals(tmp_path)
    out = tmp_path / "out" / "eda"
    embeddings = signals.train(out)
    weight, bias = head_of(out / "weights.safetensors")
    rows = signals.world.rows("test")
    logits = torch.from_numpy(embeddings[rows]).mean(dim=1) @ weight.T + bias
    task = Task(TaskParams(), Samples.load(signals.world.manifest))
    metrics = json.loads((out / "metrics.json").read_text())
    assert task.score(logits, task.target(rows)) == metrics["test"]["score"]
    assert float(task.loss(logits, task.target(rows))) == pytest.approx(metrics["test"]["loss"], abs=1e-5)


def test_decorrelation_keeps_more_dimensions(tmp_path):
    signals = Signals(tmp_path)
    kept = []
    for weight in (0.0, 5.0):
        signals.train(tmp_path / str(weight), decorrelation=weight, training=TrainingParams(**LONG))
        metrics = json.loads((tmp_path / str(weight) / "metrics.json").read_text())
        kept.append(metrics["effective_dimensions"]["train"])
    assert kept[1] > 1.1 * kept[0]


def test_samples_are_mixed_in_pairs_with_their_classes():
    """The loss of a mixture is that of both samples, each by its share: that of a soft target."""
    share, partner = mixture(8, 0.4, torch.Generator().manual_seed(0))
    assert (share, partner.tolist()) == (mixture(8, 0.4, torch.Generator().manual_seed(0))[0], partner.tolist())
    assert sorted(partner.tolist()) == list(range(8))
    shares = [mixture(8, 0.4, torch.Generator().manual_seed(seed))[0] for seed in range(200)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)
    assert np.std(shares) == pytest.approx(np.sqrt(0.25 / 1.8), abs=0.05)


@pytest.mark.parametrize(("dtype", "mixes"), [(np.float32, True), (np.uint8, False)])
def test_signals_are_mixed_and_pictures_are_not(tmp_path, monkeypatch, dtype, mixes):
    signals = Signals(tmp_path)
    for shard in range(2):
        path = signals.folder / f"shard_{shard}.npy"
        np.save(path, (100 + 50 * np.load(path)).clip(0, 255).astype(dtype))
    monkeypatch.setattr(Cnn1d, "augment", lambda encoder, batch, generator: batch)
    plain, mixed, again = (
        signals.train(tmp_path / str(number) / "eda", mixup=mixup) for number, mixup in enumerate((0.0, 0.4, 0.4))
    )
    np.testing.assert_array_equal(mixed, again)
    assert (not np.array_equal(plain, mixed)) == mixes


def test_mixing_keeps_an_encoder_from_knowing_its_training_part_by_heart(tmp_path):
    losses = []
    for strength in (0.0, 1.0):
        Signals(tmp_path / f"{strength}").train(
            tmp_path / f"{strength}" / "out", mixup=strength, training=TrainingParams(**LONG)
        )
        history = pd.read_csv(tmp_path / f"{strength}" / "out" / "history.csv")
        losses.append(history["loss"].iloc[-1])
    assert losses[1] > 1.5 * losses[0]


def test_an_encoder_that_stays_at_chance_is_named(tmp_path):
    signals = Signals(tmp_path)
    out = tmp_path / "out" / "eda"
    signals.train(out, training=TrainingParams(steps=3, evaluate_every=3, batch_size=8, learning_rate=1e-9))
    assert "where chance gives 0.500" in json.loads((out / "metrics.json").read_text())["warning"]


def test_the_unit_of_the_arrays_does_not_matter(tmp_path):
    """A signal in volts trains as one in microvolts."""
    scores = []
    for unit in (1.0, 1e-6):
        folder = tmp_path / str(unit)
        signals = Signals(folder)
        for shard in range(2):
            path = signals.folder / f"shard_{shard}.npy"
            np.save(path, np.float32(unit) * np.load(path))
        signals.train(folder / "out")
        scores.append(json.loads((folder / "out" / "metrics.json").read_text())["train"]["loss"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


def test_a_cross_fitted_subject_has_no_say_in_its_own_embeddings(tmp_path):
    """Other labels and other data of a training subject change the embeddings of others, and not its own by them."""
    found = []
    for change in ("nothing", "labels", "data"):
        signals = Signals(tmp_path / change)
        own = np.flatnonzero(signals.world.table["subject_id"] == "s1")
        if change == "labels":
            column = signals.world.table["level"]
            column[own] = column[own].map({"k0": "k1", "k1": "k0"})
            signals.world.write()
        if change == "data":
            garble(signals, np.setdiff1d(own, own[:1]))
        found.append(signals.train(tmp_path / change / "out", cross_fit=3))
    plain, labels, data = found
    kept = own[:1]  # of the data that changed, this sample is as it was
    np.testing.assert_array_equal(labels[own], plain[own])
    np.testing.assert_array_equal(data[kept], plain[kept])
    for changed in (labels, data):
        others = np.setdiff1d(signals.world.rows("train", "validation", "test"), own)
        assert all(not np.array_equal(changed[row], plain[row]) for row in others)


def test_cross_fitting_leaves_the_encoder_and_all_others_as_they_are(tmp_path):
    signals = Signals(tmp_path)
    plain, crossed = (
        signals.train(tmp_path / name / "eda", cross_fit=parts) for name, parts in (("a", None), ("b", 3))
    )
    train = signals.world.rows("train")
    np.testing.assert_array_equal(np.delete(crossed, train, axis=0), np.delete(plain, train, axis=0))
    assert all(not np.array_equal(crossed[row], plain[row]) for row in train)
    weights = [(tmp_path / name / "eda" / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def garble(signals, rows):
    """Put noise in the place of some arrays."""
    noise = np.random.default_rng(5).normal(size=(len(rows), 1, 24)).astype(np.float32)
    for shard in range(2):
        path = signals.folder / f"shard_{shard}.npy"
        arrays = np.load(path)
        here = rows % 2 == shard
        arrays[rows[here] // 2] = 5 * noise[here]
        np.save(path, arrays)
