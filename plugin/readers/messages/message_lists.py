"""Lists of chat messages: tau-bench, tau2-bench, and conversations in the style of OpenAI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.tables.json_files import (
    first_keys,
    load_document,
    read_json_lines,
)

__all__ = ["looks_like", "read"]

_LISTS = ("messages", "traj")
_WORDS = (b'"simulations"', b'"agent_info"', b'"traj"', b'"messages"', b'"role"')
_WHOLE = 1 - 1e-6  # the reward from which on the benchmarks call a run solved
_OUTCOMES = {
    "user_stop": Outcome.ENDED,
    "agent_stop": Outcome.ENDED,
    "max_steps": Outcome.RECURSION_LIMIT,
    "too_many_errors": Outcome.FAILED,
    "agent_error": Outcome.FAILED,
    "user_error": Outcome.FAILED,
}
_Run: TypeAlias = tuple[int | str, Any]


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins as a document, or as lines, with lists of messages."""
    if first := first_keys(head):
        return not first.isdisjoint({*_LISTS, "simulations"})
    start = head.lstrip()[:1]
    return start in (b"[", b"{") and any(word in head for word in _WORDS)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of the assistant in each conversation of a file, plain or gzip.

    Each has the facts of its step: the call, its answer, and what the model says that it cost.
    """
    lines = path.with_suffix("") if path.suffix == ".gz" else path
    if lines.suffix.lower() in (".jsonl", ".ndjson"):
        runs: Iterable[_Run] = read_json_lines(path, options, bad)
    else:
        runs = _runs(load_document(path), bad.name)
    yield from read_conversations(_conversations(runs, bad), options, bad)
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no messages")


def _runs(document: Any, name: str) -> Iterator[_Run]:
    """Yield the conversations of a document, each with its place."""
    shared: dict[str, Any] = {}
    if isinstance(document, dict) and isinstance(document.get("simulations"), list):
        shared, document = _about(document.get("info")), document["simulations"]
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list):
        raise ReadError(f"{name} holds no list of conversations")
    if document and isinstance(document[0], dict) and not _find_list(document[0]):
        document = [{"messages": document}]  # one conversation by itself
    for number, run in enumerate(document, 1):
        yield f"run {number}", {**shared, **run} if isinstance(run, dict) else run


def _about(info: Any) -> dict[str, Any]:
    """Return what tau2-bench says of all its runs: the model, the agent and the domain."""
    agent, world = (_part(info, part) for part in ("agent_info", "environment_info"))
    return {
        "model": agent.get("llm"),
        "agent": agent.get("implementation"),
        "domain": world.get("domain_name"),
    }


def _part(record: Any, name: str) -> dict[str, Any]:
    part = record.get(name) if isinstance(record, dict) else None
    return part if isinstance(part, dict) else {}


def _conversations(runs: Iterable[_Run], bad: BadLines) -> Iterator[Conversation]:
    for place, run in runs:
        try:
            field = _find_list(run)
            if not field:
                raise BadRecordError(f"it has no list {' or '.join(map(repr, _LISTS))}")
            fields = {name: value for name, value in run.items() if name != field}
            name = _name_run(fields)
        except BadRecordError as error:
            bad.report(place, str(error))
            continue
        yield Conversation(place, run[field], name, fields, *_end(fields))


def _find_list(run: Any) -> str:
    """Return the field that holds the messages."""
    if not isinstance(run, dict):
        raise BadRecordError("a conversation is an object; this is another value")
    return next((name for name in _LISTS if isinstance(run.get(name), list)), "")


def _name_run(run: Mapping[str, Any]) -> str | None:
    """Return the name of a run: its id, or its task and trial."""
    if (key := parse_text(run.get("id"), "id")) is not None:
        return key
    task = parse_text(run.get("task_id"), "task_id")
    trial = parse_text(run.get("trial"), "trial")
    return task if task is None or trial is None else f"{task}-{trial}"


def _end(run: Mapping[str, Any]) -> tuple[Outcome | None, bool | None]:
    reward = run.get("reward", _part(run, "reward_info").get("reward"))
    known = isinstance(reward, int | float)
    outcome = _OUTCOMES.get(str(run.get("termination_reason")))
    if "error" in _part(run, "info"):  # tau-bench: the run raised an error
        outcome = Outcome.FAILED
    return outcome, reward >= _WHOLE if known else None
