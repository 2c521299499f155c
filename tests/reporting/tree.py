"""Small experiments that are really run, stage by stage, in this process, from the current folder on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from synthetic import arrays_config, write_manifest

from pkdot import jobs
from pkdot.config import Experiment
from pkdot.layout import ABLATION, TNET, shard_samples
from pkdot.markers import SIMULATED
from pkdot.reporting.report import report_params
from pkdot.shards import samples_of_shard
from pkdot.stages import STAGES

SUBJECTS = ["<script>alert('s')</script>", "$\\frac$", '"><img src=x onerror=alert(1)>', "../../etc", "ü 人", "s6"]
CLASSES = ["calm<b>", "tense & 'stirred'"]
ROOT = Path("data/root")
RATE, SECONDS, PER_SUBJECT = 20, 4, 6


def make_root(root: Path, simulated: bool, rng: np.random.Generator) -> None:
    """A table of arrays in which both streams know the class, and one recording of which nothing can be made."""
    rows = []
    for number, subject in enumerate(SUBJECTS):
        for label, name in enumerate(CLASSES):
            row = {"recording_id": f"r{number}{label}", "subject_id": subject, "target": name, "rate": RATE}
            steps = np.arange(RATE * SECONDS * PER_SUBJECT)
            for stream, strength in (("motion", 0.5), ("pulse", 1.0)):
                wave = strength * label * np.sin(steps / 3)[:, None] + rng.normal(size=(len(steps), 2))
                row[stream] = f"{row['recording_id']}-{stream}.npy"
                root.mkdir(parents=True, exist_ok=True)
                np.save(root / row[stream], wave.astype(np.float32), allow_pickle=False)
            rows.append(row)
    rows.append({**rows[0], "recording_id": "<i>r</i>", "target": "<svg onload=alert(2)>"})
    pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
    if simulated:
        (root / SIMULATED).write_text("made up\n", encoding="utf-8")


def tiny(root: Path, **changes) -> Experiment:
    """A tiny experiment of classes on such a root."""
    values = arrays_config(str(root))
    values["dataset"] |= {"classes": CLASSES, "seconds": SECONDS, "step": SECONDS}
    values["students"] |= {"methods": ["student_only", "kd", "pkdot"]}
    return Experiment(**(values | {"shards": 1} | changes))


def sequences(root: Path) -> Experiment:
    """A tiny experiment over sequences on such a root."""
    students = {**arrays_config()["students"], "methods": ["student_only", "feature_mse", "tnet_only"]}
    task = {"kind": "regression", "loss": "ccc"}
    return tiny(root, task=task, embedding={"dim": 8, "tokens": 2}, students=students)


def run(name: str, e: Experiment, ingest: Callable[[Path], None] | None = None) -> Path:
    """Run all stages but the report; ``ingest`` may take the place of ingestion."""
    data, results, folds = Path("data/processed") / name, Path("results") / name, range(e.splits.fold_count)
    manifest, splits = data / "manifest.parquet", data / "splits.json"

    def do(verb: str, *paths, out: Path, params) -> None:
        STAGES[verb].function()(*paths, out, params)

    if ingest is None:
        do("ingest", out=data, params=jobs.ingest(e))
    else:
        ingest(data)
    for modality in e.modalities:
        do("features", data / shard_samples(modality, 0), out=data / modality, params=jobs.features(e, modality, 0))
        do("index", [data / modality / "shard_0.parquet"], out=data / modality, params=jobs.index(e, modality))
    ledgers = [data / "ingest.ledger.csv", *(data / modality / "index.ledger.csv" for modality in e.modalities)]
    do("ledger", ledgers, out=data, params=jobs.ledger(e))
    do("splits", manifest, out=data, params=jobs.splits(e))
    for fold in folds:
        stages = ("encoders", "teachers", "students", "foreign")
        encoders, teachers, students, foreign = (results / stage / f"fold_{fold}" for stage in stages)
        for modality in e.modalities:
            params = jobs.encoder(e, modality, fold)
            do("encoder", manifest, splits, data / modality, out=encoders / modality, params=params)
        embeddings = [encoders / modality / "embeddings.npy" for modality in e.modalities]
        do("teachers", manifest, splits, embeddings, out=teachers, params=jobs.teachers(e, fold))
        for method in e.students.methods:
            params = jobs.students(e, fold, method.name)
            do("students", manifest, splits, embeddings, teachers, out=students, params=params)
        do("fold", manifest, teachers, students, foreign, out=results / "folds", params=jobs.fold(e, fold))
    scored = [results / f"folds/fold_{fold}.json" for fold in folds]
    choices = [results / f"students/fold_{fold}/{method}.json" for fold in folds for method in e.prevalent_only]
    do("summary", manifest, scored, choices, out=results, params=jobs.summary(e, name))
    return results


def ablation(name: str, e: Experiment) -> tuple[Path, list[Path]]:
    """Train and compare the variants of an experiment that was run; return its results and its variants' markers."""
    data, results, folds = Path("data/processed") / name, Path("results") / name, range(e.splits.fold_count)
    manifest, splits = data / "manifest.parquet", data / "splits.json"
    for fold in folds:
        encoders, teachers, students, foreign = (
            results / stage / f"fold_{fold}" for stage in ("encoders", "teachers", "students", "foreign")
        )
        embeddings = [encoders / modality / "embeddings.npy" for modality in e.modalities]
        shared = (manifest, splits, embeddings, teachers)
        for label in {jobs.tnet_label(e, variant) for variant in e.ablation} - {TNET}:
            STAGES["tnets"].function()(*shared, teachers, jobs.tnets(e, fold, label))
        for variant in e.ablation:
            STAGES["students"].function()(*shared, students, jobs.students(e, fold, variant))
        params = jobs.fold(e, fold, ABLATION)
        STAGES["fold"].function()(manifest, teachers, students, foreign, results / "ablation/folds", params)
    scored = [results / f"ablation/folds/fold_{fold}.json" for fold in folds]
    choices = [results / f"students/fold_{fold}/{method}.json" for fold in folds for method in e.prevalent_only]
    STAGES["summary"].function()(manifest, scored, choices, results / "ablation", jobs.summary(e, name, ABLATION))
    return results, [results / f"students/fold_{fold}/{variant}.json" for fold in folds for variant in e.ablation]


