"""The report stage: everything a reviewer asks for in one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from pkdot.params import Params


class ReportParams(Params):
    """What the report is about."""

    experiment: str = Field(description="name of the experiment")
    configuration: dict[str, Any] = Field(description="the whole configuration, to be shown")


def write_report(processed: Path, results: Path, out: Path, params: ReportParams) -> None:
    """Write ``report.html``."""
    (out / "report.html").write_text("")
