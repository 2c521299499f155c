"""What makes the root of a data set: a plug-in by name, with its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pkdot.errors import ConfigError
from pkdot.markers import SIMULATED
from pkdot.params import Params
from pkdot.registry import Choice, Registry

register = Registry("pkdot.simulation", "preparation")


class PreparationChoice(Choice):
    """A preparation by name, with its options."""

    family = register


class Preparation(ABC):
    """Makes the root of a data set in its owners' layout.

    Attributes
    ----------
    Options : type of Params
        What can be chosen.
    marker : str
        The file in the root that is written last.
    packages : tuple of str
        Packages of the extra ``simulate`` that it needs.
    """

    Options: ClassVar[type[Params]]
    marker: ClassVar[str] = SIMULATED
    packages: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str]

    @classmethod
    def check_packages(cls) -> None:
        """Check that the packages of the extra are installed.

        Raises
        ------
        ConfigError
            One is missing.
        """
        missing = [package for package in cls.packages if find_spec(package) is None]
        if missing:
            raise ConfigError(
                f"stand-in data of '{cls.name}' need the package {missing[0]}, which is not installed. "
                "Run: pip install 'pkdot[simulate]'"
            )

    @staticmethod
    @abstractmethod
    def make(root: Path, options: Any, workers: int) -> None:
        """Make the root, its marker last; the result does not depend on the number of processes."""
