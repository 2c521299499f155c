"""Memory of the evaluation of 20 million predictions, against pandas tables in memory and torchmetrics.

The predictions are those of a regression: a row a frame and target. Goal: under 2 GB for each of the two stages.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

TARGETS = ["valence", "arousal"]
STUDENTS, MODALITIES, SEEDS = [f"method_{number}" for number in range(7)], ["face", "voice"], [0]
SUBJECTS, FRAMES = 100, 500  # test subjects; frames of a sample
SAMPLE = 2_000_000  # rows that the peer gets
GOAL = 2000  # MB


def write_world(folder: Path, rows: int) -> None:
    """Write a manifest, the predictions of all methods on one fold, and the choice of one of them."""
    from pkdot.layout import PREDICTIONS, trained
    from pkdot.training.predictions import frame_table, write_predictions

    rng = np.random.default_rng(0)
    networks = len(SEEDS) * (len(STUDENTS) + 1 + len(MODALITIES))
    count = max(SUBJECTS, rows // (networks * FRAMES * len(TARGETS)))
    subject = np.arange(count) % SUBJECTS
    table = pd.DataFrame({"sample_id": [f"video_{i:06d}" for i in range(count)], "subject_id": subject.astype(str)})
    table["group_id"] = table["subject_id"]
    table.to_parquet(folder / "manifest.parquet", index=False)
    about = {"title": "made-up rows", "simulated": True, "targets": dict.fromkeys(TARGETS)}
    (folder / "dataset.json").write_text(json.dumps(about))
    truth = rng.uniform(-1, 1, (count, 1, FRAMES, len(TARGETS))).astype(np.float32)
    of_teachers = ("teacher", *(f"modality_{name}" for name in MODALITIES))
    for seed in SEEDS:
        for method in (*STUDENTS, *of_teachers):
            values = truth + rng.normal(0, 0.5, truth.shape).astype(np.float32)
            stage = folder / ("teachers" if method in of_teachers else "students")
            path = trained(stage, seed, method) / PREDICTIONS
            path.parent.mkdir(parents=True)
            write_predictions(path, frame_table(table, values, truth, TARGETS))
    choice = {"chosen": {}, "candidates": [{"options": {}, "score": 0.5, "loss": 0.5}]}
    (folder / "students" / f"{STUDENTS[0]}.json").write_text(json.dumps(choice))


def run_fold(folder: Path) -> None:
    """Run the stage of one fold."""
    from pkdot.evaluation.fold import FoldParams, evaluate_fold
    from pkdot.layout import teachers_of
    from pkdot.tasks import TaskParams

    task = TaskParams(kind="regression", loss="ccc")
    params = FoldParams(fold=0, seeds=SEEDS, methods=STUDENTS, teachers=teachers_of(MODALITIES, ["face"]), task=task)
    evaluate_fold(
        folder / "manifest.parquet",
        folder / "teachers",
        folder / "students",
        folder / "foreign",
        folder / "folds",
        params,
    )


def run_summary(folder: Path) -> None:
    """Run the stage of all folds."""
    from pkdot.evaluation.summary import SummaryParams, summarise
    from pkdot.layout import teachers_of

    params = SummaryParams(
        experiment="made_up",
        task={"kind": "regression", "loss": "ccc"},
        methods=STUDENTS,
        teachers=teachers_of(MODALITIES, ["face"]),
        prevalent_only=STUDENTS[:1],
        compared=STUDENTS[1:],
        contrasts=[],
        seeds={"encoders": 0, "splits": 0, "networks": SEEDS},
        evaluation={},
    )
    choices = [folder / "students" / f"{STUDENTS[0]}.json"]
    summarise(folder / "manifest.parquet", [folder / "folds" / "fold_0.json"], choices, folder / "out", params)


def import_peer(folder: Path) -> None:
    """Import what the peer needs, and nothing else: what it costs without any row."""
    import torchmetrics  # noqa: F401


def run_peer(folder: Path) -> None:
    """Compute the same concordance of every method with a table in memory and torchmetrics."""
    from torch import from_numpy
    from torchmetrics.functional import concordance_corrcoef

    tables = [
        pd.read_parquet(path).astype({"sample_id": object, "subject_id": object, "group_id": object, "output": object})
        for path in sorted(folder.rglob("seed_*/*/predictions.parquet"))
    ]
    table = pd.concat([table.assign(method=str(number), seed=0, fold=0) for number, table in enumerate(tables)])
    for _, part in table.groupby(["method", "output"]):
        concordance_corrcoef(*(from_numpy(part[column].to_numpy()) for column in ("prediction", "target")))


def peak_of(function: str, folder: Path, *arguments: object) -> tuple[float, float]:
    """Return the peak memory in MB and the seconds of a function of this module, in a process of its own."""
    call = f"evaluation.{function}(Path({str(folder)!r}), *{arguments!r})"
    measure = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - start"
    imports = "import resource, time, evaluation; from pathlib import Path; start = time.monotonic()"
    line = [sys.executable, "-c", f"{imports}; {call}; print({measure})"]
    found = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    memory, seconds = found.stdout.split()
    return float(memory), float(seconds)


def main() -> None:
    """Print the peak memory of both stages, and the ratio to the peer's, scaled to as many rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place, "small"), Path(place, "large")
        for folder, count in ((small, min(rows, SAMPLE)), (large, rows)):
            folder.mkdir()
            peak_of("write_world", folder, count)
        start, _ = peak_of("import_peer", small)
        peer, seconds = peak_of("run_peer", small)
        scaled = start + (peer - start) * rows / min(rows, SAMPLE)
        print(
            f"in memory {peer:6.0f} MB, {seconds:5.1f} s for {min(rows, SAMPLE):,} rows; {scaled:.0f} MB for {rows:,}"
        )
        for stage in ("fold", "summary"):
            memory, seconds = peak_of(f"run_{stage}", large)
            less = f"{scaled / memory:.0f} times less than in memory"
            print(f"{stage:<9} {memory:6.0f} MB, {seconds:5.1f} s for {rows:,} rows (goal: {GOAL} MB); {less}")


if __name__ == "__main__":
    main()
