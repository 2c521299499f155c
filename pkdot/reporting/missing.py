"""The page of missing modalities: curves over what is missing, the area under each, and what the main model answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkdot.evaluation.metrics import label_of, lower_is_better
from pkdot.evaluation.missing import UNLIKE, GridParams, numbers_of
from pkdot.files import write_json, write_text
from pkdot.layout import MISSING, MISSING_PAGE, PREDICTIONS, SUMS
from pkdot.missing.masks import ALL, ELSEWHERE, PREVALENT, PRIVILEGED
from pkdot.provenance import job
from pkdot.reporting.formatting import between, joined, number, percent, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATTERN = {
    "independent": "single tokens",
    "bursts": "runs of tokens",
    "whole": "whole modalities",
    "mostly": "one modality mostly",
}
CASES = ("everything", "no privileged", "no prevalent", "nothing")
COLUMNS = 2  # panels of a figure beside one another


def write_missing(manifest: Path, grid: list[Path], folds: list[Path], out: Path, params: GridParams) -> None:
    """Write ``missing.json``, the numbers of the grid, and ``missing.html``, which shows them.

    Parameters
    ----------
    manifest : Path
        The manifest.
    grid : list of Path
        ``missing/fold_<k>/fold_<k>.json`` of every fold; the sums lie beside them.
    folds : list of Path
        ``folds/fold_<k>.json`` of the contest; the predictions lie beside them.
    out : Path
        The folder of the page.
    params : GridParams
        What is asked.
    """
    from pkdot.reporting.page import render

    beside = [path.with_name(f"{path.stem}.{SUMS}") for path in grid]
    beside += [path.with_name(f"{path.stem}.{PREDICTIONS}") for path in folds]
    with job(__name__, out, params, inputs=[manifest, *grid, *folds, *beside], record="missing") as scratch:
        numbers = numbers_of(manifest, grid, folds, params)
        write_json(scratch / MISSING, numbers)
        write_text(scratch / MISSING_PAGE, render("missing.html", _content(numbers)))


def _content(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows."""
    patterns = list(dict.fromkeys(each["pattern"] for each in numbers["conditions"]))
    of = {pattern: [each for each in numbers["conditions"] if each["pattern"] == pattern] for pattern in patterns}
    rows = numbers["left"]["everything"]["rows"]
    return {
        "experiment": numbers["experiment"],
        "summary": {
            "simulated": numbers["simulated"],
            "rows": [{"n_subjects": numbers["subjects"]}],
            "grouped": numbers["grouped"],
        },
        "numbers": numbers,
        "claim": claim(numbers),
        "reasons": reasons(numbers),
        "tiles": _tiles(numbers),
        "patterns": of,
        "pattern_names": PATTERN,
        "cases": CASES,
        "of_target": {(each["pattern"], each["target"]): target_of(each["target"]) for each in numbers["conditions"]},
        "curves": {pattern: _curves(these, numbers) for pattern, these in of.items()},
        "differences": _differences(numbers),
        "of_case": {kind: {row["method"]: row for row in found["rows"]} for kind, found in numbers["left"].items()},
        "everyone": list(
            dict.fromkeys([*[row["method"] for row in rows], numbers["left"]["no privileged"]["reference"]])
        ),
        "arm": f"{numbers['main']}_{UNLIKE}",
        "elsewhere": ELSEWHERE,
    }


def target_of(target: str) -> str:
    """Say on which modalities a pattern falls."""
    return {ALL: "all modalities", PRIVILEGED: "all privileged", PREVALENT: "all prevalent"}.get(target, target)


def claim(numbers: dict[str, Any]) -> str:
    """Return the answer in a sentence that claims no more than its intervals show."""
    left, main = numbers["left"], numbers["main"]
    everything, prevalent = left["everything"], left["no privileged"]
    whole = f"With everything present, {main} {_verdict(everything['against'])} the teacher"
    without = f"without {joined(numbers['privileged'])} it {_verdict(prevalent['against'])} {prevalent['reference']}"
    other = left["no prevalent"]["against"]["verdict"]
    knows = (
        "predicts better than by the classes' shares"
        if other == "better"
        else "is not shown to know more than the prior"
    )
    if numbers["primary_metric"].startswith("ccc"):
        knows = knows.replace("by the classes' shares", "by the mean")
    return f"{whole}, {without}, and without {joined(numbers['prevalent'])} it {knows}."


def _verdict(compared: dict[str, Any]) -> str:
    if compared["verdict"] == "open":
        return "is not shown to differ from"
    return f"is {compared['verdict']} by {_size(compared)} than"


def _size(compared: dict[str, Any]) -> str:
    return number(abs(compared["diff"]))


def reasons(numbers: dict[str, Any]) -> list[str]:
    """Return what the answer rests on, and how the main model stands to the best imputation under each pattern."""
    left, main = numbers["left"], numbers["main"]
    sentences = []
    for kind, where in (("everything", "With everything"), ("no privileged", "Without the privileged modalities")):
        found, reference = left[kind]["against"], left[kind]["reference"]
        sentences.append(
            f"{where}, {main} against {reference}: {_interval(found)}, standard error {number(found['se'])}. "
            + _within(found, numbers["primary_metric"])
        )
    found = left["no prevalent"]["against"]
    sentences.append(f"Without the prevalent modalities, {main} against the prior: {_interval(found)}.")
    for each in numbers["conditions"]:
        if each["target"] == ALL:
            sentences.append(
                f"Area under the curve of {PATTERN[each['pattern']]}, of all modalities, {main} against the best "
                f"imputation by validation, {numbers['best_imputation']}: {_interval(each['against_imputation'])}."
            )
    return sentences


