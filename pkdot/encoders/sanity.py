"""What simple models reach on the arrays that an encoder reads, and how much its embeddings keep.

An encoder that loses to a forest on means and deviations is badly trained or badly chosen; the report shows both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.tasks import Task

if TYPE_CHECKING:
    from pkdot.data import Features

CHUNK = 64  # samples that are in memory at once
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BANDS = 5
SIDE = 8  # pixels of a small picture
STRENGTH = 0.1  # the inverse regularisation of linear models (C of scikit-learn), for columns of deviation 1
TREES = 200


def chunks(features: Features, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the arrays of manifest rows, few at a time."""
    for start in range(0, len(rows), CHUNK):
        yield features[rows[start : start + CHUNK]]


def plain_features(arrays: np.ndarray) -> np.ndarray:
    """Return simple descriptions of samples, by the number of their dimensions.

    Parameters
    ----------
    arrays : ndarray, shape (B, ...)
        Clips (B, frames, height, width, colours), spectrograms (B, channels, frequencies, time), signals
        (B, channels, time) or tables (B, values).

    Returns
    -------
    ndarray of float32, shape (B, features)
    """
    kinds = {5: _of_clips, 4: _of_spectrograms, 3: _of_signals}
    described = kinds.get(arrays.ndim, lambda table: table)(arrays.astype(np.float32))
    return described.reshape(len(arrays), -1).astype(np.float32)


def _of_signals(signals: np.ndarray) -> np.ndarray:
    """Return moments, quantiles, mean absolute difference and the power of spectral bands of each channel."""
    mean, deviation = signals.mean(axis=2), signals.std(axis=2)
    steps = np.abs(np.diff(signals, axis=2)).mean(axis=2) if signals.shape[2] > 1 else 0 * mean
    quantiles = np.quantile(signals, QUANTILES, axis=2)
    power = np.square(np.abs(np.fft.rfft(signals - mean[..., None], axis=2)))[..., 1:]
    borders = np.unique(np.geomspace(1, power.shape[2] + 1, BANDS + 1).astype(int)) - 1
    bands = np.add.reduceat(power, borders[:-1], axis=2) if len(borders) > 1 else power
    # a share of the power of the channel, so that the unit of a signal does not matter
    shares = np.log(bands / (power.sum(axis=2, keepdims=True) + 1e-30) + 1e-6)
    columns = [mean, deviation, signals.min(axis=2), signals.max(axis=2), steps, *quantiles]
    return np.concatenate([np.stack(columns, axis=2), shares], axis=2)


def _of_spectrograms(spectrograms: np.ndarray) -> np.ndarray:
    """Return mean and deviation over time of each frequency."""
    return np.stack([spectrograms.mean(axis=3), spectrograms.std(axis=3)], axis=3)


