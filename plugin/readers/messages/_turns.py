"""From the messages of a conversation to the steps of its assistant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.facts import RunFacts, TaskFacts, Usage
from detailed_balance.callbacks.names import name_answer
from detailed_balance.readers.messages._blocks import Break, Reply, Text, ToolUse
from detailed_balance.readers.messages._message import Message, is_user
from detailed_balance.readers.records.values import BadRecordError

RESPOND = "respond"
"""The state of a plain answer."""


@dataclass(slots=True)
class Turn:
    """One step of the assistant: the calls that it asks for side by side, or its words.

    Parameters
    ----------
    message : Message
        The message, or the first of the items, that it stands in.
    place : int
        Which one that is, from 1.
    calls : list of ToolUse
        The calls.
    replies : list of Reply
        The answers of tools that come before the next step.
    words : list
        What it says beside calls.
    usage : list of Usage
        What it cost.
    speaker : str or None
        The state of plain words, where several agents speak.
    closed : bool
        Whether what comes next in its message is another step.
    broke_off : bool
        Whether the run stopped while its calls were under way.
    """

    message: Message
    place: int
    calls: list[ToolUse] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    words: list[Any] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    speaker: str | None = None
    closed: bool = False
    broke_off: bool = False

    @property
    def is_attempt(self) -> bool:
        """Whether it reached no state: it broke off, or was not an action, as its status tells."""
        if self.broke_off:
            return True
        return self.message.role == "assistant" and self.message.raw.get("status") == "error"

    def name(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Return its states: the tools, as their answers tell, else ``respond``.

        Raises
        ------
        BadRecordError
            Where a tool has the name of START or END.
        """
        if self.is_attempt or (self.message.role != "assistant" and self.speaker is None):
            return ()
        if not self.calls:
            return (self.speaker or RESPOND,)
        names = tuple([self._name_call(call) for call in self.calls])
        if wrong := BOUNDARIES.intersection(names):
            raise BadRecordError(f"a tool is called {min(wrong)!r}, which is not a name of a state")
        return names

    def _name_call(self, call: ToolUse) -> str:
        reply = self.reply_to(call)
        return call.name if reply is None else name_answer(reply.answer, call.name) or RESPOND

    def reply_to(self, call: ToolUse) -> Reply | None:
        """Return the answer to a call: by its id, or else by its name."""
        if call.reply is not None:
            return call.reply
        for reply in self.replies:
            said = reply.answer
            if said.call == call.id if said.call and call.id else said.name == call.name:
                return reply
        return None

    def read_facts(self, run: RunFacts, number: int) -> StepFacts | None:
        """Return the facts of the step, with the answers of its tools."""
        answers = [reply for call in self.calls if (reply := self.reply_to(call))]
        contents = [reply.content for reply in answers] if self.calls else self.words
        if len(contents) == 1 or self.calls:
            told = [run.answer(content) for content in contents if content]
        else:
            told = [run.answer(contents)] if contents else []
        task = TaskFacts(
            [run.call(call.name, call.arguments) for call in self.calls],
            told,
            any(reply.answer.failed for reply in answers),
            self.usage,
        )
        return run.step(number, [task])


def split_turns(messages: Sequence[Message]) -> list[Turn]:
    """Return the steps of the assistant in a conversation.

    What one message asks for is one step, and so is what several items of one response ask for.
    A message is several steps where it holds answers itself: what comes after them is another.
    """
    named = _find_speakers(messages)
    turns: list[Turn] = []
    open_turn: Turn | None = None
    response = False  # whether the items of one response go on
    for place, message in enumerate(messages, 1):
        speaks = message.role == "assistant" or (message.name in named and message.role == "other")
        if not speaks:
            replies = [part for part in message.parts if isinstance(part, Reply)]
            if open_turn is not None:
                open_turn.replies += replies
            response = False
            continue
        if not (message.is_item and response):
            open_turn = None
        response = message.is_item
        several = len(named) > 1
        for turn in _split_message(message, place, open_turn):
            turn.speaker = message.name if several and message.name in named else None
            if turn.speaker is None and message.role != "assistant":
                turn.speaker = RESPOND
            if turn is not open_turn:
                turns.append(turn)
            open_turn = turn
    return turns


def mark_broken_off(turns: Sequence[Turn]) -> None:
    """Mark the last step where it is a call without an answer, and every other call has one."""
    calling = [turn for turn in turns if turn.calls]
    *answered, last = [any(map(turn.reply_to, turn.calls)) for turn in calling] or [True]
    if all(answered) and not last and calling[-1] is turns[-1]:
        turns[-1].broke_off = True


def single_turns(messages: Sequence[Message]) -> list[Turn]:
    """Return each message by itself, for a state function of its own."""
    turns = [Turn(message, place) for place, message in enumerate(messages, 1)]
    asking: Turn | None = None
    for turn in turns:
        parts = turn.message.parts
        if turn.message.role == "assistant":
            asking = turn
            turn.calls += [part for part in parts if isinstance(part, ToolUse)]
            turn.usage += [turn.message.usage] if turn.message.usage else []
        if asking is not None:
            asking.replies += [part for part in parts if isinstance(part, Reply)]
        turn.words += [part.content for part in parts if isinstance(part, Text)]
        if turn.message.role != "assistant" and not turn.words:
            turn.words += [turn.message.raw.get("content")]
    return turns


def _split_message(message: Message, place: int, going_on: Turn | None) -> Iterator[Turn]:
    """Yield the steps in a message; the first may be one that goes on."""
    turn = going_on or Turn(message, place)
    if message.usage is not None:
        turn.usage.append(message.usage)
    for part in message.parts:
        if isinstance(part, Break):
            turn.closed = bool(turn.calls or turn.words)
            continue
        if isinstance(part, Reply):
            turn.replies.append(part)
            turn.closed = True
            continue
        answered = isinstance(part, Text) and any(call.reply for call in turn.calls)
        if (turn.closed and (turn.calls or turn.words)) or answered:
            yield turn
            turn = Turn(message, place)
        if isinstance(part, ToolUse):
            turn.calls.append(part)
        else:
            turn.words.append(part.content)
    if turn.calls or turn.words or not (message.parts or message.is_item):
        yield turn


def _find_speakers(messages: Sequence[Message]) -> frozenset[str]:
    """Return the agents of a conversation among agents, whose messages all bear names.

    In the eyes of one of them all others are users, as AutoGen writes it.
    """
    told = [message for message in messages if message.role != "tool" and not message.is_item]
    names = {message.name for message in told if message.name is not None}
    unnamed = [m for m in told[1:] if m.role == "assistant" and m.name is None]
    events = any(isinstance(message.raw.get("source"), str) for message in told)
    if unnamed or not (len(names) > 1 or events):
        return frozenset()
    others = any(m.role == "other" and m.name is not None and not is_user(m.name) for m in told)
    if not (others or events):
        return frozenset()
    return frozenset(name for name in names if not is_user(name))
