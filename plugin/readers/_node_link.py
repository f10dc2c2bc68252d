"""Graphs as node-link JSON, as networkx and d3 write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.transition import is_context
from detailed_balance.readers.graphs import read_escapes
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.rows import LineRecord, read_records
from detailed_balance.readers.tables._document import load_document

__all__ = ["looks_like", "read"]


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins as networkx writes a graph."""
    return head.lstrip().startswith(b"{") and b'"multigraph"' in head


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a graph, plain or gzip; it is held in memory whole.

    The edges are called ``edges`` by networkx from 3.4 on, and ``links`` before.
    """
    # Not through networkx, for which the second of two edges with one key replaces the first.
    document = load_document(path)
    if not isinstance(document, dict) or not document.get("directed"):
        raise ReadError(
            f'{bad.name} is no directed node-link graph; it needs "directed": true, or else it '
            "does not say which way its edges were walked"
        )
    edges = document.get("edges", document.get("links"))
    if not isinstance(edges, list):
        raise ReadError(f"{bad.name} is no node-link graph: it has no list 'edges' or 'links'")
    yield from read_records(_records(edges, bad), options.of_moves(), bad)
    yield from read_escapes(_escapes(document.get("nodes"), bad), options, bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _records(edges: list[Any], bad: BadLines) -> Iterator[LineRecord]:
    for number, edge in enumerate(edges, 1):
        if not isinstance(edge, dict):
            bad.report(f"edge {number}", "an edge is an object; this is another value")
            continue
        yield f"edge {number}", edge | _context(edge.get("key"))


def _context(key: Any) -> dict[str, Any]:
    """Return the labels of an edge key that is a context, as in `TransitionGraph.graph`."""
    pairs = (
        tuple(tuple(p) if isinstance(p, list) else p for p in key) if isinstance(key, list) else ()
    )
    return {"context": dict(pairs)} if pairs and is_context(pairs) else {}


def _escapes(nodes: Any, bad: BadLines) -> Iterator[tuple[Any, Any]]:
    for number, node in enumerate(nodes if isinstance(nodes, list) else (), 1):
        if isinstance(node, dict):
            yield node.get("id"), node.get("escapes", 0)
        else:
            bad.report(f"node {number}", "a node is an object; this is another value")
