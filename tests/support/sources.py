"""The modules of the package, their imports and names, by the script that counts them."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("structure", ROOT / ".ci" / "structure.py")
structure = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(structure)

MODULES = structure.find_modules(ROOT)
is_private = structure.is_private


@lru_cache
def import_graph(*, types: bool) -> nx.DiGraph:
    """Return which module imports which, with `types` under `TYPE_CHECKING` too."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    return structure.import_graph(texts, types=types)


@lru_cache
def public_names(module: str) -> frozenset[str]:
    """Return what a module lists in `__all__`, or in the stub beside it."""
    return frozenset(structure.public_names(MODULES[module]))
