"""One message as what it means for the path of an agent, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from detailed_balance.callbacks.facts import Usage
from detailed_balance.readers.messages._blocks import (
    ITEM_REPLIES,
    ITEMS,
    Part,
    Reply,
    ToolUse,
    read_call,
    read_part,
    read_reply,
    read_written_calls,
)
from detailed_balance.readers.records.values import BadRecordError, parse_time
from detailed_balance.render.formatting import safe_text

Role: TypeAlias = Literal["assistant", "tool", "other"]

_SILENT = {
    *("toolcallsummarymessage", "thoughtevent", "memoryqueryevent", "handoffmessage"),
    *("modelclientstreamingchunkevent", "userinputrequestedevent"),
}
"""Messages of AutoGen that repeat or announce what others say."""
_ROLES: dict[str, Role] = {
    **dict.fromkeys(("assistant", "ai", "model", "aimessagechunk", "aimessage"), "assistant"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "assistantmessage", "function_call"), "assistant"),
    **dict.fromkeys(("tool_call", "textmessage", "multimodalmessage"), "assistant"),
    **dict.fromkeys(("toolcallrequestevent", "stopmessage"), "assistant"),
    **dict.fromkeys(("tool", "function", "toolmessage", "functionmessage", "ipython"), "tool"),
    **dict.fromkeys(("observation", "tool_response", "function_response"), "tool"),
    **dict.fromkeys(("functionexecutionresultmessage", "toolcallexecutionevent"), "tool"),
    **dict.fromkeys(("user", "human", "system", "developer", "remove", "chat"), "other"),
    **dict.fromkeys(("usermessage", "systemmessage", "humanmessage", "removemessage"), "other"),
    **dict.fromkeys(_SILENT, "other"),
    **dict.fromkeys(("chatmessage", "data", "critic", "context"), "other"),
}
_PERSON = re.compile(r"(user|human|admin)([ _-]?(proxy|agent))*", re.IGNORECASE)
_ITEM_WORDS = ("_call", "_output", "reasoning", "item_reference", "compaction")
_MCP_ITEMS = {"mcp_list_tools", "mcp_approval_request", "mcp_approval_response"}
_TOKENS = (
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"),
    *("inputTokens", "outputTokens", "promptTokens", "completionTokens"),
    *("promptTokenCount", "candidatesTokenCount"),
)
_TOTALS = ("total_tokens", "totalTokens", "totalTokenCount")
_USAGES = ("usage_metadata", "usage", "usageMetadata", "models_usage", "modelUsage")
_CONTENTS = ("parts", "content", "value", "blocks", "items")
_PYDANTIC_AI: dict[str, Role] = {"request": "other", "response": "assistant"}
_TIMES = ("timestamp", "created_at", "createdAt")


@dataclass(frozen=True, slots=True)
class Message:
    """A message, read.

    Parameters
    ----------
    role : str
        ``assistant``, ``tool`` or ``other``.
    parts : list
        The calls, answers and texts in it, in order.
    is_item : bool
        Whether it is a part of a response, as OpenAI's Responses lists them.
    name : str or None
        Who speaks, where it says.
    usage : Usage or None
        What it cost.
    time : float or None
        When it was written.
    raw : dict
        The message itself, without wrapping.
    """

    role: Role
    parts: list[Part]
    is_item: bool
    name: str | None
    usage: Usage | None
    time: float | None
    raw: dict[str, Any]


def unwrap(message: Any) -> dict[str, Any]:
    """Return a message without what LangChain's ``messages_to_dict`` and ``dumpd`` put round it.

    Raises
    ------
    BadRecordError
        Where it is not an object.

    Examples
    --------
    >>> unwrap({"type": "ai", "data": {"content": "Hello"}})
    {'type': 'ai', 'data': {'content': 'Hello'}, 'content': 'Hello'}
    """
    if not isinstance(message, dict):
        raise BadRecordError("a message is an object; this is another value")
    if message.get("type") == "constructor" and isinstance(message.get("kwargs"), dict):
        path = message.get("id")
        name = path[-1] if isinstance(path, list) and path else None
        inner = message["kwargs"]
        return {"type": str(name), **inner} if isinstance(name, str) else inner
    for name in ("data", "message"):
        inner = message.get(name)
        if isinstance(inner, dict) and (name == "data") == ("type" in message):
            return {**message, **inner}
    inner = message.get("content")  # of Gemini's candidates, and of events of Google's ADK
    if isinstance(inner, dict) and "role" in inner and "role" not in message:
        return {**message, **inner}
    return message


def find_role(message: Mapping[str, Any]) -> Role | None:
    """Return whose message it is, by its role, its type or its sender; None where it is not known.

    Examples
    --------
    >>> find_role({"role": "model"}), find_role({"type": "function_call"}), find_role({"a": 1})
    ('assistant', 'assistant', None)
    """
    kind = message.get("type")
    if is_item(message):
        return "tool" if str(kind).endswith("_output") else "assistant"
    if isinstance(message.get("parts"), list) and (
        role := _PYDANTIC_AI.get(str(message.get("kind")))
    ):
        return role
    author = message.get("author")
    told = [message.get("role"), message.get("from"), kind]
    told.append(author.get("role") if isinstance(author, Mapping) else None)
    for word in told:
        if isinstance(word, str) and (role := _ROLES.get(word.lower())):
            return "other" if role == "assistant" and is_user(message.get("source")) else role
    return None


def is_user(name: object) -> bool:
    """Say whether a speaker is the person, or stands for it.

    Examples
    --------
    >>> is_user("user_proxy"), is_user("writer")
    (True, False)
    """
    return isinstance(name, str) and _PERSON.fullmatch(name) is not None


def is_item(message: Mapping[str, Any]) -> bool:
    """Say whether it is an item of OpenAI's Responses other than a user's message."""
    kind = message.get("type")
    if not isinstance(kind, str) or "from" in message or "data" in message:
        return False
    if kind == "message":
        return message.get("role") == "assistant"
    return "role" not in message and (kind.endswith(_ITEM_WORDS) or kind in _MCP_ITEMS)


def looks_like_message(value: Any) -> bool:
    """Say whether a value has the role or the type of a message.

    Examples
    --------
    >>> looks_like_message({"role": "user", "content": "q"}), looks_like_message({"role": "admin"})
    (True, False)
    """
    try:
        message = unwrap(value)
    except BadRecordError:
        return False
    if find_role(message) is None:
        return False
    if is_item(message):
        return message.get("type") in ("message", "reasoning", *ITEMS, *ITEM_REPLIES)
    told = (*_CONTENTS, "tool_calls", "function_call", "toolInvocations")
    return not message.keys().isdisjoint(told)


def read_message(value: Any) -> Message:
    """Return a message as what it means.

    Raises
    ------
    BadRecordError
        Where it is not a message, its role is not known, or a call in it cannot be read.

    Examples
    --------
    >>> read = read_message({"role": "model", "parts": [{"functionCall": {"name": "search"}}]})
    >>> read.role, read.parts[0].name
    ('assistant', 'search')
    """
    message = unwrap(value)
    role = find_role(message)
    if role is None:
        shown = next((message[k] for k in ("role", "from", "type") if k in message), None)
        raise BadRecordError(
            f"a message has a role, such as assistant, user or tool; this one has "
            f"{safe_text(repr(shown), 60) if shown is not None else 'none'}"
        )
    item = is_item(message)
    if role == "tool":
        parts: list[Part] = list(_read_replies(message))
    else:
        parts = list(_read_parts(message, item, calls=role == "assistant"))
    sender = message.get("name") or message.get("source")
    silent = str(message.get("type")).lower() in _SILENT
    name = sender if isinstance(sender, str) and sender and not silent else None
    return Message(role, parts, item, name, _read_usage(message), _read_time(message), message)


def _read_parts(message: Mapping[str, Any], item: bool, *, calls: bool) -> Iterator[Part]:
    """Yield what an assistant asks for and says, or the answers that a user's message holds."""
    if item and message.get("type") != "message":
        yield from read_part(message)
        return
    if calls and message.get("from") in ("function_call", "tool_call"):
        yield from read_written_calls(message.get("value"))
        return
    invoked = message.get("toolInvocations") if calls and "tool_calls" not in message else None
    if isinstance(invoked, list) and not isinstance(message.get("parts"), list):
        for call in invoked:  # of Vercel's older messages, whose words come after them
            yield from read_part({"type": "tool-invocation", "toolInvocation": call})
    listed = list(_read_lists(message)) if calls else []
    known = {None, *(call.id for call in listed if isinstance(call, ToolUse))} if listed else ()
    answers = []  # that stand beside their calls
    for part in _list_contents(message):
        for found in read_part(part) if calls or isinstance(part, dict) else ():
            if isinstance(found, Reply):
                if found.answer.call in known:
                    answers.append(found)
                else:
                    yield found
            elif calls and not (isinstance(found, ToolUse) and found.id in known):
                yield found
    yield from listed
    yield from answers


