"""The events that a span was made of, told to a callback handler once more."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp, GraphInterrupt, GraphRecursionError, ParentCommand
from langgraph.types import Command

from detailed_balance.callbacks.recorder.handler import TransitionCallbackHandler
from detailed_balance.readers.spans._messages import find_messages, revive
from detailed_balance.readers.spans.span import Span, parse_json

__all__ = ["send_end", "send_start"]

_KNOWN: Mapping[str, BaseException] = {
    "CancelledError": CancelledError(),
    "GeneratorExit": GeneratorExit(),
    "GraphBubbleUp": GraphBubbleUp(),
    "GraphInterrupt": GraphInterrupt(),
    "GraphRecursionError": GraphRecursionError(),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "NodeInterrupt": GraphInterrupt(),
    "ParentCommand": ParentCommand(Command()),
}


def send_start(
    handler: TransitionCallbackHandler,
    span: Span,
    run: UUID,
    parent: UUID | None,
    metadata: Mapping[str, Any],
    tags: Sequence[str],
    *,
    prompts: bool = False,
) -> None:
    """Tell a handler that a span started; with what a model was asked only where `prompts`."""
    event: dict[str, Any] = {
        "run_id": run,
        "parent_run_id": parent,
        "name": span.name,
        "metadata": metadata,
        "tags": list(tags),
    }
    if span.kind == "tool":
        handler.on_tool_start({}, "", inputs=_read_arguments(span.inputs), **event)
    elif span.kind == "model":
        messages = list(find_messages(span.inputs)) if prompts else []
        handler.on_chat_model_start({}, [messages], **event)
    elif span.kind == "retriever":
        handler.on_retriever_start({}, "", **event)
    else:
        handler.on_chain_start({}, _read_input(span.inputs), **event)


def send_end(
    handler: TransitionCallbackHandler, span: Span, run: UUID, *, whole: bool = True
) -> None:
    """Tell a handler that a span ended; with its output only where `whole`."""
    if span.error is not None:
        handler.on_chain_error(_make_error(span.error), run_id=run)
    elif span.kind == "model":
        reply = next(find_messages(span.output), None) or AIMessage("")
        handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=reply)]]), run_id=run)
    else:
        output: Any = revive(span.output) if whole else None
        handler.on_chain_end(output, run_id=run)


def _read_input(value: Any) -> Any:
    """Return what tells new input from none and from a command, by which a thread is resumed."""
    if value is None:
        return None
    return Command() if isinstance(value, dict) and {"resume", "goto"} <= value.keys() else {}


def _read_arguments(value: Any) -> dict[str, Any]:
    arguments = parse_json(value)
    return arguments if isinstance(arguments, dict) else {}


@lru_cache(maxsize=1_000)
def _make_error(name: str) -> BaseException:
    """Return an error whose type has this name: one that is no failure, or a stand-in."""
    known = _KNOWN.get(name)
    return type(name, (Exception,), {})() if known is None else known
