"""Who&When: failures of systems of several agents, where a state is the agent that speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from detailed_balance.readers.messages.agent_steps import get_objects, get_text, keep_plain
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read"]

_PEOPLE = frozenset({"human", "user", "user_proxy"})
_LABELS = frozenset({"mistake_agent", "mistake_step", "mistake_reason", "question_ID"})


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds a history with what went wrong in it."""
    history = get_objects(opening.first, "history")
    return bool(history) and "role" in history[0] and not _LABELS.isdisjoint(opening.first)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves from speaker to speaker."""
    if not options.reads_steps:
        options = replace(options, states=lambda message: message.get("speaker"))
    return read_conversations(_read_failures(path, options, bad), options, bad)


def _read_failures(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    for place, run in read_objects(path, options, bad):
        history = run.get("history")
        if not isinstance(history, list):
            bad.report(place, "it has no list 'history'")
            continue
        messages = [_read_message(message) for message in history]
        verdict = run.get("is_correct", run.get("is_corrected"))
        success = {"true": True, "false": False}.get(str(verdict).lower())
        name, fields = get_text(run, "question_ID"), keep_plain(run, ("question", "ground_truth"))
        yield Conversation(place, messages, name, fields, None, success)


def _read_message(message: Any) -> Any:
    """Return a message of one agent as a reply; one of a person is not a state."""
    if not isinstance(message, dict):
        return message
    speaker = get_text(message, "name", "role")
    if speaker is None or speaker.lower() in _PEOPLE:
        return {**message, "role": "user"}
    return {**message, "role": "assistant", "speaker": speaker}
