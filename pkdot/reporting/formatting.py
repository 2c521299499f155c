"""Numbers and names as the report writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """A number with a true minus sign; a dash where there is none."""
    if value is None or value != value:
        return "–"
    rounded = round(value, digits) + 0.0  # no minus zero
    return f"{rounded:{sign if rounded else ''}.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign."""
    return number(value, digits, "+")


def percent(value: float | None) -> str:
    """A share in whole percent."""
    return "–" if value is None else f"{round(value * 100)} %".replace("-", "−")


def between(low: float | None, high: float | None, form: Callable[[float | None], str] | str = number) -> str:
    """An interval; ``form`` is how its ends are written: one of the functions here, or its name."""
    form = globals()[form] if isinstance(form, str) else form
    return "–" if low is None else f"{form(low)} to {form(high)}"


def p_value(value: float | None) -> str:
    """A p-value with its relation, such as ``= 0.031``."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def subjects_of(summary: dict[str, Any]) -> str:
    """Return how many test subjects intervals and tests are over; people who share a sample count as one."""
    count = summary["rows"][0]["n_subjects"]
    return f"{plural(count, 'group')} of subjects seen together" if summary["grouped"] else plural(count, "subject")


def sentence(text: str) -> str:
    """The text with a capital letter at its start, and no other changed."""
    return text[:1].upper() + text[1:]


def joined(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def options(values: dict[str, Any]) -> str:
    """Options of a method that have a value, on one line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()) if value is not None) or "none"


def short(name: Any, length: int = 28) -> str:
    """A name from the data on one line of a figure."""
    text = " ".join(str(name).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def seconds(value: float) -> str:
    """A time."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"
