"""Print the figures of the structure of the code, of this tree or beside those of a revision.

Run ``python .ci/structure.py [REVISION ...]``. Nothing of the project is imported: files are read
as text, so any revision can be measured.

- A module is private where a part of its dotted name begins with an underscore.
- A name is public where a module that `docs/api.toml` lists has it in `__all__`, or in the stub
  beside it. A name counts once, however many modules hand it on.
- A chain of imports counts every import of the package in a module, in functions too, but not under
  `TYPE_CHECKING`; modules of a circle count as one link. A lazy face ends a chain, for importing it
  loads nothing; the line below it goes on to where the name comes from.
"""

import ast
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "detailed_balance"
FLOORS = {
    "plugin": PACKAGE,
    "callbacks": f"{PACKAGE}.callbacks",
    "analyzers": f"{PACKAGE}.analyzers",
    "examples/demo": f"{PACKAGE}.demo",
}


def main(revisions: list[str]) -> None:
    """Print one column for each revision, and the last for the tree as it is."""
    columns = [(revision, measure_revision(revision)) for revision in revisions]
    columns.append(("this tree", measure(ROOT)))
    heads = [head for head, _ in columns]
    print(f"{'':42}" + "".join(f"{head[:12]:>14}" for head in heads))
    for what in columns[-1][1]:
        print(f"{what:42}" + "".join(f"{figures[what]:>14,}" for _, figures in columns))


def measure_revision(revision: str) -> dict[str, int]:
    """Return the figures of a revision, unpacked into a folder that is removed again."""
    command = ["git", "archive", "--format=tar", revision]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S603
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(folder, filter="tar")
        return measure(Path(folder))


def measure(root: Path) -> dict[str, int]:
    """Return the figures of a tree, by what they count."""
    modules = find_modules(root)
    graph = import_graph(modules)
    folders = Counter(path.parent for path in modules.values())
    listed = tomllib.loads((root / "docs" / "api.toml").read_text(encoding="utf-8")).values()
    documented = {module for page in listed for module in page["modules"]} & set(modules)
    names = {module: set(public_names(module, path)) for module, path in modules.items()}
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules.values()]
    return {
        "files": len(modules),
        "folders": len(folders),
        "most files in one folder": max(folders.values()),
        "names reachable from documented modules": len(set().union(*map(names.get, documented))),
        "names listed by any module": sum(map(len, names.values())),
        "private modules": sum(is_private(name) for name in modules),
        "longest chain of imports": chain_length(graph),
        "the same through lazy faces": chain_length(import_graph(modules, through_faces=True)),
        "circles": len(circles),
        "lines in the wheel": sum(lines),
    }


def chain_length(graph: nx.DiGraph) -> int:
    """Return how many modules the longest chain of imports has."""
    return nx.dag_longest_path_length(nx.condensation(graph)) + 1


def find_modules(root: Path) -> dict[str, Path]:
    """Return every module of the package, by its name, with its file."""
    floors = dict(FLOORS)
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    mapped = settings["tool"]["setuptools"].get("package-dir", {})  # before there were links
    floors |= {folder: package for package, folder in mapped.items()}
    found = {}
    for folder, package in floors.items():
        for path in sorted(walk(root / folder)):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, without following links."""
    for place, _, names in os.walk(folder):
        if Path(place).name != "bootstrap":  # programs by themselves, no modules of the package
            yield from (Path(place, name) for name in names if name.endswith(".py"))


@cache
def syntax(path: Path) -> ast.Module:
    """Return the syntax of a file, which is read once; leave it as it is."""
    return ast.parse(path.read_text(encoding="utf-8"))


def is_private(module: str) -> bool:
    """Say whether a part of a module's name begins with an underscore."""
    return any(part.startswith("_") for part in module.split("."))


def public_names(module: str, path: Path) -> dict[str, str]:
    """Return what a module offers, with the module that it takes each name from.

    It is what stands in `__all__`, or in the stub beside a face, which loads names when first asked
    for.
    """
    stub = path.with_suffix(".pyi")
    tree = syntax(stub if stub.exists() else path)
    taken = {
        alias.name: f"{module}.{node.module}" if node.level else str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if stub.exists():
        return taken
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(name, ast.Name) and name.id == "__all__" for name in targets):
            return {name: taken.get(name, module) for name in ast.literal_eval(node.value)}
    return {}


def import_graph(
    modules: dict[str, Path], *, types: bool = False, through_faces: bool = False
) -> nx.DiGraph:
    """Return which module imports which.

    Parameters
    ----------
    modules : dict of str to pathlib.Path
        The modules, with their files.
    types : bool
        Whether imports under `TYPE_CHECKING` count.
    through_faces : bool
        Whether a name of a lazy face counts as an import of the module that it comes from.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(modules)
    faces = {
        f"{face}.{name}": home
        for face, path in modules.items()
        if through_faces and path.with_suffix(".pyi").exists()
        for name, home in public_names(face, path).items()
    }
    for module, path in modules.items():
        for target in imported(path, types):
            found = target if target in modules else target.rpartition(".")[0]
            home = faces.get(target, found)
            if home in modules and home != module:
                graph.add_edge(module, home)
    return graph


@cache
def imported(path: Path, types: bool) -> tuple[str, ...]:
    """Return what a file imports of the package, as module and name."""
    return tuple(imported_below(syntax(path), types))


def imported_below(node: ast.AST, types: bool) -> Iterator[str]:
    """Yield what is imported below `node`, as module and name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):  # no import stands in one
            continue
        if isinstance(child, ast.If) and not types and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").startswith(PACKAGE):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name.startswith(PACKAGE))
        else:
            yield from imported_below(child, types)


if __name__ == "__main__":
    main(sys.argv[1:])
