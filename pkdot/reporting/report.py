"""The report stage: everything a reviewer asks for in one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.errors import DataError
from pkdot.files import write_text
from pkdot.params import Params
from pkdot.provenance import chain, job
from pkdot.reporting.page import render

if TYPE_CHECKING:
    from pkdot.reporting.results import Results


class ReportParams(Params):
    """What the report is about."""

    experiment: str = Field(description="name of the experiment")
    configuration: dict[str, Any] = Field(description="the whole configuration, to be shown")


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

    found = Results(processed, results, Experiment(**params.configuration))
    with job(__name__, out, params, inputs=found.files(), record="report") as scratch:
        records = chain(found.files())
        _check_summary(found, params, results)
        check_configuration(found.experiment, params.experiment, records)
        write_text(scratch / "report.html", render("report.html", _context(found, records, params)))


def _check_summary(results: Results, params: ReportParams, folder: Path) -> None:
    """The summary must be of this experiment and of its methods."""
    summary = results.summary
    found = {row["method"] for row in summary["rows"]}
    missing = [name for name in (*results.methods, *results.teachers) if name not in found]
    if summary["experiment"] != params.experiment or missing:
        what = f"has no {missing[0]}" if missing else f"is of the experiment {summary['experiment']}"
        raise DataError(f"{folder / 'summary.json'}: {what}. Delete it and run again.")


def _context(results: Results, records: dict[Path, dict], params: ReportParams) -> dict[str, Any]:
    import yaml

    from pkdot.reporting import sections
    from pkdot.reporting.conclusion import conclude, warnings
    from pkdot.reporting.representation_similarity import representation_similarity
    from pkdot.reporting.samples import modalities

    conclusion = conclude(results.summary, results.methods, results.validation)
    encoders = sections.encoders(results)
    gaps = [(row["modality"], row["train"], row["validation"]) for row in encoders if row["wide"]]
    scheme = results.experiment.splits.scheme
    return {
        "experiment": params.experiment,
        "summary": results.summary,
        "seeds": results.seeds,
        "score": sections.score_name(results),
        "conclusion": conclusion,
        "warnings": warnings(results.summary, scheme, sections.left_out(results), gaps),
        "contest": sections.contest(results, conclusion.method),
        "subjects": sections.subjects(results, conclusion.method),
        "confusions": sections.confusions(results, conclusion.method),
        "trajectories": sections.trajectories(results, conclusion.method),
        "representation_similarity": representation_similarity(results, conclusion.method),
        "choices": sections.choices(results, conclusion.method),
        "encoders": encoders,
        "curves": sections.curves(results, conclusion.method),
        "tnet": sections.tnet(results),
        "modalities": modalities(results),
        "data": sections.data(results),
        "ledger": sections.ledger(results),
        "costs": sections.costs(records.values()),
        "origins": sections.origins(records.values()),
        "configuration": yaml.safe_dump(params.configuration, sort_keys=False, allow_unicode=True),
    }
