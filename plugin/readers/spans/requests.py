"""The tools that the reply of a model asks for, wherever a convention writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detailed_balance.readers.spans.span import parse_json

__all__ = ["CODE", "find_requests", "read_requests"]

CODE = "<code>"
"""Stands for the request of a model that calls tools by code, which it writes into its reply."""

_CODE = re.compile(r"<code>|```(?:py|python)\b")
_FLAT = re.compile(
    r"llm\.output_messages\.\d+\.message\.tool_calls\.\d+\.tool_call\.function\.name"
    r"|gen_ai\.completion\.\d+\.(?:tool_calls\.\d+\.name|function_call\.name)"
)
_REPLIES = (
    "gen_ai.output.messages",
    "ai.response.toolCalls",
    "output.value",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
    "gen_ai.completion",
    "haystack.agent.step.llm.output",
    "traceloop.entity.output",
    "events",
)
_FINISHES = (
    "gen_ai.response.finish_reasons",
    "gen_ai.response.finish_reason",
    "llm.finish_reason",
    "ai.response.finishReason",
)
_ASKS = frozenset({"tool_call", "tool_calls", "tool_use", "function_call", "tool-calls"})
_CALLS = ("tool_calls", "toolCalls")
_CALL = ("toolUse", "functionCall", "function_call")
_TYPES = frozenset({"tool_call", "tool_use", "tool-call", "function_call", "toolCall"})
_NAMES = ("name", "toolName", "tool_name")
_GIVEN = frozenset({"tools", "tool_choice", "input", "instructions"})
"""What a model was given, which some replies repeat."""
_DEEPEST = 16
_MOST = 10_000  # values of a reply that are searched


def find_requests(
    attributes: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> tuple[str, ...] | None:
    """Return the names of the tools that a reply asks for, by the attributes of its span.

    A name is empty where only that a tool is asked for is known. None means that nothing is known:
    conventions differ in where a reply stands, and leave it out.

    Examples
    --------
    >>> find_requests({"gen_ai.response.finish_reasons": ("tool_calls",)}, ())
    ('',)
    >>> find_requests({"output.value": '{"tool_calls": [{"function": {"name": "find"}}]}'}, ())
    ('find',)
    >>> find_requests({"output.value": "Done."}, ()) is None
    True
    """
    flat = [value for name, value in attributes.items() if _FLAT.fullmatch(name)]
    if flat:
        return tuple(map(str, flat))
    replies = [attributes[name] for name in _REPLIES if attributes.get(name) not in (None, "")]
    choices = [event for event in events if event.get("name") == "gen_ai.choice"]
    for reply in (*replies, *choices):
        if names := tuple(_find_calls(reply)):
            return names
    finishes = [attributes.get(name) for name in _FINISHES]
    finishes += [event.get("finish_reason") for event in choices]
    for finish in finishes:
        reasons = finish if isinstance(finish, list | tuple) else (finish,)
        if any(isinstance(reason, str) and reason.lower() in _ASKS for reason in reasons):
            return ("",)
    has_code = any(isinstance(reply, str) and _CODE.search(reply) for reply in replies)
    return (CODE,) if has_code else None


def read_requests(reply: Any) -> tuple[str, ...] | None:
    """Return the names of the tools that a whole reply asks for; None where there is none.

    Examples
    --------
    >>> read_requests({"tool_calls": [{"name": "find"}]}), read_requests("Done.")
    (('find',), ())
    """
    return None if reply in (None, "", {}) else tuple(_find_calls(reply))


def _find_calls(reply: Any) -> Iterator[str]:
    """Yield the names of the calls in a reply."""
    waiting = [(reply, 0)]
    for _ in range(_MOST):
        if not waiting:
            return
        value, depth = waiting.pop()
        value = parse_json(value)
        if depth > _DEEPEST:
            continue
        if isinstance(value, list | tuple):
            waiting += [(part, depth + 1) for part in reversed(value)]
        elif isinstance(value, Mapping):
            if name := _read_call(value):
                yield name
                continue
            calls = [parse_json(value.get(key)) for key in _CALLS]
            found = next((c for c in calls if isinstance(c, list) and c), None)
            if found is not None:
                yield from (_name_call(call) for call in found)
                continue
            parts = [part for key, part in value.items() if key not in _GIVEN]
            waiting += [(part, depth + 1) for part in reversed(parts) if not _is_text(part)]


def _is_text(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple) and not (
        isinstance(value, str) and value[:1] in "{["
    )


def _read_call(value: Mapping[str, Any]) -> str | None:
    """Return the name of the tool where an object is a call; else None."""
    for key in _CALL:
        if isinstance(inner := value.get(key), Mapping):
            return _name_call(inner)
    kind = value.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        return _name_call(value)
    if isinstance(value.get("toolName"), str):
        return _name_call(value)
    is_call = isinstance(value.get("name"), str) and ("arguments" in value or "args" in value)
    return _name_call(value) if is_call and "role" not in value else None


def _name_call(call: Any) -> str:
    if not isinstance(call, Mapping):
        return ""
    inner = call.get("function")
    called = inner if isinstance(inner, Mapping) else call
    return next((called[name] for name in _NAMES if isinstance(called.get(name), str)), "")
