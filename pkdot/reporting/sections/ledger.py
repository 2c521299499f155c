"""What was left out, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section

LINES = 300


def content(results: Results) -> dict[str, Any]:
    """Return the entries of the ledger, counted and listed."""
    entries = results.ledger
    counted = Counter((entry.stage, entry.modality or "all", entry.action) for entry in entries)
    return {
        "total": len(entries),
        "counts": [(*key, count) for key, count in sorted(counted.items())],
        "entries": entries[:LINES],
        "path": results.layout.ledger.as_posix(),
    }


LEDGER = Section("ledger", link="Ledger", title="Ledger: what was left out, and why", content=content)
