"""The conclusion that the report opens with: sentences that claim no more than the declared contrasts show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pkdot.evaluation.metrics import label_of, lower_is_better
from pkdot.reporting.formatting import between, joined, number, p_value, percent, plural, signed, subjects_of

OWN = ("pkdot_joint", "pkdot")  # the project's own methods; the conclusion is about the first that takes part
LEVEL = 0.05
DECLARED, GATE = "declared", "gate"  # families of contrasts


@dataclass(frozen=True)
class Conclusion:
    """What the experiment shows.

    Attributes
    ----------
    method : str or None
        The student that the conclusion is about; None where no method was distilled.
    claim : str
        The title of the page.
    sentences : list of str
        What the claim rests on.
    """

    method: str | None
    claim: str
    sentences: list[str]


def contrasts_of(summary: dict, metric: str | None = None, family: str = DECLARED) -> list[dict]:
    """Return the contrasts of a metric (by default the primary one) that belong to a family."""
    metric = metric or summary["primary_metric"]
    return [each for each in summary["contrasts"] if (each["metric"], each["family"]) == (metric, family)]


def headline(summary: dict, validation: dict[str, float]) -> str | None:
    """Return the student that the conclusion is about, chosen without a look at the test subjects.

    Parameters
    ----------
    summary : dict
        summary.json.
    validation : dict of str to float
        Validation score of each student; the best one is chosen where none of the project's own took part.
    """
    rivals = _own_against_baseline(summary)
    own = next((name for name in OWN if name in rivals), None)
    return own or max(rivals, key=validation.__getitem__, default=None)


def conclude(summary: dict, validation: dict[str, float]) -> Conclusion:
    """Put the summary into words.

    Parameters
    ----------
    summary : dict
        summary.json.
    validation : dict of str to float
        Validation score of each student.
    """
    method = headline(summary, validation)
    if method is None:
        rows = _rows(summary)
        baseline, upper_bound = (_mean(rows[name]) for name in (summary["baseline"]["method"], summary["upper_bound"]))
        levels = f"The baseline reaches {baseline}, the upper bound {upper_bound}."
        claim = "No student was distilled, so there is nothing to compare."
        return Conclusion(None, claim, [_terms(summary), levels, summary["seeds_note"]])
    sentences = [
        _terms(summary),
        *(_test(each, summary) for each in _contrasts_with(summary, method)),
        *_gate(summary),
        *_privilege(summary, method),
        _power(summary, method),
        _gap(summary, method),
        _winners(summary),
        *(_test(each, summary) for each in _of_foreign(summary)),
        _choice(summary, method),
        summary["seeds_note"],
    ]
    return Conclusion(method, _claim(summary, method), sentences)


def verdict(contrast: dict) -> str:
    """Return ``better`` or ``worse`` where the corrected test shows that the method differs, else ``open``."""
    if contrast["p_holm"] is None or contrast["p_holm"] >= LEVEL:
        return "open"
    return "better" if _gain(contrast) > 0 else "worse"


def smallest_p(subjects: int, compared: int) -> float:
    """Return the smallest corrected p-value that swaps in so many subjects can give for so many contrasts."""
    return min(1.0, compared * 2.0 ** (1 - subjects))


def warnings_of_the_test(summary: dict, scheme: str) -> list[str]:
    """Return what a reader must know of the test before believing the numbers.

    Parameters
    ----------
    summary : dict
        summary.json.
    scheme : str
        Scheme of the splits.
    """
    smallest = smallest_p(summary["rows"][0]["n_subjects"], len(contrasts_of(summary)))
    found = []
    if scheme == "leave_clips_out":
        found.append(
            "The folds are over clips, so the same people are in training and in test, and the test part made "
            "the choices: these numbers are too good and stand for no new person."
        )
    if contrasts_of(summary) and smallest >= LEVEL:
        found.append(
            f"With {subjects_of(summary)} and {plural(len(contrasts_of(summary)), 'contrast')} the test cannot give a "
            f"corrected p below {number(smallest, 2)}: no difference, however large, can be significant."
        )
    return found


def _rows(summary: dict) -> dict[str, dict]:
    """Return the row of each method by the primary metric."""
    return {row["method"]: row for row in summary["rows"] if row["metric"] == summary["primary_metric"]}


def _against(summary: dict, reference: str) -> dict[str, dict]:
    """Return the declared contrasts with a reference, by their method."""
    return {each["method"]: each for each in contrasts_of(summary) if each["reference"] == reference}


def _own_against_baseline(summary: dict) -> dict[str, dict]:
    """Return the declared contrasts of the students that were trained here with the baseline, by their method."""
    found = _against(summary, summary["baseline"]["method"])
    return {method: each for method, each in found.items() if method not in summary["foreign"]}


def _contrasts_with(summary: dict, method: str) -> list[dict]:
    """Return the declared contrasts of a method, the one with the baseline first."""
    baseline = summary["baseline"]["method"]
    own = [each for each in contrasts_of(summary) if each["method"] == method]
    return sorted(own, key=lambda each: each["reference"] != baseline)


def _of_foreign(summary: dict) -> list[dict]:
    """Return the declared contrasts of models from elsewhere with the baseline."""
    found = _against(summary, summary["baseline"]["method"])
    return [found[method] for method in summary["foreign"]]


def _gain(entry: dict) -> float:
    """Return the difference of a row or a contrast, positive where the method is better."""
    return -entry["diff"] if lower_is_better(entry["metric"]) else entry["diff"]


def _mean(row: dict) -> str:
    return f"{number(row['mean'])} ({between(row['ci_low'], row['ci_high'])})"


def _difference(entry: dict) -> str:
    return f"{signed(entry['diff'])} ({between(entry['diff_ci_low'], entry['diff_ci_high'], signed)})"


def _claim(summary: dict, method: str) -> str:
    baseline, *others = _contrasts_with(summary, method)
    claim = f"{method} {_words(verdict(baseline))} the baseline, {baseline['reference']}"
    if _gap_is_there(summary, method):
        share = _share(summary, method)
        interval = between(share["ci_low"], share["ci_high"], percent)
        claim += f"; it closes {percent(share['share'])} of the gap to the upper bound (95 % interval {interval})"
    else:
        claim += ", and no gap to the upper bound is shown"
    controls = _controls_of(summary, method)
    others = [each for each in others if each["reference"] not in controls]
    return " ".join(filter(None, [f"{claim}.", _claim_of_privilege(summary, method), _claim_of_others(others)]))


def _controls_of(summary: dict, method: str) -> list[str]:
    """Return the labels of a method's control arms."""
    return [each["label"] for each in summary["controls"] if each["method"] == method]


