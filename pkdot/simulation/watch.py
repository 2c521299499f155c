"""Watch: real recordings of ten people at seven shoulder exercises (PyPI ``seglearn``), unpacked to a table of arrays.

Accelerometer and gyroscope of a wrist watch at 50 Hz, 140 recordings (Burns et al. 2018, Physiological Measurement).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pkdot.files import replacing, write_text
from pkdot.markers import PACKAGED
from pkdot.params import Params
from pkdot.simulation.base import Preparation, register

STREAMS = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}


class WatchPreparation(Params):
    """There is nothing to choose."""


@register("watch")
class Watch(Preparation):
    """Unpacks the recordings that the package carries."""

    Options = WatchPreparation
    marker = PACKAGED

    @staticmethod
    def make(root: Path, options: Any, workers: int) -> None:
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
        write_text(root / PACKAGED, str(__doc__))
