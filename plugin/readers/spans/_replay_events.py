"""The events of a span, sent to a callback handler once more, and the names of its states."""

from __future__ import annotations

import re
from asyncio import CancelledError
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp, GraphInterrupt, GraphRecursionError, ParentCommand
from langgraph.types import Command

from detailed_balance.callbacks import TransitionCallbackHandler
from detailed_balance.callbacks.states import (
    ActionStates,
    ModelCallStates,
    NodeRun,
    StateFunction,
    state_names,
)
from detailed_balance.callbacks.states.base import Combinable
from detailed_balance.readers.records.base import ReadOptions
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans._messages import find_messages, restore_messages
from detailed_balance.readers.spans.span import Span, parse_json
from detailed_balance.render.formatting import safe_text

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
_LIMITS = re.compile(
    r"^LimitReached$|^Max(?:imum)?\w*(?:Turns|Steps|Iterations)|Max(?:Turns|Steps|Iterations)\w*"
    r"|(?:Usage|Calls|Iteration|Recursion|Step|Turn)s?Limit"
)


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
    """Send the start of a span to a handler; what a model was asked only where `prompts`."""
    event: dict[str, Any] = {
        "run_id": run,
        "parent_run_id": parent,
        "name": span.name,
        "metadata": metadata,
        "tags": list(tags),
    }
    if span.kind == "tool":
        text = span.inputs if isinstance(span.inputs, str) else ""
        handler.on_tool_start({}, text, inputs=_read_arguments(span.inputs), **event)
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
    """Send the end of a span to a handler; its output only where `whole`."""
    if span.error is not None:
        handler.on_chain_error(make_error(span.error), run_id=run)
    elif span.kind == "model":
        reply = _make_reply(span)
        handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=reply)]]), run_id=run)
    else:
        output: Any = restore_messages(span.output) if whole else None
        handler.on_chain_end(output, run_id=run)


def _make_reply(span: Span) -> BaseMessage:
    """Return the reply of a model, with the calls that it is known to make, and what it took."""
    reply = next(find_messages(span.output), None) or AIMessage("")
    known: dict[str, Any] = {"id": span.id}  # what a message took counts once
    if span.asks is not None and bool(span.asks) != bool(getattr(reply, "tool_calls", ())):
        known["tool_calls"] = [
            ToolCall(name=name or "tool", args={}, id=None) for name in span.asks
        ]
    if span.tokens is not None:
        counts = {"input_tokens": span.tokens, "output_tokens": 0, "total_tokens": span.tokens}
        known["usage_metadata"] = counts
    if span.cost is not None:
        known["response_metadata"] = {"token_usage": {"cost": span.cost}}
    return reply.model_copy(update=known) if isinstance(reply, AIMessage) else reply


def _read_input(value: Any) -> Any:
    """Return an input without what it holds: None, the command that resumes a thread, or any.

    Of a list nothing but calls of tools is read, which a node was sent.
    """
    if value is None or isinstance(value, list):
        return value
    return Command() if isinstance(value, dict) and {"resume", "goto"} <= value.keys() else {}


def _read_arguments(value: Any) -> dict[str, Any] | None:
    """Return the arguments of a call; None where the trace does not hold them."""
    arguments = parse_json(value)
    return arguments if isinstance(arguments, dict) else None


@lru_cache(maxsize=1_000)
def make_error(name: str) -> BaseException:
    """Return an error whose type has this name: one that is not a failure, or a stand-in."""
    known = _KNOWN.get(name)
    return type(name, (Exception,), {})() if known is None else known


@lru_cache(maxsize=1_000)
def make_limit(name: str) -> BaseException:
    """Return the error of a limit of a framework, by its name."""
    known = _KNOWN.get(name)
    return type(name, (GraphRecursionError,), {})() if known is None else known


def is_limit(name: str) -> bool:
    """Say whether an error of an agent says that it came to the limit of its steps.

    Examples
    --------
    >>> is_limit("UsageLimitExceeded"), is_limit("MaxTurnsExceeded"), is_limit("ValueError")
    (True, True, False)
    """
    return _LIMITS.search(name) is not None


RECORD = "__record__"
"""Where the metadata of a node hold it as it stands in the trace."""


class NamedStates:
    """Names nodes as the options say, by default by what they did, and notes what fails.

    A state function of the live handler (`NodeStates`, `ToolStates`, ...) is given a `NodeRun`;
    any other one, and the fields of a state, the span as it stands in the trace, its metadata
    beside its fields, and ``node`` and ``tool``.

    Attributes
    ----------
    of_calls : bool
        Whether the states are those of model calls (`PromptStates`).
    of_trace : bool
        Whether they are named by what stands in the trace.
    failure : str
        Why the last name could not be found; "" where it could.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self.failure = ""
        given = options.states
        self.of_calls = isinstance(given, ModelCallStates)
        is_live = isinstance(given, Combinable) or hasattr(given, "name_tool")
        self.of_trace = options.reads_steps and not is_live
        self.live = cast("StateFunction", given) if is_live else ActionStates()

    @property
    def for_handler(self) -> StateFunction | ModelCallStates:
        """What the handler is given: itself, unless the states are those of model calls."""
        return cast("ModelCallStates", self._options.states) if self.of_calls else self

    def __call__(self, run: NodeRun) -> Iterable[str]:
        """Name a node; one whose name cannot be found is not a state."""
        try:
            if self.of_trace:
                name = self._options.name_state(self._show(run))
                return state_names(None if name is None else (name,))
            return state_names(self.live(run))
        except BadRecordError as error:
            self.failure = str(error)
        except Exception as error:  # whatever a user's function raises
            what = safe_text(f"{type(error).__name__}: {error}", 120)
            self.failure = f"the state function failed ({what})"
        return ()

    def name_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Name a tool that starts."""
        of_tool = getattr(self.live, "name_tool", None)
        return name if of_tool is None else str(of_tool(name, arguments))

    @staticmethod
    def _show(run: NodeRun) -> dict[str, Any]:
        shown = dict(run.metadata)
        record = shown.pop(RECORD, None) or {}
        return {"node": run.name, "tool": "|".join(run.tools)} | shown | record
