"""What the events of LangChain and LangGraph say, read off their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp

from detailed_balance.callbacks.runs import NodeTask
from detailed_balance.callbacks.states import NodeRun
from detailed_balance.callbacks.supersteps import Ending

__all__ = [
    "is_node",
    "read_ending",
    "read_node",
    "read_parent",
    "read_reply",
    "read_tool",
]


def is_node(tags: Sequence[str] | None) -> bool:
    """Say whether a run is a node's own; what runs inside it has its metadata, but not this tag."""
    for tag in tags or ():  # noqa: SIM110 - every event pays, and any() takes four times as long
        if tag.startswith("graph:step:"):
            return True
    return False


def read_node(task: NodeTask, output: Any) -> NodeRun:
    """Return what a state function is given of a node that has finished."""
    labels, tools = task.metadata, tuple(task.tools)
    name, step = labels["langgraph_node"], labels["langgraph_step"]
    return NodeRun(name, step, tools, task.called_model, output, labels)


def read_parent(event: Mapping[str, Any]) -> int | None:
    """Return the id of the run that an event's run is inside of."""
    parent = event.get("parent_run_id")
    return parent.int if parent else None


def read_tool(serialized: Mapping[str, Any] | None, event: Mapping[str, Any]) -> str:
    """Return the name of a tool that starts."""
    return str(event.get("name") or (serialized or {}).get("name") or "tool")


def read_reply(response: LLMResult) -> BaseMessage:
    """Return the first reply of a model as a message; an empty one where there is none."""
    first = next((generation for batch in response.generations for generation in batch), None)
    if isinstance(first, ChatGeneration):
        return first.message
    return AIMessage(first.text if first else "")


def read_ending(error: BaseException) -> Ending:
    """Tell control flow from failure, and failure from cancellation, which is no `Exception`."""
    if isinstance(error, GraphBubbleUp):
        return Ending.INTERRUPTED
    return Ending.FAILED if isinstance(error, Exception) else Ending.CANCELLED
