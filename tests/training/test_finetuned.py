"""Students that train their encoder: they begin at the fold's, read raw arrays, and say what they have become."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from synthetic import CLOSE, arrays_config, make_arrays, up_to_teachers, write_config

from pkdot import jobs
from pkdot.answer import Answer
from pkdot.assembly import build_network
from pkdot.data import Features, Samples
from pkdot.descriptions import NetworkDescription
from pkdot.experiment import load
from pkdot.networks import StudentNetwork
from pkdot.training.fold import Fold, embedding_paths
from pkdot.training.loop import TrainingParams
from pkdot.training.own_encoders import OwnEncoders
from pkdot.training.student import train_students


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny experiment up to its teachers on fold 0."""
    folder = tmp_path_factory.mktemp("finetuned")
    make_arrays(folder / "own", subjects=6, seconds=3)
    values = {**arrays_config(str(folder / "own")), "shards": 1}
    values["modalities"]["pulse"] |= {"role": "prevalent"}  # it tells the class, so that training has something to gain
    values["modalities"]["motion"] |= {"role": "privileged"}
    values["students"] = {**values["students"], "methods": ["encoder_head", "student_only", "kd"], "candidates": 1}
    e = load(write_config(folder / "config" / "tiny.yaml", values))
    out = folder / "out"
    return e, out, up_to_teachers(e, out)


def students(prepared, method, name="students", **changes):
    e, out, embeddings = prepared
    params = jobs.students(e, 0, method).model_copy(update={"encoder": "finetuned", **changes})
    train_students(out / "manifest.parquet", out / "splits.json", embeddings, out / "teachers", out / name, params)
    return out / name / "seed_0" / method


def encoder_of(folder):
    state = load_file(folder / "weights.safetensors")
    return {k.removeprefix("encoders.pulse."): v for k, v in state.items() if k.startswith("encoders.pulse.")}


def test_its_encoder_is_trained_and_its_normalisation_stays(prepared):
    _, out, _ = prepared
    frozen = load_file(out / "encoders/pulse/weights.safetensors")
    training = TrainingParams(steps=60, evaluate_every=20, batch_size=8, learning_rate=0.01)  # until it is better
    own = encoder_of(students(prepared, "kd", start="random", training=training))
    assert own.keys() == {name for name in frozen if not name.startswith("head.")}
    changed = {name for name, value in own.items() if not torch.equal(value, frozen[name])}
    assert any(name.startswith("encoder.") for name in changed)
    assert not any(name.startswith("standard.") for name in changed)


def test_it_begins_where_the_frozen_encoder_is(prepared):
    _, out, _ = prepared
    folder = students(prepared, "student_only", "begins")
    history = pd.read_csv(folder / "history.csv")
    metrics = json.loads((out / "encoders/pulse/metrics.json").read_text())
    assert history["score"][0] == pytest.approx(metrics["validation"]["score"])
    assert history["score"].max() >= history["score"][0]


def test_its_description_and_weights_give_its_predictions_from_raw_arrays(prepared):
    e, out, _ = prepared
    folder = students(prepared, "kd", "described")
    samples = Samples.load(out / "manifest.parquet")
    answer = Answer(kind="classification", targets=["class"], classes=["a", "b"])
    network = build_network(NetworkDescription(**json.loads((folder / "network.json").read_text())), answer).eval()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    table = pd.read_parquet(folder / "predictions.parquet")
    rows = samples.table.set_index("sample_id").index.get_indexer(table["sample_id"])
    arrays = {"pulse": torch.from_numpy(Features(out / "pulse", samples)[rows])}
    with torch.no_grad():
        scores = network(arrays).logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(scores, table[["score_0", "score_1"]], atol=CLOSE)
    assert e.students.encoder == "frozen"


def test_equal_seeds_give_equal_bytes(prepared):
    first, second = (students(prepared, "kd", name) for name in ("first", "second"))
    for name in ("weights.safetensors", "predictions.parquet", "history.csv", "metrics.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_student_that_takes_no_steps_keeps_the_frozen_encoder(prepared):
    assert not encoder_of(students(prepared, "encoder_head"))


def test_what_is_absent_of_the_embeddings_of_a_fold_is_absent_of_a_students_own(prepared):
    """In whatever its encoder makes of it: the student takes part in training without that token."""
    e, out, embeddings = prepared
    params = jobs.students(e, 0, "kd")
    fold = Fold(out / "manifest.parquet", out / "splits.json", embedding_paths(embeddings), params, torch.device("cpu"))
    rows = fold.train[:3]
    own = OwnEncoders(fold, {"pulse": out / "encoders/pulse/weights.safetensors"})
    network = StudentNetwork(own.copy(), torch.nn.Identity(), ["pulse"]).eval()
    before = own.embed(network, rows)
    torch.testing.assert_close(before, fold.prevalent[rows], atol=CLOSE, rtol=CLOSE)
    fold.prevalent[rows[1]] = torch.nan
    after = own.embed(network, rows)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert after[1].isnan().all()
