"""The state of a task of a checkpoint, by its writes, as `ActionStates` names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from detailed_balance.callbacks.names import INVALID, MODEL, Answer, is_hook, name_answer

_OF_A_MODEL = ("ai", "AIMessageChunk")
_NOT_WRITTEN = object()


def _messages_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the messages in a value that was written to a channel."""
    several = value if isinstance(value, list) else [value]
    return [m for m in several if isinstance(m, dict) and "content" in m]


class ThreadNames:
    """The names of the tasks of one graph in one thread, one after the other.

    What a task answers, and which messages are new, is known from the tasks before it.
    """

    __slots__ = ("_calls", "_seen")

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}
        self._seen: set[str] = set()

    def read(self, node: str | None, writes: Mapping[str, list[Any]]) -> dict[str, Any]:
        """Return what a state function is given of a task: its tools, and whether it is a state."""
        messages = [
            m for values in writes.values() for value in values for m in _messages_of(value)
        ]
        new = messages
        if is_hook(node or ""):
            last = max((i for i, m in enumerate(messages) if m.get("id") in self._seen), default=-1)
            rewrites = any(m.get("type") in ("remove", "human") for m in messages)
            new = [] if rewrites else messages[last + 1 :]
        self._remember(messages)
        answers = [m for m in new if m.get("type") == "tool"]
        called = any(m.get("type") in _OF_A_MODEL for m in new)
        hook = is_hook(node or "")
        tools = tuple(self._name_answers(node, answers)) if hook or not called else ()
        asked = any(_asks_for_tools(value) for values in writes.values() for value in values)
        return {
            "called_model": called,
            "asked_tools": asked,
            "tools": tools,
            "attempt": tuple(_invalid(answers, writes)) if called and not hook else (),
            "acts": self._acts(node, writes, new, tools) if hook else None,
        }

    def _acts(
        self,
        node: str | None,
        writes: Mapping[str, list[Any]],
        new: list[Mapping[str, Any]],
        tools: tuple[str, ...],
    ) -> tuple[str, ...]:
        """Return the states of a hook: none, unless it acts."""
        name = (str(node),)
        if _last(writes, "structured_response", None) is not None:
            return name
        answered = any(m.get("type") in _OF_A_MODEL and not m.get("tool_calls") for m in new)
        if states := (*tools, *([MODEL] if answered else ())):
            return states
        return name if _last(writes, "jump_to", None) is not None else ()

    def _name_answers(
        self, node: str | None, answers: Iterable[Mapping[str, Any]]
    ) -> Iterator[str]:
        hook = is_hook(node or "")
        for message in answers:
            answer = read_answer(message)
            called = self._calls.get(answer.call or "")
            if called is None and not hook and node != "tools":
                continue  # it hands on what another graph was asked
            if name := answer.name or called:
                yield name_answer(answer, name, refused=hook) or name

    def _remember(self, messages: Iterable[Mapping[str, Any]]) -> None:
        for message in messages:
            if isinstance(name := message.get("id"), str):
                self._seen.add(name)
            for call in message.get("tool_calls") or ():
                if isinstance(call, dict) and isinstance(call.get("id"), str):
                    self._calls[call["id"]] = str(call.get("name"))


def read_answer(message: Mapping[str, Any]) -> Answer:
    """Return what names the answer that a message is."""
    content, more = message.get("content"), message.get("additional_kwargs")
    marks = more.get("lc_data") if isinstance(more, dict) else None
    decision = marks.get("decision") if isinstance(marks, dict) else None
    text = content[:2_000] if isinstance(content, str) else ""
    name, call = (message.get(key) or None for key in ("name", "tool_call_id"))
    return Answer(name, call, text, message.get("status") == "error", decision)


def _invalid(
    answers: Iterable[Mapping[str, Any]], writes: Mapping[str, list[Any]]
) -> Iterator[str]:
    """Yield the structured outputs that did not fit."""
    missing = _last(writes, "structured_response", _NOT_WRITTEN) is None
    for message in answers:
        answer = read_answer(message)
        name = name_answer(answer, tool := answer.name or "")
        if name is not None and (missing or name.endswith(INVALID)):
            yield tool + INVALID


def _asks_for_tools(value: Any) -> bool:
    messages = _messages_of(value)
    return bool(messages and messages[-1].get("type") == "ai" and messages[-1].get("tool_calls"))


def _last(writes: Mapping[str, list[Any]], channel: str, default: Any) -> Any:
    values = writes.get(channel)
    return values[-1] if values else default
