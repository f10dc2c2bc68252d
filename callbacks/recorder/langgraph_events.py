"""What the events of LangChain and LangGraph say, read off their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.errors import GraphBubbleUp, GraphRecursionError

from detailed_balance.analyzers import START, Outcome

__all__ = [
    "read_ambient_parent",
    "read_kind",
    "read_outcome",
    "read_reply",
    "read_tool",
]


def read_kind(tags: Sequence[str], metadata: Mapping[str, Any]) -> Literal["node", "task"] | None:
    """Say whether a run is a node of a graph, or a task of a functional workflow or a part of one.

    What runs inside a node has its metadata, but not its tag. A conditional entry runs as a node
    that is called START: it only chooses.
    """
    for tag in tags:  # every event pays, and any() takes four times as long
        if tag.startswith("graph:step:") and metadata.get("langgraph_node") != START:
            return "node"
    path = metadata.get("langgraph_path")
    return "task" if path and path[-1] is True else None


def read_ambient_parent() -> int | None:
    """Return the run that LangChain's own configuration of this thread or task names, if any.

    Events name their parent themselves, and better: a run may be started here for another parent.
    """
    manager = (var_child_runnable_config.get() or {}).get("callbacks")
    parent = getattr(manager, "parent_run_id", None)
    return parent.int if isinstance(parent, UUID) else None


def read_tool(serialized: Mapping[str, Any] | None, event: Mapping[str, Any]) -> str:
    """Return the name of a tool that starts."""
    return str(event.get("name") or (serialized or {}).get("name") or "tool")


def read_reply(response: LLMResult) -> BaseMessage:
    """Return the first reply of a model as a message; an empty one where there is none."""
    first = next((generation for batch in response.generations for generation in batch), None)
    if isinstance(first, ChatGeneration):
        return first.message
    return AIMessage(first.text if first else "")


def read_outcome(error: BaseException) -> Outcome:
    """Distinguish control flow from failure, and failure from cancellation, no `Exception`."""
    if isinstance(error, GraphBubbleUp):
        return Outcome.INTERRUPTED
    if isinstance(error, GraphRecursionError):
        return Outcome.RECURSION_LIMIT
    if isinstance(error, Exception):
        return Outcome.FAILED
    return Outcome.ABANDONED if isinstance(error, GeneratorExit) else Outcome.CANCELLED
