"""A part of a sample that was filled in is absent at prediction as it was in training, in an exported file too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bundles import CHANNELS, described, drawn

import pkdot
from pkdot.inference.bundle import write_bundle
from pkdot.inference.export import export

HALF = [0.5, 1.0]  # the second of two tokens was filled in


@pytest.fixture(scope="module", params=[False, True], ids=["classes", "sequence"])
def students(request, tmp_path_factory):
    """A bundle that allows for gaps, and its exported file."""
    folder, said = tmp_path_factory.mktemp("masked") / "student", described(request.param)
    for one in said.modalities.values():
        one.feature.options["max_missing"] = 0.6
    write_bundle(folder, said, drawn(said))
    found = export(folder, [])
    assert found.difference < 1e-5
    return [pkdot.load_student(path) for path in (folder, found.path)]


def arrays(count=4):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(count, channels, 32)).astype(np.float32) for name, channels in CHANNELS.items()}


def each(batch):
    return [{name: values[i] for name, values in batch.items()} for i in range(len(batch["motion"]))]


def test_what_was_filled_in_may_be_anything(students):
    batch = arrays()
    gaps = [{"motion": HALF, "pulse": HALF}, {"pulse": HALF}, {}, {"motion": [0.0, 1.0]}]
    noise = {name: values.copy() for name, values in batch.items()}
    rng = np.random.default_rng(2)
    for sample, where in enumerate(gaps[:2]):
        for name in where:  # far from the border of the tokens, over which a filter of an encoder reaches
            noise[name][sample, :, 24:] = 9 * rng.normal(size=noise[name][sample, :, 24:].shape)
    for student in students:
        truth, whole = student.predict_each(each(batch), gaps), student.predict_each(each(batch))
        np.testing.assert_array_equal(student.predict_each(each(noise), gaps), truth)
        assert np.abs(student.predict_each(each(noise)) - whole)[:2].max() > 1e-4
        apart = np.abs(truth - whole).reshape(4, -1).max(axis=1)
        assert (apart[:2] > 1e-4).all()
        assert (apart[2:] < 1e-6).all(), "where nothing would be left all counts"
        assert np.isfinite(truth).all()


def test_the_export_takes_the_mask_and_predicts_what_torch_does(students):
    one, exported = students
    assert [put.name for put in exported.session.get_inputs()] == ["motion", "pulse", "present"]
    rng = np.random.default_rng(3)
    for count in (1, 4):
        present = rng.random((count, 2, 2)) < 0.5
        truth = one.predict_arrays(arrays(count), present)
        np.testing.assert_allclose(exported.predict_arrays(arrays(count), present), truth, atol=1e-5)


def test_a_gap_in_a_file_is_a_gap_of_its_prediction(students, recordings):
    values = np.load(recordings["motion"])
    values[2 * 16 + 17 : 4 * 16] = np.nan  # of the second window nearly all of the second token
    np.save(recordings["motion"], values)
    for student in students:
        found = student.predict(recordings).filter(regex="p_|valence|arousal").to_numpy(dtype=float)
        got = {name: one.array[None] for name, one in student.extract(student.sources(recordings, start=2.0)).items()}
        present = np.array([[[True, False], [True, True]]])
        expected = student.predict_arrays(got, present).reshape(len(found) // 3, -1)
        np.testing.assert_allclose(found.reshape(3, *expected.shape)[1], expected, atol=1e-6)
        assert np.abs(student.predict_arrays(got).reshape(expected.shape) - expected).max() > 1e-4


def test_8_bits_have_the_mask_too(tmp_path):
    said = described()
    write_bundle(tmp_path / "student", said, drawn(said))
    found = export(tmp_path / "student", [], int8=True)
    assert "present" in [put.name for put in onnx.load(str(found.path)).graph.input]
    assert 0 < found.difference < 0.2
