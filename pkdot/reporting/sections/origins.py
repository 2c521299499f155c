"""The configuration, and the versions and hashes of the code that made the results."""

from __future__ import annotations

from typing import Any

import yaml

from pkdot.reporting.results import Results
from pkdot.reporting.section import Section


def content(results: Results) -> dict[str, Any]:
    """Return every version of a package or of a stage's code that took part."""
    versions: dict[str, set[str]] = {}
    code: dict[str, set[str]] = {}
    for record in results.records.values():
        code.setdefault(record["stage"], set()).add(record["code"])
        for name, version in record["versions"].items():
            versions.setdefault(name, set()).add(version)
    return {
        "versions": {name: sorted(held) for name, held in sorted(versions.items())},
        "code": {stage: sorted(held) for stage, held in sorted(code.items())},
        "mixed": sorted(name for name, held in versions.items() if len(held) > 1),
        "configuration": yaml.safe_dump(results.experiment.plain(), sort_keys=False, allow_unicode=True),
    }


ORIGINS = Section("origins", link="Configuration", title="Configuration and versions", content=content)
