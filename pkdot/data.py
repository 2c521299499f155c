"""Reading what the first stages wrote: the manifest, and the arrays of a modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pkdot.features.base import usable_in
from pkdot.files import open_array, read_json
from pkdot.layout import ABOUT, INDEX
from pkdot.provenance import verified


@dataclass(frozen=True)
class Samples:
    """The manifest with what dataset.json says of it; a sample's number is its row here."""

    table: pd.DataFrame
    about: dict

    @classmethod
    def load(cls, manifest: Path) -> Samples:
        """Read a manifest and the dataset.json beside it, both checked against their record."""
        about = manifest.with_name(ABOUT)
        for path in (manifest, about):
            verified(path)
        return cls(pd.read_parquet(manifest), read_json(about))

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, part: list[str], unit: str) -> np.ndarray:
        """Return the sorted rows of the subjects (or samples, where ``unit`` is ``sample``) of a part of a fold."""
        return np.flatnonzero(self.table[f"{unit}_id"].isin(set(part)).to_numpy())

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which samples have a target, shape (samples,): an empty cell, or a sequence of NaN alone, is none."""
        found = np.zeros(len(self), dtype=bool)
        for name in self.about["targets"]:
            found |= np.array([_has_value(cell) for cell in self.table[name]], dtype=bool)
        return found

    @cached_property
    def classes(self) -> list[str] | None:
        """Names of the classes in order; None where the targets are real numbers."""
        return next(iter(self.about["targets"].values()))


def _has_value(cell: Any) -> bool:
    """Return whether a cell of a target column holds a class, a number, or a sequence with a number in it."""
    if isinstance(cell, np.ndarray | list):
        return any(_has_value(part) for part in cell)
    return cell != "" and not pd.isna(cell)


class Features:
    """The arrays of one modality, memory-mapped, in the order of the manifest.

    Attributes
    ----------
    valid : ndarray of bool, shape (samples,)
        Which samples have an array.
    """

    def __init__(self, folder: Path, samples: Samples) -> None:
        index = _index(folder / INDEX, samples)
        self.valid = index["valid"].to_numpy(dtype=bool)
        self._row = index["row"].to_numpy()
        self._shard, names = pd.factorize(index["shard"])
        self._arrays = [open_array(folder / f"{name}.npy") for name in names]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's array."""
        return self._arrays[0].shape[1:]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the arrays of the given manifest rows, of shape (len(rows), *shape)."""
        batch = np.empty((len(rows), *self.shape), dtype=self._arrays[0].dtype)
        for shard in np.unique(self._shard[rows]):
            here = np.flatnonzero(self._shard[rows] == shard)
            batch[here] = self._arrays[shard][self._row[rows[here]]]
        return batch


def present_tokens(index: Path, samples: Samples, tokens: int) -> np.ndarray:
    """Return which tokens in time of a modality are there, by the mask of the feature stage.

    A token is there where its sample has an array, and at least half of its time was not filled in. Of a sample with an
    array of which no token would be there, all are: a feature has taken it for good enough.

    Parameters
    ----------
    index : Path
        index.parquet of the modality.
    samples : Samples
    tokens : int
        Tokens of a sample.

    Returns
    -------
    ndarray of bool, shape (samples, tokens)
    """
    table = _index(index, samples)
    found = np.repeat(table["valid"].to_numpy(dtype=bool)[:, None], tokens, axis=1)
    for row, gaps in enumerate(table.get("gaps", [])):
        if len(gaps):
            found[row] &= usable_in(gaps, tokens)
    return found


def _index(path: Path, samples: Samples) -> pd.DataFrame:
    """Return the index of a modality in the order of the manifest."""
    verified(path)
    return pd.read_parquet(path).set_index("sample_id").loc[samples.table["sample_id"]]


def feature_files(folder: Path) -> list[Path]:
    """Return the index of a modality and its arrays, for the record of a job that reads them."""
    names = pd.read_parquet(folder / INDEX, columns=["shard"])["shard"].unique()
    return [folder / INDEX, *(folder / f"{name}.npy" for name in sorted(names))]
