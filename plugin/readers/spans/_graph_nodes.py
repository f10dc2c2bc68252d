"""Which spans are nodes of a graph, and in which superstep of it they ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any
from uuid import UUID

from detailed_balance.analyzers import START
from detailed_balance.readers.spans.span import Span

_LONGEST_NAMESPACE = 2_000
STEP_TAG = "graph:step:"
"""What the tag of a node's own run begins with."""


@dataclass(frozen=True, slots=True)
class SpanPlace:
    """Where an open span stands.

    Parameters
    ----------
    run : UUID
        Its own.
    graph : UUID
        The run of the graph whose nodes are inside of it.
    namespace : str
        The place among graphs and their nodes, as LangGraph writes it: ``outer:1|inner:2``.
    node : tuple
        The node and the superstep that it is, or is part of.
    """

    run: UUID
    graph: UUID
    namespace: str = ""
    node: tuple[Any, Any] = (None, None)


def find_namespace(span: Span, above: SpanPlace | None) -> str:
    """Return the namespace of a span; without one of its own it is that of what it is inside of.

    Examples
    --------
    >>> find_namespace(Span("t", "7", None, "chain", "plan", 0, metadata={"graph.node.id": "a"}), None)
    'a:7'
    """  # noqa: E501 - a doctest's code stands in one line
    around = above.namespace if above else ""
    given = span.metadata.get("langgraph_checkpoint_ns")
    name = span.metadata.get("langgraph_node") or span.metadata.get("graph.node.id")
    if given or not name or (above and name_node(span.metadata) == above.node):
        return given or around
    own = f"{str(name).replace('|', '/')}:{span.id}"
    if len(around) > _LONGEST_NAMESPACE:  # nodes within nodes without end would fill the memory
        around = blake2b(around.encode(), digest_size=16).hexdigest()
    return f"{around}|{own}" if around else own


def name_node(metadata: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the node and the superstep that a span is part of."""
    if metadata.get("langgraph_node"):
        return metadata["langgraph_node"], metadata.get("langgraph_step")
    return metadata.get("graph.node.id"), None


@dataclass(slots=True)
class _Superstep:
    """The last superstep of a graph that does not number them."""

    number: int = 0
    nodes: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)
    """What its nodes say that they came after."""
    until: float = 0.0


@dataclass(slots=True)
class GraphNodes:
    """Tells the nodes of one trace, and numbers the supersteps that are not numbered.

    Nodes of a graph that overlap in time, or say that they came after the same other node
    (``graph.node.parent_id``), ran side by side.
    """

    _supersteps: dict[UUID, _Superstep] = field(default_factory=dict)

    def is_node(self, span: Span, namespace: str, above: SpanPlace | None) -> bool:
        """Say whether a span is a node's own, and not a part of it.

        LangGraph tags the node's own run; in a trace without tags it is known by its namespace.
        """
        metadata = span.metadata
        name = metadata.get("langgraph_node") or metadata.get("graph.node.id")
        if not name or name == START or metadata.get("langgraph_path", (False,))[-1] is True:
            return False
        if any(tag.startswith(STEP_TAG) for tag in span.tags):
            return True
        return span.kind == "chain" and namespace != (above.namespace if above else "")

    def describe(self, span: Span, namespace: str, graph: UUID) -> dict[str, Any]:
        """Return LangGraph's metadata of a node."""
        metadata = span.metadata
        step = metadata.get("langgraph_step")
        if step is None:
            step = self._number(span, graph)
        name = metadata.get("langgraph_node") or str(metadata["graph.node.id"])
        return {
            "langgraph_node": name,
            "langgraph_step": step,
            "langgraph_checkpoint_ns": namespace,
        }

    def _number(self, span: Span, graph: UUID) -> int:
        last = self._supersteps.setdefault(graph, _Superstep())
        node, after = str(span.metadata.get("graph.node.id")), _after(span)
        beside = after in last.after and after not in last.nodes
        if span.start >= last.until and not beside:
            last = self._supersteps[graph] = _Superstep(last.number + 1)
        last.nodes.add(node)
        last.after.update({after} - {""})
        last.until = max(last.until, span.start if span.end is None else span.end)
        return last.number


def _after(span: Span) -> str:
    return str(span.metadata.get("graph.node.parent_id") or "")
