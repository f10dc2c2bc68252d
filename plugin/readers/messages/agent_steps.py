"""What adapters of logs and trajectories share: one step of an agent as one message."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.readers.records.base import BadLines, ReadOptions
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_json_lines, read_objects

__all__ = [
    "first_word",
    "get_objects",
    "get_part",
    "get_text",
    "keep_plain",
    "looks_like_action",
    "make_answer",
    "make_attempt",
    "make_call",
    "make_step",
    "make_use",
    "name_file",
    "read_log",
    "read_reason",
    "split_names",
]

_SUFFIXES = (".gz", ".jsonl", ".ndjson", ".json", ".traj", ".eval")
_ASSIGNMENT = re.compile(r"\w+=\S*\s+")
_ACTION = re.compile(r"tool|call|action|exec|command|function|assistant", re.IGNORECASE)


def read_log(
    path: Path, options: ReadOptions, bad: BadLines
) -> Iterator[tuple[int | str, dict[str, Any]]]:
    """Yield the objects of a log, which has one a line: a broken line costs only itself.

    Some who pass a log on make a list of it.
    """
    read = read_objects if Opening(path).layout == "list" else read_json_lines
    return read(path, options, bad)


def name_file(path: Path) -> str:
    """Return what a file is called, without the suffixes of its format.

    Examples
    --------
    >>> name_file(Path("runs/astropy-12907.traj.json.gz"))
    'astropy-12907'
    """
    name = path.name
    while (suffix := Path(name).suffix.lower()) in _SUFFIXES:
        name = name[: -len(suffix)]
    return name


def split_names(names: str) -> frozenset[str]:
    """Return the names of a list as a set.

    Examples
    --------
    >>> sorted(split_names("user assistant"))
    ['assistant', 'user']
    """
    return frozenset(names.split())


def first_word(command: str) -> str | None:
    r"""Return the program that a command line begins with; None where it is empty.

    Examples
    --------
    >>> first_word("PYTHONPATH=src python -m pytest"), first_word("edit 1:4\nx"), first_word(" ")
    ('python', 'edit', None)
    """
    bare = command.strip()
    while found := _ASSIGNMENT.match(bare):
        bare = bare[found.end() :]
    words = bare.split(maxsplit=1)
    return words[0] if words else None


def make_call(name: Any, arguments: Any, id: Any = None) -> dict[str, Any]:  # noqa: A002
    """Return the call of a tool, as a message of OpenAI asks for it."""
    return {"id": id, "function": {"name": name, "arguments": arguments}}


def make_answer(content: Any, id: Any, failed: bool | None = None) -> dict[str, Any]:  # noqa: A002
    """Return the answer to a call, to stand in the message that asked for it."""
    return {"type": "tool_result", "tool_use_id": id, "content": content, "is_error": failed}


def make_step(
    calls: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]] = (), **said: Any
) -> dict[str, Any]:
    """Return a step of an agent: what it called, and what came back, which may be added later.

    Examples
    --------
    >>> step = make_step([make_call("ls", "-a", "1")], [make_answer("x", "1")], timestamp=3)
    >>> step["role"], [block["type"] for block in step["content"]], step["timestamp"]
    ('assistant', ['tool_use', 'tool_result'], 3)
    """
    return {**said, "role": "assistant", "content": [*map(make_use, calls), *answers]}


def make_use(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call as a block of a message."""
    function = call["function"]
    told = {"name": function["name"], "input": function["arguments"]}
    return {"type": "tool_use", "id": call["id"], **told}


def make_attempt(**said: Any) -> dict[str, Any]:
    """Return an attempt of an agent that reached no state: what it wrote was not an action."""
    return {**said, "role": "assistant", "status": "error"}


def looks_like_action(kind: Any) -> bool:
    """Say whether an unknown kind of record may be something that an agent did.

    Examples
    --------
    >>> looks_like_action("browser_tool_use"), looks_like_action("window_title")
    (True, False)
    """
    return isinstance(kind, str) and bool(_ACTION.search(kind))


def get_part(record: Any, *names: str) -> dict[str, Any]:
    """Return the object inside of a record; an empty one where there is none.

    Examples
    --------
    >>> get_part({"info": {"stats": {"cost": 1}}}, "info", "stats"), get_part({"info": 3}, "info")
    ({'cost': 1}, {})
    """
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def get_objects(record: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects in a list of a record; none where there is no list.

    Examples
    --------
    >>> get_objects({"calls": [{"id": 1}, None]}, "calls"), get_objects({"calls": 3}, "calls")
    ([{'id': 1}], [])
    """
    found = record.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def get_text(record: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of some fields that holds a text or a whole number, as a text."""
    for name in names:
        value = record.get(name)
        if (isinstance(value, str) and value) or type(value) is int:
            return str(value)
    return None


def keep_plain(record: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the texts, numbers and flags of a record, which may be labels of its run."""
    plain = (str, int, float, bool)
    return {k: v for k, v in record.items() if isinstance(v, plain) and k not in without}


def read_reason(reason: Any, outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """Return what a reason for stopping means: that of a text, or of one that stands in it.

    ``submitted (exit_cost)`` was stopped by its cost.

    Examples
    --------
    >>> outcomes = {"submitted": Outcome.ENDED, "exit_cost": Outcome.RECURSION_LIMIT}
    >>> read_reason("submitted (exit_cost)", outcomes), read_reason("asleep", outcomes)
    (<Outcome.RECURSION_LIMIT: 'recursion_limit'>, None)
    """
    words = re.findall(r"\w+", reason) if isinstance(reason, str) else []
    known = [outcomes[word] for word in words if word in outcomes]
    return known[-1] if known else None
