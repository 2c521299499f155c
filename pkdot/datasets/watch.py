"""Watch: real recordings of ten people at seven shoulder exercises (PyPI ``seglearn``), unpacked to a table of arrays.

Accelerometer and gyroscope of a wrist watch at 50 Hz, 140 recordings (Burns et al. 2018, Physiological Measurement).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from pkdot.datasets.arrays import Arrays, ArraysOptions
from pkdot.datasets.base import register
from pkdot.files import replacing, write_text
from pkdot.params import Params

STREAMS = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}
CLASSES = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]


class WatchPreparation(Params):
    """Nothing to choose."""


class WatchOptions(ArraysOptions):
    """Options of ``watch``: those of ``arrays``, with streams and classes known."""

    title: str = Field("Watch: shoulder exercises (real recordings)", description="how reports call the data")
    target: str = Field("exercise", description="how reports call the target")
    streams: list[str] = Field(list(STREAMS), min_length=1, description="the streams to use")
    classes: list[str] = Field(CLASSES, min_length=2, description="the exercises to tell apart, in order")


@register("watch")
class Watch(Arrays):
    """The recordings that the package carries."""

    title = "Watch"
    Options = WatchOptions
    Preparation = WatchPreparation
    marker = "SOURCE.md"

    @classmethod
    def prepare(cls, root: Path, params: Params, workers: int) -> None:
        from seglearn.datasets import load_watch

        data = load_watch()
        rows = []
        for number, (signals, label, subject) in enumerate(zip(data["X"], data["y"], data["subject"], strict=True)):
            row = {
                "recording_id": f"r{number:03d}",
                "subject_id": f"s{int(subject):02d}",
                "target": data["y_labels"][int(label)],
                "rate": 50,
            }
            for stream, columns in STREAMS.items():
                row[stream] = f"{stream}/{row['recording_id']}.npy"
                with replacing(root / row[stream]) as beside, open(beside, "wb") as file:
                    np.save(file, signals[:, columns].astype(np.float32), allow_pickle=False)
            rows.append(row)
        with replacing(root / "recordings.csv") as beside:
            pd.DataFrame(rows).to_csv(beside, index=False)
        write_text(root / cls.marker, __doc__)
