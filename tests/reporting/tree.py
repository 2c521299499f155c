"""Small experiments that are really run, stage by stage, in one process."""

from __future__ import annotations

from pathlib import Path

from pkdot import jobs
from pkdot.config import Experiment
from pkdot.stages import STAGES


def run(name: str, experiment: Experiment, report: bool = True) -> Path:
    """Run all stages of an experiment from the current folder on; return the report."""
    e, data, results = experiment, Path("data/processed") / name, Path("results") / name
    manifest, splits, folds = (
        data / "manifest.parquet",
        data / "splits.json",
        range(experiment.splits.fold_count),
    )

    def do(verb: str, *paths, out: Path, params) -> None:
        STAGES[verb].function()(*paths, out, params)

    do("ingest", out=data, params=jobs.ingest(e))
    for modality in e.modalities:
        for shard in range(e.shards):
            do("features", manifest, out=data / modality, params=jobs.features(e, modality, shard))
        shards = [data / modality / f"shard_{shard}.parquet" for shard in range(e.shards)]
        do("index", shards, out=data / modality, params=jobs.index(e, modality))
    ledgers = [
        data / "ingest.ledger.csv",
        *(data / modality / "index.ledger.csv" for modality in e.modalities),
    ]
    do("ledger", ledgers, out=data, params=jobs.ledger(e))
    do("splits", manifest, out=data, params=jobs.splits(e))
    for fold in folds:
        encoders, teachers, students = (
            results / stage / f"fold_{fold}" for stage in ("encoders", "teachers", "students")
        )
        for modality in e.modalities:
            params = jobs.encoder(e, modality, fold)
            do("encoder", manifest, splits, data / modality, out=encoders / modality, params=params)
        embeddings = [encoders / modality / "embeddings.npy" for modality in e.modalities]
        do("teachers", manifest, splits, embeddings, out=teachers, params=jobs.teachers(e, fold))
        for method in e.students.methods:
            params = jobs.students(e, fold, method.name)
            do("students", manifest, splits, embeddings, teachers, out=students, params=params)
        do("fold", manifest, teachers, students, out=results / "folds", params=jobs.fold(e, fold))
    scored = [results / f"folds/fold_{fold}.json" for fold in folds]
    do("summary", manifest, scored, out=results, params=jobs.summary(e, name))
    if report:
        do("report", data, results, out=results, params=jobs.report(e, name))
    return results / "report.html"
