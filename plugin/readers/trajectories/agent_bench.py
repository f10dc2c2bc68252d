"""AgentBench: the runs of its tasks, with functions or with actions written as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.messages.agent_steps import (
    get_part,
    get_text,
    keep_plain,
    make_call,
    make_step,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read"]

_ACTION = re.compile(r"^\W*(?:act|action)\W*:\W*([a-z]\w*)", re.IGNORECASE | re.MULTILINE)
_ANSWER = re.compile(r"^\W*final answer\W*:", re.IGNORECASE | re.MULTILINE)
_STATUS = {
    "completed": Outcome.ENDED,
    "cancelled": Outcome.CANCELLED,
    "task limit reached": Outcome.RECURSION_LIMIT,
    "agent context limit": Outcome.FAILED,
    "agent validation failed": Outcome.FAILED,
    "agent invalid action": Outcome.FAILED,
    "task error": Outcome.FAILED,
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds runs."""
    first, output = opening.first, get_part(opening.first, "output")
    known = "index" in first and ("status" in output or "history" in output)
    return known or {"index", "error", "info", "output"} <= first.keys()


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each run."""
    return read_conversations(_read_runs(path, options, bad), options, bad)


def _read_runs(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    for place, run in read_objects(path, options, bad):
        output = get_part(run, "output")
        history = output.get("history", [])
        if not isinstance(history, list | None):
            bad.report(place, "its 'history' is not a list")
            continue
        messages = [_read_item(item) for item in history or ()]
        kept = [message for message in messages if message is not None]
        bad.accepted += len(messages) - len(kept)
        error, outcome = get_text(run, "error", "info"), _STATUS.get(str(output.get("status")))
        if error and outcome in (Outcome.ENDED, None):
            outcome = Outcome.FAILED
        result = output.get("result")
        verdict = get_part({"result": result}, "result").get("result", result)
        success = bool(verdict) if verdict in (0, 1) and verdict is not None else None
        name, fields = get_text(run, "index"), keep_plain(run) | keep_plain(output)
        yield Conversation(place, kept, name, fields, outcome, success, error)


def _read_item(item: Any) -> Any:
    """Return an entry of a history as a message; None where it is a reward."""
    if not isinstance(item, dict):
        return item
    if "role" not in item and "reward" in item:
        return None
    text = item.get("content")
    if item.get("role") not in ("agent", "assistant"):
        return item
    if item.get("tool_calls") or not isinstance(text, str):
        return {**item, "role": "assistant"}
    if found := _ACTION.search(text):
        return make_step([make_call(found[1].lower(), text[found.start() :])])
    if found := _ANSWER.search(text):
        return make_step([make_call("answer", text[found.start() :])])
    return {**item, "role": "assistant"}
