"""What a data set is to the stages that follow: a table of samples with a path for every source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import ValidationError

from pkdot.errors import ConfigError, DataError
from pkdot.ledger import Ledger
from pkdot.params import Params, sentences
from pkdot.registry import Choice, Registry

register = Registry("pkdot.datasets", "data set")

MARKER = "SIMULATED.md"  # in the root of stand-in data; its presence puts the banner on every report


class DatasetChoice(Choice):
    """A data set by name, with its options."""

    family = register

    def preparation_of(self, options: dict[str, Any]) -> Params:
        """Validated options of what makes the root of the data set.

        Raises
        ------
        ConfigError
            The project cannot make it, or an option is unknown or out of its range.
        """
        cls = self.family.load(self.name)
        if cls.Preparation is None:
            raise ConfigError(f"{cls.title} cannot be made; point dataset.root at your own copy.")
        try:
            return cls.Preparation(**options)
        except ValidationError as error:
            raise ConfigError(sentences("dataset.prepare", error, cls.Preparation)) from error


class Dataset(ABC):
    """A data set in its owners' layout.

    Attributes
    ----------
    title : str
        How reports call it.
    sources : tuple of str
        The raw streams that it offers, such as ``video``; a modality takes one of them.
    Preparation : type of Params, optional
        Options of ``prepare``, where the project can make the root itself: stand-in data, or data from a package.
    marker : str
        The file in the root that ``prepare`` writes last.
    listing : str
        The file in the root that names all samples, where there is one; ingestion runs again when it changes.
    """

    Options: ClassVar[type[Params]]
    Preparation: ClassVar[type[Params] | None] = None
    marker: ClassVar[str] = MARKER
    listing: ClassVar[str] = ""
    name: ClassVar[str]
    title: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path, options: Params):
        self.root = root
        self.options = options

    @classmethod
    def sources_of(cls, options: Params) -> tuple[str, ...]:
        """The raw streams that the data set offers with these options."""
        return cls.sources

    @classmethod
    def tokens_of(cls, options: Params) -> int | None:
        """Tokens of a sequence; None where the targets are of a whole sample."""
        return None

    @classmethod
    def prepare(cls, root: Path, params: Params, workers: int) -> None:
        """Make the root, the marker last, the same for any number of workers."""
        raise DataError(f"{cls.title} is licensed or your own: bring a copy and point dataset.root at it.")

    @abstractmethod
    def read(self, ledger: Ledger) -> pd.DataFrame:
        """Return a row a sample; note what is left out in the ledger.

        Returns
        -------
        DataFrame
            ``sample_id`` (each once), ``subject_id``, ``group_id`` (subjects that must stay together), one
            column a target, and for every source ``<source>_path``, ``<source>_start`` and ``<source>_stop``
            (seconds), ``<source>_rate`` (Hz) where the file does not say it, ``<source>_side`` (left | right)
            where two people share a picture. A path is None where the sample lacks the source. ``official``
            (train | validation | test) where the owners split.

        Raises
        ------
        DataError
            The root is not this data set at all.
        """

    @abstractmethod
    def targets(self) -> dict[str, list[str] | None]:
        """The target columns: class names in order, or None for a real number."""
