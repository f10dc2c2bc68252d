"""Graphs that were counted before: networkx objects, and GraphML files through networkx."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

import networkx as nx

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.transition import Transition, is_context
from detailed_balance.readers.base import BadLines, ReadOptions, open_trace, read_records
from detailed_balance.readers.fields import BadRecordError, FieldNames, parse_count, parse_state
from detailed_balance.text import safe_text

__all__ = ["read", "read_graphml"]


def read(graph: nx.Graph[Any], options: ReadOptions, bad: BadLines) -> Iterator[Transition]:
    """Yield each edge of a directed graph as a transition, then the escapes of its nodes.

    An edge key that is a context, as in `TransitionGraph.graph`, gives the labels.
    """
    if not graph.is_directed():
        raise ReadError(
            f"{bad.name} is an undirected graph, which does not say which way it was walked; "
            "save it as a directed one"
        )
    yield from read_records(_edges(graph, options.fields), options, bad)
    usual = graph.graph.get("node_default", {}).get("escapes", 0)
    for node, escapes in graph.nodes(data="escapes", default=usual):
        try:
            state, count = parse_state(node, "node"), parse_count(escapes, "escapes")
        except BadRecordError as error:
            bad.report(f"node {node!r}", str(error))
            continue
        if count:
            yield Transition(state, None, count=count)


def read_graphml(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Transition]:
    """Yield the transitions of a GraphML file, plain or gzip; it is held in memory whole."""
    try:
        with open_trace(path) as (stream, _):
            text = stream.read()
        _refuse_entities(text)
        with warnings.catch_warnings(action="ignore"):  # they would print what the file says
            graph = nx.read_graphml(io.BytesIO(text), force_multigraph=True)
    except ReadError:
        raise
    except Exception as error:  # networkx answers broken files with errors of every kind
        what = safe_text(f"{type(error).__name__}: {error}", 200)
        raise ReadError(f"{path} cannot be read as GraphML ({what})") from error
    yield from read(graph, options, bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _edges(graph: nx.Graph[Any], fields: FieldNames) -> Iterator[tuple[str, dict[str, Any]]]:
    # networkx keeps the defaults that GraphML declares aside.
    usual = graph.graph.get("edge_default", {})
    wanted = {fields.count, *fields.context}
    multi = graph if isinstance(graph, nx.MultiDiGraph) else nx.MultiDiGraph(graph)
    for source, target, key, data in multi.edges(keys=True, data=True):
        record = {name: value for name, value in (usual | data).items() if name in wanted}
        record |= {fields.source: source, fields.target: target}
        if is_context(key):
            record["context"] = dict(key)
        yield f"edge {source!r} -> {target!r}", record


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