def report(name: str, e: Experiment, out: Path | None = None) -> Path:
    """Write the report of an experiment that was run."""
    results = Path("results") / name
    out = out or results
    STAGES["report"].function()(Path("data/processed") / name, results, out, report_params(e, name))
    return out / "report.html"


def ingest_sequences(root: Path, out: Path, rng: np.random.Generator) -> None:
    """Write the manifest of a task over sequences on such a root: two tokens of eight frames, some without a target."""
    rows = []
    for number, subject in enumerate(SUBJECTS):
        for label in range(len(CLASSES)):
            for window in range(PER_SUBJECT):
                values = np.clip(label - 0.5 + 0.3 * rng.normal(size=(2, 2, 8)), -1, 1)
                values[0, 0, 0] = np.nan
                row = {"sample_id": f"r{number}{label}-{window}<i>", "subject_id": subject, "group_id": subject}
                row |= {name: [list(token) for token in values[i]] for i, name in enumerate(("valence", "arousal"))}
                for stream in ("motion", "pulse"):
                    row |= {
                        f"{stream}_path": str(root / f"r{number}{label}-{stream}.npy"),
                        f"{stream}_rate": float(RATE),
                    }
                    row |= {f"{stream}_start": window * float(SECONDS), f"{stream}_stop": (window + 1.0) * SECONDS}
                rows.append(row)
    table = pd.DataFrame(rows)
    write_manifest(out, table, {"valence": None, "arousal": None})
    for stream in ("motion", "pulse"):
        samples_of_shard(table, stream).to_parquet(out / shard_samples(stream, 0), index=False)
    (out / "ingest.ledger.csv").write_text("sample_id,modality,stage,problem,action\n", encoding="utf-8")
