"""Configuration files: YAML without ambiguity, and ``extends``, by which one file builds on another."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from pkdot.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """Return what a file says, merged over what the file says that it extends.

    ``extends: other.yaml`` names a file beside this one (or a path from its folder). Sections are merged, other
    values replace those of the extended file, and ``null`` in the place of a section leaves that section out.

    Raises
    ------
    ConfigError
        A file is missing, unreadable or not valid YAML, or the files extend one another in a circle.
    """
    *children, (_, values) = _chain(path)
    for _, changes in reversed(children):
        values = merge(values, {key: value for key, value in changes.items() if key != "extends"})
    return {key: value for key, value in values.items() if not children or value is not None}


def sources(path: Path) -> list[Path]:
    """Return the file itself and all files that it extends, directly or through another.

    Raises
    ------
    ConfigError
        As ``read``.
    """
    return [file for file, _ in _chain(path)]


def mentions(path: Path, text: str) -> bool:
    """Return whether a text stands in a file or in one that it extends; a file that cannot be read may still say so."""
    try:
        return any(text in _text(file) for file in sources(path))
    except ConfigError:
        return text in _text(path)


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the entries of ``changes``.

    Sections are merged and values are replaced. A section that names another plug-in replaces the section of the
    first plug-in with all its options. ``null`` removes a section.
    """
    if changes.get("name", base.get("name")) != base.get("name"):
        return changes
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(base.get(key), dict) and isinstance(value, dict):
            merged[key] = merge(base[key], value)
        elif isinstance(base.get(key), dict) and value is None:
            del merged[key]
        else:
            merged[key] = value
    return merged


def _chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return a file and those that it extends, each with what it says itself."""
    chain = [(path, _parse(path))]
    while (name := chain[-1][1].get("extends")) is not None:
        child = chain[-1][0]
        if not isinstance(name, str):
            raise ConfigError(f"{child}: extends takes the name of one file, such as biovid.yaml (it is {name!r}).")
        parent = child.parent / name
        if parent.resolve() in [file.resolve() for file, _ in chain]:
            circle = " -> ".join(str(file) for file in [*(file for file, _ in chain), parent])
            raise ConfigError(f"{path}: the files extend one another in a circle ({circle}). Remove one 'extends'.")
        if not parent.is_file():
            raise ConfigError(f"{child}: extends {name}, but there is no such file.{_hint(parent)}")
        chain.append((parent, _parse(parent)))
    return chain


def _parse(path: Path) -> dict[str, Any]:
    """Return what one file says."""
    try:
        values = _Yaml(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration.{_hint(path)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}.") from error
    except (ValueError, OverflowError, RecursionError) as error:  # a date that does not exist, nesting without end
        raise ConfigError(f"{path}: holds a value that cannot be read ({error}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is empty or not a mapping; see config/biovid.yaml for an example.")
    return values


class _Yaml(yaml.SafeLoader):
    """YAML in which every name is text, and the same name twice is an error, not a silent choice of the later one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise yaml.MarkedYAMLError(problem="a name is no text; quote it", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _hint(path: Path) -> str:
    """Return a sentence with the closest configuration in the folder or in ``config`` below it, or with all."""
    files = [file for folder in (path.parent, path.parent / "config") for file in sorted(folder.glob("[!.]*.yaml"))]
    names = {file.stem: str(file) for file in files if re.search(r"^(modalities|extends):", _text(file), re.MULTILINE)}
    close = difflib.get_close_matches(path.stem, names, n=1)
    return f" Did you mean {names[close[0]]}?" if close else f" There are: {', '.join(names.values()) or 'none'}."


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
