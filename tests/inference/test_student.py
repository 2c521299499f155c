"""A student in use: what it loads, what it refuses, and what its numbers are."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from bundles import CHANNELS, described, drawn

import pkdot
from pkdot.errors import DataError
from pkdot.features.base import Source
from pkdot.inference.bundle import code_of, read_bundle, write_bundle
from pkdot.inference.loading import OtherCode


def arrays(count=5):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(count, channels, 32)).astype(np.float32) for name, channels in CHANNELS.items()}


def test_a_bundle_predicts_what_its_network_predicted(bundle):
    student = pkdot.load_student(bundle)
    batch = arrays()
    expected = drawn(described())({name: torch.from_numpy(values) for name, values in batch.items()})
    predicted = student.predict_arrays(batch)
    np.testing.assert_allclose(predicted, expected.numpy(), atol=1e-7)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_gpu_predicts_the_same(bundle):
    np.testing.assert_allclose(
        pkdot.load_student(bundle, device="cuda").predict_arrays(arrays()),
        pkdot.load_student(bundle).predict_arrays(arrays()),
        atol=5e-3,
    )


def test_a_sample_does_not_see_its_batch_mates(bundle):
    student = pkdot.load_student(bundle)
    batch = arrays()
    alone = [student.predict_arrays({name: values[i : i + 1] for name, values in batch.items()}) for i in range(5)]
    np.testing.assert_allclose(np.concatenate(alone), student.predict_arrays(batch), atol=1e-6)


def test_probabilities_are_the_mean_over_seeds_made_softer_by_the_temperature(bundle):
    student = pkdot.load_student(bundle)
    network = student.network
    batch = {name: torch.from_numpy(values) for name, values in arrays().items()}
    shared = {name: encoder(batch[name]) for name, encoder in network.encoders.items()}
    each = [one(batch, shared).logits.softmax(dim=1) for one in network.students]
    sharp = torch.stack(each).mean(dim=0) ** (1 / 1.7)
    torch.testing.assert_close(network(batch), sharp / sharp.sum(dim=1, keepdim=True))


def test_a_file_is_predicted_sample_by_sample(bundle, recordings):
    student = pkdot.load_student(str(bundle))
    table = student.predict(recordings)
    assert table[["start", "stop"]].to_numpy().tolist() == [[0, 2], [2, 4], [4, 6]]
    assert (
        table["prediction"] == [student.classes[i] for i in table.filter(like="p_").to_numpy().argmax(axis=1)]
    ).all()
    assert len(student.predict(recordings, every=0.5)) == 11
    one = student.sources(recordings, start=2.0)
    assert one["pulse"] == Source(str(recordings["pulse"]), recordings["pulse"], 2.0, 4.0, 16.0)
    values = {name: got.array[None] for name, got in student.extract(one).items()}
    np.testing.assert_allclose(
        student.predict_arrays(values)[0], table.filter(like="p_").to_numpy(dtype=float)[1], atol=1e-6
    )


def test_values_of_every_frame_have_their_times(tmp_path, recordings):
    said = described(regression=True)
    write_bundle(tmp_path / "values", said, drawn(said))
    student = pkdot.load_student(tmp_path / "values")
    assert student.predict_arrays(arrays()).shape == (5, 8, 2)
    table = student.predict(recordings)
    assert list(table) == ["start", "stop", "frame", "valence", "arousal", "note"]
    np.testing.assert_allclose(table["start"], np.arange(24) / 4)
    assert student.frames == 8


def edit(bundle, **changes):
    file = bundle / "student.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


FAULTS = {
    "another weight": (lambda b: (b / "weights.safetensors").write_bytes(b"x" * 99), "its content is not what"),
    "no weights": (lambda b: (b / "weights.safetensors").unlink(), "no such file"),
    "no description": (lambda b: (b / "student.json").unlink(), "no bundle"),
    "no JSON": (lambda b: (b / "student.json").write_text("{"), "not the description of a student"),
    "a list": (lambda b: (b / "student.json").write_text("[]"), "not the description of a student"),
    "a newer schema": (lambda b: edit(b, schema_version=99), "Install a newer pkdot"),
    "an unknown entry": (lambda b: edit(b, temperatur=2), "Did you mean 'temperature'"),
    "another network": (lambda b: edit(b, seeds=[0, 1, 2]), "does not fit the network"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_bundle_is_refused_with_the_reason(bundle, fault):
    spoil, reason = FAULTS[fault]
    spoil(bundle)
    with pytest.raises(DataError, match=reason):
        pkdot.load_student(bundle)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_bundle(tmp_path / "none")


def test_what_does_not_fit_is_refused_with_the_reason(bundle, recordings):
    student = pkdot.load_student(bundle / "student.json")
    with pytest.raises(DataError, match="'pulse' is missing"):
        student.predict_arrays({"motion": arrays()["motion"]})
    with pytest.raises(DataError, match="have shape"):
        student.predict_arrays({name: values[:, :, 1:] for name, values in arrays().items()})
    with pytest.raises(DataError, match="'voice' is missing or unknown"):
        student.predict({**recordings, "voice": recordings["pulse"]})


def test_other_code_is_told_in_one_sentence_and_predicts_all_the_same(bundle, recordings):
    edit(bundle, code=code_of())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = pkdot.load_student(bundle).predict(recordings)
    edit(bundle, code="0123456789abcdef", versions={"pkdot": "0.0.1"})
    with pytest.warns(OtherCode, match=r"has changed since it was made \(by pkdot 0\.0\.1\)") as said:
        student = pkdot.load_student(bundle)
    assert len(said) == 1
    assert said[0].filename == __file__
    pd.testing.assert_frame_equal(student.predict(recordings), expected)


def test_a_wide_table_gives_the_columns_of_the_training(bundle, recordings):
    values = {name: np.load(path) for name, path in recordings.items()}
    expected = pkdot.load_student(bundle).predict(recordings)
    wide = bundle.parent / "wide.csv"
    columns = {name: [f"{name} {i}" for i in range(values[name].shape[1])] for name in values}
    pd.DataFrame({"time": 0.0} | {c: values[n][:, i] for n in columns for i, c in enumerate(columns[n])}).to_csv(wide)
    said = json.loads((bundle / "student.json").read_text())
    modalities = {name: one | {"part": ",".join(columns[name])} for name, one in said["modalities"].items()}
    edit(bundle, modalities=modalities)
    student = pkdot.load_student(bundle)
    for table in (student.predict(wide), student.predict(recordings)):
        pd.testing.assert_frame_equal(table, expected)
