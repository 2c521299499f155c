"""Studies of few and of wrong labels: which training samples lose theirs, and which get another one."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field

from pkdot.data import Samples
from pkdot.errors import DataError
from pkdot.params import Params


def _kept(value: object) -> object:
    """Refuse what is neither a number of labels nor a share of them."""
    if isinstance(value, bool) or not (
        (isinstance(value, int) and value >= 1) or (isinstance(value, float) and 0 < value <= 1)
    ):
        raise ValueError(
            "a whole number from 1 on is how many keep their labels, and a number with a decimal point, above 0 and up "
            "to 1.0, is the share that does: 1 keeps one, 1.0 keeps all"
        )
    return value


Kept = Annotated[int | float, BeforeValidator(_kept)]  # a number of labels, or a share of them


class LabelParams(Params):
    """How many labels of a training part are used, and how many of these are right."""

    labelled: Kept | None = Field(
        None,
        description="a study of few labels: the share (0.25) or the number (100) of each training part that keeps its "
        "labels, the rest is used as unlabelled; smaller draws lie within larger ones; 1 keeps one, 1.0 and null keep "
        "all",
    )
    labelled_unit: Literal["subject", "sample"] = Field("subject", description="what `labelled` counts")
    label_noise: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a study of wrong labels: share of the labelled training samples that get another class at random",
    )
    labelled_seed: int = Field(0, ge=0, description="seed of which labels are kept and which are made wrong")


def study_of_labels(samples: Samples, train: list[str], unit: str, params: LabelParams, fold: int) -> dict:
    """Draw the training samples of a fold that lose their labels, and those that get a wrong one.

    Parameters
    ----------
    samples : Samples
        The manifest.
    train : list of str
        The training part.
    unit : str
        What ``train`` holds: ids of subjects or of samples.
    params : SplitParams
        How many keep their labels, and how many of these are made wrong.
    fold : int
        Number of the fold.

    Returns
    -------
    dict
        ``hidden``: sample ids, sorted; ``wrong``: sample id -> class.

    Raises
    ------
    DataError
        Fewer labels than classes are left, or values are no classes to be mistaken for one another.
    """
    rows = samples.rows(train, unit)
    rows = rows[samples.labelled[rows]]
    rng = np.random.default_rng((params.labelled_seed, fold))
    kept = rows[_is_kept(samples, rows, params, rng)]
    ids = samples.table["sample_id"].to_numpy()
    hidden = sorted(ids[np.setdiff1d(rows, kept)])
    if params.label_noise and not samples.classes:
        raise DataError("splits.label_noise is for tasks of classes; set it to 0.")
    wrong = {}
    if samples.classes:
        truth = samples.table[next(iter(samples.about["targets"]))].to_numpy()
        if missing := sorted(set(samples.classes) - set(truth[kept])):
            raise DataError(
                f"splits.labelled is {params.labelled}: the training part of fold {fold} keeps no label of class "
                f"{missing[0]}; keep more labels."
            )
        rng = np.random.default_rng((params.labelled_seed, fold, 1))
        chance = rng.random(len(samples))  # a number a sample, so that a smaller share of wrong labels lies in a larger
        shift = rng.integers(1, len(samples.classes), len(samples))
        for row in kept[chance[kept] < params.label_noise]:
            place = samples.classes.index(truth[row])
            wrong[ids[row]] = samples.classes[(place + shift[row]) % len(samples.classes)]
    return {"hidden": hidden, "wrong": dict(sorted(wrong.items()))}


def _is_kept(samples: Samples, rows: np.ndarray, params: LabelParams, rng: np.random.Generator) -> np.ndarray:
    """Return which labelled rows keep their label: the first of one order, so that draws are nested.

    Samples are drawn from each class by its share, subjects (with all members of their group) without a look at labels.
    """
    if params.labelled is None:
        return np.ones(len(rows), dtype=bool)
    table = samples.table.iloc[rows]
    by_sample = params.labelled_unit == "sample"
    if by_sample and samples.classes:
        label = table[next(iter(samples.about["targets"]))].to_numpy()
        order = pd.Series(rng.random(len(rows))).groupby(label)
        keys = (order.rank() - rng.random(len(rows))) / order.transform("size")
    else:
        names, place = np.unique(table["sample_id" if by_sample else "group_id"], return_inverse=True)
        keys = pd.Series(rng.random(len(names))[place])
    whole = len(rows) if by_sample else keys.nunique()
    count = params.labelled if isinstance(params.labelled, int) else max(1, round(params.labelled * whole))
    if count > whole:
        raise DataError(
            f"splits.labelled is {count}, but the training part of a fold has {whole} {params.labelled_unit}s with "
            "labels; keep fewer."
        )
    return (keys.rank(method="dense") <= count).to_numpy()
