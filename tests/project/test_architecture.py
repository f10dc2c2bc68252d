"""The rules that hold for every source file; ARCHITECTURE.md gives their reasons."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
import structure

from tests.support.sources import (
    MODULES,
    ROOT,
    failed_examples,
    import_graph,
    is_private,
    public_names,
)

every_module = pytest.mark.parametrize("module", MODULES)
faces = [module for module, path in MODULES.items() if path.name == "__init__.py"]

MOST_FILES = 13
MOST_LEVELS = 3
MOST_LINES = 600
DOCUMENTED = {
    module
    for page in tomllib.loads((ROOT / "docs" / "api.toml").read_text(encoding="utf-8")).values()
    for module in page["modules"]
}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def syntax(module: str) -> ast.Module:
    return structure.syntax(MODULES[module])


@cache
def imports(module: str) -> list[str]:
    """Return what `module` imports, wherever in the file; relative imports begin with a dot."""
    found = []
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


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
    assert some | {"detailed_balance.analyzers.counts", "detailed_balance.demo"} <= set(MODULES)


def test_the_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_by_way_of_others() -> None:
    circles = nx.strongly_connected_components(import_graph(types=True, through_faces=True))
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []


def test_the_longest_chain_of_imports_has_at_most_16_links() -> None:
    chain = nx.dag_longest_path(import_graph())
    assert len(chain) <= 16, " -> ".join(chain)


def test_a_room_has_at_most_13_files_and_3_levels() -> None:
    folders = Counter(path.parent for path in MODULES.values())
    assert {str(folder): count for folder, count in folders.items() if count > MOST_FILES} == {}
    deepest = max(len(folder.relative_to(ROOT).parts) for folder in folders)
    assert deepest <= MOST_LEVELS


def test_what_records_knows_counts_runs_errors_and_the_guard_of_what_measures() -> None:
    # import-linter sees no further than a face.
    graph = import_graph(through_faces=True)
    known = {
        target.split(".")[2]
        for module, target in graph.edges
        if f"{module}.".startswith("detailed_balance.callbacks.")
        and target.startswith("detailed_balance.analyzers.")
    }
    assert known <= {"boundaries", "counts", "errors", "guard", "runs"}


def test_every_room_begins_with_its_charter() -> None:
    for face in faces:
        first = MODULES[face].read_text(encoding="utf-8").split("\n", 1)[0]
        assert first.startswith('"""'), face
        assert first.rstrip('"').endswith("."), face


def test_a_private_module_stays_in_its_room() -> None:
    for module, target in import_graph(types=True).edges:
        parts = target.split(".")
        hidden = next((i for i, part in enumerate(parts) if part.startswith("_")), len(parts))
        room = ".".join(parts[:hidden])
        if hidden < len(parts):
            assert f"{module}.".startswith(f"{room}."), f"{module} imports {target}"


def test_only_a_private_module_has_no_list_of_names() -> None:
    lists = {module for module in MODULES if public_names(module)}
    private = {module for module in MODULES if is_private(module)}
    assert sorted(lists & private) == []
    assert sorted({*MODULES} - lists - private - {*faces}) == []


def test_every_documented_module_is_there_and_no_more_than_300_names() -> None:
    assert DOCUMENTED - set(MODULES) == set()
    assert [module for module in DOCUMENTED if is_private(module)] == []
    assert len({name for module in DOCUMENTED for name in public_names(module)}) <= 300


def test_a_class_name_is_defined_once() -> None:
    homes = defaultdict(list)
    for module in MODULES:
        for node in syntax(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_file_has_the_name_of_what_its_face_exports() -> None:
    for face in faces:
        files = {path.stem for path in MODULES[face].parent.iterdir()}
        assert files & public_names(face) == set(), face


def test_imports_are_absolute_and_name_the_import_package() -> None:
    for module in MODULES:
        heads = {name.split(".")[0] for name in imports(module)}
        assert heads.isdisjoint({"", "plugin", "callbacks", "analyzers", "examples"}), module


def test_nothing_evaluates_or_unpickles() -> None:
    for module in MODULES:
        calls = [node for node in ast.walk(syntax(module)) if isinstance(node, ast.Call)]
        names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        words = [word for call in calls for word in call.keywords if word.arg == "allow_pickle"]
        assert names.isdisjoint(UNSAFE_CALLS), module
        assert {ast.unparse(word) for word in words} <= {"allow_pickle=False"}, module
        assert UNSAFE_MODULES.isdisjoint(name.split(".")[0] for name in imports(module)), module


def test_source_files_stay_short() -> None:
    for module, path in MODULES.items():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, module


@every_module
def test_every_name_that_is_listed_exists_and_is_documented(module: str) -> None:
    loaded = importlib.import_module(module)
    assert ast.get_docstring(syntax(module))
    names = public_names(module)
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert [name for name, text in definitions(syntax(module)) if name in names and not text] == []


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
    assert failed_examples(module) == 0


def test_the_analyzers_load_no_agent_framework_no_database_and_no_plots() -> None:
    analyzers = [name for name in MODULES if f"{name}.".startswith("detailed_balance.analyzers.")]
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


def test_the_page_on_architecture_names_what_is_there() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", page))
    assert len(paths) > 30
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    places = re.findall(r"`([\w.]+)`\s+\(`([\w/.]+\.pyi?)`\)", page)
    assert len(places) > 10
    for name, path in places:
        own = name.rpartition(".")[2]
        assert re.search(
            rf"\b(def|class) {own}\b|^ *{own}\b.*=", (ROOT / path).read_text(), re.M
        ), name
