"""Pages: templates of this folder are filled with values, and everything that comes from data is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
_FILTERS = (
    "number",
    "signed",
    "percent",
    "between",
    "p_value",
    "plural",
    "subjects_of",
    "seconds",
    "sentence",
    "joined",
)
_MACROS = ("name_of", "wide", "plot")


def render(template: str, values: dict[str, Any]) -> str:
    """Fill a template.

    Parameters
    ----------
    template : str
        Path of the template in this folder, such as ``sections/tnet.html``.
    values : dict
        What the template uses. A name that it uses and that is missing here is an error.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    """Return the templates with the filters and macros that all of them may use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from pkdot.evaluation.metrics import label_of
    from pkdot.reporting import formatting

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formatting, name) for name in _FILTERS} | {"label_of": label_of}
    shared = environment.get_template("macros.html").module
    environment.globals |= {name: getattr(shared, name) for name in _MACROS}
    environment.globals["style"] = (HERE / "style.css").read_text(encoding="utf-8")
    return environment
