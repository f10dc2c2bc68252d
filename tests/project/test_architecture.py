"""The rules that hold for every source file."""

import ast
import doctest
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def module_name(package: str, path: Path) -> str:
    return ".".join([package, *path.with_suffix("").parts]).removesuffix(".__init__")


MODULES = {
    module_name(package, file.relative_to(ROOT / folder)): file
    for package, folder in SETTINGS["package-dir"].items()
    for file in sorted((ROOT / folder).rglob("*.py"))
    if file.parent.name != "bootstrap"  # no module of the package: it stands alone on a path
}
every_module = pytest.mark.parametrize("module", MODULES)

# What the lower floors may import of ours: a module, or a package with all that is in it.
ALLOWED = {
    "detailed_balance.analyzers": ["detailed_balance.analyzers"],
    "detailed_balance.callbacks": [
        "detailed_balance.callbacks",
        "detailed_balance.analyzers.counts",
        "detailed_balance.analyzers.errors",
        "detailed_balance.analyzers.guard.guard",
        "detailed_balance.analyzers.runs.trajectory",
        "detailed_balance.analyzers.guard.watch",
    ],
}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def is_within(module: str, packages: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def syntax(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield what `module` imports, wherever in the file; relative imports begin with a dot."""
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has after the imports."""
    code = f"import {', '.join(modules)}, sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    return set(run_python(code).split())


def test_the_sources_are_found() -> None:
    some = {"detailed_balance", "detailed_balance.callbacks.graph", "detailed_balance.readers"}
    assert some | {"detailed_balance.analyzers.counts"} <= set(MODULES)


@every_module
def test_no_arrow_runs_back_up(module: str) -> None:
    ours = [name for name in imports(module) if is_within(name, ["detailed_balance"])]
    for floor, allowed in ALLOWED.items():
        if is_within(module, [floor]):
            assert [name for name in ours if not is_within(name, allowed)] == []


@every_module
def test_imports_are_absolute_and_name_the_import_package(module: str) -> None:
    heads = {name.split(".")[0] for name in imports(module)}
    assert heads.isdisjoint({"", "plugin", "callbacks", "analyzers"})


@every_module
def test_nothing_evaluates_or_unpickles(module: str) -> None:
    calls = [node for node in ast.walk(syntax(module)) if isinstance(node, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    options = {ast.unparse(keyword) for call in calls for keyword in call.keywords}
    assert names.isdisjoint(UNSAFE_CALLS)
    assert [o for o in options if o.startswith("allow_pickle") and o != "allow_pickle=False"] == []
    assert UNSAFE_MODULES.isdisjoint(name.split(".")[0] for name in imports(module))


@every_module
def test_source_files_stay_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) < 400


@every_module
def test_every_name_in_all_exists(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(importlib.import_module(module), name)] == []


@every_module
def test_every_public_name_says_what_it_is(module: str) -> None:
    tree = syntax(module)
    assert ast.get_docstring(tree)
    public = set(importlib.import_module(module).__all__)
    assert [name for name, text in definitions(tree) if name in public and not text] == []


def definitions(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield each name that the module defines, with its docstring."""
    for node, after in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, ast.get_docstring(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from ((name, constant_text(after)) for name in names)


def constant_text(node: ast.stmt) -> str | None:
    """Return the text of a string that stands alone, as it does below a documented constant."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


@every_module
def test_every_example_in_a_docstring_runs(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_the_analyzers_load_no_agent_framework_no_database_and_no_plots() -> None:
    analyzers = [name for name in MODULES if is_within(name, ["detailed_balance.analyzers"])]
    unwanted = {"sqlalchemy", "matplotlib", "langgraph"}
    loaded = loaded_by(*analyzers)
    assert loaded.isdisjoint(unwanted)
    assert [name for name in loaded if name.startswith("langchain")] == []


def test_the_package_itself_loads_neither_langchain_nor_a_database() -> None:
    loaded = loaded_by("detailed_balance")
    assert loaded.isdisjoint({"sqlalchemy", "langgraph"})
    assert [name for name in loaded if name.startswith("langchain")] == []


def test_recording_into_a_graph_needs_no_langchain() -> None:
    loaded = loaded_by("detailed_balance.callbacks.transition", "detailed_balance.callbacks.graph")
    assert [name for name in loaded if name.startswith(("langchain", "langgraph"))] == []