def _of_clips(clips: np.ndarray) -> np.ndarray:
    """Return small grey pictures: the mean, the deviation in time, and the last third less the first."""
    grey = clips.mean(axis=4)
    small = np.stack([part.mean(axis=2) for part in np.array_split(grey, min(SIDE, grey.shape[2]), axis=2)], axis=2)
    small = np.stack([part.mean(axis=3) for part in np.array_split(small, min(SIDE, grey.shape[3]), axis=3)], axis=3)
    third = max(1, small.shape[1] // 3)
    change = small[:, -third:].mean(axis=1) - small[:, :third].mean(axis=1)
    return np.stack([small.mean(axis=1), small.std(axis=1), change], axis=1)


def described(features: Features, rows: np.ndarray, tokens: int, sequence: bool) -> np.ndarray:
    """Return plain features of manifest rows: one row a sample, or one a token where values change in time."""
    if not sequence:
        return np.concatenate([plain_features(part) for part in chunks(features, rows)])
    time = 1 if len(features.shape) == 4 else len(features.shape)  # clips have the time first, the others last
    parts = []
    for chunk in chunks(features, rows):
        pieces = [plain_features(piece) for piece in np.array_split(chunk, tokens, axis=time)]
        parts.append(np.stack(pieces, axis=1).reshape(len(chunk) * tokens, -1))
    return np.concatenate(parts)


def linear_model(task: Task) -> Any:
    """Return a linear model with a fixed strength of regularisation, on columns in units of their deviation."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = Ridge(alpha=1 / STRENGTH) if task.regression else LogisticRegression(C=STRENGTH, max_iter=1000)
    return make_pipeline(StandardScaler(), model)


def forest(task: Task, seed: int) -> Any:
    """Return extremely randomised trees (Geurts, Ernst and Wehenkel 2006)."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    cls = ExtraTreesRegressor if task.regression else ExtraTreesClassifier
    return cls(TREES, min_samples_leaf=2, max_features="sqrt", random_state=seed, n_jobs=1)


def scores_of(model: Any, task: Task, tables: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> dict[str, float]:
    """Fit a model on the training part and score it on the others by the task's own score.

    Parameters
    ----------
    model
        A classifier or regressor of scikit-learn.
    tables : dict of ndarray, shape (rows of the task, features)
        What the model reads, a table for each part: ``train``, and those to score.
    rows : dict of ndarray of int
        The manifest rows of the parts.

    Returns
    -------
    dict of float
        The score of every part but ``train``; NaN is never in it, and a part without rows is left out.
    """
    import torch

    target = _means_in_time(task, rows["train"]) if task.regression else task.target(rows["train"]).numpy()
    usable = np.isfinite(target).all(axis=1) if task.regression else np.ones(len(target), dtype=bool)
    if not usable.any() or (not task.regression and len(np.unique(target)) < 2):
        return {}
    wanted = target[usable]
    model.fit(tables["train"][usable], wanted[:, 0] if wanted.ndim == 2 and wanted.shape[1] == 1 else wanted)
    scores = {}
    for part in tables.keys() - {"train"}:
        if not len(rows[part]):
            continue
        if task.regression:
            values = np.asarray(model.predict(tables[part])).reshape(len(tables[part]), -1)
            output = np.tile(values, task.outputs // values.shape[1])
        else:
            output = np.zeros((len(tables[part]), task.outputs))
            output[:, model.classes_] = model.predict_proba(tables[part])
        scores[part] = task.score(torch.from_numpy(output), task.target(rows[part]))
    return dict(sorted(scores.items()))


def _means_in_time(task: Task, rows: np.ndarray) -> np.ndarray:
    """Return the mean of each target over the frames of a token, NaN where no frame has one."""
    values = task.target(rows).reshape(-1, task.outputs // len(task.names), len(task.names))
    return values.nanmean(dim=1).numpy()


def sanity(features: Features, task: Task, tokens: int, rows: dict[str, np.ndarray], seed: int) -> dict[str, dict]:
    """Return the scores of simple models on plain features of the samples that an encoder is trained on.

    For real targets, ``logistic_regression`` is a ridge regression.
    """
    tables = {part: described(features, own, tokens, task.sequence) for part, own in rows.items() if len(own)}
    models = {"logistic_regression": linear_model(task), "extra_trees": forest(task, seed)}
    return {name: scores_of(model, task, tables, rows) for name, model in models.items()}


def effective_dimensions(embeddings: np.ndarray) -> float:
    """Return the participation ratio of the covariance of embeddings: how many directions carry their spread.

    Parameters
    ----------
    embeddings : ndarray, shape (N, D)
        Each dimension in units of its deviation on the training part.

    Returns
    -------
    float
        (sum of the eigenvalues)^2 / sum of their squares: D where all directions spread alike, 1 where all
        embeddings lie on a line.
    """
    covariance = np.cov(embeddings.astype(np.float64), rowvar=False).reshape(embeddings.shape[1], -1)
    squares = np.square(covariance).sum()
    return float(np.trace(covariance) ** 2 / squares) if squares > 0 else 0.0
