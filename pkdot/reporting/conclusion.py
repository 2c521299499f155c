"""The answer that the report opens with, in words that claim no more than the numbers do."""

from __future__ import annotations

from dataclasses import dataclass

from pkdot.evaluation.metrics import label_of, lower_is_better
from pkdot.layout import UPPER_BOUND
from pkdot.reporting.formatting import between, joined, number, p_value, percent, plural, signed, subjects_of

OWN = "pkdot"
LEVEL = 0.05


@dataclass(frozen=True)
class Conclusion:
    """What the experiment says.

    Attributes
    ----------
    method : str or None
        The student that the answer is about; None where the baseline is the only one.
    claim : str
        One sentence, the title of the section.
    sentences : list of str
        What the claim rests on.
    """

    method: str | None
    claim: str
    sentences: list[str]


def headline(rivals: list[str], validation: dict[str, float]) -> str | None:
    """Return the distilled student that the conclusion is about, chosen without a look at the test subjects."""
    if OWN in rivals:
        return OWN
    return max(rivals, key=validation.__getitem__, default=None)


def conclude(summary: dict, students: list[str], validation: dict[str, float]) -> Conclusion:
    """Put the summary into words.

    Parameters
    ----------
    summary : dict
        summary.json.
    students : list of str
        The methods that train students, those that never use privileged data among them.
    validation : dict of str to float
        Validation score of each student, for the choice of the headline where ``pkdot`` did not take part.
    """
    metric = summary["primary_metric"]
    rows, baseline = compared_rows(summary, metric), summary["baseline"]
    rivals = [method for method in students if method not in baseline["validation"]]
    method = headline(rivals, validation)
    if method is None:
        levels = f"The baseline reaches {_bare(rows[baseline['method']])}, the upper bound {_bare(rows[UPPER_BOUND])}."
        claim = "No student was distilled, so there is nothing to compare."
        return Conclusion(None, claim, [_terms(summary, metric), levels])
    share = next(entry for entry in summary["gap_closed"] if entry["method"] == method)
    defined = share["share"] is not None and _gain(rows[UPPER_BOUND], metric) > 0
    sentences = [
        _terms(summary, metric),
        _test(rows[method], metric, len(declared(summary))),
        _gap(rows[UPPER_BOUND], share, metric, defined),
        _winners(rows, rivals, metric),
        _choice(rows, rivals, method, metric),
    ]
    return Conclusion(method, _claim(rows[method], share, metric, defined), sentences)


def compared_rows(summary: dict, metric: str) -> dict[str, dict]:
    """Return the row of each method by a metric, with the test against the baseline; None where there is none."""
    rows = {row["method"]: {**row, "p": None, "p_holm": None} for row in summary["rows"] if row["metric"] == metric}
    for entry in summary["contrasts"]:
        if (entry["metric"], entry["reference"]) == (metric, summary["baseline"]["method"]):
            rows[entry["method"]] |= {"p": entry["p"], "p_holm": entry["p_holm"]}
    return rows


def declared(summary: dict) -> list[dict]:
    """Return the contrasts that the correction is over."""
    return [entry for entry in summary["contrasts"] if entry["p_holm"] is not None]


def _claim(row: dict, share: dict, metric: str, defined: bool) -> str:
    method, verdict = row["method"], _verdict(row, metric)
    if not defined:
        own = {
            "better": f"{method} is better than the baseline, but the teacher is not shown to be",
            "worse": f"{method} is worse than the baseline, and the teacher is not shown to be better",
            "open": f"Neither {method} nor the teacher is shown to be better than the baseline",
        }[verdict]
        return f"{own}: there is no gap to close."
    closed = f"{percent(share['share'])} of the gap between baseline and upper bound"
    interval = f"95 % interval {between(share['ci_low'], share['ci_high'], percent)}"
    if verdict == "better":
        return f"{method} closes {closed} ({interval})."
    if verdict == "worse":
        return f"{method} is worse than the baseline: it closes {closed} ({interval})."
    return f"{method} is not shown to be better than the baseline: it closes {closed} ({interval})."


def _verdict(row: dict, metric: str) -> str:
    """Better or worse than the baseline where the corrected test says so, else open."""
    if row["p_holm"] is None or row["p_holm"] >= LEVEL:
        return "open"
    return "better" if _gain(row, metric) > 0 else "worse"


