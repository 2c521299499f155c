"""The report stage: everything a reviewer asks for in one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from pkdot.errors import DataError
from pkdot.files import write_text
from pkdot.params import Params
from pkdot.provenance import chain, job

HERE = Path(__file__).parent


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
    from pkdot.reporting.belonging import check_configuration
    from pkdot.reporting.evidence import Evidence

    evidence = Evidence(processed, results, Experiment(**params.configuration))
    with job(__name__, out, params, inputs=evidence.files(), record="report") as scratch:
        records = chain(evidence.files())
        _check_summary(evidence, params, results)
        check_configuration(evidence.experiment, params.experiment, records)
        write_text(scratch / "report.html", render("template.html", _context(evidence, records, params)))


def _check_summary(evidence, params: ReportParams, results: Path) -> None:
    """The summary must be of this experiment and of its methods."""
    summary = evidence.summary
    found = {row["method"] for row in summary["rows"]}
    missing = [name for name in (*evidence.methods, *evidence.teachers) if name not in found]
    if summary["experiment"] != params.experiment or missing:
        what = f"has no {missing[0]}" if missing else f"is of the experiment {summary['experiment']}"
        raise DataError(f"{results / 'summary.json'}: {what}. Delete it and run again.")


def _context(evidence, records: dict[Path, dict], params: ReportParams) -> dict[str, Any]:
    import yaml

    from pkdot.reporting import sections
    from pkdot.reporting.answer import answer, warnings
    from pkdot.reporting.likeness import likeness
    from pkdot.reporting.samples import modalities

    told = answer(evidence.summary, evidence.methods, evidence.validation)
    encoders = sections.encoders(evidence)
    gaps = [(row["modality"], row["train"], row["validation"]) for row in encoders if row["wide"]]
    scheme = evidence.experiment.splits.scheme
    return {
        "experiment": params.experiment,
        "summary": evidence.summary,
        "seeds": evidence.seeds,
        "score": sections.score_name(evidence),
        "answer": told,
        "warnings": warnings(evidence.summary, scheme, sections.left_out(evidence), gaps),
        "contest": sections.contest(evidence, told.method),
        "subjects": sections.subjects(evidence, told.method),
        "confusions": sections.confusions(evidence, told.method),
        "trajectories": sections.trajectories(evidence, told.method),
        "likeness": likeness(evidence, told.method),
        "choices": sections.choices(evidence, told.method),
        "encoders": encoders,
        "curves": sections.curves(evidence, told.method),
        "tnet": sections.tnet(evidence),
        "modalities": modalities(evidence),
        "data": sections.data(evidence),
        "ledger": sections.ledger(evidence),
        "costs": sections.costs(records.values()),
        "origins": sections.origins(records.values()),
        "configuration": yaml.safe_dump(params.configuration, sort_keys=False, allow_unicode=True),
    }


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a page of this folder; all that comes from data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from pkdot.reporting import wording

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "number",
        "signed",
        "percent",
        "between",
        "p_value",
        "plural",
        "drawn",
        "label_of",
        "seconds",
        "sentence",
    ):
        environment.filters[name] = getattr(wording, name)
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **context)
