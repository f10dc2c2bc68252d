"""Print the figures of the structure of the code, of this tree or beside those of a revision.

Run ``python .ci/structure.py [REVISION ...]``. Nothing of the project is imported: files are read
as text, so any revision can be measured.

- A module is private where a part of its dotted name begins with an underscore.
- A name is public where a module that `docs/api.toml` lists has it in `__all__`, or in the stub
  beside it. A name counts once, however many modules hand it on.
- A chain of imports counts every import of the package in a module, in functions too, but not under
  `TYPE_CHECKING`; modules of a circle count as one link.
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
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules.items()}
    graph = import_graph(texts)
    condensed = nx.condensation(graph)
    folders = Counter(path.parent for path in modules.values())
    listed = tomllib.loads((root / "docs" / "api.toml").read_text(encoding="utf-8")).values()
    documented = {module for page in listed for module in page["modules"]} & set(modules)
    public = {name for module in documented for name in public_names(modules[module])}
    exported = [public_names(path) for path in modules.values() if path.suffix == ".py"]
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    return {
        "files": len(modules),
        "folders": len(folders),
        "most files in one folder": max(folders.values()),
        "names reachable from documented modules": len(public),
        "names in any __all__": sum(map(len, exported)),
        "private modules": sum(is_private(name) for name in modules),
        "longest chain of imports": nx.dag_longest_path_length(condensed) + 1,
        "circles": len(circles),
        "lines in the wheel": sum(len(text.splitlines()) for text in texts.values()),
    }


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


def is_private(module: str) -> bool:
    """Say whether a part of a module's name begins with an underscore."""
    return any(part.startswith("_") for part in module.split("."))


def public_names(path: Path) -> set[str]:
    """Return what a module lists in `__all__`, or in the stub beside it."""
    stub = path.with_suffix(".pyi")
    if stub.exists():
        tree = ast.parse(stub.read_text(encoding="utf-8"))
        return {a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(name, ast.Name) and name.id == "__all__" for name in targets):
            return set(ast.literal_eval(node.value)) - {"__version__"}
    return set()


def import_graph(texts: dict[str, str], *, types: bool = False) -> nx.DiGraph:
    """Return which module imports which, with `types` under `TYPE_CHECKING` too."""
    graph = nx.DiGraph()
    graph.add_nodes_from(texts)
    for module, text in texts.items():
        for target in imported(ast.parse(text), types):
            home = target if target in texts else target.rpartition(".")[0]
            if home in texts and home != module:
                graph.add_edge(module, home)
    return graph


def imported(node: ast.AST, types: bool) -> Iterator[str]:
    """Yield what is imported below `node`, as module and name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and not types and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").startswith(PACKAGE):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name.startswith(PACKAGE))
        else:
            yield from imported(child, types)


if __name__ == "__main__":
    main(sys.argv[1:])
