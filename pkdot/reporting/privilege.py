"""The page of the study of labels: when privilege pays, and what its primary cell answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pkdot.errors import DataError
from pkdot.evaluation.metrics import label_of
from pkdot.evaluation.privilege import EFFECTS, Question, numbers_of
from pkdot.evaluation.summary import SummaryParams
from pkdot.files import write_json, write_text
from pkdot.layout import PREDICTIONS, PRIVILEGE, PRIVILEGE_PAGE
from pkdot.params import Params
from pkdot.provenance import job
from pkdot.reporting.formatting import between, percent, plural, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DODGE = 0.012  # share of an axis by which the methods of a figure stand side by side


class PrivilegeParams(Params):
    """Parameters of the page of the study of labels."""

    contest: SummaryParams = Field(description="methods, teachers, seeds, and how intervals are made")
    question: Question = Field(description="the method that the answer is about, and the cells")
    cross: bool = Field(description="whether wrong labels are studied at the labels of the primary cell alone")
    steps: int | None = Field(description="largest number of steps of every training, to be shown")
    candidates: int = Field(description="option sets that each method could choose from, to be shown")


def write_privilege(manifest: Path, cells: list[Path], out: Path, params: PrivilegeParams) -> None:
    """Write ``privilege.json``, the numbers of all cells, and ``privilege.html``, which shows them.

    Parameters
    ----------
    manifest : Path
        The manifest.
    cells : list of Path
        ``fold_<k>.json`` of every cell and fold, in the folders of the cells; the predictions lie beside them.
    out : Path
        The folder of the page.
    params : PrivilegeParams
        What is asked.

    Raises
    ------
    DataError
        A cell of the grid has no results.
    """
    from pkdot.reporting.page import render

    folds = {cell.name: [path for path in cells if path.parent.name == cell.name] for cell in params.question.cells}
    if lacking := [name for name, paths in folds.items() if not paths]:
        raise DataError(f"{out}: the cell {lacking[0]} has no results. Run the stage cell of each of its folds first.")
    tables = [path.with_name(f"{path.stem}.{PREDICTIONS}") for path in cells]
    with job(__name__, out, params, inputs=[manifest, *cells, *tables], record="privilege") as scratch:
        numbers = numbers_of(manifest, folds, params.question, params.contest)
        write_json(scratch / PRIVILEGE, numbers)
        write_text(scratch / PRIVILEGE_PAGE, render("privilege.html", _content(numbers, params)))


def _content(numbers: dict[str, Any], params: PrivilegeParams) -> dict[str, Any]:
    """Return what the template shows."""
    cells = numbers["cells"]
    primary = next(cell for cell in cells if cell["name"] == numbers["primary"])
    unit, noises = numbers["labelled_unit"], list(dict.fromkeys(cell["label_noise"] for cell in cells))
    by_noise = {noise: [cell for cell in cells if cell["label_noise"] == noise] for noise in noises}
    column = [cell for cell in cells if str(cell["labelled"]) == str(primary["labelled"])]
    return {
        "experiment": numbers["experiment"],
        "summary": {**numbers, "rows": primary["rows"], "grouped": primary["grouped"]},
        "numbers": numbers,
        "primary": primary,
        "claim": claim(numbers),
        "reasons": reasons(numbers),
        "tiles": _tiles(numbers, primary),
        "of": {cell["name"]: labels_of(cell, unit) for cell in cells},
        "arms": {name: name.removeprefix(f"{numbers['method']}_").replace("_", " ") for name in numbers["controls"]},
        "short": {cell["name"]: _short_of(cell) for cell in cells},
        "tables": {"": cells} if params.cross else {_wrong(noise): these for noise, these in by_noise.items()},
        "of_method": {cell["name"]: {row["method"]: row for row in cell["rows"]} for cell in cells},
        "over_labels": _over_labels([these for these in by_noise.values() if len(these) > 1], numbers),
        "over_noise": _over_noise(column, numbers) if params.cross else "",
        "gains": _gains(numbers),
        "effects": EFFECTS,
        "steps": params.steps,
        "candidates": params.candidates,
        "seeds": params.contest.seeds,
    }


def labels_of(cell: dict[str, Any], unit: str) -> str:
    """Say in words which labels a cell has, such as ``100 labels, 20 % of them wrong``."""
    kept = cell["labelled"]
    owners = " subjects" if unit == "subject" else ""
    if isinstance(kept, int):
        text = f"the labels of {plural(kept, 'subject')}" if owners else plural(kept, "label")
    else:
        text = "all labels" if kept == 1 else f"the labels of {percent(kept)} of the {owners.strip() or 'samples'}"
    return f"{text}, {percent(cell['label_noise'])} of them wrong" if cell["label_noise"] else text


def _wrong(noise: float) -> str:
    return f"{percent(noise)} of the labels wrong" if noise else "no wrong labels"


def claim(numbers: dict[str, Any]) -> str:
    """Return the answer of the primary cell in a sentence that claims no more than its intervals show."""
    cell = next(cell for cell in numbers["cells"] if cell["name"] == numbers["primary"])
    begin, method = f"With {labels_of(cell, numbers['labelled_unit'])}", numbers["method"]
    gate, gain = cell["gate"]["verdict"], cell["gain"]
    if gain["verdict"] == "worse":
        return f"{begin}, {method} is worse than the baseline by {_size(gain)}."
    if gain["verdict"] == "open":
        reason = "" if gate == "better" else ", and the teacher shows nothing that could be distilled"
        return f"{begin}, {method} is not shown to be better than the baseline{reason}."
    gained = f"{begin}, {method} gains {_size(gain)} over the baseline"
    if not cell["controls"]:
        return f"{gained}; how much of it is privilege is not known, as there is no control arm."
    if all(control["verdict"] == "better" for control in cell["controls"]):
        beyond = cell["controls"][0]
        if abs(beyond["diff"]) >= abs(gain["diff"]):
            return f"{gained}, all of it from privileged information."
        return f"{gained}, of which {_size(beyond)} come from privileged information."
    return f"{gained}, but it is not shown that privileged information has a part in it."


def reasons(numbers: dict[str, Any]) -> list[str]:
    """Return what the answer rests on: the gate, the gain, and what each control leaves of it."""
    cell = next(cell for cell in numbers["cells"] if cell["name"] == numbers["primary"])
    gate, gain, method = cell["gate"], cell["gain"], numbers["method"]
    sentences = [
        f"The {gate['method']} against {gate['reference']}, which sees prevalent modalities alone: {_interval(gate)}. "
        + ("There is something to distil." if gate["verdict"] == "better" else "So there is nothing to distil."),
        f"{method} against the baseline, {gain['reference']}: {_interval(gain)}.",
    ]
    for control in cell["controls"]:
        share = control["share"]
        part = (
            f" That is {percent(share['share'])} of the gain ({between(share['ci_low'], share['ci_high'], 'percent')})."
            if share["share"] is not None
            else " As the gain itself is not shown, no share of it is named."
        )
        sentences.append(f"{method} against its control {control['reference']}: {_interval(control)}.{part}")
    labels = cell["labels"]
    wrong = f" ({labels['wrong']:,.0f} of them wrong)" if labels["wrong"] else ""
    sentences.append(
        f"A fold trains on {labels['labelled']:,.0f} labelled{wrong} and {labels['unlabelled']:,.0f} unlabelled "
        f"samples; {labels['validation']:,.0f} samples, which keep their own labels in every cell, make all choices."
    )
    return sentences


def _size(compared: dict[str, Any]) -> str:
    return signed(abs(compared["diff"])).removeprefix("+")


def _interval(compared: dict[str, Any]) -> str:
    return f"{signed(compared['diff'])} ({between(compared['diff_ci_low'], compared['diff_ci_high'], 'signed')})"


def _tiles(numbers: dict[str, Any], cell: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return the rows that stand on top of the page, each with what it is."""
    of = {row["method"]: row for row in cell["rows"]}
    strictest = cell["controls"][0]["control"] if cell["controls"] else None
    named = [(cell["baseline"], "baseline"), (strictest, "control"), (numbers["method"], "student")]
    return [(of[name], role) for name, role in [*named, (numbers["teachers"][0], "upper bound")] if name]


