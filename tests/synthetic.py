"""Small worlds for tests: a table of arrays with its configuration, and the files that the trainings read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.numpy import save_file

from pkdot import jobs
from pkdot.config import Experiment
from pkdot.datasets.ingest import ingest
from pkdot.features.extract import extract_features, index_features
from pkdot.splits import make_splits
from pkdot.tasks import TaskParams
from pkdot.training.encoder import train_encoder
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.student import StudentParams
from pkdot.training.teacher import TeacherParams, train_teachers

REPO = Path(__file__).resolve().parents[1]
CLOSE = 5e-3 if torch.cuda.is_available() else 1e-5  # a GPU rounds the factors of a convolution to 10 bits
TRAINING = {"steps": 6, "evaluate_every": 3, "batch_size": 8, "learning_rate": 0.01}


def make_arrays(root: Path, subjects: int = 6, seconds: float = 4, rate: int = 32) -> Path:
    """A table of arrays: each subject moves slowly (class a) and fast (class b); the pulse says it more clearly."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    rows = []
    (root / "signals").mkdir(parents=True)
    for subject in range(subjects):
        for label, frequency in (("a", 2), ("b", 5)):
            name = f"s{subject}{label}"
            wave = np.stack([np.sin(2 * np.pi * frequency * time), np.cos(2 * np.pi * frequency * time)], axis=1)
            for stream, noise in (("motion", 2.0), ("pulse", 0.5)):
                signal = wave + noise * rng.normal(size=wave.shape)
                np.save(root / "signals" / f"{name}_{stream}.npy", signal.astype(np.float32))
            rows.append(
                {
                    "recording_id": name,
                    "subject_id": f"s{subject}",
                    "target": label,
                    "rate": rate,
                    "motion": f"signals/{name}_motion.npy",
                    "pulse": f"signals/{name}_pulse.npy",
                }
            )
    pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
    return root


def arrays_config(root: str = "own") -> dict:
    """The configuration of ``make_arrays``, as small as it can be and still be a contest."""
    modality = {
        "feature": {"name": "window", "channels": 2, "length": 32},
        "encoder": {"name": "cnn1d", "width": 4, "kernel": 3},
        "training": TRAINING,
    }
    return {
        "dataset": {
            "name": "arrays",
            "root": root,
            "streams": ["motion", "pulse"],
            "classes": ["a", "b"],
            "seconds": 1,
            "step": 1,
        },
        "modalities": {
            "motion": {"role": "prevalent", "source": "motion", **modality},
            "pulse": {"role": "privileged", "source": "pulse", **modality},
        },
        "shards": 2,
        "splits": {"folds": 2},
        "embedding": {"dim": 8},
        "teacher": {"fusion": "concat", "dim": 8, "training": TRAINING},
        "tnet": {"hidden": [8], "training": TRAINING},
        "students": {"methods": ["student_only", "kd"], "candidates": 2, "training": TRAINING},
        "seeds": [0],
        "evaluation": {"bootstrap": 100},
    }


