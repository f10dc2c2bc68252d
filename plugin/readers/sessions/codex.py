"""Codex: the rollouts in ``~/.codex/sessions``, of all its versions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.messages.agent_steps import (
    get_part,
    get_text,
    keep_plain,
    looks_like_action,
    make_call,
    read_log,
    split_names,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening

__all__ = ["looks_like", "read"]

_LINES = split_names(
    "session_meta response_item event_msg turn_context compacted world_state "
    "inter_agent_communication_metadata"
)
_HEADER = frozenset({"id", "timestamp", "instructions"})  # of the versions before September 2025
_NO_ACTION = split_names(
    "additional_tools agent_message compaction compaction_summary compaction_trigger "
    "configuration_update context_compaction ghost_snapshot other reasoning"
)
_CALLS = split_names(
    "custom_tool_call function_call local_shell_call mcp_tool_call tool_search_call"
)
_ANSWERED_AT_ONCE = frozenset({"web_search_call", "image_generation_call"})  # by OpenAI itself
_ENDINGS = {
    "task_started": None,
    "turn_started": None,
    "task_complete": Outcome.ENDED,
    "turn_complete": Outcome.ENDED,
    "turn_aborted": Outcome.CANCELLED,
    "error": Outcome.FAILED,
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds lines of a rollout."""
    bare = opening.first.keys() >= _HEADER
    return any(
        (get_text(line, "type") in _LINES and isinstance(line.get("payload"), dict))
        or (bare and ("record_type" in line or ("type" in line and _is_part(line))))
        for line in opening.objects
    )


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of the session that a rollout is."""
    session = _read_session(read_log(path, options, bad), bad)
    return read_conversations(session, options, bad)


@dataclass(slots=True)
class _Session:
    """The messages up to now: the parts of one response of the model are one message."""

    fields: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] | None = None
    last: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    error: str | None = None
    model: str | None = None
    tokens: int = 0

    def add(self, item: dict[str, Any], time: Any) -> bool:
        """Take in a part of the conversation; say whether it begins a message of its own."""
        kind = get_text(item, "type")
        if kind == "message":
            if item.get("role") != "assistant":
                return self._append({**item, "timestamp": time})
            begins = self._begin(time)
            self.last.setdefault("content", item.get("content"))
            return begins
        if str(kind).endswith("_output"):
            return self._append({**_read_answer(item), "timestamp": time})
        if kind in _ANSWERED_AT_ONCE and self.reply and self.reply["tool_calls"]:
            self.reply = None  # a step of its own, since its answer was known to the next
        begins = self._begin(time)
        self.last["tool_calls"].append(_read_call(item))
        if kind in _ANSWERED_AT_ONCE:
            self.reply = None
        return begins

    def read_event(self, event: dict[str, Any]) -> None:
        """Take in a notice: the end of a response, or the beginning or end of a turn."""
        kind = get_text(event, "type")
        if kind == "token_count":
            self._count(get_part(event, "info"))
            self.reply = None
        elif kind is not None and kind in _ENDINGS:
            self.reply = None
            if kind.endswith("_complete") and self.outcome is Outcome.FAILED:
                return  # a turn that failed is completed too
            self.outcome = _ENDINGS[kind]
            self.error = get_text(event, "message") if kind == "error" else None

    def _append(self, message: dict[str, Any]) -> bool:
        self.reply = None
        self.messages.append(message)
        return True

    def _begin(self, time: Any) -> bool:
        if self.reply is not None:
            return False
        self.last = {"role": "assistant", "tool_calls": [], "timestamp": time, "usage": {}}
        if self.model:
            self.last["model"] = self.model
        self._append(self.last)
        self.reply = self.last
        return True

    def _count(self, info: dict[str, Any]) -> None:
        """Credit the tokens that were used since the last count to the last reply."""
        total = get_part(info, "total_token_usage").get("total_tokens")
        if type(total) is int and total > self.tokens and self.last:
            used = self.last["usage"].get("total_tokens", 0) + total - self.tokens
            self.last["usage"] = {"total_tokens": used}
        self.tokens = total if type(total) is int else self.tokens


def _read_session(lines: Iterable[LineRecord], bad: BadLines) -> Iterator[Conversation]:
    session, name = _Session(), None
    for place, line in lines:
        kind, payload = get_text(line, "type"), get_part(line, "payload")
        if kind in _LINES and not payload:
            bad.report(place, f"a line of the type {kind!r} needs a 'payload'")
            continue
        item = payload if kind == "response_item" else None
        if kind not in _LINES and "payload" not in line and "type" in line:
            item = dict(line)  # the first versions wrote items without a wrapping
        if item is not None and not _is_known(item):
            bad.report(
                place, f"an item of the unknown type {item.get('type')!r} looks like an action"
            )
            continue
        if item is None or not _is_part(item):
            bad.accepted += 1
        else:
            bad.accepted += not session.add(item, line.get("timestamp"))
        if kind == "event_msg":
            session.read_event(payload)
        elif kind == "turn_context":
            session.model = get_text(payload, "model") or session.model
        elif not name and (kind == "session_meta" or line.keys() >= _HEADER):
            about = payload or dict(line)
            name, session.fields = get_text(about, "id"), keep_plain(about)
    told = (session.fields, session.outcome, None, session.error)
    yield Conversation(f"session {name or 1}", session.messages, name, *told)


def _is_part(item: dict[str, Any]) -> bool:
    kind = str(item.get("type"))
    return kind == "message" or kind.endswith("_output") or kind in _CALLS | _ANSWERED_AT_ONCE


def _is_known(item: dict[str, Any]) -> bool:
    kind = get_text(item, "type")
    return kind in _NO_ACTION or _is_part(item) or not looks_like_action(kind)


def _read_call(item: dict[str, Any]) -> dict[str, Any]:
    name = get_text(item, "name") or str(item["type"]).removesuffix("_call")
    if space := get_text(item, "namespace"):
        name = f"{space}.{name}"
    given = next((item[key] for key in ("arguments", "input", "action") if key in item), None)
    return make_call(name, given, get_text(item, "call_id", "id"))


def _read_answer(item: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a call; it failed where its exit code or Codex says so."""
    output = item.get("output", item.get("tools"))
    told: Any = output
    if isinstance(output, str) and output.startswith("{"):
        with suppress(ValueError, RecursionError):
            told = json.loads(output)
    success, code = None, get_part(told, "metadata").get("exit_code")
    if isinstance(told, dict) and isinstance(told.get("success"), bool):
        success = told["success"]
    elif type(code) is int:
        success = code == 0
    status = {True: "success", False: "error", None: None}[success]
    call = get_text(item, "call_id", "id")
    return {"role": "tool", "tool_call_id": call, "content": output, "status": status}