def _over_controls(summary: dict, method: str) -> list[dict]:
    """Return the contrasts of a method with its control arms, that with the smallest gain first."""
    controls = _controls_of(summary, method)
    found = [each for each in _contrasts_with(summary, method) if each["reference"] in controls]
    return sorted(found, key=_gain)


def _claim_of_privilege(summary: dict, method: str) -> str:
    """Return how much of the gain over the baseline is owed to privileged information; empty without a control."""
    over = _over_controls(summary, method)
    baseline = _contrasts_with(summary, method)[0]
    if not over or verdict(baseline) != "better":
        return ""
    if any(verdict(each) != "better" for each in over):
        return "None of the gain is shown to come from privileged information."
    interval = f"95 % interval {between(over[0]['diff_ci_low'], over[0]['diff_ci_high'], signed)}"
    if abs(over[0]["diff"]) >= abs(baseline["diff"]):
        return (
            f"All of the gain of {signed(baseline['diff'])} comes from privileged information: it is "
            f"{signed(over[0]['diff'])} ({interval}) over a control without."
        )
    return (
        f"Of the gain of {signed(baseline['diff'])}, {signed(over[0]['diff'])} ({interval}) come from privileged "
        "information."
    )


def _gate(summary: dict) -> list[str]:
    """Return what the teacher gains over the one that sees the prevalent modalities alone: what there is to distil."""
    sentences = []
    for each in contrasts_of(summary, family=GATE):
        low, high = each["diff_ci_low"], each["diff_ci_high"]
        ends = sorted((-low, -high)) if lower_is_better(each["metric"]) and low is not None else (low, high)
        apart = ends[0] is not None and ends[0] > 0
        meaning = (
            "there is something to distil"
            if apart
            else "the interval holds no gain alone, so it is not shown that there is anything to distil"
        )
        sentences.append(
            f"The teacher of all modalities differs from {each['reference']}, which sees the prevalent ones alone, by "
            f"{_difference(each)}: {meaning}."
        )
    return sentences


def _privilege(summary: dict, method: str) -> list[str]:
    """Return what a method gains over each of its controls."""
    over = _over_controls(summary, method)
    if not over:
        return []
    kinds = {each["label"]: each["control"].replace("_", " ") for each in summary["controls"]}
    listed = joined([f"{_difference(each)} over {kinds[each['reference']]}" for each in over])
    return [
        f"Only what exceeds its control arms, which have the same budget and first weights and no privilege, counts as "
        f"privilege: {method} gains {listed}."
    ]


