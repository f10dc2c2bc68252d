"""The parts of messages: calls of tools, their answers, and texts, in every common way.

A part is a block of Anthropic, LangChain or Bedrock, a part of Gemini or of Vercel's messages, an
item of OpenAI's Responses, or an entry of a list of calls. `read_part` makes of each what it means
for the path of an agent. What looks like a call and is of no known type is refused by its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from detailed_balance.callbacks.names import Answer
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.render.formatting import safe_text

_LONGEST_ARGUMENTS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a tool."""

    answer: Answer
    content: Any


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The call of a tool that a message asks for, with its answer where that stands beside it."""

    name: str
    id: str | None
    arguments: Any
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Words for the reader, and no call."""

    content: Any


@dataclass(frozen=True, slots=True)
class Break:
    """The model is asked again: what comes after it is another step."""


Part: TypeAlias = ToolUse | Reply | Text | Break

# Items of OpenAI's Responses that are calls, and what their tool is called where they do not say.
ITEMS = {
    "function_call": None,
    "custom_tool_call": None,
    "mcp_call": None,
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
    "computer_call": "computer",
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
    "tool_search_call": "tool_search",
}
# Those of them that the service carries out before it goes on.
_HOSTED = {
    *("mcp_call", "web_search_call", "file_search_call", "code_interpreter_call"),
    *("image_generation_call", "tool_search_call"),
}
ITEM_REPLIES = {
    *("function_call_output", "custom_tool_call_output", "computer_call_output"),
    *("local_shell_call_output", "shell_call_output", "apply_patch_call_output"),
    "tool_search_output",
}
_CALLS = {
    *("tool_use", "server_tool_use", "mcp_tool_use"),  # Anthropic
    *("tool_call", "server_tool_call", "invalid_tool_call"),  # LangChain
    *("tool-call", "dynamic-tool", "tool-invocation"),  # Vercel, pydantic-ai
    "builtin-tool-call",  # pydantic-ai
    *("function", "FunctionCall"),  # OpenAI's list of calls, AutoGen
}
_REPLIES = {
    *("tool_result", "mcp_tool_result", "web_search_tool_result", "web_fetch_tool_result"),
    *("code_execution_tool_result", "bash_code_execution_tool_result"),
    *("text_editor_code_execution_tool_result", "tool_search_tool_result"),
    *("server_tool_result", "function_response", "function_result"),
    *("tool-result", "tool-error", "tool-return", "builtin-tool-return"),
    *ITEM_REPLIES,
    "FunctionExecutionResult",
}
# Names of tools in their type that are not calls themselves.
_NO_CALLS = {
    *("mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "tool_reference"),
    *("tool-approval-request", "tool-approval-response", "tool-input-start", "tool-input-end"),
    *("tool-input-delta", "tool_search_tool_definition"),
}
_TEXTS = {"text", "output_text", "refusal", "message"}
_KINDS = ("type", "block_type", "content_type", "part_kind")
"""Where a part says what it is; the others are LlamaIndex's, Semantic Kernel's, pydantic-ai's."""
_WRAPPED_CALLS = (
    *("functionCall", "function_call", "toolUse", "toolCall", "tool_call"),
    "executableCode",
)
_WRAPPED_REPLIES = (
    *("functionResponse", "function_response", "toolResult", "toolResponse", "tool_call_result"),
    *("codeExecutionResult", "code_execution_result"),
)
_LIKE_A_CALL = re.compile(r"tool|call|function|invoke|action", re.IGNORECASE)
_TAGGED = re.compile(r"<(tool_call|function_call)>(.*?)(?:</\1>|\Z)", re.DOTALL)


def read_part(part: Any) -> Iterator[Part]:
    """Yield what a part of a message means for the path of an agent; nothing where it is neither.

    Raises
    ------
    BadRecordError
        Where it is a call without a name, or looks like a call and is of no known type.

    Examples
    --------
    >>> list(read_part({"type": "tool_use", "id": "1", "name": "search", "input": {}}))
    [ToolUse(name='search', id='1', arguments={}, reply=None)]
    >>> list(read_part({"functionCall": {"name": "search", "args": {"q": 1}}}))
    [ToolUse(name='search', id=None, arguments={'q': 1}, reply=None)]
    """
    if isinstance(part, str):
        yield from read_text_part(part)
    if not isinstance(part, Mapping):
        return
    kind = next((found for name in _KINDS if (found := _text(part.get(name)))), "")
    if kind in ITEMS:
        call = _read_call(part, ITEMS[kind])
        if kind not in _HOSTED:
            yield call
        else:
            output = part.get("output", part.get("result"))
            yield replace(call, reply=_read_reply(part, output))
            yield Break()
    elif kind == "non_standard":  # LangChain's wrapping of what it does not know
        yield from read_part(part.get("value"))
    elif kind in _CALLS or (kind.startswith("tool-") and kind not in _REPLIES | _NO_CALLS):
        yield from _read_vercel_call(part, kind)
    elif kind in _REPLIES or kind.endswith("_tool_result"):
        yield _read_reply(part, _content_of(part))
    elif kind in ("step-start", "step_start"):
        yield Break()
    elif kind in _TEXTS or (not kind and "text" in part):
        yield from read_text_part(part.get("text", part.get("content", part.get("refusal"))))
    elif not (yield from _read_wrapped(part)):
        called = "name" in part and not part.keys().isdisjoint(("input", "args", "arguments"))
        wrapped = (name for name, value in part.items() if isinstance(value, Mapping))
        kind = kind or next(filter(_LIKE_A_CALL.search, wrapped), "")
        if called and not kind:  # a bare call, as AutoGen lists them
            yield _read_call(part)
        elif called or (_LIKE_A_CALL.search(kind) and kind not in _NO_CALLS):
            raise BadRecordError(
                f"a part of type '{safe_text(kind, 60)}' looks like the call of a tool, and no "
                "such type is known; name states with states= (on the command line --state-field)"
            )


def read_text_part(text: Any) -> Iterator[Part]:
    """Yield the calls that stand in a text between tags, as some open models write, else the text.

    Examples
    --------
    >>> said = '<tool_call>{"name": "search", "arguments": {}}</tool_call>'
    >>> list(read_text_part(said)), list(read_text_part("Hello"))
    ([ToolUse(name='search', id=None, arguments={}, reply=None)], [Text(content='Hello')])
    """
    if not isinstance(text, str) or not text.strip():
        return
    tagged = _TAGGED.findall(text) if "_call>" in text else []
    for _, written in tagged:
        yield from read_written_calls(written)
    if not tagged:
        yield Text(text)


def read_written_calls(written: Any) -> Iterator[ToolUse]:
    """Yield the calls that a text of JSON holds: one, or a list of them.

    Raises
    ------
    BadRecordError
        Where the text is not JSON, or a call has no name.
    """
    found = parse_json_text(written)
    for call in found if isinstance(found, list) else [found]:
        if not isinstance(call, Mapping):
            raise BadRecordError("the call of a tool in it is not JSON with a 'name'")
        yield _read_call(call)


def _read_vercel_call(part: Mapping[str, Any], kind: str) -> Iterator[Part]:
    """Yield a call, which in Vercel's messages may hold its own answer."""
    inner = part.get("toolInvocation")
    part = inner if isinstance(inner, Mapping) else part
    named = kind[5:] if kind.startswith("tool-") and kind not in _CALLS else None
    call = _read_call(part, named)
    if part.get("state") in ("output-available", "output-error", "output-denied", "result"):
        output = part.get("output", part.get("result", part.get("errorText")))
        call = replace(call, reply=_read_reply(part, output))
    yield call


def _read_wrapped(part: Mapping[str, Any]) -> Generator[Part, None, bool]:
    """Yield the call or the answer that a part holds under its own name, as Gemini and Bedrock do.

    Returns
    -------
    bool
        Whether there was one.
    """
    for name in _WRAPPED_CALLS:
        if isinstance(call := part.get(name), Mapping):
            yield _read_call(call, "code_execution" if name == "executableCode" else None)
            return True
    for name in _WRAPPED_REPLIES:
        if isinstance(reply := part.get(name), Mapping):
            yield _read_reply(reply, _content_of(reply))
            return True
    return False


def read_call(call: Any) -> ToolUse:
    """Return an entry of a list of calls.

    Raises
    ------
    BadRecordError
        Where it names no tool.

    Examples
    --------
    >>> read_call({"id": "1", "function": {"name": "search", "arguments": "{}"}}).name
    'search'
    >>> read_call({"function": "search", "args": {}, "id": "1"}).name
    'search'
    """
    if not isinstance(call, Mapping):
        raise BadRecordError("the call of a tool in it is not an object")
    kind = call.get("type")
    return _read_call(call, ITEMS.get(kind) if isinstance(kind, str) else None)


def _read_call(call: Mapping[str, Any], usual: str | None = None) -> ToolUse:
    function = call.get("function")
    part = function if isinstance(function, Mapping) else call
    names = ("name", "toolName", "tool_name", "function_name", "function")
    name = next((found for key in names if (found := _text(part.get(key)))), usual)
    if not name:
        raise BadRecordError("a tool call in it names no tool")
    keys = ("arguments", "args", "input", "parameters", "action", "tool_kwargs")
    given = next((part[key] for key in keys if key in part), None)
    # An item of a response has an id of its own besides that of its call.
    ids = ("call_id", "id", "toolCallId", "tool_call_id", "toolUseId")
    return ToolUse(name, _first_text(call, ids), parse_json_text(given))


def parse_json_text(value: Any) -> Any:
    """Return what a text of JSON says; any other value, and any other text, as it is."""
    if isinstance(value, str) and len(value) <= _LONGEST_ARGUMENTS:
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def read_reply(reply: Mapping[str, Any]) -> Reply:
    """Return a message of a tool as its answer.

    Examples
    --------
    >>> read_reply({"role": "tool", "tool_call_id": "1", "content": "sunny"}).answer.call
    '1'
    """
    return _read_reply(reply, _content_of(reply))


def _content_of(reply: Mapping[str, Any]) -> Any:
    names = ("content", "output", "response", "result", "error", "errorText")
    return next((reply[name] for name in names if reply.get(name) is not None), None)


def _read_reply(reply: Mapping[str, Any], content: Any) -> Reply:
    ids = ("tool_call_id", "tool_use_id", "call_id", "toolCallId", "toolUseId", "id")
    if isinstance(origin := reply.get("origin"), Mapping):  # Haystack: the call itself
        reply = {**origin, **reply}
    text = content[:2_000] if isinstance(content, str) else _first_words(content)
    name = _first_text(reply, ("name", "toolName", "tool_name", "function"))
    return Reply(Answer(name, _first_text(reply, ids), text, _failed(reply, content)), content)


def _first_words(content: Any) -> str:
    """Return the text of an answer that is a list of blocks."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and isinstance(text := block.get("text"), str):
            return text[:2_000]
    return ""


def _failed(reply: Mapping[str, Any], content: Any) -> bool | None:
    """Say whether an answer is an error; None where it does not say."""
    if reply.get("status") in ("error", "failed") or reply.get("state") == "output-error":
        return True
    if reply.get("type") == "tool-error":
        return True
    kind = content.get("type") if isinstance(content, Mapping) else None
    if isinstance(kind, str) and kind.startswith("error-"):  # Vercel's kinds of outputs
        return True
    for name in ("is_error", "isError", "error"):
        if name in reply:
            found = reply[name]
            if found is None or isinstance(found, bool):
                return found if found or name != "error" else None
            return bool(found)
    return False if reply.get("status") == "success" else None


def _first_text(value: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((text for name in names if (text := _text(value.get(name)))), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
