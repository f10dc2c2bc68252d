"""Directed graphs of counts: networkx graphs, GraphML files and node-link JSON."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

import networkx as nx

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import is_context
from detailed_balance.callbacks import Transition
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    read_whole,
)
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.readers.records.values import BadRecordError, parse_count, parse_state
from detailed_balance.readers.tables.json_files import load_document
from detailed_balance.render.formatting import safe_text

__all__ = [
    "looks_like_graphml",
    "looks_like_node_link",
    "read_graph",
    "read_graphml",
    "read_node_link",
]


def read_graph(graph: nx.Graph[Any], options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield each edge of a directed graph as a transition, then the escapes of its nodes.

    An edge key that is a context, as in `TransitionGraph.graph`, gives the labels.
    """
    if not graph.is_directed():
        raise ReadError(
            f"{bad.name} is an undirected graph, which does not say which way it was taken; "
            "save it as a directed one"
        )
    yield from read_records(_edges(graph, options.fields), options.of_moves(), bad)
    usual = graph.graph.get("node_default", {}).get("escapes", 0)
    yield from _read_escapes(graph.nodes(data="escapes", default=usual), options, bad)


def _read_escapes(
    nodes: Iterable[tuple[Any, Any]], options: ReadOptions, bad: BadLines
) -> Iterator[Transition]:
    """Yield the escapes of nodes, each given with their number."""
    for node, escapes in nodes:
        try:
            state, count = parse_state(node, "node"), parse_count(escapes, "escapes")
        except BadRecordError as error:
            bad.report(f"node {node!r}", str(error))
            continue
        if count:
            bad.accepted += 1
            yield Transition(options.fields.rename(state), None, count=count)


def _edges(graph: nx.Graph[Any], fields: FieldNames) -> Iterator[tuple[str, dict[str, Any]]]:
    # networkx keeps the defaults that GraphML declares aside.
    usual = graph.graph.get("edge_default", {})
    wanted = {fields.count, *fields.labels}
    multi = graph if isinstance(graph, nx.MultiDiGraph) else nx.MultiDiGraph(graph)
    for source, target, key, data in multi.edges(keys=True, data=True):
        record = {name: value for name, value in (usual | data).items() if name in wanted}
        record |= {fields.source: source, fields.target: target}
        if is_context(key):
            record["context"] = dict(key)
        yield f"edge {source!r} -> {target!r}", record


def looks_like_graphml(opening: Opening) -> bool:
    """Say whether a file begins as GraphML."""
    return b"<graphml" in opening.head


def read_graphml(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a GraphML file, plain or gzip; it is held in memory whole."""
    try:
        text = read_whole(path)
        _refuse_entities(text)
        with warnings.catch_warnings(action="ignore"):  # they would print what the file says
            graph = nx.read_graphml(io.BytesIO(text), force_multigraph=True)
    except ReadError:
        raise
    except Exception as error:  # networkx answers broken files with errors of every kind
        what = safe_text(f"{type(error).__name__}: {error}", 200)
        raise ReadError(f"{path} cannot be read as GraphML ({what})") from error
    yield from read_graph(graph, options, bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _refuse_entities(text: bytes) -> None:
    """Refuse XML that declares entities, a way to make a small file unpack to gigabytes.

    The parser under networkx never fetches external entities, and from expat 2.4.1 on it stops
    at a hundredfold amplification; an older expat, or a hundredfold of a large file, is not safe.
    GraphML has no need of entities.
    """

    def refuse(name: str, *_: object) -> None:
        raise ValueError(f"it declares the entity {name!r}, which GraphML has no need of")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.Parse(text, True)


def looks_like_node_link(opening: Opening) -> bool:
    """Say whether a file begins as networkx writes a graph."""
    return "multigraph" in opening.first


def read_node_link(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a graph, plain or gzip; it is held in memory whole.

    The edges are called ``edges`` by networkx from 3.4 on, and ``links`` before.
    """
    # Not through networkx, for which the second of two edges with one key replaces the first.
    document = load_document(path)
    if not isinstance(document, dict) or not document.get("directed"):
        raise ReadError(
            f'{bad.name} is not a directed node-link graph; it needs "directed": true, or else it '
            "does not say which way its edges were taken"
        )
    edges = document.get("edges", document.get("links"))
    if not isinstance(edges, list):
        raise ReadError(f"{bad.name} is not a node-link graph: it has no list 'edges' or 'links'")
    yield from read_records(_read_edges(edges, bad), options.of_moves(), bad)
    yield from _read_escapes(_escapes(document.get("nodes"), bad), options, bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _read_edges(edges: list[Any], bad: BadLines) -> Iterator[LineRecord]:
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
