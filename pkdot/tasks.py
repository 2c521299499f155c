"""Tasks: what is predicted, how it is trained and how a choice is scored.

Every network ends in fused features (B, T, D) over T tokens. A task of classes, or of real numbers of whole samples,
averages the tokens, so that one row is a sample; a task over sequences keeps them, so that one row is a token with a
value for each of its frames.

Real numbers of whole samples have whatever unit their owner chose. Networks and losses see them in units of the mean
and deviation of the fold's training part; predictions are written in the owner's unit.

A sample without a label has the class ``UNLABELLED``, or NaN for every value; no loss and no score counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from pkdot.answer import Answer
from pkdot.errors import ConfigError, DataError
from pkdot.params import Params

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from pkdot.data import Samples
    from pkdot.splits import Parts


UNLABELLED = -1  # the class of a sample that has no label


class TaskParams(Params):
    """What is predicted."""

    kind: Literal["classification", "ordinal", "regression"] = Field(
        "classification",
        description="classes, ordered classes, or real numbers: of a sample, or for every frame of a sequence",
    )
    loss: Literal["cross_entropy", "ordinal", "ccc", "mse"] = Field(
        "cross_entropy",
        description="cross_entropy; ordinal (cross-entropy plus the squared earth mover's distance between cumulative "
        "probabilities); ccc (1 - concordance correlation); mse",
    )

    @model_validator(mode="after")
    def _loss_of_its_kind(self) -> TaskParams:
        if (self.kind == "regression") != (self.loss in ("ccc", "mse")):
            raise ConfigError(f"task.loss {self.loss} does not serve task.kind {self.kind}")
        return self


class Task:
    """A task on given samples.

    Attributes
    ----------
    answer : Answer
        What of the task networks must know; they are given the task itself or this.
    outputs : int
        Numbers that a head gives for each row.
    classes : list of str
        Their names in order; empty in a regression.
    targets : ndarray
        Classes by number, shape (samples,), or real numbers, shape (samples, tokens, frames, targets).
    values : ndarray
        Real numbers in the unit of their owner.
    sequence : bool
        Whether the targets are real numbers for every frame of a sequence.
    """

    def __init__(self, params: TaskParams, samples: Samples) -> None:
        self.params = params
        self.names = list(samples.about["targets"])
        self.classes = samples.classes or []
        self.regression = params.kind == "regression"
        self.sequence = False
        table = samples.table
        if self.regression:
            self.sequence = any(isinstance(cell, np.ndarray | list) for cell in table[self.names[0]].iloc[:1])
            # (samples, tokens, frames, targets); NaN where a frame has no valid annotation
            columns = [_of_sequences(table[name]) if self.sequence else _of_samples(table[name]) for name in self.names]
            self.targets = self.values = np.stack(columns, axis=-1).astype(np.float32)
        else:
            order = {name: number for number, name in enumerate(self.classes)}
            numbers = table[self.names[0]].map(order)
            unknown = samples.labelled & numbers.isna().to_numpy()
            if unknown.any():
                name = table[self.names[0]].to_numpy()[unknown][0]
                raise DataError(f"the manifest has the class '{name}', which dataset.json does not list; ingest again.")
            self.targets = numbers.fillna(UNLABELLED).to_numpy(dtype=np.int64)
        self.answer = Answer(
            kind=params.kind,
            targets=self.names,
            classes=None if self.regression else self.classes,
            frames=self.targets.shape[2] if self.regression else 1,
            whole=self.regression and not self.sequence,
        )
        self.outputs = self.answer.outputs
        self.pool = self.answer.pool
        self.rows_per_sample = self.answer.rows_per_sample
        self.average = self.answer.average

    def use_labels_of(self, parts: Parts) -> None:
        """Take away the labels that a fold must not use, so that no later step can; make wrong those that it wants so.

        Parameters
        ----------
        parts : Parts
            The rows of the fold.
        """
        if self.regression:
            self.values[parts.unlabelled] = np.nan
            self._standardise(parts.train)
            return
        self.targets[parts.unlabelled] = UNLABELLED
        for row, name in parts.wrong.items():
            self.targets[row] = self.classes.index(name)

    def _standardise(self, rows: np.ndarray) -> None:
        """Bring the targets of whole samples to mean 0 and deviation 1 over some rows."""
        if self.sequence:
            return
        chosen = self.values[rows].reshape(-1, len(self.names)).astype(np.float64)
        mean = np.array([_mean_of(column) for column in chosen.T])
        deviation = np.sqrt([_mean_of(column) for column in np.square(chosen - mean).T])
        deviation = np.where(deviation > 1e-9 * np.abs(mean), deviation, 1.0)
        self.targets = ((self.values - mean) / deviation).astype(np.float32)
        self.answer = self.answer.model_copy(update={"mean": mean.tolist(), "deviation": deviation.tolist()})

    def target(self, rows: np.ndarray) -> Tensor:
        """Return targets of samples: classes (B,), or values (rows, frames * targets) with NaN where there is none."""
        import torch

        chosen = torch.from_numpy(self.targets[rows])
        return chosen.flatten(0, 1).flatten(1) if self.regression else chosen

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the training loss of a batch of rows, over those with a label; at least one has one."""
        import torch
        from torch.nn.functional import cross_entropy

        if self.params.loss == "cross_entropy":
            return cross_entropy(logits, target, ignore_index=UNLABELLED)
        if self.params.loss == "ordinal":
            there = target != UNLABELLED
            return cross_entropy(logits[there], target[there]) + squared_emd(logits[there], target[there])
        values, truth = (x.reshape(-1, len(self.names)) for x in (logits, target))
        losses = [_loss_of(self.params.loss, values[:, i], truth[:, i]) for i in range(len(self.names))]
        return torch.stack(losses).mean()

    def score(self, logits: Tensor, target: Tensor) -> float:
        """Return the number that choices are made by, higher is better: balanced accuracy, -MAE, or mean CCC."""
        if self.regression:
            values, truth = (x.double().reshape(-1, len(self.names)) for x in (logits, target))
            return float(np.mean([float(ccc(values[:, i], truth[:, i])) for i in range(len(self.names))]))
        predicted = logits.argmax(dim=1)
        if self.params.kind == "ordinal":
            return -float((predicted - target).abs().double().mean())
        hits = (predicted == target).double()
        return float(np.mean([float(hits[target == c].mean()) for c in target.unique()]))

    def chance(self, train: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        """Return the score of the best constant answer, and two standard errors of a score by chance.

        Parameters
        ----------
        train : ndarray of int
            The rows that the constant is taken from.
        rows : ndarray of int
            The rows that are scored.
        """
        target = self.targets[rows]
        if self.regression:
            return 0.0, 2 / float(np.sqrt(len(rows)))
        if self.params.kind == "ordinal":
            errors = np.abs(target - np.median(self.targets[train]))
            return -float(errors.mean()), 2 * float(errors.std() / np.sqrt(len(rows)))
        counts = np.bincount(target)
        present = counts[counts > 0]
        # the balanced accuracy is a mean over the classes that are present, each a share of its own samples
        share = 1 / self.outputs
        error = np.sqrt(share * (1 - share) * np.square(1 / len(present)) * (1 / present).sum())
        return share, 2 * float(error)


def _of_sequences(cells: pd.Series) -> np.ndarray:
    """Return the values of a target for each frame of each token, shape (samples, tokens, frames)."""
    return np.stack([np.stack(cell) for cell in cells])


def _of_samples(cells: pd.Series) -> np.ndarray:
    """Return the value of a target for each sample as that of a sequence of one frame, shape (samples, 1, 1)."""
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)[:, None, None]


