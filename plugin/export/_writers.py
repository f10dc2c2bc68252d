"""Tables and graphs into files; the names of states may hold anything that a model wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
from networkx.readwrite.graphml import GraphMLWriter

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Table, plain
from detailed_balance.render.formatting import escape_text, format_csv

_TEXTS = {"source", "target", "state", "kind", "evidence"}
_JAVA = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
_WHOLE = {"count", "component", "escapes", "forward", "backward"}


def write_csv(path: Path, table: Table, about: Mapping[str, Any]) -> None:
    """Write a table as CSV, which has no place for the settings."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(format_csv(table, zip(*table.values(), strict=True)))


def write_parquet(path: Path, table: Table, about: Mapping[str, Any]) -> None:
    r"""Write a table as Parquet, with what it is under ``detailed_balance`` in its metadata.

    Half a surrogate pair, which no Parquet holds, becomes an escape such as ``\ud800``.

    Raises
    ------
    InvalidInputError
        Where pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInputError(
            "Parquet is written by pyarrow, which is not installed; install "
            "'detailed-balance[parquet]'"
        ) from error
    kinds = {"loop": arrow.list_(arrow.string())}
    kinds |= dict.fromkeys(_TEXTS, arrow.string()) | dict.fromkeys(_WHOLE, arrow.int64())
    fields = [arrow.field(name, kinds.get(name, arrow.float64())) for name in table]
    note = {"detailed_balance": json.dumps(plain(dict(about)))}
    columns = {name: [_encodable(value) for value in column] for name, column in table.items()}
    made = arrow.table(columns, schema=arrow.schema(fields, metadata=note))
    parquet.write_table(made, path)


def _encodable(value: Any) -> Any:
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def write_json(path: Path, tables: Mapping[str, Table], about: Mapping[str, Any]) -> None:
    """Write tables as one JSON document: each an object of columns; NaN becomes null."""
    document = plain({**about, **tables})
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_graphml(path: Path, tables: Mapping[str, Table], about: Mapping[str, Any]) -> None:
    """Write a graph: states with their potential, moves with their counts and violations.

    A node is called as its state, through `escape_text`, since XML has no control characters. An
    edge has `count` and, for Gephi, the same as `weight`; `violations` is the number of driven
    loops that it is part of. Escapes are a number of their node.
    """
    graph: nx.DiGraph[str] = nx.DiGraph(detailed_balance=json.dumps(plain(dict(about))))
    _add_moves(graph, tables.get("counts", {}))
    _add_states(graph, tables.get("potential", {}))
    _add_loops(graph, tables.get("violations", {}))
    writer = _GraphMLWriter(encoding="utf-8", prettyprint=True)
    writer.add_graph_element(graph)
    with path.open("wb") as file:
        writer.dump(file)


class _GraphMLWriter(GraphMLWriter):
    """Writes infinity as Java does, in which Gephi is written; Python reads that too."""

    def add_data(
        self, name: str, element_type: Any, value: Any, scope: str = "all", default: Any = None
    ) -> Any:
        if element_type is float:
            value = _JAVA.get(value, value)
        return super().add_data(name, element_type, value, scope, default)


def _add_moves(graph: nx.DiGraph[str], table: Table) -> None:
    for row in _rows(table):
        source = _add_node(graph, row["source"])
        if row["target"] is None:
            graph.nodes[source]["escapes"] = row["count"]
        else:
            target, count = _add_node(graph, row["target"]), row["count"]
            graph.add_edge(source, target, count=count, weight=float(count))


def _add_states(graph: nx.DiGraph[str], table: Table) -> None:
    for row in _rows(table):
        node = _add_node(graph, row.pop("state"))
        graph.nodes[node].update(row)


def _add_loops(graph: nx.DiGraph[str], table: Table) -> None:
    for row in _rows(table):
        loop = [_add_node(graph, state) for state in row["loop"]]
        for source, target in zip(loop, [*loop[1:], loop[0]], strict=True):
            graph.add_edge(source, target)
            edge = graph.edges[source, target]
            edge["violations"] = edge.get("violations", 0) + 1
            edge["affinity"] = max(edge.get("affinity", 0.0), row["affinity"])


def _add_node(graph: nx.DiGraph[str], state: str) -> str:
    name = escape_text(state)
    graph.add_node(name, label=name, boundary=state in BOUNDARIES)
    return name


def _rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
