"""mini-swe-agent: its trajectories, of version 1 and 2, with tools or with blocks of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.messages.agent_steps import (
    first_word,
    get_part,
    get_text,
    keep_plain,
    make_attempt,
    make_call,
    name_file,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import load_document, read_objects

__all__ = ["looks_like", "read"]

_BLOCK = re.compile(r"```(?:mswea_bash_command|bash|sh)[ \t]*\n(.*?)\n?```", re.DOTALL)
_EXITS = {
    "Submitted": Outcome.ENDED,
    "LimitsExceeded": Outcome.RECURSION_LIMIT,
    "TimeExceeded": Outcome.RECURSION_LIMIT,
    "UserInterruption": Outcome.CANCELLED,
    "KeyboardInterrupt": Outcome.CANCELLED,
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds trajectories; the bare lists of version 0 only by their name."""
    first = opening.first
    if isinstance(first.get("messages"), list):
        agent = str(first.get("trajectory_format", "")).startswith("mini-swe-agent")
        return agent or "exit_status" in get_part(first, "info")
    return "role" in first and ".traj" in opening.path.suffixes


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves between commands, by their first words; a reply without one is an escape."""
    return read_conversations(_read_trajectories(path, options, bad), options, bad)


def _read_trajectories(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    if "role" in Opening(path).first:
        yield _read_run({"messages": load_document(path)}, 1, path)
        return
    for number, (place, run) in enumerate(read_objects(path, options, bad), 1):
        if isinstance(run.get("messages"), list):
            yield _read_run(run, number, path)
        else:
            bad.report(place, "it has no list 'messages'")


def _read_run(run: dict[str, Any], number: int, path: Path) -> Conversation:
    messages: list[Any] = []
    waiting: list[str] = []  # the calls that the next observations answer
    for place, message in enumerate(run["messages"]):
        said = message
        if isinstance(message, dict):
            said, waiting = _read_message(message, str(place), waiting)
        messages.append(said)
    info = get_part(run, "info")
    reason = get_text(info, "exit_status")
    outcome = _EXITS.get(reason, Outcome.FAILED) if reason else None  # else the name of an error
    name = get_text(run, "instance_id") or get_text(info, "instance_id") or name_file(path)
    fields = keep_plain(info, ("submission",)) | keep_plain(run)
    error = reason if outcome is Outcome.FAILED else None
    return Conversation(f"trajectory {number}", messages, name, fields, outcome, None, error)


def _read_message(
    message: dict[str, Any], number: str, waiting: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return a message with its commands as calls, and the calls that are not answered yet."""
    extra = get_part(message, "extra")
    said = {key: value for key, value in message.items() if key not in ("type", "output")}
    said |= {"timestamp": extra.get("timestamp"), "cost": extra.get("cost")}
    if extra.get("interrupt_type") == "FormatError":
        return make_attempt(**said), []
    if message.get("role") == "assistant" or message.get("object") == "response":
        commands = _find_commands(message)
        if not commands:
            return make_attempt(**said), []
        ids = [f"{number}.{place}" for place in range(len(commands))]
        calls = [make_call(first_word(c), c, id) for c, id in zip(commands, ids, strict=True)]  # noqa: A001
        usage = get_part(extra, "response", "usage")
        asked = {"role": "assistant", "content": "", "tool_calls": calls, "usage": usage}
        return {**said, **asked, "command": commands[0]}, ids
    if not waiting or "exit_status" in extra:
        return {**said, "role": "user"}, []
    code = extra.get("returncode")
    status = ("success" if code == 0 else "error") if type(code) is int else None
    content = message.get("content", message.get("output"))
    answer = {"role": "tool", "tool_call_id": waiting[0], "content": content, "status": status}
    return {**said, **answer}, waiting[1:]


def _find_commands(message: dict[str, Any]) -> list[str]:
    """Return the commands of a reply: as they were parsed, else those of its blocks."""
    actions = get_part(message, "extra").get("actions")
    if isinstance(actions, list):
        found = [get_part({"a": action}, "a").get("command") for action in actions]
    else:
        content = message.get("content")
        found = _BLOCK.findall(content) if isinstance(content, str) else []
    return [command for command in found if isinstance(command, str) and first_word(command)]