def _styles(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return how each student is drawn: its kind has a colour, its place among its kind a line and a marker."""
    from pkdot.reporting.plotting import BASELINE, STUDENT, THIRD

    def kind(name: str) -> tuple[str, float]:
        if name == numbers["method"]:
            return STUDENT, 2.2
        if name in numbers["prevalent_only"]:
            return BASELINE, 1.2
        return (STUDENT, 1.2) if name in numbers["controls"] else (THIRD, 1.2)

    styles: dict[str, dict[str, Any]] = {}
    for name in numbers["methods"]:
        colour, width = kind(name)
        before = sum(style["color"] == colour for style in styles.values())
        line, marker = ("-", "--", ":", "-.")[before % 4], "osD^vPX*"[before % 8]
        styles[name] = {"color": colour, "linewidth": width, "linestyle": line, "marker": marker, "markersize": 4.5}
    return styles


def _draw(axes: Axes, places: list[float], cells: list[dict[str, Any]], numbers: dict[str, Any]) -> None:
    """Draw a line a method over the cells of a panel, side by side, with intervals."""
    import numpy as np

    styles = _styles(numbers)
    for number, (name, style) in enumerate(styles.items()):
        rows = [next(row for row in cell["rows"] if row["method"] == name) for cell in cells]
        means, low, high = (np.array([row[key] for row in rows], dtype=float) for key in ("mean", "ci_low", "ci_high"))
        shift = (number - (len(styles) - 1) / 2) * DODGE * max(1e-9, places[-1] - places[0])
        at = np.array(places) + shift
        axes.vlines(at, low, high, color=style["color"], linewidth=0.9)
        axes.plot(at, means, label=name, **style)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _over_labels(panels: list[list[dict[str, Any]]], numbers: dict[str, Any]) -> str:
    """Draw all methods over the number of labels, one panel a share of wrong labels."""
    import numpy as np

    from pkdot.reporting.plotting import WIDTH, canvas, svg

    if not panels:
        return ""
    label = label_of(numbers["primary_metric"])
    with canvas(WIDTH, 0.9 + 2.7 * len(panels) + 0.09 * len(numbers["methods"])) as figure:
        for axes, cells in zip(np.ravel(figure.subplots(len(panels), sharex=True, sharey=True)), panels, strict=True):
            ordered = sorted(cells, key=lambda cell: cell["labels"]["labelled"])
            counts = [cell["labels"]["labelled"] for cell in ordered]
            _draw(axes, [float(place) for place in np.log(counts)], ordered, numbers)
            axes.set_title(_wrong(ordered[0]["label_noise"]))
            axes.set_ylabel(label)
            axes.set_xticks(np.log(counts), [f"{count:,.0f}" for count in counts])
        axes.set_xlabel("training samples with a label, mean over folds")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)
        return svg(figure, f"{label} of all methods over the number of labels, with 95 % intervals")


def _over_noise(cells: list[dict[str, Any]], numbers: dict[str, Any]) -> str:
    """Draw all methods over the share of wrong labels, with the number of labels of the primary cell."""
    from pkdot.reporting.plotting import WIDTH, canvas, svg

    label = label_of(numbers["primary_metric"])
    ordered = sorted(cells, key=lambda cell: cell["label_noise"])
    with canvas(WIDTH, 3.6 + 0.09 * len(numbers["methods"])) as figure:
        axes = figure.add_subplot()
        places = [cell["label_noise"] for cell in ordered]
        _draw(axes, places, ordered, numbers)
        axes.set_xticks(places, [percent(place) for place in places])
        axes.set_xlabel("share of the labels that is wrong")
        axes.set_ylabel(label)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)
        return svg(figure, f"{label} of all methods over the share of wrong labels, with 95 % intervals")


def _gains(numbers: dict[str, Any]) -> str:
    """Draw, for each cell, what the teacher knows more, what the method gains, and what its control leaves of that."""
    from pkdot.reporting.plotting import INK, ROWS_WIDTH, STUDENT, THIRD, UPPER_BOUND, canvas, name_rows, svg

    cells = numbers["cells"]
    with canvas(ROWS_WIDTH, 1.3 + 0.5 * len(cells)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=INK, linewidth=0.8)
        for height, cell in enumerate(cells):
            kinds = [("gain over the baseline", cell["gain"], STUDENT, "o")]
            if cell["controls"]:
                kinds.append(("gain beyond its controls", cell["controls"][0], THIRD, "D"))
            kinds.append(("teacher over prevalent teacher", cell["gate"], UPPER_BOUND, "s"))
            for place, (name, found, colour, marker) in enumerate(kinds):
                at = height + (place - (len(kinds) - 1) / 2) * 0.22
                ends = [found["diff_ci_low"], found["diff_ci_high"]]
                if None not in ends:
                    axes.plot(ends, [at, at], color=colour)
                    filled = colour if found["verdict"] != "open" else "none"
                    axes.plot(
                        found["diff"], at, marker, color=colour, markerfacecolor=filled, label="" if height else name
                    )
        name_rows(axes, [_short_of(cell) for cell in cells])
        axes.set_xlabel(f"difference in {label_of(numbers['primary_metric'])}")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)
        return svg(figure, f"What {numbers['method']} gains in each cell, and what of it is privilege")


def _short_of(cell: dict[str, Any]) -> str:
    """Name a cell on one line of a figure."""
    kept = cell["labelled"]
    text = f"{kept:,} labelled" if isinstance(kept, int) else f"{percent(kept)} labelled"
    return f"{text}, {percent(cell['label_noise'])} wrong" if cell["label_noise"] else text
