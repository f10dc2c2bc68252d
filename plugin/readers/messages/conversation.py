"""From conversations, each a list of messages, to the moves of runs: all adapters end here.

An adapter of a format finds the messages of each run in a file, and what the file says of it; then
`read_conversations` names the states, computes their facts, and keeps account of every message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.facts import RunFacts, written_text
from detailed_balance.callbacks.names import order_names
from detailed_balance.readers.messages._message import Message, read_message
from detailed_balance.readers.messages._turns import mark_broken_off, single_turns, split_turns
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.columns import get_field
from detailed_balance.readers.records.rows import FieldCheck
from detailed_balance.readers.records.steps import connect_sorted_steps
from detailed_balance.readers.records.values import (
    BadRecordError,
    Step,
    parse_outcome,
    parse_text,
)

__all__ = ["Conversation", "read_conversations"]

_BROKEN_OFF = (Outcome.FAILED, Outcome.CANCELLED)

_BROKEN = {Outcome.FAILED, Outcome.RECURSION_LIMIT, Outcome.CANCELLED}


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one run, as a file has them.

    Parameters
    ----------
    place : int or str
        Where it stands, for messages of errors: its line, or words such as ``run 3``.
    messages : sequence
        The messages in order, each in any way to write them that this room knows: for one, as
        OpenAI does.
    name : str or None
        What the file calls the run; None where it does not say.
    fields : mapping
        What the file says of the run beside its messages; labels, its name and its success may be
        asked from here.
    outcome : Outcome or None
        Its outcome, where the file says.
    success : bool or None
        Whether it did its work, where the file judges it.
    error : str or None
        The error that stopped it.
    tells_answers : bool
        Whether every answer to a call stands in it, so that the last call of a run that failed, or
        was cancelled, broke off where it has none.

    Examples
    --------
    >>> asks = {"role": "assistant", "tool_calls": [{"function": {"name": "search"}}]}
    >>> Conversation("run 1", [{"role": "user", "content": "q"}, asks], "a7").name
    'a7'
    """

    place: int | str
    messages: Sequence[Any]
    name: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    success: bool | None = None
    error: str | None = None
    tells_answers: bool = False


def read_conversations(
    conversations: Iterable[Conversation], options: ReadOptions, bad: BadLines
) -> Iterator[Record]:
    """Yield the moves of the assistant in each conversation, with the facts of their steps.

    A state is the tools that a message asks for, else ``respond``; `options` may name it otherwise,
    by the fields of a message or of its run. The answers to its calls follow it as messages, or are
    blocks ``tool_result`` of its own. A reply with the status ``error`` is an escape, and so is a
    call that broke off. Every message is accepted, or reported to `bad`.

    Parameters
    ----------
    conversations : iterable of Conversation
        Run after run.
    options : ReadOptions
        How to read them.
    bad : BadLines
        Keeps account.

    Raises
    ------
    ReadError
        Where there is no message at all.

    Examples
    --------
    >>> from detailed_balance.readers.records.columns import FieldNames
    >>> asks = {"role": "assistant", "tool_calls": [{"function": {"name": "search"}}]}
    >>> bad = BadLines("chat.json", skip=False)
    >>> found = read_conversations([Conversation(1, [asks])], ReadOptions(FieldNames()), bad)
    >>> [record.target for record in found], bad.accepted
    (['search', '__end__'], 1)
    """
    return connect_sorted_steps(_steps(conversations, options, bad), bad)


def _steps(
    conversations: Iterable[Conversation], options: ReadOptions, bad: BadLines
) -> Iterator[Step | Ending]:
    check = FieldCheck(options.fields.expected_labels())
    for number, conversation in enumerate(conversations, 1):
        try:
            name = _name_run(conversation, options, bad, number)
            ending = None if name is None else _end(conversation, name, options)
        except BadRecordError as error:
            bad.report(conversation.place, str(error))
            continue
        if name is None or ending is None:  # the same run again
            bad.accepted += len(conversation.messages)
            bad.duplicates += len(conversation.messages)
            continue
        yield from _follow(conversation, name, ending.outcome, options, bad, check)
        yield ending
    check.report(bad)
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no messages")


def _name_run(
    conversation: Conversation, options: ReadOptions, bad: BadLines, number: int
) -> str | None:
    """Return a name of its own for a run, None where it was there before.

    It is the field asked for, else what the file calls it, else the file, or its number.
    """
    asked = options.fields.trajectory
    told = get_field(conversation.fields, asked)
    name = None if isinstance(told, list | dict) else parse_text(told, asked)
    name = name or conversation.name
    if name is None:
        return bad.run_names.claim(bad.file or str(number))
    return bad.run_names.claim(name, conversation.messages)


def _end(conversation: Conversation, name: str, options: ReadOptions) -> Ending:
    outcome, success = conversation.outcome, conversation.success
    if (asked := options.fields.success) is not None:
        told = get_field(conversation.fields, asked)
        said, success = parse_outcome(told, asked, options.fields.success_values)
        outcome = said or outcome
    return Ending(name, outcome, conversation.error, success)


def _follow(
    conversation: Conversation,
    name: str,
    outcome: Outcome | None,
    options: ReadOptions,
    bad: BadLines,
    check: FieldCheck,
) -> Iterator[Step]:
    """Yield the steps of a conversation; each message is accepted, or reported."""
    messages: list[Message] = []
    for place, value in enumerate(conversation.messages, 1):
        try:
            message = read_message(value)
            check.record({**conversation.fields, **message.raw})
        except BadRecordError as error:
            bad.report(f"{conversation.place}, message {place}", str(error))
            continue
        bad.accepted += 1
        messages.append(message)
    number, facts = 0, RunFacts()
    named = options.states is not None or options.fields.state is not None
    turns = single_turns(messages) if named else split_turns(messages)
    if not named and conversation.tells_answers and outcome in _BROKEN_OFF:
        mark_broken_off(turns)
    for turn in turns:
        record = {**conversation.fields, **turn.message.raw}
        try:
            names = options.name_states(record, turn.name)
            context = options.fields.read_labels(record)
        except BadRecordError as error:
            bad.report(f"{conversation.place}, message {turn.place}", str(error))
            bad.accepted -= 1
            continue
        known = turn.read_facts(facts, number + 1) if names else None
        if not names and turn.is_attempt:
            number += 1
            _keep_text(options, name, turn.words)
            yield Step(name, None, number, turn.message.time, context)
        words: Sequence[Any] = turn.words
        for state in order_names(names):
            number += 1
            _keep_text(options, name, words)
            words = ()  # they are of the step as a whole, so not twice
            yield Step(name, state, number, turn.message.time, context, facts=known)
    if not number and conversation.outcome in _BROKEN:
        yield Step(name, None, 1)  # it stopped before its first step


def _keep_text(options: ReadOptions, run: str, words: Sequence[Any]) -> None:
    """Put what the assistant wrote where it is asked for, once for each move."""
    if options.texts is not None:
        options.texts.setdefault(run, []).append(written_text(words))
