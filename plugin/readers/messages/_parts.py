"""The parts of chat messages as objects of JSON: calls of tools, their answers, what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.facts import RunFacts, TaskFacts, Usage
from detailed_balance.callbacks.names import Answer, name_answer
from detailed_balance.readers.records.values import BadRecordError

RESPOND = "respond"
"""The state of a plain answer."""

_LONGEST_ARGUMENTS = 64 * 1024


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The call of a tool that a message of the assistant asks for."""

    name: str
    id: str | None
    arguments: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a tool."""

    answer: Answer
    content: Any


def is_reply(message: Mapping[str, Any]) -> bool:
    """Say whether a message is the assistant's.

    Examples
    --------
    >>> is_reply({"role": "assistant", "content": "Hello"}), is_reply({"type": "human"})
    (True, False)
    """
    return message.get("role", message.get("type")) in ("assistant", "ai")


def read_calls(message: Mapping[str, Any]) -> list[ToolUse]:
    """Return the calls that a message of the assistant asks for, in every way to write them.

    Examples
    --------
    >>> read_calls({"tool_calls": [{"id": "1", "function": {"name": "search", "arguments": "{}"}}]})
    [ToolUse(name='search', id='1', arguments='{}')]
    """
    content, called = message.get("content"), message.get("function_call")
    asked = [*(message.get("tool_calls") or ())]
    blocks = content if isinstance(content, list) and not asked else []
    used = [b for b in blocks if isinstance(b, dict) and b.get("type") == "tool_use"]
    return [_read_call(c) for c in [*asked, *([called] if isinstance(called, dict) else ()), *used]]


def _read_call(call: Any) -> ToolUse:
    function = call.get("function") if isinstance(call, dict) else None
    part = function if isinstance(function, dict) else call or {}
    name = part.get("name") if isinstance(part, dict) else None
    if not isinstance(name, str) or not name:
        raise BadRecordError("a tool call in it names no tool")
    given = next((part[key] for key in ("arguments", "args", "input") if key in part), None)
    return ToolUse(name, _text(call.get("id")), given)


def _parse(arguments: Any) -> Any:
    """Return arguments written as JSON as what they are; others as the model wrote them."""
    if isinstance(arguments, str) and len(arguments) <= _LONGEST_ARGUMENTS:
        with suppress(ValueError, RecursionError):
            return json.loads(arguments)
    return arguments


def read_replies(messages: Iterable[Any]) -> list[Reply]:
    """Return the answers of tools, up to the next message of the assistant.

    Examples
    --------
    >>> found = read_replies([{"role": "tool", "tool_call_id": "1", "content": "sunny"}])
    >>> found[0].answer.call, found[0].answer.text
    ('1', 'sunny')
    """
    replies: list[Reply] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        message = unwrap(message)
        if is_reply(message):
            break
        role, content = message.get("role", message.get("type")), message.get("content")
        if role in ("tool", "function"):
            replies.append(_read_reply(message, ("tool_call_id", "id"), content))
        elif isinstance(content, list):
            replies += [
                _read_reply(block, ("tool_use_id",), block.get("content"))
                for block in content
                if isinstance(block, dict) and block.get("type") == "tool_result"
            ]
    return replies


def unwrap(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without the wrapping that LangChain's ``messages_to_dict`` puts round it."""
    inner = message.get("data")
    return {**message, **inner} if isinstance(inner, dict) and "type" in message else message


def _read_reply(reply: Mapping[str, Any], ids: Sequence[str], content: Any) -> Reply:
    failed = reply.get("is_error", reply.get("error"))
    if reply.get("status") in ("error", "success"):
        failed = reply["status"] == "error"
    call = next((text for name in ids if (text := _text(reply.get(name)))), None)
    text = content[:2_000] if isinstance(content, str) else ""
    known = failed if isinstance(failed, bool) else None
    return Reply(Answer(_text(reply.get("name")), call, text, known), content)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def answer_to(call: ToolUse, replies: Sequence[Reply]) -> Reply | None:
    """Return the answer to a call: by its id, or else by its name."""
    for reply in replies:
        said = reply.answer
        if said.call == call.id if said.call and call.id else said.name == call.name:
            return reply
    return None


def name_call(call: ToolUse, replies: Sequence[Reply]) -> str:
    """Return the state that a call is, as its answer tells.

    Examples
    --------
    >>> said = "Error: find is not a valid tool, try one of [search]."
    >>> call = ToolUse("find", "1", {})
    >>> name_call(call, read_replies([{"role": "tool", "tool_call_id": "1", "content": said}]))
    'find!unknown'
    """
    reply = answer_to(call, replies)
    return call.name if reply is None else name_answer(reply.answer, call.name) or RESPOND


def read_facts(
    run: RunFacts, number: int, message: Mapping[str, Any], replies: Sequence[Reply]
) -> StepFacts | None:
    """Return the facts of the step that a message is, with the answers of its tools."""
    try:
        calls = read_calls(message) if is_reply(message) else []
    except BadRecordError:  # your own state function named it all the same
        return None
    answers = [reply for call in calls if (reply := answer_to(call, replies))]
    contents = [reply.content for reply in answers] if calls else [message.get("content")]
    task = TaskFacts(
        [run.call(call.name, _parse(call.arguments)) for call in calls],
        [run.answer(content) for content in contents if content],
        any(reply.answer.failed for reply in answers),
        _read_usage(message),
    )
    return run.step(number, [task])


def _read_usage(message: Mapping[str, Any]) -> list[Usage]:
    """Return what a message cost: in the words of OpenAI, of LangChain and of tau2-bench."""
    counts = message.get("usage_metadata") or message.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    sides = [
        _number(counts.get(f"{s}_tokens")) for s in ("prompt", "completion", "input", "output")
    ]
    known = [side for side in sides if side is not None]
    total = _number(counts.get("total_tokens"))
    tokens = sum(known) if total is None and known else total
    cost = _number(message.get("cost"))
    spent = Usage(None, None if tokens is None else int(tokens), cost)
    return [] if tokens is None and cost is None else [spent]


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 <= value < 1e15 else None
