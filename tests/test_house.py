"""The rules of the house, for every module: size, words, imports, types, and no pickle."""

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
HEAVY = {
    "torch",
    "sklearn",
    "scipy",
    "neurokit2",
    "librosa",
    "mlflow",
    "ot",
    "torchmetrics",
    "torchvision",
    "matplotlib",
}
TORCH_MODULES = re.compile(
    r"(encoders|fusion|hallucination|distillation)/|networks|training/(loop|optimiser|fold|predictions)"
)


def name_of(path):
    return str(path.relative_to(REPO))


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


modules = pytest.mark.parametrize("path", MODULES, ids=name_of)


@modules
def test_a_module_is_small_and_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 350
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "no docstring"


@modules
def test_a_function_fits_a_screen(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            assert node.end_lineno - first.lineno < 60, node.name


@modules
def test_public_functions_are_typed_and_described(path):
    """Methods that override one of a base follow its types and its docstring."""
    tree = tree_of(path)
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    for node in public:
        assert ast.get_docstring(node), node.name
        assert node.returns or node.name in ("decorate",), node.name
        arguments = [*node.args.args, *node.args.kwonlyargs]
        assert all(argument.annotation for argument in arguments), node.name
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            registered = any(
                getattr(getattr(call, "func", None), "id", "") == "register" for call in node.decorator_list
            )
            assert ast.get_docstring(node) or registered, node.name


@modules
def test_nothing_is_ever_unpickled(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names} | {
                (getattr(node, "module", "") or "").split(".")[0]
            }
            assert not names & {"joblib", "dill", "cloudpickle", "shelve"}
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "pickle":
            assert node.attr == "UnpicklingError"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        assert given.get("allow_pickle") is not True
        owner = getattr(node.func.value, "id", "")
        if (owner, node.func.attr) == ("np", "load"):
            assert given.get("allow_pickle") is False, f"line {node.lineno}: np.load without allow_pickle=False"
        if (owner, node.func.attr) == ("torch", "load"):
            assert given.get("weights_only") is True, f"line {node.lineno}: torch.load unpickles"
        assert (owner, node.func.attr) != ("yaml", "unsafe_load")


@modules
def test_heavy_imports_are_inside_functions(path):
    if TORCH_MODULES.search(name_of(path)):
        pytest.skip("defines networks")
    for node in tree_of(path).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.split(".")[0] for name in names} & HEAVY, f"line {node.lineno}"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.is_file()], ids=name_of)
def test_no_loose_ends_and_no_paths_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError", "xfail"):
        assert not re.search(rf"\b{word}\b", text), word
    assert not re.search(r"(?<![\w.])/(home|root|work|Users)/\w", text)


def test_the_package_imports_quickly():
    """Jobs are short: the command line itself loads nothing heavy."""
    imported = set()
    waiting = ["cli", "stages", "errors", "params"]
    for name in waiting:
        for node in tree_of(PACKAGE / f"{name}.py").body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pkdot."):
                imported.add(node.module)
    assert imported <= {"pkdot.errors", "pkdot.params", "pkdot.stages"}
