"""What a section of the report is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pkdot.reporting.results import Results


@dataclass(frozen=True)
class Section:
    """One section: a module in ``sections/`` makes its values and figures, a fragment beside it shows them.

    Attributes
    ----------
    name : str
        Name of the module and of its fragment, and the anchor in the page.
    link : str
        What the navigation calls the section.
    title : str
        The heading.
    content : callable
        Takes the results and returns the values for the fragment, which also has ``results`` itself. ``warnings``
        among the values is a list of sentences for the top of the page. None leaves the section out.
    """

    name: str
    link: str
    title: str
    content: Callable[[Results], dict[str, Any] | None]
