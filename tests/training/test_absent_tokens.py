"""Tokens that were filled in: nothing is learned from them, and samples keep what is left of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from synthetic import World, arrays_config, make_arrays, up_to_teachers, write_config

from pkdot import jobs
from pkdot.data import Features, Samples
from pkdot.experiment import load
from pkdot.splits import Parts
from pkdot.training.encoder import _EncoderRun
from pkdot.training.student import train_students
from pkdot.training.teacher import train_teachers
from tests.training.test_encoder import Signals

METHODS = ({"name": "zero_imputation", "dropout": 0}, "pkdot", "modality_hallucination", "linear_probe")


def run(world, out, fusion="gated_cross_attention", tnet="mlp", methods=METHODS):
    """Train teachers and students of some methods."""
    shared = {"fusion": fusion, "tnet": {"kind": tnet, "hidden": [6]}, "seeds": [0]}
    train_teachers(world.manifest, world.splits, world.embeddings, out / "teachers", world.teacher_params(**shared))
    for method in methods:
        params = world.student_params(method, **shared, candidates=1)
        train_students(world.manifest, world.splits, world.embeddings, out / "teachers", out / "students", params)
    return out


def names(methods):
    """Names of methods."""
    return [method if isinstance(method, str) else method["name"] for method in methods]


def predictions(out):
    """What every network predicts, by its folder."""
    files = sorted(out.rglob("seed_0/*/predictions.parquet"))
    return {str(path.parent.relative_to(out)): pd.read_parquet(path) for path in files}


@pytest.mark.parametrize(
    ("fusion", "tnet"),
    [("gated_cross_attention", "mlp"), ("joint_cross_attention", "attention"), ("concat", "shared_private")],
)
def test_a_world_whose_second_token_is_absent_is_the_world_without_it(tmp_path, fusion, tnet):
    whole = World(tmp_path / "whole", tokens=2)
    for values in whole.values.values():
        values[:, 1] = np.nan
    whole.write()
    other = World(tmp_path / "other", tokens=2)
    other.values = {name: values[:, :1] for name, values in whole.values.items()}
    other.write()
    found, expected = (
        predictions(run(world, world.folder / "run", {"name": fusion, "dropout": 0}, tnet)) for world in (whole, other)
    )
    for name in ("teachers/seed_0/teacher", *(f"students/seed_0/{method}" for method in names(METHODS))):
        table = found[name]
        for column in table.filter(like="score_"):
            np.testing.assert_allclose(table[column], expected[name][column], atol=2e-4, err_msg=name)


@pytest.mark.parametrize("fusion", ["gated_cross_attention", "joint_cross_attention", "concat"])
def test_frames_of_an_absent_token_are_predicted_all_the_same(tmp_path, fusion):
    world = World(tmp_path, kind="regression", tokens=3)
    rng = np.random.default_rng(0)
    for values in world.values.values():
        lost = rng.random(values.shape[:2]) < 0.3
        lost[:, 0] = False
        values[lost] = np.nan
    lacking = world.rows("test")[0], world.rows("train")[0]
    world.values["eda"][list(lacking)] = np.nan
    world.write()
    out = run(world, tmp_path / "run", fusion, methods=[*METHODS, "student_only", "feature_mse"])
    for name, table in predictions(out).items():
        assert np.isfinite(table["prediction"]).all(), name
        tested = 12 if "students" in name else 11
        assert len(table) == tested * 3 * (3 + 4), name
    outputs = load_file(out / "teachers/seed_0/teacher/outputs.safetensors")["logits"]
    assert set(np.flatnonzero(np.isnan(outputs).any(axis=(1, 2)))) == set(lacking)
    guessed = load_file(out / "teachers/seed_0/tnet/outputs.safetensors")["privileged"]
    np.testing.assert_array_equal(np.isnan(guessed).all(axis=2), np.isnan(world.values["face"]).all(axis=2))


def with_gaps(signals, gaps):
    """Write into the index which time of some samples was filled in."""
    path = signals.folder / "index.parquet"
    table = pd.read_parquet(path)
    names = signals.world.table["sample_id"]
    table["gaps"] = [gaps.get(int(np.flatnonzero(names == sample)[0]), []) for sample in table["sample_id"]]
    table.to_parquet(path)


def test_embeddings_have_no_token_that_was_filled_in(tmp_path):
    signals = Signals(tmp_path)
    with_gaps(signals, {0: [0.4, 1.0], 7: [0.1, 0.2], 35: [0.0, 1.0]})
    embeddings = signals.train(tmp_path / "out" / "eda")
    lost = np.isnan(embeddings).all(axis=2)
    assert lost[0].tolist() == [False, True]
    assert lost.sum() == 1, "a sample of which nothing would be left stays as it is"
    training = embeddings[signals.world.rows("train")].reshape(-1, 4)
    np.testing.assert_allclose(np.nanmean(training, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(training, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_an_encoder_learns_nothing_from_a_token_that_was_filled_in(tmp_path, mixup):
    signals = Signals(tmp_path)
    params = signals.params(encoder={"name": "mlp"}, mixup=mixup)
    samples = Samples.load(signals.world.manifest)
    there = np.ones((36, 2), dtype=bool)
    there[:, 1] = False
    parts = Parts.read(signals.world.splits, 0, samples)
    encoder = _EncoderRun(samples, Features(signals.folder, samples), there, parts, params)
    encoder._step(parts.train[:6], torch.Generator().manual_seed(0)).backward()
    moved = encoder.encoder.layers[-1].weight.grad.abs().sum(dim=1).unflatten(0, (2, 4)) > 0
    assert moved.tolist() == [[True] * 4, [False] * 4]


@pytest.mark.parametrize("encoder", ["frozen", "finetuned"])
def test_nan_in_an_array_is_a_mask_of_its_owner(tmp_path, encoder):
    """From the array to the student, which trains its encoder or not: a token of NaN is absent, the sample stays."""
    root = make_arrays(tmp_path / "own", subjects=6, seconds=3)
    for path in sorted((root / "signals").glob("*_motion.npy"))[::2]:
        values = np.load(path)
        values[32 + 14 : 64, 1] = np.nan  # in the second of three windows
        np.save(path, values)
    values = {**arrays_config(str(root)), "shards": 1, "embedding": {"dim": 8, "tokens": 2}}
    values["modalities"]["motion"]["feature"] = {"name": "window", "channels": 2, "length": 32, "max_missing": 0.6}
    values["students"] = {**values["students"], "methods": ["student_only", "pkdot"], "candidates": 1}
    e, out = load(write_config(tmp_path / "config" / "tiny.yaml", values)), tmp_path / "out"
    embeddings = up_to_teachers(e, out)
    manifest, splits = out / "manifest.parquet", out / "splits.json"
    lost = np.isnan(np.load(embeddings[0])).all(axis=2)
    assert lost.tolist() == [[False, number % 6 == 1] for number in range(36)]
    params = jobs.students(e, 0, "pkdot").model_copy(update={"encoder": encoder})
    train_students(manifest, splits, embeddings, out / "teachers", out / "students", params)
    assert pd.read_csv(out / "students/seed_0/pkdot/history.csv")["score"].notna().all()
    table = predictions(out)["students/seed_0/pkdot"]
    assert len(table) == len(Parts.read(splits, 0, Samples.load(manifest)).test)
    assert np.isfinite(table.filter(like="score_")).all(axis=None)


@pytest.mark.parametrize("noise", [False, True])
def test_seconds_that_the_list_calls_absent_are_what_nan_in_the_arrays_is(tmp_path, noise):
    """Bit for bit, whatever the arrays hold there: of single tokens, of whole windows, and of a whole recording."""
    columns = ["motion_absent", "pulse_absent"]
    cells = {0: ["1.4-2", "all"], 3: ["0-1.25; 2.5-3", ""], 4: ["", ".5-1, 1-2"], 9: ["2-3", "0.25-1.75"]}
    found = []
    for name in ("list", "arrays"):
        root = make_arrays(tmp_path / name / "own", subjects=6, seconds=3)
        table = pd.read_csv(root / "recordings.csv")
        for row, (motion, pulse) in cells.items():
            for stream, cell in (("motion", motion), ("pulse", pulse)):
                path = root / table[stream][row]
                values = np.load(path)
                for span in cell.replace("all", "0-3").replace(",", ";").split(";") if cell else ():
                    begin, end = (round(32 * float(second)) for second in span.split("-"))
                    if name == "arrays" or noise:
                        values[begin:end] = np.nan if name == "arrays" else 1e3 * np.arange(begin, end)[:, None]
                np.save(path, values)
        if name == "list":
            for place, column in enumerate(columns):
                table[column] = [cells.get(row, ["", ""])[place] for row in range(len(table))]
            table.to_csv(root / "recordings.csv", index=False)
        values = {**arrays_config(str(root)), "shards": 1, "embedding": {"dim": 8, "tokens": 2}}
        for modality in values["modalities"].values():
            modality["feature"] = {**modality["feature"], "max_missing": 0.7}
        e = load(write_config(tmp_path / name / "config" / "tiny.yaml", values))
        found.append([np.load(path) for path in up_to_teachers(e, tmp_path / name / "out")])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
        lost = np.isnan(one).all(axis=2)
        assert lost.any(axis=1).sum() > lost.all(axis=1).sum() > 0
