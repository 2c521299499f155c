"""The base of every parameter set: strict, frozen, and plain enough for one line of JSON."""

from __future__ import annotations

import difflib
import json
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class Params(BaseModel):
    """A strict set of parameters: unknown keys are refused, values never change.

    Every field carries a description; the documentation of the configuration is made from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """Return the parameters as JSON-able types."""
        return self.model_dump(mode="json")


def canonical(value: Any) -> str:
    """Return one line of JSON with sorted keys: equal parameters give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sentences(where: object, error: ValidationError, model: type[Params]) -> str:
    """Return one sentence a problem of a parameter set: where it is, what it is, and the closest known key."""
    return "\n".join(_sentence(where, problem, model) for problem in error.errors())


def _sentence(where: object, problem: ErrorDetails, model: type[Params]) -> str:
    steps = [str(step) for step in problem["loc"]]
    place = ".".join(steps)
    at = f"{where}: {place}" if place else f"{where}"
    if problem["type"] == "extra_forbidden":
        keys = _known_keys(model, steps[:-1])
        close = difflib.get_close_matches(steps[-1], keys, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(keys)}."
        return f"{where}: there is no option '{place}'. {hint}"
    if problem["type"] == "missing":
        return f"{where}: the option '{place}' is missing."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    given = problem["input"]
    shown = f" (it is {given!r})" if isinstance(given, str | int | float) else ""
    return f"{at}: {message}{shown}."


def without_null(kind: Any) -> Any:
    """Return the type of an option that may be null, without null; any other type as it is."""
    others = [one for one in get_args(kind) if one is not NoneType]
    return others[0] if len(others) == 1 and len(get_args(kind)) == 2 and NoneType in get_args(kind) else kind


def _known_keys(model: Any, steps: list[str]) -> list[str]:
    """Return the names of the options at a place of the configuration."""
    for step in steps:
        fields = getattr(model, "model_fields", None)
        if fields is not None:
            model = without_null(fields[step].annotation) if step in fields else None
        else:  # a list or a dictionary: its values
            model = get_args(model)[-1] if get_args(model) else None
    return sorted(getattr(model, "model_fields", {}))