def write_config(path: Path, values: dict) -> Path:
    """Write a configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def up_to_teachers(e: Experiment, out: Path) -> list[Path]:
    """Run the stages of an experiment with one shard on fold 0, up to its teachers; return the embeddings."""
    ingest(out, jobs.ingest(e))
    manifest, splits = out / "manifest.parquet", out / "splits.json"
    make_splits(manifest, out, e.splits)
    embeddings = []
    for name in e.modalities:
        extract_features(out / f"{name}.shard_0.parquet", out / name, jobs.features(e, name, 0))
        index_features([out / name / "shard_0.parquet"], out / name, jobs.index(e, name))
        train_encoder(manifest, splits, out / name, out / "encoders" / name, jobs.encoder(e, name, 0))
        embeddings.append(out / "encoders" / name / "embeddings.npy")
    train_teachers(manifest, splits, embeddings, out / "teachers", jobs.teachers(e, 0))
    return embeddings


def write_manifest(folder: Path, table: pd.DataFrame, targets: dict) -> Path:
    """Write a manifest with its dataset.json."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "manifest.parquet", index=False)
    about = {
        "title": "A world of a test",
        "simulated": False,
        "targets": targets,
        "samples": len(table),
        "subjects": int(table["subject_id"].nunique()),
    }
    (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return folder / "manifest.parquet"


class World:
    """A manifest, splits and embeddings on disk: 6 subjects, 6 samples each, two modalities; the last two are tested.

    Parameters
    ----------
    kind : str
        The kind of task.
    classes : int
        Number of classes, where the kind has them.
    tokens : int
        Tokens of an embedding; a regression has two targets over four frames a token.
    """

    DIM = 5

    def __init__(self, folder: Path, kind: str = "classification", classes: int = 2, tokens: int = 1):
        self.folder, self.kind, self.tokens = folder, kind, tokens
        rng = np.random.default_rng(1)
        count = 36
        subject = np.repeat(np.arange(6), 6)
        table = pd.DataFrame(
            {"sample_id": [f"c{i:02d}" for i in range(count)], "subject_id": [f"s{s}" for s in subject]}
        )
        table["group_id"] = table["subject_id"]
        if kind == "regression":
            names, self.task = ["valence", "arousal"], TaskParams(kind=kind, loss="ccc")
            values = rng.uniform(-1, 1, (2, count, tokens, 4)).astype(np.float32)
            values[0, :, :, 3] = np.nan
            for name, value in zip(names, values, strict=True):
                table[name] = [list(sample) for sample in value]
            signal = np.nanmean(values, axis=(0, 3))
            targets = dict.fromkeys(names)
        else:
            self.task = TaskParams(kind=kind, loss="ordinal" if kind == "ordinal" else "cross_entropy")
            label = np.arange(count) % classes
            table["level"] = [f"k{value}" for value in label]
            signal = np.repeat(label[:, None], tokens, axis=1).astype(float)
            targets = {"level": [f"k{value}" for value in range(classes)]}
        self.table, self.targets = table, targets
        self.values = {
            name: (rng.normal(size=(count, tokens, self.DIM)) + weight * signal[..., None]).astype(np.float32)
            for name, weight in (("face", 0.5), ("eda", 2.0))
        }
        outputs = 8 if kind == "regression" else classes
        self.heads = {
            name: {
                "head.weight": rng.normal(size=(outputs, self.DIM)).astype(np.float32),
                "head.bias": rng.normal(size=outputs).astype(np.float32),
                "standard.mean": np.zeros((1, self.DIM), dtype=np.float32),
                "standard.deviation": np.ones((1, self.DIM), dtype=np.float32),
            }
            for name in self.values
        }
        self.fold = {"train": ["s0", "s1", "s2"], "validation": ["s3"], "test": ["s4", "s5"]}
        self.labels: dict = {"hidden": [], "wrong": {}}
        self.write()

    def write(self) -> None:
        """Write the files as the fields say now."""
        self.manifest = write_manifest(self.folder, self.table, self.targets)
        self.splits = self.folder / "splits.json"
        described = {"scheme": "given", "seed": 0, "unit": "subject", "folds": [self.fold], "labels": [self.labels]}
        self.splits.write_text(json.dumps(described))
        self.embeddings = []
        for name, values in self.values.items():
            path = self.folder / "encoders" / name / "embeddings.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
            save_file(self.heads[name], path.with_name("weights.safetensors"))
            self.embeddings.append(path)

    def rows(self, *parts: str) -> np.ndarray:
        """Rows of the manifest of some parts of the fold."""
        subjects = [subject for part in parts for subject in self.fold[part]]
        return np.flatnonzero(self.table["subject_id"].isin(subjects))

    def shared(self) -> dict:
        """What the parameters of teachers and students have in common."""
        return {
            "prevalent": ["face"],
            "privileged": ["eda"],
            "fusion": "gated_cross_attention",
            "dim": 8,
            "training": TrainingParams(**{**TRAINING, "steps": 9}),
            "tnet": {"hidden": [6]},
            "task": self.task,
            "fold": 0,
            "seeds": [0, 1],
            "compute": ComputeParams(),
        }

    def teacher_params(self, **changes) -> TeacherParams:
        """Parameters of the teachers."""
        return TeacherParams(**{**self.shared(), "tnet_training": TrainingParams(**TRAINING), **changes})

    def student_params(self, method: str | dict = "kd", **changes) -> StudentParams:
        """Parameters of the students of a method."""
        label = method if isinstance(method, str) else method["name"]
        return StudentParams(**{**self.shared(), "label": label, "method": method, "candidates": 2, **changes})
