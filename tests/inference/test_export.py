"""An exported student predicts what the bundle does, without torch; where it would not, nothing is written."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from bundles import described, drawn
from face_bundle import write_face_bundle
from synthetic import REPO

import pkdot
from pkdot.errors import ConfigError, DataError
from pkdot.files import sha256, write_json
from pkdot.inference import export as module
from pkdot.inference.bundle import write_bundle
from pkdot.inference.export import compared, export
from pkdot.inference.predict import PredictOptions, predict
from pkdot.provenance import damaged

INT8 = onnx.TensorProto.INT8


@pytest.fixture(scope="module")
def faces(tmp_path_factory, clip):
    """A bundle over faces, exported and compared on a clip."""
    folder = write_face_bundle(tmp_path_factory.mktemp("faces") / "student")
    (folder / "card.md").write_text("# A student\n\n## In 8 bits\n\nOld.\n\n## Use\n\nNone.\n")
    return folder, export(folder, [str(clip)])


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """A bundle of two modalities of arrays that predicts values in units, exported."""
    folder, said = tmp_path_factory.mktemp("values") / "student", described(regression=True)
    answer = said.answer.model_copy(update={"mean": [3.0, -1.0], "deviation": [2.0, 0.5]})
    said = said.model_copy(update={"answer": answer})
    write_bundle(folder, said, drawn(said))
    export(folder, [])
    return folder


def test_a_file_beside_the_bundle_predicts_what_torch_does(faces):
    folder, found = faces
    assert found.path == folder / "student.onnx"
    assert found.samples == 2
    assert found.difference < 1e-5
    one, other = (pkdot.load_student(path) for path in (folder, found.path))
    arrays = {"face": np.random.default_rng(1).integers(0, 256, (7, 4, 48, 48, 3), dtype=np.uint8)}
    np.testing.assert_allclose(other.predict_arrays(arrays), one.predict_arrays(arrays), atol=1e-5)
    assert other.description == one.description


def test_values_of_two_modalities_come_in_their_units_for_a_batch_of_any_size(values):
    one, other = (pkdot.load_student(path) for path in (values, values / "student.onnx"))
    rng = np.random.default_rng(1)
    for count in (1, 3, 32):
        arrays = {
            name: rng.normal(size=(count, channels, 32)).astype(np.float32)
            for name, channels in (("motion", 2), ("pulse", 1))
        }
        truth = one.predict_arrays(arrays)
        np.testing.assert_allclose(other.predict_arrays(arrays), truth, atol=1e-4)
        assert truth.shape == (count, 8, 2)
    assert abs(truth[..., 0].mean() - 3) < 2
    with pytest.raises(DataError, match="'pulse' is missing"):
        other.predict_arrays({"motion": arrays["motion"]})


def test_a_signal_that_stands_still_is_predicted_as_by_torch(values):
    one, other = (pkdot.load_student(path) for path in (values, values / "student.onnx"))
    arrays = {"motion": np.ones((2, 2, 32), dtype=np.float32), "pulse": np.zeros((2, 1, 32), dtype=np.float32)}
    arrays["motion"][1, :, :16] = np.random.default_rng(1).normal(size=(2, 16))
    np.testing.assert_allclose(other.predict_arrays(arrays), one.predict_arrays(arrays), atol=1e-4)


def test_rows_of_the_export_are_those_of_the_bundle(faces, clip, tmp_path):
    tables = []
    for path in (faces[0], faces[1].path):
        assert predict(pkdot.load_student(path), [str(clip)], PredictOptions(every=0.7), tmp_path / "t.csv") == 0
        with open(tmp_path / "t.csv", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    for one, other in zip(*tables, strict=True):
        assert float(one["p_slow"]) == pytest.approx(float(other["p_slow"]), abs=1e-5)
        assert (one["prediction"], one["start"], one["face"]) == (other["prediction"], other["start"], other["face"])


def test_it_predicts_a_clip_without_torch_and_without_its_bundle(faces, clip, tmp_path):
    shutil.copy(faces[1].path, tmp_path / "moved.onnx")
    code = (
        "import sys; sys.modules['torch'] = None\n"  # an import of it would fail
        "from pkdot.cli import main\n"
        f"main(['predict', {str(tmp_path / 'moved.onnx')!r}, {str(clip)!r}])\n"
        "assert 'onnxruntime' in sys.modules and sys.modules['torch'] is None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(clip)) == 2


def test_nothing_of_the_machine_that_exported_is_in_the_file(faces):
    content = faces[1].path.read_bytes()
    assert str(REPO).encode() not in content
    assert b"site-packages" not in content


def test_8_bits_are_compared_on_the_clips_and_the_card_says_what_changed(faces, clip):
    folder, _ = faces
    card = folder / "card.md"
    record = {"stage": "refit", "marker": str(card), "outputs": {card.name: sha256(card)}, "states": {}}
    write_json(folder / "run.json", record)
    found = export(folder, [str(clip)], int8=True)
    assert damaged([folder]) == (1, [])  # the record of the refit knows the card as it is now
    assert found.path == folder / "student.int8.onnx"
    assert 0 < found.difference < 0.2
    assert INT8 in {one.data_type for one in onnx.load(str(found.path)).graph.initializer}
    whole, small = (pkdot.load_student(folder / name) for name in ("student.onnx", "student.int8.onnx"))
    arrays = module.arrays_of(whole, [str(clip)])
    assert compared(whole, small, arrays).difference == pytest.approx(found.difference, abs=1e-3)
    text = card.read_text()
    assert text.startswith("# A student\n\n## In 8 bits\n\nOn 2 windows of given clips the largest change of a probab")
    assert text.endswith("\n\n## Use\n\nNone.\n")
    assert "Old" not in text


def test_an_export_that_would_predict_otherwise_is_not_written(values, tmp_path, monkeypatch):
    """The exporter is made to write the network as it was before its weights changed."""
    shutil.copytree(values, tmp_path / "student")
    said = described(regression=True)
    network = drawn(said)
    network.students[0].student.teacher.head.bias.add_(0.01)
    answer = pkdot.load_student(values).description.answer
    write_bundle(tmp_path / "student", said.model_copy(update={"answer": answer}), network)
    monkeypatch.setattr(module, "write_onnx", lambda _, path, __: shutil.copy(values / "student.onnx", path))
    with pytest.raises(DataError, match=r"would predict otherwise than torch: outputs differ by 0\.005"):
        export(tmp_path / "student", [], tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_clips_that_cannot_be_used_are_one_sentence(faces, tmp_path):
    (tmp_path / "a.mp4").write_text("words")
    with pytest.raises(DataError, match=r"no clip can be used: .*a\.mp4: not a readable video"):
        export(faces[0], [str(tmp_path / "a.mp4")])


def test_a_file_that_is_no_student_is_refused_with_the_reason(faces, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        pkdot.load_student(tmp_path / "gone.onnx")
    (tmp_path / "words.onnx").write_text("words")
    with pytest.raises(DataError, match="is not a network that onnxruntime can run"):
        pkdot.load_student(tmp_path / "words.onnx")
    model = onnx.load(str(faces[1].path))
    newer = model.metadata_props[0].value.replace('"schema_version":1', '"schema_version":99')
    for said, reason in ((newer, "has schema 99"), (None, "does not say of itself what it predicts")):
        onnx.helper.set_model_props(model, {} if said is None else {"pkdot": said})
        onnx.save(model, str(tmp_path / "a.onnx"))
        with pytest.raises(DataError, match=reason):
            pkdot.load_student(tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="runs on the cpu"):
        pkdot.load_student(faces[1].path, device="cuda")
