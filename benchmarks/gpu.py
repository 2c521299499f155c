"""The trainings of config/biovid_gpu.yaml at their sizes, on made-up arrays: on a GPU, and on one core of its machine.

Says how many steps a second each makes and how much memory of the GPU it takes; of encoders also how much of a step
waits for data, and the same without mixed precision.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from pkdot.tasks import TaskParams
from pkdot.training import loop
from pkdot.training.encoder import EncoderParams, _EncoderRun, train_encoder
from pkdot.training.loop import ComputeParams, TrainingParams
from pkdot.training.optimiser import AdamW
from pkdot.training.own_encoders import OwnEncoders
from pkdot.training.student import StudentParams, train_students
from pkdot.training.teacher import TeacherParams, train_teachers

WARM = 20  # steps before the clock starts
DIM, CLIPS, SUBJECTS = 512, 800, 20
SHAPES = {"face": ((10, 112, 112, 3), "uint8"), "eda": ((1, 33, 57), "float32")}
PRIVILEGED = ("ecg", "eda", "emg")
R3D = {"name": "r3d_18", "weights": "random", "normalisation": "imagenet"}


class World:
    """The files that the trainings read: a manifest, splits, the arrays of two modalities, embeddings of four."""

    def __init__(self, folder: Path, clips: int = CLIPS):
        self.folder, self.clips = folder, clips
        rng = np.random.default_rng(0)
        subject = np.arange(clips) * SUBJECTS // clips
        self.label = np.arange(clips) % 2
        table = pd.DataFrame({"sample_id": [f"c{n}" for n in range(clips)], "subject_id": [f"s{s}" for s in subject]})
        table["group_id"], table["level"] = table["subject_id"], np.array(["BL1", "PA4"])[self.label]
        table.to_parquet(folder / "manifest.parquet")
        about = {"title": "", "simulated": True, "targets": {"level": ["BL1", "PA4"]}}
        (folder / "dataset.json").write_text(json.dumps(about))
        names = [f"s{number}" for number in range(SUBJECTS)]
        fold = {"train": names[:14], "validation": names[14:17], "test": names[17:]}
        splits = {"scheme": "given", "seed": 0, "unit": "subject", "folds": [fold]}
        (folder / "splits.json").write_text(json.dumps({**splits, "labels": [{"hidden": [], "wrong": {}}]}))
        for name, (shape, dtype) in SHAPES.items():
            (folder / name).mkdir()
            low = rng.integers(0, 200, (clips, *shape), dtype=np.uint8)
            low += (40 * self.label).astype(np.uint8).reshape(-1, *[1] * len(shape))
            np.save(folder / name / "shard_0.npy", low.astype(dtype))
            index = {"sample_id": table["sample_id"], "shard": "shard_0", "row": range(clips), "valid": True}
            pd.DataFrame({**index, "coverage": 1.0}).to_parquet(folder / name / "index.parquet")
        for name in PRIVILEGED:
            path = self.embeddings(name)
            path.parent.mkdir(parents=True)
            values = rng.normal(size=(clips, 1, DIM)) + self.label[:, None, None]
            np.save(path, values.astype(np.float32))

    def embeddings(self, name: str) -> Path:
        """The embeddings of a modality."""
        return self.folder / "encoders" / name / "embeddings.npy"

    def encoder(self, out: str, modality: str, encoder: dict, steps: int, device: str, **changes) -> None:
        """Train an encoder into a folder."""
        params = EncoderParams(
            modality=modality, encoder=encoder, training=training(steps, 32), dim=DIM, tokens=1, decorrelation=0.3,
            task=TaskParams(), fold=0, seed=0, sanity=False, compute=ComputeParams(device=device), **changes,
        )  # fmt: skip
        folder = self.folder
        train_encoder(folder / "manifest.parquet", folder / "splits.json", folder / modality, folder / out, params)

    def stage(self, out: str, kind: type, steps: int, device: str, **changes) -> None:
        """Train teachers or students into a folder."""
        shared = {
            "prevalent": ["face"], "privileged": list(PRIVILEGED), "fusion": "gated_cross_attention", "dim": DIM,
            "training": training(steps, 128), "tnet": {}, "task": TaskParams(), "fold": 0, "seeds": [0],
            "compute": ComputeParams(device=device),
        }  # fmt: skip
        folder, paths = self.folder, [self.embeddings(name) for name in ("face", *PRIVILEGED)]
        read = folder / "manifest.parquet", folder / "splits.json", paths
        if kind is TeacherParams:
            train_teachers(*read, folder / out, TeacherParams(**shared, tnet_training=training(steps, 128), **changes))
        else:
            params = StudentParams(**{**shared, "label": changes["method"], "candidates": 1, **changes})
            train_students(*read, folder / "teachers", folder / out, params)


def training(steps: int, batch: int) -> TrainingParams:
    """A training that looks at the validation part at its end alone."""
    return TrainingParams(
        steps=steps, evaluate_every=steps, patience=None, batch_size=batch, learning_rate=1e-4, weight_decay=0.1
    )


def speed(work: Callable[[], None]) -> tuple[float, float]:
    """Steps a second of the first training of some work, without the first steps; peak of the GPU's memory in GB."""
    stamps = []

    class Timed(AdamW):
        def step(self):
            super().step()
            if self.done in (WARM, self.steps):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                stamps.append((self.done, time.perf_counter()))

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with patch.object(loop, "AdamW", Timed):
        work()
    (first, begin), (last, end) = stamps[:2]
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return (last - first) / (end - begin), peak


