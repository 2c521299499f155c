"""The reference of all options, made from the parameter classes themselves, as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pkdot.config import Experiment
from pkdot.datasets.base import register as datasets
from pkdot.distillation.base import NEEDS
from pkdot.distillation.base import register as methods
from pkdot.encoders.base import register as encoders
from pkdot.features.base import register as features
from pkdot.fusion.base import register as fusions
from pkdot.hallucination.base import register as tnets
from pkdot.missing.base import register as completions
from pkdot.params import Params, without_null
from pkdot.registry import Choice, Registry
from pkdot.simulation.base import register as preparations

HEAD = """# Configuration

One YAML file in `config/` is one experiment. This is every option that it can hold; an unknown one is refused.
A plug-in is written as its name, or as its name with options: `encoder: {name: cnn1d, width: 32}`.
`extends: biovid.yaml` starts from another file beside this one: sections are merged, other values are replaced, a
section that names another plug-in starts afresh, and `null` in the place of a section leaves it out.
`overrides.fold_2` holds sections that replace parts of `modalities`, `teacher`, `tnet` or `students` in that fold.
`pkdot reference --out docs/configuration.md` makes this file from the code.
"""
FAMILIES = {
    "Data sets": datasets,
    "Features": features,
    "Encoders": encoders,
    "Fusions": fusions,
    "T-Nets": tnets,
    "Methods": methods,
    "Models for missing modalities": completions,
}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def reference() -> str:
    """Return the whole reference as Markdown."""
    places: dict[type[Params], list[str]] = {}
    for place, model in _sections(Experiment, ""):
        places.setdefault(model, []).append(place)
    parts = [HEAD]
    for model, where in places.items():
        title = ", ".join(f"`{place}`" for place in where if place) or "The experiment"
        parts.append(f"## {title}\n\n{_first_line(model)}\n\n{_table(model)}")
    for title, family in FAMILIES.items():
        parts += [f"## {title}\n", *(_plugin(family, name) for name in family.names())]
    return "\n".join(parts)


def paper_of(plugin: type) -> str:
    """Return the first line of the module of a plug-in: what it is, and the paper that describes it."""
    return _first_line(sys.modules[plugin.__module__])


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def _sections(model: type[Params], place: str) -> Iterator[tuple[str, type[Params]]]:
    """Yield the parameter classes of a configuration, each with the place where it is written."""
    yield place, model
    for name, field in model.model_fields.items():
        kind, step = without_null(field.annotation), name
        if get_origin(kind) is dict:
            kind, step = get_args(kind)[1], f"{name}.<name>"
        if isinstance(kind, type) and issubclass(kind, Params) and not _is_plugin(kind):
            yield from _sections(kind, f"{place}.{step}".lstrip("."))


def _is_plugin(kind: Any) -> bool:
    """Return whether all options of a section are those of a plug-in."""
    return isinstance(kind, type) and issubclass(kind, Choice) and set(kind.model_fields) == {"name", "options"}


def _plugin(family: Registry, name: str) -> str:
    cls = family.load(name)
    text = f"### `{name}`\n\n{paper_of(cls)}\n"
    if getattr(cls, "needs", None):
        text += f"Needs {', '.join(NEEDS[need] for need in sorted(cls.needs))}.\n"
    if cls.Options.model_fields:
        text += f"\n{_table(cls.Options)}"
    preparation = getattr(cls, "preparation", "")
    if preparation and (options := preparations.load(preparation).Options).model_fields:
        text += f"\n`prepare`, for the root that the project makes:\n\n{_table(options)}"
    return text


def _table(model: type[Params]) -> str:
    rows = ["| option | value | default | what it is |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if not (issubclass(model, Choice) and name == "options"):
            rows.append(f"| `{name}` | {_value(field)} | {_default(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, Choice):
        return f"`{value.name}`"
    return "see there" if isinstance(value, Params) else f"`{'null' if value is None else value}`"


def _value(field: FieldInfo) -> str:
    """Describe in words what a value may be."""
    limits = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in SIGNS.items() if hasattr(m, key)]
    return " ".join([_kind(field.annotation), " and ".join(limits)]).strip()


def _kind(kind: Any) -> str:
    """Describe a type in words."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _kind(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(_kind(item) for item in inside)
    if origin in (list, tuple):
        return f"list of {_kind(inside[0])}"
    words = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}
    words |= {dict: "names with their sections"}
    if isinstance(kind, type) and issubclass(kind, Params):
        return kind.family.kind if issubclass(kind, Choice) else "section"
    return words.get(origin or kind, "anything")
