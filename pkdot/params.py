"""The base of every parameter set: strict, frozen, and plain enough for one line of JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """A strict set of parameters: unknown keys are refused, values never change.

    Every field carries a description; the documentation of the configuration is made from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def plain(self) -> dict[str, Any]:
        """Return the parameters as JSON-able types."""
        return self.model_dump(mode="json")


def canonical(value: Any) -> str:
    """One line of JSON with sorted keys: equal parameters give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
