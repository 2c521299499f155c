"""What an experiment needs, before anything runs: clips, trainings, disk, memory, and hours from short probes.

The probes run the real stages on a part of the work: some clips are decoded, each encoder takes some steps, and the
teachers and the students of one fold and one seed are trained on random embeddings for one and for two intervals
between evaluations; the difference is the time of an interval.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pkdot import jobs
from pkdot.config import Experiment
from pkdot.data import Samples
from pkdot.datasets.ingest import ingest
from pkdot.files import read_json, write_json
from pkdot.layout import EMBEDDINGS, INDEX, MANIFEST, MAPS, NETWORK, SPLITS, WEIGHTS
from pkdot.provenance import job
from pkdot.shards import samples_of_shard
from pkdot.splits import make_splits

if TYPE_CHECKING:
    from torch import Tensor

    from pkdot.encoders.base import Encoder
    from pkdot.training.encoder import EncoderParams
    from pkdot.training.loop import TrainingParams

CLIPS = 4  # decoded by a probe
SECONDS = 2.0  # that the steps of one encoder may take


@dataclass(frozen=True)
class Cost:
    """What one stage needs: seconds on this machine, and bytes on its disk."""

    seconds: float
    size: float


@dataclass
class Plan:
    """What an experiment needs.

    Attributes
    ----------
    trainings : dict
        Number of trainings by kind.
    costs : dict
        Costs by stage; empty where the data are not there.
    memory : float
        Bytes of the largest job, with all that Python needs.
    """

    trainings: dict[str, int]
    samples: int = 0
    subjects: int = 0
    jobs_at_once: int = 1
    device: str = "cpu"
    memory: float = 0
    costs: dict[str, Cost] = field(default_factory=dict)


def trainings_of(experiment: Experiment) -> dict[str, int]:
    """Return the number of trainings of an experiment by kind, with all candidates of all methods."""
    folds, seeds, modalities = experiment.splits.fold_count, len(experiment.seeds), len(experiment.modalities)
    return {
        "encoders": folds * modalities,
        "teachers": folds * seeds * (1 + modalities),
        "T-Nets": folds * seeds,
        "students": folds * seeds * len(jobs.contestants(experiment)) * experiment.students.candidates,
    }


def make_plan(experiment: Experiment) -> Plan:
    """Return the plan of an experiment; where its data are there, with estimates from probes on this machine.

    Raises
    ------
    DataError
        The data are there but cannot be used; ``pkdot check`` says more.
    """
    plan = Plan(trainings_of(experiment))
    if not Path(experiment.dataset.root).is_dir():
        return plan
    with tempfile.TemporaryDirectory(prefix="pkdot-plan-") as scratch:
        probe = _Probe(experiment, Path(scratch))
        plan.samples, plan.subjects = len(probe.samples), int(probe.samples.table["subject_id"].nunique())
        plan.jobs_at_once, plan.device = probe.jobs_at_once, probe.device.type
        plan.costs = _costs(experiment, probe)
    plan.memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return plan


def _costs(experiment: Experiment, probe: _Probe) -> dict[str, Cost]:
    """Return the cost of each stage of a whole experiment, were its jobs run one after the other."""
    samples, folds, seeds = len(probe.samples), probe.folds, probe.seeds
    features, encoders, students = [], [], []
    for name in experiment.modalities:
        arrays, seconds = probe.features(name)
        features.append(Cost(samples * seconds, samples * arrays[0].nbytes))
        seconds, written = probe.encoder(name, arrays)
        encoders.append(Cost(folds * seconds, folds * written))
    paths = [probe.scratch / "encoders" / name / EMBEDDINGS for name in experiment.modalities]
    seconds, size = probe.teachers(paths)
    teachers = [Cost(folds * seeds * seconds, folds * seeds * size)]
    for method in jobs.contestants(experiment):
        seconds, size = probe.students(paths, method)
        students.append(Cost(folds * seeds * experiment.students.candidates * seconds, folds * seeds * size))
    stages = {"features": features, "encoders": encoders, "teachers": teachers, "students": students}
    return {
        name: Cost(sum(cost.seconds for cost in costs), sum(cost.size for cost in costs))
        for name, costs in stages.items()
    }


def sentences_of(plan: Plan, root: str) -> list[str]:
    """Return the plan in lines for people."""
    counts = ", ".join(f"{number} {kind}" for kind, number in plan.trainings.items())
    lines = [f"trainings   {counts}"]
    if not plan.costs:
        return [*lines, f"{root} does not exist, so clips, disk, memory and hours cannot be estimated."]
    parts = {name: Cost(cost.seconds / plan.jobs_at_once, cost.size) for name, cost in plan.costs.items()}
    parts["total"] = Cost(*(sum(getattr(cost, part) for cost in parts.values()) for part in ("seconds", "size")))
    lines += [f"{name:<12}{_time(cost.seconds):>8} {_volume(cost.size):>10}" for name, cost in parts.items()]
    return [
        f"clips       {plan.samples} of {plan.subjects} subjects",
        *lines,
        f"memory      {_volume(plan.memory)} in the largest probe",
        f"Estimated from the first {CLIPS} clips and some steps of each network, on this machine ({plan.device}), with",
        f"{plan.jobs_at_once} jobs at once. Assumed: every training uses its whole budget, and every method tries all",
        "its candidates. Not counted: the start of each job, the statistics, the report and the ablation.",
    ]


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _volume(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


class _Probe:
    """Short runs of the stages of one experiment in a temporary folder."""

    def __init__(self, experiment: Experiment, scratch: Path) -> None:
        from pkdot.training.loop import prepare

        self.experiment, self.scratch = experiment, scratch
        ingest(scratch, jobs.ingest(experiment).model_copy(update={"shards": 1}))
        self.manifest, self.splits = scratch / MANIFEST, scratch / SPLITS
        make_splits(self.manifest, scratch, jobs.splits(experiment))
        self.samples = Samples.load(self.manifest)
        splits = read_json(self.splits)
        self.trained = len(self.samples.rows(splits["folds"][0]["train"], splits["unit"]))
        self.device = prepare(experiment.compute)
        self.folds, self.seeds = experiment.splits.fold_count, len(experiment.seeds)

    @property
    def jobs_at_once(self) -> int:
        """How many trainings this machine runs at once."""
        return 1 if self.device.type == "cuda" else max(1, (os.cpu_count() or 1) // self.experiment.compute.threads)

    def features(self, name: str) -> tuple[np.ndarray, float]:
        """Decode some clips of a modality; return their arrays and the seconds of a clip."""
        from pkdot.features.extract import extract_features

        samples = samples_of_shard(self.samples.table, name)
        clips = samples[samples["path"].notna()][:CLIPS]
        folder = self.scratch / f"clips_{name}"
        folder.mkdir()
        params = jobs.features(self.experiment, name, 0)
        seconds = []
        for chosen in (clips[:1], clips):  # the first clip pays for the imports
            chosen.to_parquet(folder / INDEX, index=False)
            seconds.append(_seconds(lambda: extract_features(folder / INDEX, folder / name, params)))
        (path,) = (folder / name).glob("*.npy")
        return np.load(path, allow_pickle=False), seconds[1] / len(clips)

    def encoder(self, name: str, arrays: np.ndarray) -> tuple[float, int]:
        """Return the seconds of training an encoder and embedding all samples, and the bytes of what it writes."""
        import torch

        from pkdot.training.loop import mixed_precision

        params = jobs.encoder(self.experiment, name, 0)
        cls, options = params.encoder.load()
        encoder = cls(arrays.shape[1:], params.dim, params.tokens, options).to(self.device)
        rows = np.arange(min(params.training.batch_size, self.trained)) % len(arrays)
        batch = torch.from_numpy(arrays[rows]).to(self.device)
        generator = torch.Generator().manual_seed(0)

        def step() -> None:
            with mixed_precision(self.device):
                loss = encoder(encoder.augment(batch, generator)).float().square().mean()
            loss.backward()
            loss.item()  # waits for a GPU

        def look() -> None:
            with torch.no_grad():
                encoder(batch).sum().item()

        looked_at = len(self.samples) + _intervals(params.training) * (len(self.samples) - self.trained) / 2
        steps = params.training.steps
        seconds = steps * _typical(step) + looked_at / len(rows) * _typical(look)
        return seconds, self._written(params, encoder, batch[:1])

    def _written(self, params: EncoderParams, encoder: Encoder, batch: Tensor) -> int:
        """Write what an encoder leaves for teachers and students, all embeddings random, and return its bytes."""
        import torch
        from safetensors.torch import save_file
        from torch import nn

        from pkdot.encoders.base import Scale
        from pkdot.networks import Embedder
        from pkdot.tasks import Task

        folder, count, rng = self.scratch / "encoders" / params.modality, len(self.samples), np.random.default_rng(0)
        embedder = Embedder(encoder, Scale((1, params.dim)))
        head = nn.Linear(params.dim, Task(params.task, self.samples).outputs)
        with job(__name__, folder, params) as scratch:
            save_file(embedder.state_dict() | head.state_dict(prefix="head."), scratch / WEIGHTS)
            write_json(scratch / NETWORK, embedder.describe().plain())
            values = rng.normal(size=(count, params.tokens, params.dim)).astype(np.float32)
            np.save(scratch / EMBEDDINGS, values, allow_pickle=False)
            if params.maps and encoder.has_frozen_part:
                with torch.no_grad():
                    shape = encoder.eval().frozen_part(batch).shape[1:]
                np.lib.format.open_memmap(scratch / MAPS, "w+", np.float32, (count, *shape))  # zeros take no space
        if params.maps:
            self._write_index(params.modality)
        return sum((folder / name).stat().st_size for name in (WEIGHTS, EMBEDDINGS, MAPS) if (folder / name).is_file())

    def _write_index(self, name: str) -> None:
        """Give every sample the array of one of the clips that were decoded, for students that train their encoder."""
        folder, (shard,) = self.scratch / name, (self.scratch / f"clips_{name}" / name).glob("*.npy")
        folder.mkdir()
        shutil.copy(shard, folder)
        count = len(np.load(shard, mmap_mode="r", allow_pickle=False))
        ids = self.samples.table["sample_id"]
        index = {"sample_id": ids, "shard": shard.stem, "row": np.arange(len(ids)) % count, "valid": True}
        pd.DataFrame(index).to_parquet(folder / INDEX, index=False)

    def teachers(self, embeddings: list[Path]) -> tuple[float, float]:
        """Return the seconds and bytes of the teachers and the T-Net of a fold and a seed."""
        from pkdot.training.teacher import train_teachers

        params = jobs.teachers(self.experiment, 0).model_copy(update={"seeds": self.experiment.seeds[:1]})

        def train(count: int) -> None:
            budget = {
                "training": _shorter(params.training, count),
                "tnet_training": _shorter(params.tnet_training, count),
            }
            out = self.scratch / f"teachers_{count}"
            train_teachers(self.manifest, self.splits, embeddings, out, params.model_copy(update=budget))

        return _extrapolated(train, _intervals(params.training)), _size(self.scratch / "teachers_1")

    def students(self, embeddings: list[Path], method: str) -> tuple[float, float]:
        """Return the seconds and bytes of one student of a method."""
        from pkdot.training.student import train_students

        update = {"seeds": self.experiment.seeds[:1], "candidates": 1}
        params = jobs.students(self.experiment, 0, method).model_copy(update=update)

        def train(count: int) -> None:
            budget = {"training": _shorter(params.training, count)}
            out = self.scratch / f"{method}_{count}"
            teachers = self.scratch / "teachers_1"
            train_students(self.manifest, self.splits, embeddings, teachers, out, params.model_copy(update=budget))

        return _extrapolated(train, _intervals(params.training)), _size(self.scratch / f"{method}_1")


def _intervals(training: TrainingParams) -> int:
    """Return how often a training is evaluated."""
    return -(-training.steps // training.evaluate_every)


def _shorter(training: TrainingParams, intervals: int) -> TrainingParams:
    """Return the training with another number of intervals between evaluations."""
    return training.model_copy(update={"steps": intervals * training.evaluate_every, "patience": None})


def _extrapolated(train: Callable[[int], None], intervals: int) -> float:
    """Return the seconds of a training from those of one and of two intervals."""
    one, two = _seconds(lambda: train(1)), _seconds(lambda: train(2))
    return intervals * max(two - one, 0.0)


def _seconds(work: Callable[[], None]) -> float:
    """Return how long a piece of work takes; its progress bars are not shown."""
    begin = time.monotonic()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        work()
    return time.monotonic() - begin


def _typical(work: Callable[[], None]) -> float:
    """Return the median time of a piece of work; the first time is not counted where there is time for a second."""
    times = [_seconds(work)]
    while len(times) < 2 or (sum(times[1:]) < SECONDS and len(times) < 10):
        times.append(_seconds(work))
        if times[0] > SECONDS:
            break
    return float(np.median(times[1:]))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