def _list_contents(message: Mapping[str, Any]) -> list[Any]:
    """Return the parts of a message, or its text as the only one."""
    content = next((found for name in _CONTENTS if (found := message.get(name))), None)
    return content if isinstance(content, list) else [content]


def _read_lists(message: Mapping[str, Any]) -> Iterator[Part]:
    """Yield the calls that stand in lists beside the content."""
    more = message.get("additional_kwargs")
    for fields in (message, more if isinstance(more, Mapping) else {}):
        asked = fields.get("tool_calls") or fields.get("toolCalls")
        if asked is not None and not isinstance(asked, list):
            raise BadRecordError("the calls of tools in it are not a list")
        for call in asked or ():
            yield read_call(call)
        called = fields.get("function_call")
        if isinstance(called, Mapping) and not asked:
            yield read_call(called)
        if asked or called:
            return


def _read_replies(message: Mapping[str, Any]) -> Iterator[Reply]:
    """Yield the answers in a message of tools: it is one itself, or a list of them."""
    several = message.get("tool_responses")
    if isinstance(several, list) and several:
        yield from (read_reply(each) for each in several if isinstance(each, Mapping))
        return
    parts = [part for part in _list_contents(message) if isinstance(part, Mapping)]
    if message.get("type") in ("FunctionExecutionResultMessage", "ToolCallExecutionEvent"):
        yield from (read_reply(part) for part in parts)
        return
    found = [each for part in parts for each in read_part(part) if isinstance(each, Reply)]
    if found or "value" not in message:
        more = message.get("additional_kwargs")  # of LlamaIndex: whose answer it is
        yield from found or [read_reply({**(more if isinstance(more, dict) else {}), **message})]
    else:
        yield read_reply({**message, "content": message["value"]})


def _read_time(message: Mapping[str, Any]) -> float | None:
    if message.get(_TIMES[0]) is not None:
        return parse_time(message[_TIMES[0]], _TIMES[0])
    for name in _TIMES[1:]:
        with suppress(BadRecordError):
            if (time := parse_time(message.get(name), name)) is not None:
                return time
    return None


def _read_usage(message: Mapping[str, Any]) -> Usage | None:
    """Return what a message cost, in the words of all who tell it."""
    about = message.get("response_metadata")
    told = [message.get(name) for name in _USAGES]
    if isinstance(about, Mapping):
        told += [about.get("token_usage"), about.get("usage")]
    counts = next((each for each in told if isinstance(each, Mapping) and each), {})
    total = next((n for name in _TOTALS if (n := _number(counts.get(name))) is not None), None)
    sides = [n for name in _TOKENS if (n := _number(counts.get(name))) is not None]
    tokens = sum(sides) if total is None and sides else total
    cost = _number(message.get("cost"))
    if tokens is None and cost is None:
        return None
    identity = message.get("id")
    own = identity if isinstance(identity, str) and identity.startswith(("msg_", "run-")) else None
    return Usage(own, None if tokens is None else int(tokens), cost)


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 <= value < 1e15 else None
