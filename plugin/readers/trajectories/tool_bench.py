"""ToolBench: the answers that a search found, each the conversation of its last path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.messages.agent_steps import (
    get_objects,
    get_part,
    get_text,
    make_answer,
    make_call,
    make_step,
    name_file,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read"]


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds answers."""
    return isinstance(opening.first.get("answer_generation"), dict)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each answer."""
    return read_conversations(_read_answers(path, options, bad), options, bad)


def _read_answers(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    for number, (place, answer) in enumerate(read_objects(path, options, bad), 1):
        told = get_part(answer, "answer_generation")
        lists = told.get("train_messages")
        messages = lists[-1] if isinstance(lists, list) and lists else None
        if not isinstance(messages, list):
            messages = _read_last_path(get_part(answer, "tree", "tree"))
        if not messages:
            bad.report(place, "it has neither 'train_messages' nor a 'tree' of what was tried")
            continue
        won = str(answer.get("win", told.get("valid_data")))
        outcome = {"True": Outcome.ENDED, "False": Outcome.FAILED}.get(won)
        name = get_text(answer, "query_id") or name_file(path)
        fields = {"method": told.get("method"), "finish_type": told.get("finish_type")}
        yield Conversation(f"answer {number}", messages, name, fields, outcome)


def _read_last_path(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls from the root of a tree of trials to its last leaf."""
    steps: list[dict[str, Any]] = []
    while node:
        told = node.get("description")
        if node.get("node_type") == "Action" and isinstance(told, str):
            steps.append(make_step([make_call(told, None, "1")]))
        elif node.get("node_type") == "Action Input" and steps:
            failed = node.get("observation_code") not in (0, 3, None)
            steps[-1]["content"][0]["input"] = told
            steps[-1]["content"][1:] = [make_answer(node.get("observation"), "1", failed)]
        children = get_objects(node, "children")
        node = children[-1] if children else {}
    return steps
