"""The score of another model's predictions as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from pkdot.evaluation.metrics import label_of, lower_is_better
from pkdot.reporting.formatting import between, number, p_value, short, signed, subjects_of

HEAD = ("", "mean", "95 % interval", "to the baseline", "95 % interval", "p")
WIDTHS = (40, 8, 18, 17, 20, 9)


def lines_of(scored: dict) -> Iterator[str]:
    """Yield a table for each metric, and what its numbers rest on.

    Parameters
    ----------
    scored : dict
        What ``pkdot.evaluation.score`` returns.
    """
    simulated = " (SIMULATED DATA)" if scored["simulated"] else ""
    yield f"{scored['method']} on {scored['experiment']}{simulated}: {subjects_of(scored)}"
    tested = {each["metric"]: each["p"] for each in scored["contrasts"]}
    for metric, p in tested.items():
        lower = ", lower is better" if lower_is_better(metric) else ""
        yield ""
        yield _line((f"{label_of(metric)}{lower}", *HEAD[1:]))
        for row in scored["rows"]:
            if row["metric"] == metric:
                own = row["method"] == scored["method"]
                yield _line(
                    (
                        row["method"],
                        number(row["mean"]),
                        between(row["ci_low"], row["ci_high"]),
                        signed(row["diff"]),
                        between(row["diff_ci_low"], row["diff_ci_high"], "signed"),
                        p_value(p).removeprefix("= ") if own else "–",
                    )
                )
    yield ""
    yield "p: permutation test against the baseline, two-sided, in which both change places in some subjects; it is of"
    yield "one metric and not corrected. With evaluation.foreign the model enters the report and its declared family."
    yield scored["seeds_note"]


def _line(cells: tuple[str, ...]) -> str:
    (first, width), *others = zip(cells, WIDTHS, strict=True)
    return short(first, width - 2).ljust(width) + "".join(cell.rjust(width) for cell, width in others)
