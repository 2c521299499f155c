"""Lists of seeds in a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pkdot.errors import ConfigError


def _each_once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ConfigError("a seed is named twice")
    return seeds


Seeds = Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(_each_once)]
