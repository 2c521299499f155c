"""The ledger: what was left out or kept with a mask, and why. Nothing disappears silently."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

Action = Literal["dropped", "kept with mask", "kept", "as configured"]


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Attributes
    ----------
    sample_id : str
        The sample, or a file that belongs to none.
    modality : str
        The modality or source that is concerned; empty for all.
    stage, problem : str
        Where the problem was found, and what it is.
    action : str
        ``dropped``: the sample, or this modality of it, is not used. ``kept with mask``: only a part of it is used.
        ``kept``: it is used as if there were no problem. ``as configured``: it is left out because the configuration
        says so, which is no problem.
    """

    sample_id: str
    modality: str
    stage: str
    problem: str
    action: Action


@dataclass
class Ledger:
    """Entries in the order in which they were found."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, sample_id: str, modality: str, stage: str, problem: str, action: Action = "dropped") -> None:
        """Add one line; bytes of a file name that are not UTF-8 are shown by their numbers."""
        problem = _printable(" ".join(problem.split()))
        self.entries.append(Entry(_printable(sample_id), modality, stage, problem, action))

    def write(self, path: Path) -> None:
        """Write a CSV with a header, also where there is no entry."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Entry)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(entry) for entry in self.entries)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Ledger:
        """Read one or more ledgers, one after the other."""
        ledger = cls()
        for path in paths:
            with open(path, newline="", encoding="utf-8") as file:
                rows: Iterable[dict[str, Any]] = csv.DictReader(file)
                ledger.entries += [Entry(**row) for row in rows]
        return ledger


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
