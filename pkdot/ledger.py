"""The ledger: what was left out or kept with a mask, and why. Nothing disappears silently."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

Action = Literal["dropped", "kept with mask"]


@dataclass(frozen=True)
class Entry:
    """One line: a sample (or a file that is none), the modality ('' for all), the stage, the problem, what was done."""

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
        """Note one problem."""
        self.entries.append(Entry(sample_id, modality, stage, " ".join(str(problem).split()), action))

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
                ledger.entries += [Entry(**row) for row in csv.DictReader(file)]
        return ledger
