"""The predictions of a network for the test part of a fold, as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from pkdot.tables import ROWS, TableWriter

if TYPE_CHECKING:
    from pkdot.networks import Outputs
    from pkdot.training.fold import Fold

IDS = ["sample_id", "subject_id", "group_id"]


def prediction_table(
    fold: Fold, predict: Callable[[torch.Tensor], Outputs], rows: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the predictions of a network for rows of the manifest (the test part by default).

    Returns
    -------
    DataFrame
        sample_id, subject_id, group_id, target, prediction; for classes the names, and a column ``score_<number>``
        with each class's probability; for a regression one row a frame and target, with ``output`` (the target's
        name) and ``frame``, and only frames that have a target. Names are categories, so that a row of a regression
        takes 29 bytes.
    """
    rows = fold.test if rows is None else rows
    with torch.no_grad():
        logits = predict(fold.index(rows)).logits.cpu()
    samples = fold.samples.table.iloc[rows][IDS].reset_index(drop=True)
    task = fold.task
    if task.regression:
        truth = task.values[rows]
        values = task.answer.in_units(logits.float().reshape(truth.shape))
        return frame_table(samples, values.numpy(), truth, task.names)
    probabilities = logits.double().softmax(dim=1).numpy()
    return class_table(samples, probabilities, task.targets[rows], task.classes)


def class_table(
    samples: pd.DataFrame, probabilities: np.ndarray, targets: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    """Return the table of classes, a row for each sample: its ids, its target, the likeliest class, all scores."""
    columns: dict[str, np.ndarray | pd.Categorical] = {
        "target": pd.Categorical.from_codes(targets, classes),
        "prediction": pd.Categorical.from_codes(probabilities.argmax(axis=1), classes),
    }
    scores = {f"score_{number}": probabilities[:, number] for number in range(len(classes))}
    return samples.assign(**columns, **scores)


def frame_table(samples: pd.DataFrame, values: np.ndarray, targets: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return the table of a regression, a row for each frame and target that has an annotation."""
    count, _, _, outputs = targets.shape
    truth = targets.reshape(count, -1, outputs)
    predicted = values.reshape(truth.shape)
    there = ~np.isnan(truth)
    sample, frame, output = (place.astype(np.int32) for place in np.nonzero(there))
    columns: dict[str, np.ndarray | pd.Categorical] = {}
    for name in IDS:
        codes, found = pd.factorize(samples[name])
        columns[name] = pd.Categorical.from_codes(codes.astype(np.int32)[sample], found)
    columns["output"] = pd.Categorical.from_codes(output, names)
    columns["frame"] = frame
    columns["target"], columns["prediction"] = truth[there], predicted[there]
    return pd.DataFrame(columns, copy=False)


def write_predictions(path: Path, table: pd.DataFrame) -> None:
    """Write a table of predictions part by part."""
    with TableWriter(path) as writer:
        for start in range(0, max(1, len(table)), ROWS):
            writer.write(table.iloc[start : start + ROWS])