@contextmanager
def data_at_hand() -> Iterator[None]:
    """Read the first batch of each size once, and give it for every other one."""

    def once(method):
        kept = {}

        def read(self, rows):
            key = id(self), len(rows)
            if key not in kept:
                kept[key] = method(self, rows)
            return kept[key]

        return read

    readers = [(_EncoderRun, "_batch"), (OwnEncoders, "_read")]
    with ExitStack() as stack:
        for owner, name in readers:
            stack.enter_context(patch.object(owner, name, once(getattr(owner, name))))
        yield


def without_mixed_precision():
    """Compute everything in single precision."""
    return patch.object(torch, "autocast", lambda *_, **__: nullcontext())


def line(name: str, work: Callable[[str], None], fast: str, slow: str | None, reads: bool) -> None:
    """Print what a training costs on a device, and how much of it goes where."""
    rate, peak = speed(lambda: work(fast))
    text = f"{name:<34}{rate:8.1f} steps/s {peak:6.2f} GB"
    if reads:
        with data_at_hand():
            text += f"   data {max(0.0, 1 - rate / speed(lambda: work(fast))[0]):6.1%}"
    if fast == "cuda" and reads:
        with without_mixed_precision():
            single, peak = speed(lambda: work(fast))
        text += f"   single precision {single:8.1f} steps/s {peak:6.2f} GB"
    if slow:
        text += f"   one core {speed(lambda: work(slow))[0]:8.1f} steps/s"
    print(text, flush=True)


def main() -> None:
    """Print a line for each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--steps", type=int, default=100, help="of a large encoder; small networks take twice as many")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        return print("this machine has no GPU: nothing is measured; --device cpu takes the processor")
    device, slow = args.device, "cpu" if args.device == "cuda" else None
    with tempfile.TemporaryDirectory() as folder:
        world, few, many = World(Path(folder), args.clips), args.steps, 2 * args.steps
        fresh = iter(range(1000))

        def encoder(modality, encoder, steps):
            return lambda where: world.encoder(f"encoders_{next(fresh)}/{modality}", modality, encoder, steps, where)

        def students(method, steps=many, **options):
            options = {"method": method, **options}
            return lambda where: world.stage(f"out_{next(fresh)}", StudentParams, steps, where, **options)

        line("r3d_18", encoder("face", R3D, few), device, None, True)
        line("resnet18_spectrogram", encoder("eda", "resnet18_spectrogram", many), device, None, True)
        world.encoder("encoders/face", "face", {**R3D, "trained_blocks": 1}, few, device, maps=True)
        line("r3d_18, its last block", encoder("face", {**R3D, "trained_blocks": 1}, few), device, None, True)
        line("teacher", lambda where: world.stage("teachers", TeacherParams, many, where), device, None, False)
        world.stage("teachers", TeacherParams, many, device)
        for method in ("student_only", "kd", "pkdot", "pkdot_joint"):
            line(f"{method}, frozen encoder", students(method), device, slow, False)
        line("kd, last block of r3d_18 finetuned", students("kd", few, encoder="finetuned"), device, None, True)


if __name__ == "__main__":
    main()
