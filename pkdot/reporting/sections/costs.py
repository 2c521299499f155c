"""Seconds and memory of each stage."""

from __future__ import annotations

from typing import Any

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section
from pkdot.stages import STAGES


def content(results: Results) -> dict[str, Any]:
    """Return one row a stage, in the order of the stages; every job counts once."""
    jobs = {record["marker"]: record for record in results.records.values()}
    stages: dict[str, list[dict]] = {}
    for record in jobs.values():
        stages.setdefault(record["stage"].removeprefix("pkdot."), []).append(record)
    order = list(dict.fromkeys(stage.module.removeprefix("pkdot.") for stage in STAGES.values()))
    return {"rows": [_row(name, stages[name]) for name in sorted(stages, key=order.index)]}


def _row(stage: str, records: list[dict]) -> dict[str, Any]:
    seconds = [record["seconds"] for record in records]
    memory = max(record["peak_memory_mb"] for record in records)
    return {"stage": stage, "jobs": len(records), "total": sum(seconds), "longest": max(seconds), "memory": memory}


COSTS = Section("costs", link="Time and memory", title="Time and memory", content=content)
