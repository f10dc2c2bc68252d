"""ATIF, the trajectories of Harbor and Terminal-Bench, version 1.0 to 1.7."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.readers.messages.agent_steps import (
    get_objects,
    get_part,
    get_text,
    keep_plain,
    make_answer,
    make_call,
    make_step,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read"]


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds trajectories."""
    first = opening.first
    version = str(first.get("schema_version", ""))
    return version.startswith("ATIF") and isinstance(first.get("steps"), list)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each trajectory, and of each subagent inside of it as a run of its own."""
    return read_conversations(_read_trajectories(path, options, bad), options, bad)


def _read_trajectories(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    for at, found in read_objects(path, options, bad):
        waiting: list[tuple[str, Any, str | None]] = [(str(at), found, None)]
        while waiting:
            place, trajectory, above = waiting.pop()
            if not isinstance(trajectory, dict) or not isinstance(trajectory.get("steps"), list):
                bad.report(place, "a trajectory needs a list 'steps'")
                continue
            run = _read_trajectory(trajectory, place, above, bad)
            yield run
            inner = trajectory.get("subagent_trajectories")
            inside = list(enumerate(inner, 1)) if isinstance(inner, list) else []
            name = run.name or place
            waiting += ((f"{place}, subagent {n}", each, name) for n, each in reversed(inside))


def _read_trajectory(
    trajectory: dict[str, Any], place: str, above: str | None, bad: BadLines
) -> Conversation:
    """Return a trajectory; the name of a subagent's is that of the one above, ``/`` and its own."""
    name = get_text(trajectory, "session_id", "trajectory_id")
    if above is not None:
        name = f"{above}/{get_text(trajectory, 'trajectory_id', 'session_id')}"
    messages = []
    for step in trajectory["steps"]:
        if isinstance(step, dict) and step.get("is_copied_context") is True:
            bad.accepted += 1  # it stands in the trajectory that this one continues
            bad.duplicates += 1
        else:
            messages.append(_read_step(step))
    about = get_part(trajectory, "agent")
    fields = keep_plain(trajectory) | {f"agent_{k}": v for k, v in keep_plain(about).items()}
    if model := get_text(about, "model_name"):
        fields["model"] = model
    return Conversation(place, messages, name, fields)


def _read_step(step: Any) -> Any:
    """Return a step as a message; what is not a step as it is."""
    if not isinstance(step, dict):
        return step
    time = step.get("timestamp")
    if step.get("source") != "agent":
        return {"role": "user", "content": step.get("message"), "timestamp": time}
    calls = [
        make_call(call.get("function_name"), call.get("arguments"), call.get("tool_call_id"))
        for call in get_objects(step, "tool_calls")
    ]
    answers = [
        make_answer(result.get("content"), result.get("source_call_id"))
        for result in get_objects(get_part(step, "observation"), "results")
    ]
    metrics = get_part(step, "metrics")
    said = {"usage": metrics, "cost": metrics.get("cost_usd"), "timestamp": time}
    if model := get_text(step, "model_name"):
        said["model"] = model
    if not calls:
        return {**said, "role": "assistant", "content": step.get("message")}
    return make_step(calls, answers, **said)