def _mean_of(values: np.ndarray) -> float:
    """Return the mean of the numbers that are there; 0 where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else 0.0


def squared_emd(logits: Tensor, target: Tensor) -> Tensor:
    """Return the squared earth mover's distance between ordered classes (Hou et al. 2016, arXiv 1611.05916, eq. 5).

    Parameters
    ----------
    logits : Tensor, shape (B, C)
    target : Tensor of int, shape (B,)

    Returns
    -------
    Tensor, scalar, >= 0
        Mean over the batch; zero when all probability lies on the target.
    """
    from torch.nn.functional import one_hot

    cumulative = logits.softmax(dim=1).cumsum(dim=1)
    return (cumulative - one_hot(target, logits.shape[1]).cumsum(dim=1)).square().sum(dim=1).mean()


def ccc(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the concordance correlation (Lin 1989) where the target is not NaN; 0 where there are fewer than two.

    Parameters
    ----------
    prediction, target : Tensor, shape (N,)

    Returns
    -------
    Tensor, scalar in [-1, 1]
    """
    valid = ~target.isnan()
    x, y = prediction[valid], target[valid]
    if x.numel() < 2:
        return prediction.sum() * 0
    dx, dy = x - x.mean(), y - y.mean()
    return 2 * (dx * dy).mean() / (dx.square().mean() + dy.square().mean() + (x.mean() - y.mean()).square() + 1e-12)


def _loss_of(kind: str, values: Tensor, truth: Tensor) -> Tensor:
    valid = ~truth.isnan()
    if kind == "mse":
        return (values[valid] - truth[valid]).square().sum() / max(1, int(valid.sum()))
    return 1 - ccc(values, truth)
