"""An epoch of a student on frozen embeddings, against decoding and encoding the same clips again, on one core.

The released code decodes and encodes every clip in every epoch. Goal: at least 100 times faster.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from faces import write_clip

from pkdot.distillation.base import Context, MethodChoice
from pkdot.encoders.base import EncoderChoice
from pkdot.features.base import Source
from pkdot.features.faces import Faces, FacesOptions
from pkdot.fusion.base import FusionChoice
from pkdot.networks import Outputs
from pkdot.tasks import Task, TaskParams
from pkdot.training.loop import ComputeParams, TrainingParams, fit, prepare

CLIPS, TIMED, DIM = 240, 12, 64  # a training part of the stand-in data; clips that are really read


class _Labels:
    """The little that a task asks of the samples."""

    def __init__(self, classes: np.ndarray):
        import pandas as pd

        self.classes = ["BL1", "PA4"]
        self.table = pd.DataFrame({"pain": np.array(self.classes)[classes]})
        self.about = {"targets": {"pain": self.classes}}
        self.labelled = np.ones(len(classes), dtype=bool)


def read_and_encode(folder: Path) -> float:
    """Seconds for all clips to be decoded and encoded, from a few of them."""
    feature = Faces(FacesOptions())
    cls, options = EncoderChoice(name="small_r3d").load()
    encoder = cls(feature.shape, DIM, 1, options).eval()
    paths = [folder / f"{number}.mp4" for number in range(TIMED)]
    for path in paths:
        write_clip(path, 320, 240)
    feature.extract(Source("warm", paths[0], None, None))
    start = time.perf_counter()
    with torch.no_grad():
        for path in paths:
            encoder(torch.from_numpy(feature.extract(Source(path.stem, path, None, None)).array)[None])
    return (time.perf_counter() - start) / TIMED * CLIPS


def student_epoch(method: str) -> float:
    """Seconds of one epoch of a student with its teacher's outputs, validation included."""
    rng = np.random.default_rng(0)
    task = Task(TaskParams(), _Labels(rng.integers(0, 2, CLIPS)))
    cls, options = MethodChoice(name=method).load()
    fusion = FusionChoice(name="gated_cross_attention")
    widths = dict.fromkeys(("face", "eda", "ecg", "emg"), DIM)
    head = torch.nn.Linear(DIM, task.outputs).requires_grad_(False)
    heads = dict.fromkeys(("teacher", *widths), head)
    context = Context(task, DIM, 3 * DIM, DIM, fusion, [256, 128, 256], CLIPS, widths, head, heads)
    distiller = cls(context, cls.candidates(options, 1)[0])
    network = distiller.student()
    seen, target = torch.randn(CLIPS, 1, DIM), torch.from_numpy(task.targets)
    teacher = Outputs(torch.randn(CLIPS, 2), torch.randn(CLIPS, DIM), torch.randn(CLIPS, 3 * DIM), seen[:, 0])

    def step(rows, generator):
        index = torch.from_numpy(rows)
        said = network(seen[index]).with_target(target[index], index)
        taught = Outputs(teacher.logits[index], teacher.features[index], teacher.privileged[index], seen[index, 0])
        return distiller(said, taught.with_target(target[index], index))

    def score():
        logits = network(seen[:80]).logits
        return task.score(logits, target[:80]), 0.0

    both = torch.nn.ModuleList([network, distiller])
    times = []
    epoch = CLIPS // TrainingParams().batch_size
    for epochs in (1, 20):  # the first call pays for what is loaded once
        params = TrainingParams(steps=epochs * epoch, evaluate_every=epoch, patience=None)
        start = time.perf_counter()
        fit(both, step, score, np.arange(CLIPS), params, 0, torch.device("cpu"))
        times.append(time.perf_counter() - start)
    return times[1] / 20


def main() -> None:
    """Print the ratio for the baseline, KD and PKDOT."""
    prepare(ComputeParams())
    with tempfile.TemporaryDirectory() as folder:
        peer = read_and_encode(Path(folder))
    print(f"{CLIPS} clips, one epoch on one core; decoding and encoding them takes {peer:.1f} s")
    for method in ("student_only", "kd", "pkdot"):
        ours = student_epoch(method)
        print(f"{method:<14}{1000 * ours:6.1f} ms, {peer / ours:6.0f} times faster (goal: 100)")


if __name__ == "__main__":
    main()
