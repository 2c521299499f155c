"""Plug-ins: one module each, found by its file name, so that adding one touches one file.

A module of a family (encoders, fusion, distillation, features, datasets, simulation) becomes a plug-in by decorating
one class with the family's registry: ``@register("sp", needs={"features"})``. Names are listed without importing.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError, model_serializer, model_validator

from pkdot.errors import ConfigError
from pkdot.params import Params, sentences

T = TypeVar("T")


class Registry:
    """The plug-ins of one package.

    Parameters
    ----------
    package : str
        The package that holds the modules, such as ``pkdot.encoders``.
    kind : str
        What one of them is called in messages, such as ``encoder``.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package = package
        self.kind = kind
        self._classes: dict[str, type] = {}

    def __call__(self, name: str, **declared: Any) -> Callable[[type[T]], type[T]]:
        """Decorate the class of a plug-in; ``declared`` become its class attributes."""

        def decorate(cls: type[T]) -> type[T]:
            for key, value in {**declared, "name": name}.items():
                setattr(cls, key, value)
            self._classes[name] = cls
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return the names of all plug-ins, sorted; nothing is imported."""
        return list(self._names)

    @cached_property
    def _names(self) -> list[str]:
        spec = importlib.util.find_spec(self.package)
        roots = map(Path, (spec and spec.submodule_search_locations) or ())
        return sorted(path.stem for root in roots for path in root.glob("*.py") if _registered_name(path) == path.stem)

    def module(self, name: str) -> str:
        """Return the dotted name of the module that holds a plug-in.

        Raises
        ------
        ConfigError
            There is no such plug-in; the message names the closest one.
        """
        names = self.names()
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."
            raise ConfigError(f"there is no {self.kind} '{name}'. {hint}")
        return f"{self.package}.{name}"

    def load(self, name: str) -> Any:
        """Import the module of a plug-in and return its class, which is of the family's base."""
        importlib.import_module(self.module(name))
        return self._classes[name]


@cache
def _registered_name(path: Path) -> str | None:
    """Return the name under which a module registers a class, read from its source."""
    found = re.search(r'^@register\("(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found[1]


class Choice(Params):
    """A plug-in by name with its options, written ``cnn1d`` or ``{name: cnn1d, width: 32}``."""

    family: ClassVar[Registry]

    name: str = Field(description="name of the plug-in")
    options: dict[str, Any] = Field({}, description="its options, where they differ from its defaults")

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        if isinstance(value, str):
            more = [f"{key}: ..." for key, field in cls.model_fields.items() if field.is_required() and key != "name"]
            if more:
                raise ConfigError(f"takes more than a name; write {{name: {value}, {', '.join(more)}}}")
            return {"name": value}
        if isinstance(value, dict) and "options" not in value:
            own = {key: value[key] for key in cls.model_fields if key in value}
            return {**own, "options": {key: item for key, item in value.items() if key not in own}}
        return value

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        """Write the choice as in a configuration, so that parts of it can be overridden."""
        own = {key: getattr(self, key) for key in type(self).model_fields if key != "options"}
        return {**own, **self.options}

    @model_validator(mode="after")
    def _known(self) -> Choice:
        self.family.module(self.name)
        return self

    def load(self) -> tuple[Any, Any]:
        """Import the plug-in; return its class and its validated options.

        Raises
        ------
        ConfigError
            An option is unknown or out of its range.
        """
        cls = self.family.load(self.name)
        try:
            return cls, cls.Options(**self.options)
        except ValidationError as error:
            where = f"options of {self.family.kind} '{self.name}'"
            raise ConfigError(sentences(where, error, cls.Options)) from error


def choices_of(value: Any) -> Iterator[Choice]:
    """Find all choices of plug-ins in a parameter set, at any depth."""
    if isinstance(value, Choice):
        yield value
    elif isinstance(value, Params):
        for name in type(value).model_fields:
            yield from choices_of(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from choices_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from choices_of(item)


def modules_of(params: Params) -> list[str]:
    """Return the dotted names of the modules of all plug-ins that a parameter set names."""
    return [choice.family.module(choice.name) for choice in choices_of(params)]
