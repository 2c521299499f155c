"""The rules of the house that no linter checks: size, words, no pickle, a command line that starts quickly."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from synthetic import REPO

PACKAGE = REPO / "pkdot"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = [
    *MODULES,
    *(path for path in (REPO / "tests").rglob("*.py") if path != Path(__file__)),
    *(REPO / "workflow").rglob("*.smk"),
    *(REPO / "workflow").rglob("*.yaml"),
    *(REPO / "config").glob("*.yaml"),
    *(REPO / "docs").rglob("*.md"),
    *(REPO / "benchmarks").rglob("*.py"),
    *(REPO / name for name in ("Snakefile", "Makefile", "README.md", "pyproject.toml", "environment.yml")),
]


def name_of(path):
    return str(path.relative_to(REPO))


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


modules = pytest.mark.parametrize("path", MODULES, ids=name_of)


@modules
def test_a_module_is_small(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 450


@modules
def test_a_function_fits_a_screen(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            assert node.end_lineno - first.lineno < 70, node.name


@modules
def test_nothing_is_ever_unpickled(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        assert given.get("allow_pickle") is not True
        owner = getattr(node.func.value, "id", "")
        if (owner, node.func.attr) == ("np", "load"):
            assert given.get("allow_pickle") is False, f"line {node.lineno}: np.load without allow_pickle=False"
        if (owner, node.func.attr) == ("torch", "load"):
            assert given.get("weights_only") is True, f"line {node.lineno}: torch.load unpickles"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.is_file()], ids=name_of)
def test_no_loose_ends_and_no_paths_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError", "xfail"):
        assert not re.search(rf"\b{word}\b", text), word
    assert not re.search(r"(?<![\w.])/(home|root|work|Users)/\w", text)


def test_the_package_imports_quickly():
    """Jobs are short: the command line itself loads nothing heavy."""
    imported = set()
    waiting = ["cli", "stages", "errors", "extras", "params"]
    for name in waiting:
        for node in tree_of(PACKAGE / f"{name}.py").body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pkdot."):
                imported.add(node.module)
    assert imported <= {"pkdot.errors", "pkdot.extras", "pkdot.params", "pkdot.stages"}
