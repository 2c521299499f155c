"""The report stage: the conclusion and all sections in one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.errors import DataError
from pkdot.files import write_text
from pkdot.layout import REPORT
from pkdot.params import Params
from pkdot.provenance import job

if TYPE_CHECKING:
    from pkdot.config import Experiment
    from pkdot.reporting.results import Results


class ReportParams(Params):
    """What the report is about."""

    experiment: str = Field(description="name of the experiment")
    configuration: dict[str, Any] = Field(description="the whole configuration, to be shown")


def report_params(e: Experiment, experiment: str) -> ReportParams:
    """Return the parameters of the report, which shows the whole configuration."""
    return ReportParams(experiment=experiment, configuration=e.plain())


def write_report(processed: Path, results: Path, out: Path, params: ReportParams) -> None:
    """Write ``report.html``, the same bytes for the same results (but for the times that their records hold).

    Raises
    ------
    DataError
        Files are missing, were changed, or do not belong together.
    """
    from pkdot.config import Experiment
    from pkdot.reporting.configuration_check import check_configuration
    from pkdot.reporting.results import Results

    read = Results(processed, results, Experiment(**params.configuration))
    with job(__name__, out, params, inputs=read.files(), record="report") as scratch:
        records = read.records
        _check_summary(read, params.experiment)
        check_configuration(read.experiment, params.experiment, records)
        write_text(scratch / REPORT, _page(read, params.experiment))


def _check_summary(results: Results, experiment: str) -> None:
    """Check that the summary is of this experiment and of its methods."""
    summary = results.summary
    summarised = {row["method"] for row in summary["rows"]}
    missing = [name for name in results.everyone if name not in summarised]
    if summary["experiment"] != experiment or missing:
        what = f"has no {missing[0]}" if missing else f"is of the experiment {summary['experiment']}"
        raise DataError(f"{results.layout.summary()}: {what}. Delete it and run again.")


def _page(results: Results, experiment: str) -> str:
    """Return the page: the conclusion, then every section that has something to show."""
    from pkdot.reporting.conclusion import conclude
    from pkdot.reporting.page import render
    from pkdot.reporting.sections import SECTIONS

    contents = {section: section.content(results) for section in SECTIONS}
    filled = [
        {"section": section, "html": render(f"sections/{section.name}.html", {"results": results, **content})}
        for section, content in contents.items()
        if content is not None
    ]
    values = {
        "experiment": experiment,
        "results": results,
        "summary": results.summary,
        "conclusion": conclude(results.summary, results.validation),
        "warnings": [sentence for content in contents.values() if content for sentence in content.get("warnings", [])],
        "sections": filled,
    }
    return render("report.html", values)
