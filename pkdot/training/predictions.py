"""What a network says of the test part of a fold, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

if TYPE_CHECKING:
    from pkdot.networks import Outputs
    from pkdot.training.fold import Fold


def prediction_table(
    fold: Fold, predict: Callable[[torch.Tensor], Outputs], rows: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the predictions of a network for rows of the manifest (the test part by default).

    Returns
    -------
    DataFrame
        sample_id, subject_id, group_id, target, prediction; for classes the names, and a column ``score_<number>``
        with each class's probability; for a regression one row a frame and target, with ``output`` (the target's
        name) and ``frame``, and only frames that have a target.
    """
    rows = fold.test if rows is None else rows
    with torch.no_grad():
        logits = predict(fold.index(rows)).logits.double().cpu()
    samples = fold.samples.table.iloc[rows][["sample_id", "subject_id", "group_id"]].reset_index(drop=True)
    task = fold.task
    if task.regression:
        return _long(samples, logits.numpy(), task.targets[rows], task.names)
    names = np.array(task.classes)
    probabilities = logits.softmax(dim=1).numpy()
    samples["target"] = names[task.targets[rows]]
    samples["prediction"] = names[probabilities.argmax(axis=1)]
    for number in range(len(names)):
        samples[f"score_{number}"] = probabilities[:, number]
    return samples


def _long(samples: pd.DataFrame, values: np.ndarray, targets: np.ndarray, names: list[str]) -> pd.DataFrame:
    count, _, _, outputs = targets.shape
    truth = targets.reshape(count, -1, outputs)
    said = values.reshape(truth.shape)
    sample, frame, output = np.nonzero(~np.isnan(truth))
    table = samples.iloc[sample].reset_index(drop=True)
    table["output"] = np.array(names)[output]
    table["frame"] = frame
    table["target"] = truth[sample, frame, output].astype(float)
    table["prediction"] = said[sample, frame, output]
    return table
