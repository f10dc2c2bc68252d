"""The modules of the package, their imports and names, by the script that counts them."""

import importlib
from doctest import DocTestFinder, DocTestRunner
from functools import lru_cache
from pathlib import Path

import networkx as nx
import structure

ROOT = Path(__file__).resolve().parents[2]
MODULES = structure.find_modules(ROOT)
is_private = structure.is_private


@lru_cache
def import_graph(*, types: bool = False, through_faces: bool = False) -> nx.DiGraph:
    """Return which module imports which."""
    return structure.import_graph(MODULES, types=types, through_faces=through_faces)


@lru_cache
def public_names(module: str) -> frozenset[str]:
    """Return what a module lists in `__all__`, or in the stub beside it."""
    return frozenset(structure.public_names(module, MODULES[module]))


def failed_examples(module: str) -> int:
    """Run the examples in the docstrings of a module, and return how many fail.

    `doctest.testmod` does the same, but takes as long for a docstring without one.
    """
    runner = DocTestRunner()
    for test in DocTestFinder().find(importlib.import_module(module), module):
        if test.examples:
            runner.run(test)
    return runner.failures
