"""Claude Code: the sessions in ``~/.claude/projects``, and its output as ``stream-json``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks.names import REFUSED, UNKNOWN
from detailed_balance.readers.messages.agent_steps import (
    get_objects,
    get_text,
    keep_plain,
    looks_like_action,
    read_log,
    split_names,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening

__all__ = ["looks_like", "read"]

_SAID = ("user", "assistant")
_BOUNDARIES = split_names(
    "agent-name ai-title attachment bridge-session custom-title file-history-snapshot frame-link "
    "last-prompt mode permission-mode pr-link progress queue-operation rate_limit_event relocated "
    "result started stream_event summary system tag worktree-state"
)
_OURS = frozenset({"sessionId", "session_id", "parentUuid", "leafUuid", "messageId"})
_RESULTS = {
    "success": Outcome.ENDED,
    "error_max_turns": Outcome.RECURSION_LIMIT,
    "error_max_budget_usd": Outcome.RECURSION_LIMIT,
    "error_max_structured_output_retries": Outcome.FAILED,
    "error_during_execution": Outcome.FAILED,
}
_INTERRUPTED = "[Request interrupted by user"
_NEVER_RAN = {
    REFUSED: re.compile(r"The user doesn't want to (?:proceed|take this action)"),
    UNKNOWN: re.compile(r"(?:<tool_use_error>)?Error: No such tool available"),
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds lines of a session."""
    return any(
        not _OURS.isdisjoint(line)
        and (line.get("type") in _SAID or get_text(line, "type") in _BOUNDARIES)
        for line in opening.objects
    )


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each session, and of each subagent as a run of its own."""
    sessions = _read_sessions(read_log(path, options, bad), bad)
    return read_conversations(sessions, options, bad)


@dataclass(slots=True)
class _Session:
    """The messages of a session or of a subagent, and how it stands."""

    name: str | None
    fields: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcome: Outcome | None = None
    error: str | None = None

    def add(self, line: dict[str, Any], message: dict[str, Any]) -> bool:
        """Take in a message; say whether it is one of its own, and not a part of another."""
        content = message.get("content")
        blocks = [dict(block) for block in get_objects(message, "content")]
        said = content if isinstance(content, str) else _text(blocks)
        self.outcome = self.error = None
        if line["type"] == "user":
            if said.startswith(_INTERRUPTED):
                self.outcome = Outcome.CANCELLED
            self._read_answers(blocks)
        elif line.get("isApiErrorMessage") or message.get("model") == "<synthetic>":
            if line.get("isApiErrorMessage"):
                self.outcome, self.error = Outcome.FAILED, said
            return False
        self.calls.update({b["id"]: b for b in blocks if isinstance(b.get("id"), str)})
        own = get_text(message, "id") if line["type"] == "assistant" else None
        known = self.replies.get(own or "")
        if known is not None and isinstance(known["content"], list):
            known["content"] += blocks
            known["usage"] = _read_usage(message)
            return False
        message = {key: value for key, value in message.items() if key != "type"}
        message |= {
            "role": line["type"],
            "content": blocks if isinstance(content, list) else content,
        }
        message |= {"usage": _read_usage(message), "timestamp": line.get("timestamp")}
        if own:
            self.replies[own] = message
        self.messages.append(message)
        return True

    def _read_answers(self, blocks: list[dict[str, Any]]) -> None:
        """Mark the calls that never ran, as their answers tell."""
        for block in blocks:
            call, answer = self.calls.get(str(block.get("tool_use_id"))), block.get("content")
            text = answer if isinstance(answer, str) else _text(get_objects(block, "content"))
            for mark, pattern in _NEVER_RAN.items():
                if call and isinstance(call.get("name"), str) and pattern.match(text):
                    call["name"] += mark

    def end(self, number: int, bad: BadLines) -> Conversation:
        """Return what is known, without replies that were only thoughts."""
        kept = [message for message in self.messages if not _is_thought(message)]
        bad.accepted += len(self.messages) - len(kept)
        place = f"session {self.name or number}"
        return Conversation(place, kept, self.name, self.fields, self.outcome, None, self.error)


def _read_sessions(lines: Iterable[LineRecord], bad: BadLines) -> Iterator[Conversation]:
    sessions: dict[str | None, _Session] = {}
    roots: dict[str, str] = {}
    for place, line in lines:
        kind, uuid, message = get_text(line, "type"), get_text(line, "uuid"), line.get("message")
        if uuid in bad.record_ids:
            bad.accepted += 1
            bad.duplicates += 1
            continue
        if uuid:
            bad.record_ids.add(uuid)
        name = _name_run(line, roots)
        if kind in _SAID:
            if not isinstance(message, dict) or not isinstance(message.get("content"), str | list):
                bad.report(place, f"a line of the type {kind!r} needs a 'message' with a 'content'")
                continue
            if name not in sessions:
                sessions[name] = _Session(name, keep_plain(line, ("type", "uuid", "parentUuid")))
            bad.accepted += not sessions[name].add(dict(line), message)
        elif kind not in _BOUNDARIES and looks_like_action(kind):
            bad.report(place, f"a line of the unknown type {kind!r} looks like an action")
        else:
            bad.accepted += 1
            if kind == "result" and name in sessions:
                _read_result(sessions[name], line)
    for number, session in enumerate(sessions.values(), 1):
        yield session.end(number, bad)


def _name_run(line: Any, roots: dict[str, str]) -> str | None:
    """Return the name of a line's run: its session, and for a subagent ``/`` and its agent."""
    session = get_text(line, "sessionId", "session_id")
    agent = get_text(line, "agentId", "parent_tool_use_id")
    if not line.get("isSidechain") and not line.get("parent_tool_use_id"):
        return session
    uuid = get_text(line, "uuid")
    root = roots.get(get_text(line, "parentUuid") or "")
    if uuid:
        roots[uuid] = root = root or uuid
    return f"{session}/{agent or root or 'sidechain'}"


def _read_result(session: _Session, line: Any) -> None:
    session.outcome = _RESULTS.get(str(line.get("subtype")))
    if line.get("is_error") and session.outcome in (Outcome.ENDED, None):
        session.outcome = Outcome.FAILED
    if session.outcome is Outcome.FAILED:
        session.error = get_text(line, "result", "subtype")


def _read_usage(message: dict[str, Any]) -> dict[str, Any]:
    """Return all the tokens of a reply, those of the cache too."""
    usage = message.get("usage")
    counts = usage.items() if isinstance(usage, dict) else ()
    known = [n for key, n in counts if str(key).endswith("_tokens") and type(n) is int and n >= 0]
    return {"total_tokens": sum(known)} if known else {}


def _is_thought(message: dict[str, Any]) -> bool:
    content = message["content"]
    return (
        message.get("role") == "assistant"
        and isinstance(content, list)
        and all(str(block.get("type")).endswith("thinking") for block in content)
    )


def _text(blocks: list[dict[str, Any]]) -> str:
    """Return the first text of some blocks."""
    return next((b["text"] for b in blocks if isinstance(b.get("text"), str)), "")
