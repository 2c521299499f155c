"""Raw files are predicted as the fold was evaluated: faces, audio, physiology and windows, one modality or several."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from skimage.data import astronaut
from synthetic import TRAINING, write_manifest

from pkdot.data import Samples
from pkdot.features.base import Source
from pkdot.features.extract import FeatureParams, IndexParams, extract_features, index_features
from pkdot.inference.refit import RefitParams, Stream, assemble
from pkdot.inference.student import Student
from pkdot.shards import samples_of_shard
from pkdot.simulation.video import write_h264
from pkdot.splits import SplitParams
from pkdot.tasks import TaskParams
from pkdot.training.encoder import EncoderParams, train_encoder
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.student import StudentParams, train_students
from pkdot.training.teacher import TeacherParams, train_teachers

RATE, SECONDS, FRAMES = 64, 2.0, 8
FEATURES = {
    "face": {"name": "faces", "frames": 4, "window": None, "size": 32},
    "voice": {"name": "audio", "steps": 16},
    "eda": {"name": "physiology", "signal": "eda"},
    "motion": {"name": "window", "channels": 2, "length": 32, "max_missing": 0.5},
    "pulse": {"name": "window", "channels": 1, "length": 32},
}
ENCODERS = {
    "face": {"name": "small_r3d", "width": 4},
    "voice": {"name": "cnn2d", "width": 4},
    "eda": {"name": "cnn1d", "width": 4},
    "motion": {"name": "cnn1d", "width": 4},
    "pulse": {"name": "mlp", "hidden": 8},
}
PRIVILEGED = "pulse"
SPAN = ("start", "stop", "rate")
SHORT = TrainingParams(**TRAINING)
CPU = ComputeParams(device="cpu")
TOKENS, VALUES = 2, ("valence", "arousal")
FOLD = {"train": ["s0", "s1", "s2"], "validation": ["s3"], "test": ["s4", "s5"]}


def write_sample(folder, number, label):
    """A video with a face and a tone, a skin conductance, and two recordings of the motion.

    Of every third sample the face is gone in the second half, and a part of the motion is no number.
    """
    rng = np.random.default_rng(number)
    face = cv2.resize(astronaut()[20:260, 100:340], (160, 160))
    frames = []
    for step in range(FRAMES):
        canvas = np.full((176, 208, 3), 90, np.uint8)
        x = 24 + round(8 * np.sin(step * (1 + label)))
        if number % 3 or step < FRAMES / 2:
            canvas[8:168, x : x + 160] = face
        frames.append(canvas)
    time = np.arange(round(SECONDS * 44100)) / 44100
    tone = 0.3 * np.sin(2 * np.pi * (400 + 400 * label + 20 * number) * time)
    write_h264(folder / f"{number}.mp4", np.stack(frames), FRAMES / SECONDS, sound=(tone, 44100))
    time = np.arange(round(5.5 * RATE)) / RATE
    level = 3 + 0.02 * time + (0.3 + label) / (1 + np.exp(-(time - 3) * 3)) + 1e-3 * np.sin(40 * time)
    table = pd.DataFrame({"time": np.round(time * 1e6).astype(int), "gsr": level})
    table.to_csv(folder / f"{number}.csv", sep="\t", index=False)
    waves = np.sin(2 * np.pi * (1 + label) * np.arange(3 * RATE) / RATE)[:, None] + rng.normal(size=(3 * RATE, 2))
    np.save(folder / f"{number}_pulse.npy", waves[:, :1].astype(np.float32))
    if number % 3 == 0:
        waves[round(1.7 * RATE) : round(2.5 * RATE)] = np.nan
    np.save(folder / f"{number}_motion.npy", waves.astype(np.float32))


def sources_of(folder, number):
    spans = {
        "face": (f"{number}.mp4", 0.0, SECONDS, None),
        "voice": (f"{number}.mp4", 0.0, SECONDS, None),
        "eda": (f"{number}.csv", None, None, None),
        "motion": (f"{number}_motion.npy", 0.5, 2.5, RATE),
        "pulse": (f"{number}_pulse.npy", 0.5, 2.5, RATE),
    }
    columns = {}
    for name, (file, *span) in spans.items():
        columns[f"{name}_path"] = str(folder / file)
        columns |= {f"{name}_{part}": value for part, value in zip(("start", "stop", "rate"), span, strict=True)}
    return columns


class Kinds:
    """A fold with a modality of every kind: features and encoders, made once."""

    def __init__(self, folder, names=tuple(FEATURES), task=None):
        self.folder, self.task = folder, task or TaskParams()
        (folder / "raw").mkdir()
        rows = []
        for number in range(12):
            label = number % 2
            write_sample(folder / "raw", number, label)
            subject = f"s{number // 2}"
            columns = {"sample_id": f"c{number:02d}", "subject_id": subject, "group_id": subject}
            rows.append({**columns, **self._targets(number), **sources_of(folder / "raw", number)})
        targets = {"speed": ["a", "b"]} if self.task.kind == "classification" else dict.fromkeys(VALUES)
        self.manifest = write_manifest(folder, pd.DataFrame(rows), targets)
        self.samples = Samples.load(self.manifest)
        self.splits = folder / "splits.json"
        labels = [{"hidden": [], "wrong": {}}]
        described = {"scheme": "given", "seed": 0, "unit": "subject", "folds": [FOLD], "labels": labels}
        self.splits.write_text(json.dumps(described))
        self.encoders = {name: self._encoder(name) for name in names}

    def _targets(self, number):
        if self.task.kind == "classification":
            return {"speed": "ab"[number % 2]}
        rng = np.random.default_rng(number)
        return {name: list(rng.uniform(-1, 1, (TOKENS, 3)).astype(np.float32)) for name in VALUES}

    def _encoder(self, name):
        table = samples_of_shard(self.samples.table, name)
        table.to_parquet(self.folder / f"{name}.shard_0.parquet")
        params = FeatureParams(modality=name, feature=FEATURES[name], shard=0)
        extract_features(self.folder / f"{name}.shard_0.parquet", self.folder / name, params)
        index_features([self.folder / name / "shard_0.parquet"], self.folder / name, IndexParams(modality=name))
        assert pd.read_parquet(self.folder / name / "index.parquet")["valid"].all()
        out = self.folder / "encoders" / name
        params = EncoderParams(
            modality=name,
            encoder=ENCODERS[name],
            training=SHORT,
            dim=6,
            tokens=TOKENS,
            task=self.task,
            fold=0,
            seed=0,
            compute=CPU,
        )
        train_encoder(self.manifest, self.splits, self.folder / name, out, params)
        lost = np.isnan(np.load(out / "embeddings.npy")).all(axis=2)
        gaps = name in ("face", "motion")
        assert lost.tolist() == [[False, gaps and number % 3 == 0] for number in range(12)]
        return out

    def student_of_fold(self, prevalent, method, **changes):
        """The student of a fold, as a bundle would hold it, and what the fold says that it predicts."""
        shared = {
            "prevalent": prevalent,
            "privileged": [PRIVILEGED],
            "fusion": "gated_cross_attention",
            "dim": 8,
            "training": SHORT,
            "tnet": {"hidden": [6]},
            "task": self.task,
            "fold": 0,
            "seeds": [0],
            "compute": CPU,
        }
        out = self.folder / f"{'_'.join(prevalent)}_{method}"
        embeddings = [self.encoders[name] / "embeddings.npy" for name in (*prevalent, PRIVILEGED)]
        params = TeacherParams(**shared, tnet_training=SHORT)
        train_teachers(self.manifest, self.splits, embeddings, out / "teachers", params)
        student = StudentParams(**shared, label=method, method=method, candidates=1, **changes)
        train_students(self.manifest, self.splits, embeddings, out / "teachers", out / "students", student)
        refit = RefitParams(
            experiment="kinds",
            methods=[student.method],
            student=student,
            modalities={name: Stream(source=name, feature=FEATURES[name]) for name in prevalent},
            splits=SplitParams(),
            seeds=[0],
        )
        encoders = {name: self.encoders[name] for name in prevalent}
        made = assemble(self.samples, self.splits, encoders, out / "students", refit, student, temperature=1.0)
        return Student(*made), pd.read_parquet(out / "students" / "seed_0" / method / "predictions.parquet")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return Kinds(tmp_path_factory.mktemp("kinds"))


CASES = [
    (["face"], "kd"),
    (["voice"], "encoder_head"),
    (["eda"], "zero_imputation"),
    (["motion"], "student_only"),
    (["face", "motion", "voice"], "tnet_only"),
]


@pytest.mark.parametrize(("prevalent", "method"), CASES, ids=[f"{'+'.join(names)} {method}" for names, method in CASES])
def test_raw_test_samples_are_predicted_as_in_the_fold(kinds, prevalent, method):
    compare(kinds, prevalent, *kinds.student_of_fold(prevalent, method))


def test_a_student_that_has_trained_its_encoder_brings_it_along(kinds):
    student, expected = kinds.student_of_fold(["motion"], "pkdot", encoder="finetuned")
    assert list(student.description.network.encoders) == ["motion"]
    assert student.description.encoders == {}
    compare(kinds, ["motion"], student, expected)


def compare(kinds, prevalent, student, expected):
    """Predict the raw files of the test samples, and hold that against what the fold says."""
    table = kinds.samples.table.set_index("sample_id")
    for _, row in expected.iterrows():
        sample = table.loc[row["sample_id"]]
        sources = {
            name: Source(
                row["sample_id"],
                Path(sample[f"{name}_path"]),
                *(None if pd.isna(sample[f"{name}_{part}"]) else sample[f"{name}_{part}"] for part in SPAN),
            )
            for name in prevalent
        }
        predicted = student.predict(sources).iloc[0]
        expected_scores = row[["score_0", "score_1"]].to_numpy(dtype=float)
        np.testing.assert_allclose(predicted[["p_a", "p_b"]].to_numpy(dtype=float), expected_scores, atol=1e-5)
        assert predicted["prediction"] == row["prediction"]


def test_a_sample_is_as_long_as_those_of_the_data(kinds):
    student, expected = kinds.student_of_fold(["motion"], "student_only")
    described = student.description.modalities["motion"]
    assert (described.seconds, described.rate) == (2.0, RATE)
    sample = expected["sample_id"].iloc[0]
    path = kinds.samples.table.set_index("sample_id").loc[sample, "motion_path"]
    table = student.predict(path, every=0.5)  # the samples of the data begin at half a second
    assert table["start"].tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(table["p_a"].iloc[1], expected["score_0"].iloc[0], atol=1e-5)


def test_values_of_frames_are_predicted_as_in_the_fold(tmp_path):
    kinds = Kinds(tmp_path, ("motion", PRIVILEGED), TaskParams(kind="regression", loss="ccc"))
    student, expected = kinds.student_of_fold(["motion"], "feature_mse")
    table = kinds.samples.table.set_index("sample_id")
    for sample, rows in expected.groupby("sample_id", observed=True):
        source = Source(sample, Path(table.loc[sample, "motion_path"]), 0.5, 2.5, RATE)
        predicted = student.predict(source)
        found = predicted.melt("frame", VALUES, "output").merge(rows, on=["frame", "output"])
        assert len(found) == len(rows) == student.frames * len(VALUES)
        np.testing.assert_allclose(found["value"], found["prediction"], atol=1e-5)
        np.testing.assert_allclose(predicted["start"], 0.5 + np.arange(student.frames) * 2 / student.frames)
    assert all(-1 <= low < high <= 1 for low, high in student.description.ranges.values())
