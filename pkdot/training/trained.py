"""A network that was trained, with all that is kept of it, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pkdot.files import write_json
from pkdot.layout import HISTORY, METRICS, OUTPUTS, PREDICTIONS, WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor, nn

    from pkdot.training.fold import Fold


@dataclass
class Trained:
    """A teacher or a T-Net after its training.

    Attributes
    ----------
    network : nn.Module
    history : list of dict
        What ``fit`` returned.
    outputs : dict of str to Tensor
        What it computes for every sample.
    metrics : dict
        Part of the fold -> its scores there.
    predictions : DataFrame, optional
        Of the test part.
    """

    network: nn.Module
    history: list[dict]
    outputs: dict[str, Tensor]
    metrics: dict
    predictions: pd.DataFrame | None = None


def choosing(fold: Fold) -> dict[str, np.ndarray]:
    """Return the parts that a choice may look at."""
    return {"train": fold.train, "validation": fold.validation}


def write_trained(folder: Path, trained: Trained) -> None:
    """Write weights, outputs, history, metrics and predictions into a new folder."""
    import pandas as pd
    from safetensors.torch import save_file

    from pkdot.training.predictions import write_predictions

    folder.mkdir(parents=True)
    save_file(
        {k: v.cpu().contiguous() for k, v in trained.network.state_dict().items()},
        folder / WEIGHTS,
    )
    save_file({name: value.cpu().contiguous() for name, value in trained.outputs.items()}, folder / OUTPUTS)
    pd.DataFrame(trained.history).to_csv(folder / HISTORY, index=False)
    write_json(folder / METRICS, trained.metrics)
    if trained.predictions is not None:
        write_predictions(folder / PREDICTIONS, trained.predictions)
