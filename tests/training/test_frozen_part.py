"""Students that train the last blocks of a pretrained encoder: what the blocks before them make is computed once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from synthetic import CLOSE, TRAINING, World

from pkdot.answer import Answer
from pkdot.assembly import build_network
from pkdot.data import Features, Samples
from pkdot.descriptions import NetworkDescription
from pkdot.encoders.r3d_18 import R3d18, R3d18Options
from pkdot.tasks import TaskParams
from pkdot.training.encoder import EncoderParams, train_encoder
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.student import train_students
from pkdot.training.teacher import train_teachers

SHAPE = (4, 16, 16, 3)
FROZEN = ("stem", "layer1", "layer2", "layer3")
RANDOM = {"name": "r3d_18", "weights": "random", "trained_blocks": 1}


def clips(count):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8))


def test_both_parts_together_are_the_whole():
    for blocks in (0, 1, 3, 5):
        net = R3d18(SHAPE, 6, 2, R3d18Options(weights="random", trained_blocks=blocks)).eval()
        assert net.has_frozen_part == (blocks < 5)
        with torch.no_grad():
            maps = net.frozen_part(clips(3))
            assert maps.shape[:2] == (3, 2)
            torch.testing.assert_close(net.trained_part(maps), net(clips(3)))


def test_gradients_and_statistics_of_a_training_step_reach_the_last_blocks_alone():
    net = R3d18(SHAPE, 6, 1, R3d18Options(weights="random", trained_blocks=1)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net(clips(4)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == (name.split(".")[1] in FROZEN), name
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in changed} == {"layer4"}, "running means of the normalisation"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A world of clips with an encoder of which one block is trained; how many clips its frozen part has seen."""
    world = World(tmp_path_factory.mktemp("frozen"))
    folder = world.folder / "face"
    folder.mkdir()
    np.save(folder / "shard_0.npy", clips(36).numpy())
    index = {"sample_id": world.table["sample_id"], "shard": "shard_0", "row": range(36), "valid": True}
    pd.DataFrame({**index, "coverage": 1.0}).to_parquet(folder / "index.parquet")
    params = EncoderParams(
        modality="face",
        encoder=RANDOM,
        training=TrainingParams(**{**TRAINING, "steps": 2, "evaluate_every": 2}),
        dim=World.DIM,
        tokens=1,
        maps=True,
        sanity=False,
        task=TaskParams(),
        fold=0,
        seed=0,
        compute=ComputeParams(),
    )
    train_encoder(world.manifest, world.splits, folder, world.folder / "encoders" / "face", params)
    teacher = world.teacher_params(seeds=[0])
    train_teachers(world.manifest, world.splits, world.embeddings, world.folder / "teachers", teacher)
    return world


def test_students_read_the_maps_and_never_run_what_made_them(trained, monkeypatch):
    monkeypatch.setattr(R3d18, "frozen_part", lambda *_: pytest.fail("it was computed again"))
    start = load_file(trained.folder / "encoders/face/weights.safetensors")
    training = TrainingParams(steps=4, evaluate_every=2, batch_size=8, learning_rate=0.01, patience=None)
    params = trained.student_params("kd", encoder="finetuned", seeds=[0], candidates=1, start="random")
    params = params.model_copy(update={"training": training})
    arguments = trained.manifest, trained.splits, trained.embeddings, trained.folder / "teachers"
    train_students(*arguments, trained.folder / "students", params)
    monkeypatch.undo()

    folder = trained.folder / "students" / "seed_0" / "kd"
    record = json.loads((folder.parents[1] / "kd.run.json").read_text())
    assert any(name.endswith("face/maps.npy") for name in record["inputs"])
    weights = load_file(folder / "weights.safetensors")
    own = {name.removeprefix("encoders.face."): value for name, value in weights.items() if "encoders.face." in name}
    for name, value in own.items():
        if name.startswith(tuple(f"encoder.body.{block}." for block in FROZEN)):
            assert torch.equal(value, start[name]), name
    assert any(not torch.equal(own[name], start[name]) for name in own if "body.layer4" in name)

    answer = Answer(kind="classification", targets=["level"], classes=["k0", "k1"])
    network = build_network(NetworkDescription(**json.loads((folder / "network.json").read_text())), answer).eval()
    network.load_state_dict(weights)
    samples = Samples.load(trained.manifest)
    table = pd.read_parquet(folder / "predictions.parquet")
    rows = samples.table.set_index("sample_id").index.get_indexer(table["sample_id"])
    with torch.no_grad():
        scores = network({"face": torch.from_numpy(Features(trained.folder / "face", samples)[rows])}).logits.softmax(1)
    np.testing.assert_allclose(scores.numpy(), table[["score_0", "score_1"]], atol=CLOSE)


def test_the_maps_are_those_of_the_encoder_and_are_made_where_students_train_it(trained):
    net = R3d18(SHAPE, World.DIM, 1, R3d18Options(weights="random", trained_blocks=1)).eval()
    state = load_file(trained.folder / "encoders/face/weights.safetensors")
    net.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    with torch.no_grad():
        expected = net.frozen_part(clips(36))
    np.testing.assert_allclose(np.load(trained.folder / "encoders/face/maps.npy"), expected.numpy(), atol=CLOSE)