def _claim_of_others(contrasts: list[dict]) -> str:
    """Return a sentence of the contrasts with other students than the baseline."""
    parts = []
    for kind in ("better", "worse", "open"):
        references = [each["reference"] for each in contrasts if verdict(each) == kind]
        if references:
            parts.append(f"{_words(kind)} {joined(references)}")
    return f"It {joined(parts)}." if parts else ""


def _words(kind: str) -> str:
    return {"better": "is better than", "worse": "is worse than", "open": "is not shown to be better than"}[kind]


def _terms(summary: dict) -> str:
    metric = summary["primary_metric"]
    lower = ", where lower is better," if lower_is_better(metric) else ""
    return (
        f"The measure is {label_of(metric)}{lower} over the test samples of {subjects_of(summary)}. "
        f"{_why_baseline(summary['baseline'])} The upper bound is the {summary['upper_bound']}, which has every "
        "modality at test time too."
    )


def _why_baseline(baseline: dict) -> str:
    """Return which method is the baseline, and why."""
    method, scores = baseline["method"], baseline["validation"]
    if len(scores) == 1:
        return f"The baseline is {method}, the only method here that never uses a privileged modality."
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    listed = ", ".join(f"{name} {number(scores[name])}" for name in ranked)
    return (
        f"The baseline is {method}: of {len(scores)} methods that never use a privileged modality it has the best mean "
        f"validation score ({listed})."
    )


def _test(contrast: dict, summary: dict) -> str:
    reference = contrast["reference"]
    name = f"the baseline, {reference}," if reference == summary["baseline"]["method"] else reference
    meaning = {
        "better": "it is better",
        "worse": "it is worse",
        "open": "the difference may be chance",
    }[verdict(contrast)]
    declared = plural(len(contrasts_of(summary)), "declared contrast")
    return (
        f"{contrast['method']} differs from {name} by {_difference(contrast)}, p {p_value(contrast['p'])}; after "
        f"Holm's correction for {declared} p {p_value(contrast['p_holm'])}: {meaning}."
    )


def _power(summary: dict, method: str) -> str:
    """Return the smallest difference that an experiment with so many subjects can be expected to show."""
    listed = joined(
        [f"{number(each['smallest_difference'])} to {each['reference']}" for each in _contrasts_with(summary, method)]
    )
    return (
        f"The smallest true difference that {subjects_of(summary)} can be expected to show (power 0.8, one test at "
        f"level {LEVEL}, before the correction) is {listed}: what is smaller can be there and stay unseen."
    )


def _share(summary: dict, method: str) -> dict:
    return next(entry for entry in summary["gap_closed"] if entry["method"] == method)


def _gap_is_there(summary: dict, method: str) -> bool:
    """Return whether the upper bound is shown to be better than the baseline."""
    return _share(summary, method)["share"] is not None and _gain(_rows(summary)[summary["upper_bound"]]) > 0


def _gap(summary: dict, method: str) -> str:
    upper_bound = _rows(summary)[summary["upper_bound"]]
    gap = f"The gap between baseline and upper bound is {_difference(upper_bound)}"
    if _gap_is_there(summary, method):
        return f"{gap}; intervals are over resampled subjects, not corrected."
    worse = _gain(upper_bound) < 0 and _share(summary, method)["share"] is not None
    why = "the teacher is worse than the baseline" if worse else "the interval of the gap includes zero"
    return f"{gap}; {why}, so a share of it is not defined."


def _winners(summary: dict) -> str:
    rivals = _own_against_baseline(summary)
    better, worse = (_named(rivals.values(), kind) for kind in ("better", "worse"))
    first = f"Better than the baseline after the correction: {joined(better)}."
    if not better:
        first = "After the correction no student is better than the baseline."
    return f"{first} Worse than the baseline: {joined(worse)}." if worse else first


def _named(contrasts: Iterable[dict], kind: str) -> list[str]:
    return [each["method"] for each in contrasts if verdict(each) == kind]


def _choice(summary: dict, method: str) -> str:
    rivals, rows = _own_against_baseline(summary), _rows(summary)
    best = max(rivals, key=lambda name: _gain(rivals[name]))
    why = (
        f"{method} is named here because it is this project's own method"
        if method in OWN
        else f"{method} is named here because it had the best score on the validation subjects"
    )
    if len(rivals) == 1:
        return f"{why}, and no other method was distilled."
    if best == method:
        return f"{why}; of {len(rivals)} distilled students it also has the best point estimate on the test subjects."
    return (
        f"{why}, not for its result. Of {len(rivals)} distilled students {best} has the best point estimate, "
        f"{_mean(rows[best])}; a student that is picked for its test result looks better than it is."
    )
