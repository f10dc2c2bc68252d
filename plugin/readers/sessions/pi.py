"""pi, the coding agent: its sessions, version 1 in a line and later ones as trees of entries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.messages.agent_steps import (
    get_objects,
    get_part,
    get_text,
    keep_plain,
    looks_like_action,
    make_call,
    read_log,
    split_names,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening

__all__ = ["looks_like", "read"]

_BOUNDARIES = split_names(
    "session model_change thinking_level_change compaction branch_summary custom custom_message "
    "label session_info"
)
_NOT_THE_AGENT = split_names(
    "user system bashExecution custom hookMessage branchSummary compactionSummary"
)
_STOPS = {"stop": Outcome.ENDED, "aborted": Outcome.CANCELLED, "error": Outcome.FAILED}


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with the header of a session."""
    first = opening.first
    return first.get("type") == "session" and {"id", "timestamp", "cwd"} <= first.keys()


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of a session; a branch that was left is a run of its own."""
    return read_conversations(_read_session(path, options, bad), options, bad)


def _read_session(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    header: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    for place, entry in read_log(path, options, bad):
        kind, role = get_text(entry, "type"), get_text(get_part(entry, "message"), "role")
        known = kind in _BOUNDARIES or role in _NOT_THE_AGENT | {"assistant", "toolResult"}
        if kind == "message" and not known:
            bad.report(place, f"a message needs a known role; this one has {role!r}")
        elif not known and looks_like_action(kind):
            bad.report(place, f"an entry of the unknown type {kind!r} looks like an action")
        elif kind == "session":
            header = header or entry
            bad.accepted += 1
        else:
            entries.append(entry)
    name, fields = get_text(header, "id"), keep_plain(header)
    for number, branch in enumerate(_split_branches(entries), 1):
        run = name if number == 1 or name is None else f"{name}#{number}"
        messages = [read for entry in branch if (read := _read_message(entry)) is not None]
        bad.accepted += len(branch) - len(messages)
        ends = [entry for entry in branch if entry.get("type") == "message"]
        last = get_part(ends[-1], "message") if ends else {}
        outcome, error = _STOPS.get(str(last.get("stopReason"))), get_text(last, "errorMessage")
        yield Conversation(f"session {run or number}", messages, run, fields, outcome, None, error)


def _split_branches(entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the path to the last entry, then what was left of each other branch.

    Examples
    --------
    >>> tree = [{"id": 1}, {"id": 2, "parentId": 1}, {"id": 3, "parentId": 1}]
    >>> [[entry["id"] for entry in branch] for branch in _split_branches(tree)]
    [[1, 3], [2]]
    """
    places = {get_text(entry, "id"): place for place, entry in enumerate(entries)}
    above = [
        places.get(get_text(entry, "parentId") or "", -1) if "parentId" in entry else place - 1
        for place, entry in enumerate(entries)
    ]
    path, place = set(), len(entries) - 1
    while place >= 0 and place not in path:
        path.add(place)
        place = above[place]
    branches = {-1: [entry for place, entry in enumerate(entries) if place in path]}
    of: dict[int, int] = {}
    for place, entry in enumerate(entries):
        if place not in path:
            parent = of.pop(above[place], place)  # the first child goes on with its branch
            of[place] = parent
            branches.setdefault(parent, []).append(entry)
    return list(branches.values())


def _read_message(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the agent or a tool said; an answer that was broken off is not a state."""
    message = get_part(entry, "message")
    time = entry.get("timestamp")
    if message.get("role") == "toolResult":
        failed = message.get("isError")
        status = {True: "error", False: "success"}.get(failed) if type(failed) is bool else None
        ids = {"tool_call_id": message.get("toolCallId"), "name": message.get("toolName")}
        return {
            "role": "tool",
            **ids,
            "content": message.get("content"),
            "status": status,
            "timestamp": time,
        }
    if message.get("role") != "assistant" or message.get("stopReason") in ("aborted", "error"):
        return None
    blocks = get_objects(message, "content")
    calls = [
        make_call(block.get("name"), block.get("arguments"), block.get("id"))
        for block in blocks
        if block.get("type") == "toolCall"
    ]
    usage = get_part(message, "usage")
    parts = [usage.get(part) for part in ("input", "output", "cacheRead", "cacheWrite")]
    tokens = usage.get("totalTokens", sum(part for part in parts if type(part) is int))
    return {
        "role": "assistant",
        "content": [block for block in blocks if block.get("type") == "text"],
        "tool_calls": calls,
        "usage": {"total_tokens": tokens} if usage else {},
        "cost": get_part(usage, "cost").get("total"),
        "model": message.get("model"),
        "timestamp": time,
    }
