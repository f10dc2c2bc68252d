"""Graphs that were counted before: directed networkx graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import networkx as nx

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.transition import Transition, is_context
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.rows import read_records
from detailed_balance.readers.records.values import BadRecordError, parse_count, parse_state

__all__ = ["read_escapes", "read_graph"]


def read_graph(graph: nx.Graph[Any], options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield each edge of a directed graph as a transition, then the escapes of its nodes.

    An edge key that is a context, as in `TransitionGraph.graph`, gives the labels.
    """
    if not graph.is_directed():
        raise ReadError(
            f"{bad.name} is an undirected graph, which does not say which way it was walked; "
            "save it as a directed one"
        )
    yield from read_records(_edges(graph, options.fields), options.of_moves(), bad)
    usual = graph.graph.get("node_default", {}).get("escapes", 0)
    yield from read_escapes(graph.nodes(data="escapes", default=usual), options, bad)


def read_escapes(
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
            bad.taken += 1
            yield Transition(options.fields.rename(state), None, count=count)


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
