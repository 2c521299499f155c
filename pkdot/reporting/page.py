"""Pages: a template of this folder filled with values, with everything that comes from data escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a page of this folder; all that comes from data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from pkdot.reporting import formatting

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
        environment.filters[name] = getattr(formatting, name)
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **context)
