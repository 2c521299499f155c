"""A student with a T-Net of any kind is saved, loaded and exported, and predicts the same each time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bundles import described, drawn

import pkdot
from pkdot.descriptions import PluginDescription
from pkdot.hallucination.base import register
from pkdot.inference.bundle import write_bundle
from pkdot.inference.export import export


def student_of(kind, folder):
    said = described()
    tnet = PluginDescription(name=kind, options=register.load(kind).Options().plain())
    student = said.network.student.model_copy(update={"tnet_kind": tnet})
    network = said.network.model_copy(update={"student": student})
    said = said.model_copy(update={"network": network, "seeds": [0]})
    made = drawn(said)
    write_bundle(folder, said, made)
    return said, made


@pytest.mark.parametrize("kind", register.names())
def test_what_is_loaded_or_exported_predicts_what_was_saved(kind, tmp_path):
    said, made = student_of(kind, tmp_path / "student")
    loaded = pkdot.load_student(tmp_path / "student")
    assert loaded.network.describe()[1].student.tnet_kind == said.network.student.tnet_kind
    rng = np.random.default_rng(1)
    arrays = {n: rng.normal(size=(5, c, 32)).astype(np.float32) for n, c in (("motion", 2), ("pulse", 1))}
    truth = loaded.predict_arrays(arrays)
    given = {name: torch.from_numpy(value) for name, value in arrays.items()}
    np.testing.assert_array_equal(made(given).numpy(), truth)
    assert np.ptp(truth, axis=0).max() > 0.01, "it says something else of each sample"
    found = export(tmp_path / "student", [])
    assert found.difference < 1e-5
    exported = pkdot.load_student(found.path)
    for count in (1, 3, 5):
        some = {name: value[:count] for name, value in arrays.items()}
        np.testing.assert_allclose(exported.predict_arrays(some), truth[:count], atol=1e-5)


def test_a_bundle_of_old_that_does_not_say_its_kind_has_the_published_one(tmp_path):
    _, made = student_of("mlp", tmp_path / "student")
    path = tmp_path / "student" / "student.json"
    values = json.loads(path.read_text())
    del values["network"]["student"]["tnet_kind"]
    path.write_text(json.dumps(values))
    loaded = pkdot.load_student(tmp_path / "student")
    for (name, one), (other_name, other) in zip(
        loaded.network.state_dict().items(), made.state_dict().items(), strict=True
    ):
        assert name == other_name
        np.testing.assert_array_equal(one.numpy(), other.numpy())
