"""What a data set is to the stages that follow: a table of samples with a path for every source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pandas as pd

from pkdot.ledger import Ledger
from pkdot.params import Params
from pkdot.registry import Choice, Registry

register = Registry("pkdot.datasets", "data set")


class DatasetChoice(Choice):
    """A data set by name, with its options."""

    family = register


class Dataset(ABC):
    """A data set in its owners' layout.

    Attributes
    ----------
    title : str
        How reports call it.
    licence : str
        What its owners allow, in a few words; empty where nobody has said it.
    units : dict of str to str
        Target -> its unit, where it has one.
    preparation : str
        Name of the plug-in of ``pkdot.simulation`` that can make the root; empty where nothing can.
    folders_as_one : tuple of str
        Folders directly below the root that hold folders with very many files. A change of such a folder is noticed
        by its own time, which tells of files that are added, removed or renamed, not of those written in place.
    """

    Options: ClassVar[type[Params]]
    preparation: ClassVar[str] = ""
    folders_as_one: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str]
    title: str
    licence: str = ""
    units: Mapping[str, str] = MappingProxyType({})
    options: Any

    def __init__(self, root: Path, options: Params) -> None:
        self.root = root
        self.options = options

    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Return the raw streams that it offers, such as ``video``; a modality takes one of them."""

    def sequence(self) -> tuple[int, int] | None:
        """Return tokens of a sequence and frames of a token; None where the targets are of a whole sample."""
        return None

    @abstractmethod
    def read(self, ledger: Ledger) -> pd.DataFrame:
        """Return a row a sample; note what is left out in the ledger.

        Returns
        -------
        DataFrame
            ``sample_id`` (each once), ``subject_id``, ``group_id`` (subjects that must stay together), one
            column a target, and for every source ``<source>_path``, ``<source>_start`` and ``<source>_stop``
            (seconds), ``<source>_rate`` (Hz) where the file does not say it, ``<source>_side`` (left | right)
            where two people share a picture, ``<source>_part`` (an array or columns) where the file holds more,
            ``<source>_absent`` (a list of seconds of the file: b, e, b, e, ...) where spans of it are not to be used. A
            target is None or NaN where the sample is unlabelled. A path is None where the sample lacks the source.
            ``official`` (train | validation | test) where the owners split, ``fold`` (a text) where the user does.

        Raises
        ------
        DataError
            The root is not this data set at all.
        """

    @abstractmethod
    def targets(self) -> dict[str, list[str] | None]:
        """Return the target columns: class names in order, or None for a real number."""
