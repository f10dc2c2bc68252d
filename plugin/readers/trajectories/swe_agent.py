"""SWE-agent's trajectories, and the corpus of TraceToChain, which is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.readers.messages.agent_steps import (
    first_word,
    get_part,
    get_text,
    keep_plain,
    make_answer,
    make_attempt,
    make_call,
    make_step,
    name_file,
    read_reason,
    split_names,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.steps import connect_sorted_steps
from detailed_balance.readers.records.values import Step
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "looks_like_corpus", "read", "read_corpus"]

_LISTS = {"trajectory": {"action", "observation"}, "history": {"role", "agent"}}
_FAILURES = split_names(
    "early_exit exit_api exit_command_timeout exit_context exit_environment_error exit_error "
    "exit_forfeit exit_format"
)
_EXITS = {
    "submitted": Outcome.ENDED,
    "exit_command": Outcome.ENDED,
    "exit_cost": Outcome.RECURSION_LIMIT,
    "exit_total_execution_time": Outcome.RECURSION_LIMIT,
    **dict.fromkeys(_FAILURES, Outcome.FAILED),
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds trajectories, or demonstrations, which are histories alone."""
    return _find_steps(opening.first) is not None


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves between commands, by their first words; a reply without one is an escape."""
    return read_conversations(_read_trajectories(path, options, bad), options, bad)


def looks_like_corpus(opening: Opening) -> bool:
    """Say whether a file holds runs by their keys, each with tokens and a verdict."""
    runs = list(opening.first.values())
    return bool(runs) and all(isinstance(r, dict) and isinstance(r.get("toks"), list) for r in runs)


def read_corpus(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves between the tokens of each run of a corpus of TraceToChain."""
    return connect_sorted_steps(_read_corpus(path, options, bad), bad)


def _read_trajectories(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    for number, (place, run) in enumerate(read_objects(path, options, bad), 1):
        found, info = _find_steps(run), get_part(run, "info")
        if found is None:
            bad.report(place, "it has no list 'trajectory' or 'history' of steps")
            continue
        messages = [_read_step(step, place) for place, step in enumerate(found)]
        fields = keep_plain(info, ("submission",)) | keep_plain(run)
        outcome = read_reason(info.get("exit_status"), _EXITS)
        name = get_text(run, "instance_id") or name_file(path)
        yield Conversation(f"trajectory {number}", messages, name, fields, outcome)


def _find_steps(run: Any) -> list[Any] | None:
    """Return the steps of a trajectory: its own, else those of its history."""
    for name, needed in _LISTS.items():
        steps = run.get(name) if isinstance(run, dict) else None
        first = steps[0] if isinstance(steps, list) and steps else None
        if isinstance(first, dict) and needed <= first.keys() and "source" not in first:
            return steps
    return None


def _read_step(step: Any, place: int) -> Any:
    """Return a step as a message; one of a history that is not the agent's as it is."""
    if not isinstance(step, dict) or step.get("role", "assistant") != "assistant":
        return step
    action, number = step.get("action"), str(place)
    said = keep_plain(step, ("content", "query", "response", "role"))
    word = first_word(action) if isinstance(action, str) else None
    if word is None:
        return make_attempt(**said)
    answers = [make_answer(step["observation"], number)] if "observation" in step else []
    return make_step([make_call(word, action, number)], answers, **said)


def _read_corpus(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Step | Ending]:
    for place, corpus in read_objects(path, options, bad):
        if not corpus:
            bad.report(place, "it has no runs")
        for name, run in corpus.items():
            if not isinstance(run, dict) or not isinstance(run.get("toks"), list):
                bad.report(f"run {name}", "a run needs a list 'toks'")
                continue
            yield from _read_tokens(name, run["toks"], bad)
            success = run.get("resolved")
            outcome = read_reason(run.get("exit"), _EXITS)
            yield Ending(name, outcome, None, success if isinstance(success, bool) else None)
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no runs")


def _read_tokens(name: str, tokens: Iterable[Any], bad: BadLines) -> Iterator[Step]:
    for number, token in enumerate(tokens, 1):
        if isinstance(token, str) and token:
            bad.accepted += 1
            yield Step(name, token, number)
        else:
            bad.report(f"run {name}, token {number}", "a token is a text")
