"""Files with lists of messages: one conversation, or many, in the style of any provider."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.readers.messages._message import looks_like_message
from detailed_balance.readers.messages._tau import (
    is_results,
    name_task,
    read_ending,
    read_results,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.columns import get_field
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.tables.json_files import (
    load_document,
    read_json_lines,
    read_objects,
)
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]

_LISTS = ("messages", "traj", "conversations", "conversation", "contents", "chat_history")
_AROUND = ("request", "body", "data", "state", "values", "response", "result")
_IDS = (
    *("id", "run_id", "conversation_id", "session_id", "thread_id", "trajectory_id", "chat_id"),
    *("instance_id", "uuid"),
)
_OF_TABLES = {"trajectory", "target", "step", "state"}
_Run: TypeAlias = tuple[int | str, Any]


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with messages, or with records that have a list of them."""
    if any(is_results(record) for record in opening.objects):
        return True
    if _is_messages(opening.records):
        return opening.layout != "lines" or _OF_TABLES.isdisjoint(opening.first)
    if any(
        _is_messages(record) if isinstance(record, list) else _find_messages(record) is not None
        for record in opening.records
    ):
        return True
    # A row of a table may hold a conversation in one of its columns.
    return len(opening.records) == 1 and next(_find_runs(opening.first), None) is not None


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of the assistant in each conversation of a file, plain or gzip.

    Each has the facts of its step: the call, its answer, and what the model says that it cost.
    """
    opening = Opening(path)
    if opening.layout == "lines":
        records: Iterable[_Run] = read_json_lines(path, options, bad)
    elif opening.layout == "objects" and len(opening.records) > 1:
        records = read_objects(path, options, bad)
    else:
        document = load_document(path)
        listed = document if isinstance(document, list) else [document]
        records = ((f"run {number}", record) for number, record in enumerate(listed, 1))
    runs = _unfold(records, path, bad)
    return read_conversations(_conversations(runs, options, bad), options, bad)


def _unfold(records: Iterable[_Run], path: Path, bad: BadLines) -> Iterator[_Run]:
    for place, record in records:
        if is_results(record):
            yield from read_results(record, path, bad)
        elif (runs := list(_find_runs(record))) and not looks_like_message(record):
            yield from ((f"{_name_place(place)}, {within}", run) for within, run in runs)
        else:
            yield place, record


def _conversations(
    runs: Iterable[_Run], options: ReadOptions, bad: BadLines
) -> Iterator[Conversation]:
    """Yield a conversation for each record that holds one; messages by themselves are one too."""
    loose: dict[str | None, list[Any]] = {}
    for place, run in runs:
        try:
            if isinstance(run, list):
                yield Conversation(_name_place(place), run)
            elif loose or looks_like_message(run):
                loose.setdefault(_name_loose(run, options), []).append(run)
            elif (found := _find_messages(run)) is not None:
                fields = {name: value for name, value in run.items() if name not in found}
                messages = [each for name in found for each in _list_messages(run[name])]
                outcome, success, error = read_ending(fields)
                told = (_name_run(fields), fields, outcome, success, error)
                yield Conversation(_name_place(place), messages, *told, tells_answers=True)
            else:
                raise BadRecordError(f"it holds no list of messages; {_describe(run)}")
        except BadRecordError as error:
            bad.report(place, str(error))
    for name, messages in loose.items():
        yield Conversation("the messages", messages, name)


def _name_place(place: int | str) -> str:
    return f"line {place}" if isinstance(place, int) else place


def _describe(run: Any) -> str:
    if not isinstance(run, dict):
        return "a conversation is an object or a list of messages; this is another value"
    keys = ", ".join(f"'{safe_text(str(name), 40)}'" for name in list(run)[:12])
    return f"its keys are {keys or 'none'}"


def _is_messages(values: Any) -> bool:
    """Say whether a list begins with a message."""
    if not isinstance(values, list | tuple):
        return False
    return looks_like_message(next((value for value in values if isinstance(value, dict)), None))


def _find_messages(run: Any, depth: int = 2) -> tuple[str, ...] | None:
    """Return the fields that hold the messages of a run, in order; None where none does."""
    if not isinstance(run, Mapping):
        return None
    for name in _LISTS:
        if isinstance(value := run.get(name), list) and (not value or _is_messages(value)):
            return (name, "choices") if isinstance(run.get("choices"), list) else (name,)
    if _is_messages(run.get("output")):  # OpenAI's Responses
        return ("input", "output") if _is_messages(run.get("input")) else ("output",)
    around = tuple(n for n in _AROUND if depth and _find_messages(run.get(n), depth - 1))
    if around:
        return around
    others = tuple(name for name, value in run.items() if _is_messages(value))
    if others == ("prompt", "completion"):
        return others
    return others if len(others) == 1 else None  # several are several runs


def _find_runs(record: Any, depth: int = 2) -> Iterator[tuple[str, Any]]:
    """Yield the runs that an object holds by their names, or in lists, each with its place in it.

    Nothing where it is a conversation itself.
    """
    if not isinstance(record, Mapping) or _find_messages(record) is not None:
        return
    named = {
        str(name): {"messages": value} if isinstance(value, list) else value
        for name, value in record.items()
        if _is_messages(value) or (isinstance(value, dict) and _find_messages(value) is not None)
    }
    for name, run in named.items():
        yield safe_text(name, 60), {"id": name, **run} if len(named) > 1 else run
    for name, value in record.items() if depth and not named else ():
        if isinstance(value, dict):
            yield from _find_runs(value, depth - 1)
        for number, run in enumerate(value if isinstance(value, list) else (), 1):
            place = f"{safe_text(str(name), 60)} {number}"
            if _is_messages(run) or _find_messages(run) is not None:
                yield place, run
            else:
                inner = _find_runs(run, depth - 1)
                yield from ((f"{place}, {within}", each) for within, each in inner)


def _list_messages(value: Any) -> list[Any]:
    """Return the messages of a field: a list, an object that holds one, or choices of a model."""
    if isinstance(value, dict):
        return [
            each for name in _find_messages(value) or () for each in _list_messages(value[name])
        ]
    first = value[0] if value else None
    if isinstance(first, dict) and isinstance(first.get("message"), dict) and "role" not in first:
        return [first["message"]]
    return list(value)


def _name_run(run: Mapping[str, Any]) -> str | None:
    """Return the name of a run: its id, or its task and trial."""
    for name in _IDS:
        if (key := parse_text(run.get(name), name)) is not None:
            return key
    parts = [
        parse_text(run.get(name), name)
        for name in ("suite_name", "user_task_id", "injection_task_id")
    ]
    known = [part for part in parts if part is not None]
    return name_task(run) or ("/".join(known) if parts[1] is not None else None)


def _name_loose(message: Any, options: ReadOptions) -> str | None:
    """Return what a message by itself says of its conversation."""
    fields = message if isinstance(message, dict) else {}
    for name in (options.fields.trajectory, *_IDS[1:6]):
        if (key := parse_text(get_field(fields, name), name)) is not None:
            return key
    return None