def _within(found: dict[str, Any], metric: str) -> str:
    """Say whether a line is worse than its reference by more than the standard error of the difference."""
    if found["se"] is None:
        return "The standard error is not known."
    loss = found["diff"] if lower_is_better(metric) else -found["diff"]
    return f"So it is {'' if loss > found['se'] else 'not '}worse by more than that."


def _interval(found: dict[str, Any]) -> str:
    return f"{signed(found['diff'])} ({between(found['diff_ci_low'], found['diff_ci_high'], 'signed')})"


def _tiles(numbers: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """Return the rows that stand on top of the page, each with its kind and what it is."""
    left, main = numbers["left"], numbers["main"]

    def row(kind: str, method: str) -> dict[str, Any]:
        return next(each for each in left[kind]["rows"] if each["method"] == method)

    return [
        (row("everything", main), "student", "everything present"),
        (row("everything", left["everything"]["reference"]), "upper bound", "everything present"),
        (row("no privileged", main), "student", "no privileged"),
        (row("no privileged", left["no privileged"]["reference"]), "baseline", "no privileged"),
        (row("no prevalent", main), "student", "no prevalent"),
    ]


def _styles(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return how each line is drawn: the main one and its arm, what imputes, and the others have a colour each."""
    from pkdot.reporting.plotting import BASELINE, STUDENT, THIRD

    imputes = {each["label"]: each["imputes"] for each in numbers["networks"]}
    styles: dict[str, dict[str, Any]] = {}
    for label in numbers["contenders"]:
        own = label.startswith(numbers["main"])
        colour = STUDENT if own else BASELINE if imputes[label] else THIRD
        before = sum(style["color"] == colour for style in styles.values())
        line, marker = ("-", "--", ":", "-.")[before % 4], "osD^vPX*"[before % 8]
        width = 2.2 if label == numbers["main"] else 1.2
        styles[label] = {"color": colour, "linewidth": width, "linestyle": line, "marker": marker, "markersize": 3.5}
    return styles


def _curves(conditions: list[dict[str, Any]], numbers: dict[str, Any]) -> str:
    """Draw all models over the rate, one panel a target."""
    import numpy as np

    from pkdot.reporting.plotting import WIDTH, canvas, svg

    label, styles = label_of(numbers["primary_metric"]), _styles(numbers)
    rows = -(-len(conditions) // COLUMNS)
    with canvas(WIDTH, 1.2 + 2.2 * rows + 0.09 * len(styles)) as figure:
        panels = np.ravel(figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False))
        for axes, condition in zip(panels, conditions, strict=False):
            _draw(axes, condition, numbers["rates"], styles)
        for axes in panels[len(conditions) :]:
            axes.set_visible(False)
        for axes in panels[len(conditions) - COLUMNS : len(conditions)]:
            axes.set_xlabel("rate of what is missing")
            axes.tick_params(labelbottom=True)
        for axes in panels[::COLUMNS]:
            axes.set_ylabel(label)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
        name = PATTERN[conditions[0]["pattern"]]
        return svg(figure, f"{label} of all models over the rate of missing {name}")


def _draw(axes: Axes, condition: dict[str, Any], rates: list[float], styles: dict[str, dict[str, Any]]) -> None:
    for name, style in reversed(styles.items()):
        axes.plot(rates, condition["curves"][name], label=name, **style)
    axes.set_title(target_of(condition["target"]))
    axes.set_xticks([0, 0.5, 1], [percent(rate) for rate in (0, 0.5, 1)])
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _differences(numbers: dict[str, Any]) -> str:
    """Draw by how much the area of the main model exceeds that of the best imputation, one row a condition."""
    from pkdot.reporting.plotting import INK, ROWS_WIDTH, STUDENT, THIRD, canvas, name_rows, svg

    conditions, rivals = numbers["conditions"], ("against_imputation", "against_rival")
    names = {rivals[0]: numbers["best_imputation"], rivals[1]: numbers["best_rival"]}
    shown = rivals if names[rivals[0]] != names[rivals[1]] else rivals[:1]
    with canvas(ROWS_WIDTH, 1.2 + 0.36 * len(conditions)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (kind, colour, marker) in enumerate(zip(shown, (STUDENT, THIRD), "oD", strict=False)):
            for height, each in enumerate(conditions):
                found, at = each[kind], height + (place - (len(shown) - 1) / 2) * 0.3
                filled = colour if found["verdict"] != "open" else "none"
                axes.plot([found["diff_ci_low"], found["diff_ci_high"]], [at, at], color=colour)
                told = "" if height else f"against {names[kind]}"
                axes.plot(found["diff"], at, marker, color=colour, markerfacecolor=filled, label=told)
        name_rows(axes, [f"{each['pattern']}, {target_of(each['target'])}" for each in conditions])
        axes.set_xlabel(f"difference in the area under the curve of {label_of(numbers['primary_metric'])}")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)
        return svg(figure, f"By how much the area of {numbers['main']} exceeds that of others")