def _gain(row: dict, metric: str) -> float:
    """Difference to the baseline, positive where it is for the better."""
    return -row["diff"] if lower_is_better(metric) else row["diff"]


def _bare(row: dict) -> str:
    return f"{number(row['mean'])} ({between(row['ci_low'], row['ci_high'])})"


def _terms(summary: dict, metric: str) -> str:
    lower = ", where lower is better," if lower_is_better(metric) else ""
    return (
        f"The measure is {label_of(metric)}{lower} over the test samples of {subjects_of(summary)}. "
        f"The baseline is {summary['baseline']['method']}, the best on the validation subjects of the methods that "
        "never meet a privileged modality; the upper bound is the "
        "teacher, which has every modality at test time too."
    )


def _test(row: dict, metric: str, compared: int) -> str:
    verdict = {
        "better": "it is better than the baseline",
        "worse": "it is worse than the baseline",
        "open": "the difference may be chance",
    }[_verdict(row, metric)]
    return (
        f"{row['method']} differs from the baseline by {signed(row['diff'])} "
        f"({between(row['diff_ci_low'], row['diff_ci_high'], signed)}), p {p_value(row['p'])}; after Holm's "
        f"correction for {plural(compared, 'comparison')} p {p_value(row['p_holm'])}: {verdict}."
    )


def _gap(upper_bound: dict, share: dict, metric: str, defined: bool) -> str:
    gap = f"{signed(upper_bound['diff'])} ({between(upper_bound['diff_ci_low'], upper_bound['diff_ci_high'], signed)})"
    if not defined:
        worse = _gain(upper_bound, metric) < 0 and share["share"] is not None
        why = "the teacher is worse than the baseline" if worse else "the interval of the gap includes zero"
        return f"The gap between baseline and upper bound is {gap}; {why}, so a share of it is not defined."
    return f"The gap between baseline and upper bound is {gap}; intervals are over resampled subjects, not corrected."


def _winners(rows: dict[str, dict], rivals: list[str], metric: str) -> str:
    better = [method for method in rivals if _verdict(rows[method], metric) == "better"]
    worse = [method for method in rivals if _verdict(rows[method], metric) == "worse"]
    said = (
        f"Better than the baseline after the correction: {joined(better)}."
        if better
        else "After the correction no student is better than the baseline."
    )
    return f"{said} Worse than the baseline: {joined(worse)}." if worse else said


def _choice(rows: dict[str, dict], rivals: list[str], method: str, metric: str) -> str:
    best = max(rivals, key=lambda name: _gain(rows[name], metric))
    why = (
        f"{method} is named here because it is this project's own method"
        if method == OWN
        else f"{method} is named here because it had the best score on the validation subjects"
    )
    if len(rivals) == 1:
        return f"{why}, and no other student took part."
    if best == method:
        return f"{why}; of {len(rivals)} students it also has the best point estimate on the test subjects."
    return (
        f"{why}, not for its result. Of {len(rivals)} students {best} has the best point estimate, "
        f"{_bare(rows[best])}; a student that is picked for its test result looks better than it is."
    )


def smallest_p(subjects: int, compared: int) -> float:
    """The smallest p-value that sign flips over so many subjects can give, corrected for the comparisons."""
    return min(1.0, compared * 2.0 / 2**subjects)


def warnings_of_the_test(summary: dict, scheme: str) -> list[str]:
    """Return what a reader must know of the test before believing the numbers.

    Parameters
    ----------
    summary : dict
        summary.json.
    scheme : str
        Scheme of the splits.
    """
    rows = [row for row in summary["rows"] if row["metric"] == summary["primary_metric"]]
    subjects, compared = rows[0]["n_subjects"], len(declared(summary))
    found = []
    if scheme == "clips_as_released":
        found.append(
            "The folds are over clips, so the same people are in training and in test, and the test part made "
            "the choices: these numbers are too good and stand for no new person."
        )
    if smallest_p(subjects, compared) >= LEVEL:
        found.append(
            f"With {subjects_of(summary)} and {plural(compared, 'comparison')} the test cannot give a "
            f"corrected p below {number(smallest_p(subjects, compared), 2)}: no difference, however large, can be "
            "significant."
        )
    return found
