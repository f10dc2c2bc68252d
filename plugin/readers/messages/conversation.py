"""From conversations, each a list of messages, to the moves of runs: all adapters end here.

An adapter of a format finds the messages of each run in a file, and what the file says of it; then
`read_conversations` names the states, computes their facts, and keeps account of every message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.facts import RunFacts
from detailed_balance.callbacks.names import order_names
from detailed_balance.readers.messages._parts import (
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
from detailed_balance.readers.records.columns import get_field, has_field
from detailed_balance.readers.records.rows import FieldCheck
from detailed_balance.readers.records.steps import connect_sorted_steps
from detailed_balance.readers.records.values import (
    BadRecordError,
    Step,
    parse_outcome,
    parse_text,
    parse_time,
)

__all__ = ["Conversation", "read_conversations"]


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
        How it stopped, where the file says.
    success : bool or None
        Whether it did its work, where the file judges it.
    error : str or None
        The error that stopped it.

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


def read_conversations(
    conversations: Iterable[Conversation], options: ReadOptions, bad: BadLines
) -> Iterator[Record]:
    """Yield the moves of the assistant in each conversation, with the facts of their steps.

    A state is the tools that a message asks for, else ``respond``; `options` may name it otherwise,
    by the fields of a message or of its run. The answers to its calls follow it as messages, or are
    blocks ``tool_result`` of its own. A reply with the status ``error`` is an escape. Every message
    is accepted, or reported to `bad`.

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
    if not is_reply(message) or is_attempt(message):
        return None
    return tuple([name_call(call, replies) for call in read_calls(message)]) or RESPOND


def is_attempt(message: Mapping[str, Any]) -> bool:
    """Say whether a reply reached no state: what it said was no action, as its status tells.

    Examples
    --------
    >>> is_attempt({"role": "assistant", "status": "error", "content": "I am lost."})
    True
    """
    return is_reply(message) and message.get("status") == "error"


def _steps(
    conversations: Iterable[Conversation], options: ReadOptions, bad: BadLines
) -> Iterator[Step | Ending]:
    check = FieldCheck(options.fields.expected_labels())
    for number, conversation in enumerate(conversations, 1):
        try:
            name = _name_run(conversation, options, number)
            ending = _end(conversation, name, options)
        except BadRecordError as error:
            bad.report(conversation.place, str(error))
            continue
        yield from _follow(conversation, name, options, bad, check)
        yield ending
    check.report(bad)
    if not bad.accepted and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no messages")


def _name_run(conversation: Conversation, options: ReadOptions, number: int) -> str:
    """Return the key of a run: the field asked for, else the name that the file gives it."""
    asked = options.fields.trajectory
    if has_field(conversation.fields, asked):
        key = parse_text(get_field(conversation.fields, asked), asked)
        if key is not None:
            return key
    return conversation.name or str(number)


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
    options: ReadOptions,
    bad: BadLines,
    check: FieldCheck,
) -> Iterator[Step]:
    number, facts = 0, RunFacts()
    messages = conversation.messages
    for place, message in enumerate(messages, 1):
        try:
            if not isinstance(message, dict):
                raise BadRecordError("a message is an object; this is another value")
            message = unwrap(message)
            record = {**conversation.fields, **message}
            check.record(record)
            later = (messages[i] for i in range(place, len(messages)))
            own = [{"content": message.get("content")}]  # answers may stand beside their calls
            replies = read_replies(own) + read_replies(later) if is_reply(message) else []
            names = options.name_states(record, partial(name_message, replies=replies))
            time = parse_time(message.get("timestamp"), "timestamp")
            context = options.fields.read_labels(record)
            known = read_facts(facts, number + 1, message, replies) if names else None
        except BadRecordError as error:
            bad.report(f"{conversation.place}, message {place}", str(error))
            continue
        bad.accepted += 1
        if not names and is_attempt(message):
            number += 1
            yield Step(name, None, number, time, context)
        for state in order_names(names):
            number += 1
            yield Step(name, state, number, time, context, facts=known)
