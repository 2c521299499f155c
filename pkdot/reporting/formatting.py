"""Numbers and names as the report writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """Return a number with a true minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # no minus zero
    return f"{rounded:{sign if rounded else ''}.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Return a number with its sign."""
    return number(value, digits, "+")


def percent(value: float | None) -> str:
    """Return a share in whole percent."""
    return "–" if value is None else f"{round(value * 100)} %".replace("-", "−")


def between(low: float | None, high: float | None, form: Callable[[float | None], str] | str = number) -> str:
    """Return an interval; ``form`` is how its ends are written: one of the functions here, or its name."""
    write: Callable[[float | None], str] = globals()[form] if isinstance(form, str) else form
    return "–" if low is None else f"{write(low)} to {write(high)}"


def p_value(value: float | None) -> str:
    """Return a p-value with its relation, such as ``= 0.031``."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def subjects_of(summary: dict[str, Any]) -> str:
    """Return how many test subjects intervals and tests are over; people who share a sample count as one."""
    count = summary["rows"][0]["n_subjects"]
    return f"{plural(count, 'group')} of subjects seen together" if summary["grouped"] else plural(count, "subject")


def sentence(text: str) -> str:
    """Return the text with a capital letter at its start, and no other letter changed."""
    return text[:1].upper() + text[1:]


def joined(names: list[str]) -> str:
    """Return names as ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def options(values: dict[str, Any]) -> str:
    """Return the options of a method that have a value, on one line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()) if value is not None) or "none"


def short(name: Any, length: int = 28) -> str:
    """Return a name from the data on one line of a figure."""
    text = " ".join(str(name).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def seconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"
