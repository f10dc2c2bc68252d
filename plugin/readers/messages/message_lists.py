"""Lists of chat messages: tau-bench, tau2-bench, and conversations in the style of OpenAI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.facts import RunFacts
from detailed_balance.callbacks.names import order_names
from detailed_balance.readers._chat import (
    RESPOND,
    Reply,
    is_reply,
    name_call,
    read_calls,
    read_facts,
    read_replies,
    unwrap,
)
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.rows import FieldCheck
from detailed_balance.readers.records.steps import connect_sorted_steps
from detailed_balance.readers.records.values import (
    BadRecordError,
    Step,
    parse_outcome,
    parse_text,
    parse_time,
)
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
    yield from connect_sorted_steps(_steps(runs, options, bad), bad)
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no messages")


def name_message(
    message: Mapping[str, Any], replies: Sequence[Reply] = ()
) -> str | tuple[str, ...] | None:
    """Name the tools that an assistant's message asks for, else ``respond``; others are no state.

    The answers of the tools say which of them do not exist, and which were refused; see
    `callbacks.names`.

    Examples
    --------
    >>> name_message({"role": "assistant", "tool_calls": [{"function": {"name": "search"}}]})
    ('search',)
    >>> name_message({"role": "assistant", "content": "Hello"}), name_message({"role": "user"})
    ('respond', None)
    """
    if not is_reply(message):
        return None
    return tuple([name_call(call, replies) for call in read_calls(message)]) or RESPOND


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


def _steps(runs: Iterable[_Run], options: ReadOptions, bad: BadLines) -> Iterator[Step | Ending]:
    check = FieldCheck(options.fields.expected_labels())
    for number, (line, run) in enumerate(runs, 1):
        try:
            field = _find_list(run)
            if not field:
                raise BadRecordError(f"it has no list {' or '.join(map(repr, _LISTS))}")
            shared = {name: value for name, value in run.items() if name != field}
            trajectory = _name_run(shared, options, number)
            ending = _end(shared, trajectory, options)
        except BadRecordError as error:
            bad.report(line, str(error))
            continue
        yield from _follow(run[field], shared, trajectory, options, bad, check, str(line))
        yield ending
    check.report(bad)


def _find_list(run: Any) -> str:
    """Return the field that holds the messages."""
    if not isinstance(run, dict):
        raise BadRecordError("a conversation is an object; this is another value")
    return next((name for name in _LISTS if isinstance(run.get(name), list)), "")


def _name_run(run: Mapping[str, Any], options: ReadOptions, number: int) -> str:
    """Return the key of a run: the field asked for, or the id, or task and trial."""
    field = options.fields.trajectory
    for name in dict.fromkeys((field, "id")):
        if (key := parse_text(run.get(name), name)) is not None:
            return key
    task = parse_text(run.get("task_id"), "task_id")
    if task is None:
        return str(number)
    trial = parse_text(run.get("trial"), "trial")
    return task if trial is None else f"{task}-{trial}"


def _end(run: Mapping[str, Any], trajectory: str, options: ReadOptions) -> Ending:
    if (field := options.fields.success) is not None:
        outcome, success = parse_outcome(run.get(field), field, options.fields.success_values)
        return Ending(trajectory, outcome, None, success)
    reward = run.get("reward", _part(run, "reward_info").get("reward"))
    known = isinstance(reward, int | float)
    outcome = _OUTCOMES.get(str(run.get("termination_reason")))
    if "error" in _part(run, "info"):  # tau-bench: the run raised an error
        outcome = Outcome.FAILED
    return Ending(trajectory, outcome, None, reward >= _WHOLE if known else None)


def _follow(
    messages: list[Any],
    run: Mapping[str, Any],
    trajectory: str,
    options: ReadOptions,
    bad: BadLines,
    check: FieldCheck,
    line: str,
) -> Iterator[Step]:
    number, facts = 0, RunFacts()
    for place, message in enumerate(messages, 1):
        try:
            if not isinstance(message, dict):
                raise BadRecordError("a message is an object; this is another value")
            message = unwrap(message)
            record = {**run, **message}
            check.record(record)
            later = (messages[i] for i in range(place, len(messages)))
            replies = read_replies(later) if is_reply(message) else []
            names = options.name_states(record, partial(name_message, replies=replies))
            time = parse_time(message.get("timestamp"), "timestamp")
            context = options.fields.read_labels(record)
            known = read_facts(facts, number + 1, message, replies) if names else None
        except BadRecordError as error:
            bad.report(f"{line}, message {place}", str(error))
            continue
        bad.accepted += 1
        for state in order_names(names):
            number += 1
            yield Step(trajectory, state, number, time, context, facts=known)
