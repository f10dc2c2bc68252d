"""From JSON back to the messages and commands of LangChain, as a state function is given them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langgraph.types import Command

from detailed_balance.readers.spans.span import parse_json

_DEEPEST = 20  # levels of JSON that are searched
_SAYS = {"content", "parts", "tool_calls"}
_TYPES: dict[str, type[BaseMessage]] = {
    "ai": AIMessage,
    "assistant": AIMessage,
    "model": AIMessage,
    "AIMessage": AIMessage,
    "AIMessageChunk": AIMessage,
    "human": HumanMessage,
    "user": HumanMessage,
    "HumanMessage": HumanMessage,
    "system": SystemMessage,
    "developer": SystemMessage,
    "SystemMessage": SystemMessage,
    "tool": ToolMessage,
    "ToolMessage": ToolMessage,
    "remove": RemoveMessage,
    "RemoveMessage": RemoveMessage,
}


def restore_messages(value: Any, depth: int = _DEEPEST) -> Any:
    """Return `value` with messages and commands in place of the JSON that stands for them.

    Nothing is imported and no class is looked up by a name in the JSON: only messages and
    commands are made, with the fields that state functions use.

    Examples
    --------
    >>> restore_messages({"messages": [{"type": "ai", "content": "done"}]})["messages"][0].content
    'done'
    """
    if depth == 0:
        return value
    if isinstance(value, list):
        return [restore_messages(part, depth - 1) for part in value]
    if not isinstance(value, dict):
        return value
    if message := _read_message(value):
        return message
    if {"update", "goto"} <= value.keys():
        return Command(
            update=restore_messages(value["update"], depth - 1), resume=value.get("resume")
        )
    return {key: restore_messages(part, depth - 1) for key, part in value.items()}


def find_messages(value: Any, depth: int = _DEEPEST) -> Iterator[BaseMessage]:
    """Yield the messages in `value`, wherever they stand.

    Examples
    --------
    >>> found = find_messages({"generations": [[{"message": {"role": "user", "content": "hi"}}]]})
    >>> [message.type for message in found]
    ['human']
    """
    parts = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        if message := _read_message(value):
            yield message
            return
        parts = list(value.values())
    for part in parts if depth else ():
        yield from find_messages(part, depth - 1)


def _read_message(value: dict[str, Any]) -> BaseMessage | None:
    """Return the message that JSON stands for, in any of the ways in which it is written."""
    kind = value.get("role") or value.get("type")
    body: Any = value
    if kind == "constructor" and isinstance(value.get("id"), list) and value["id"]:
        kind, body = value["id"][-1], value.get("kwargs")
    elif isinstance(value.get("data"), dict):
        body = value["data"]
    made = _TYPES.get(kind) if isinstance(kind, str) else None
    if made is None or not isinstance(body, dict) or not _SAYS & body.keys():
        return None
    if made is RemoveMessage:
        return RemoveMessage(str(body.get("id") or ""))
    content = body.get("content")
    calls = list(_tool_calls(body))
    named: dict[str, Any] = {"content": content if isinstance(content, str) else _read_text(body)}
    if made is AIMessage:
        named["tool_calls"] = calls
    if made is ToolMessage:
        named["tool_call_id"] = str(body.get("tool_call_id") or "")
        named["status"] = "error" if body.get("status") == "error" else "success"
        named["name"] = body["name"] if isinstance(body.get("name"), str) else None
    return made(**named)


def _read_text(body: Mapping[str, Any]) -> str:
    """Return the text of a message that is written in parts."""
    parts = body.get("content") or body.get("parts")
    found = parts if isinstance(parts, list) else ()
    texts = (p.get("text") or p.get("content") if isinstance(p, dict) else p for p in found)
    return "".join(text for text in texts if isinstance(text, str))


def _tool_calls(body: Mapping[str, Any]) -> Iterator[ToolCall]:
    """Yield the tools that a message asks for."""
    calls = body.get("tool_calls")
    if not isinstance(calls, list):
        parts = body.get("parts")
        found = parts if isinstance(parts, list) else ()
        calls = [p for p in found if isinstance(p, dict) and p.get("type") == "tool_call"]
    for call in calls:
        if isinstance(call, dict):
            function = call.get("function")
            called = function if isinstance(function, dict) else call
            arguments = parse_json(called.get("args", called.get("arguments")))
            arguments = arguments if isinstance(arguments, dict) else {}
            yield ToolCall(name=str(called.get("name")), args=arguments, id=str(call.get("id")))
