"""What the events of LangChain and LangGraph say, read off their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp, GraphRecursionError
from langgraph.types import Command

from detailed_balance.analyzers.counts import START
from detailed_balance.analyzers.trajectory import Outcome
from detailed_balance.callbacks.states import NodeRun
from detailed_balance.callbacks.steps import Chain, StepRun

__all__ = [
    "is_node",
    "is_task",
    "read_chain",
    "read_node",
    "read_outcome",
    "read_parent",
    "read_reply",
    "read_tool",
]


def is_node(tags: Sequence[str] | None, metadata: Mapping[str, Any]) -> bool:
    """Say whether a run is a node's own; what runs inside it has its metadata, but not this tag.

    A conditional entry runs as a node that is called START: it only chooses.
    """
    for tag in tags or ():  # every event pays, and any() takes four times as long
        if tag.startswith("graph:step:"):
            return metadata.get("langgraph_node") != START
    return False


def is_task(metadata: Mapping[str, Any]) -> bool:
    """Say whether a run is a task of a functional workflow, or a part of one."""
    path = metadata.get("langgraph_path") or (False,)
    return path[-1] is True


def read_chain(name: str | None, inputs: Any) -> Chain:
    """Return what is known of a chain that may be a graph; one resumed is given nothing new."""
    return Chain(name, inputs is None or isinstance(inputs, Command))


def read_node(step: StepRun, output: Any) -> NodeRun:
    """Return what a state function is given of a node that has finished."""
    return NodeRun(
        step.name, step.step, tuple(step.tools), step.called_model, output, step.metadata
    )


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


def read_outcome(error: BaseException) -> Outcome:
    """Tell control flow from failure, and failure from cancellation, which is no `Exception`."""
    if isinstance(error, GraphBubbleUp):
        return Outcome.INTERRUPTED
    if isinstance(error, GraphRecursionError):
        return Outcome.RECURSION_LIMIT
    if isinstance(error, Exception):
        return Outcome.FAILED
    return Outcome.ABANDONED if isinstance(error, GeneratorExit) else Outcome.CANCELLED
