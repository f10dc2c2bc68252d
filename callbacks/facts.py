"""The facts of steps: whether a run gets anywhere, without keeping what it says.

`RunFacts` serves one run while it is open. For each task that ends, `RunFacts.task` makes digests
of what it was asked and what it wrote; at the end of a step, `RunFacts.step` puts its tasks
together as `StepFacts`, which hold small numbers only: the step at which the same call or answer
came first. A task that is not a state (a model that asks for tools) goes to `RunFacts.carry`, which
credits its tokens to the next step.

Digests are keyed with random bytes that live as long as the run is open, so nobody can guess
contents from what is kept. They read the first 64 KiB of a content, beyond 4 KiB as a check sum,
and its length. What cannot be read for certain (an object of a class of yours, a circle) has no
digest, and nothing is claimed of it. Messages and commands are known by their fields: who reads a
trace needs no LangChain.

Examples
--------
>>> from langchain_core.messages import ToolMessage
>>> run = RunFacts()
>>> call = {"name": "search", "args": {"q": "x"}, "id": "1"}
>>> ran = run.task([ToolMessage("nothing", tool_call_id="1")], [call])
>>> first, again = run.step(2, [ran]), run.step(4, [ran])
>>> first.call, first.repeats, again.call, again.repeats, again.stale
(2, False, 2, True, True)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple
from zlib import crc32

from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = [
    "Digest",
    "RunFacts",
    "TaskFacts",
    "Usage",
    "digest",
    "digest_call",
    "read_usage",
    "written_text",
]

_READ = 64 * 1024
_HASHED = 4 * 1024
_DEEPEST = 40
_MOST_ITEMS = 1_000
_PLAIN = frozenset({str, int, float, bool, type(None)})
_PLAIN_ITEMS, _PLAIN_TEXT = 20, 2_000
_DIGEST_BYTES = 12
_OF_A_MODEL = frozenset({"ai", "AIMessageChunk"})


class Digest(NamedTuple):
    """A keyed hash of a content, None where that cannot be read, and its size in bytes."""

    value: bytes | None
    size: int


class Usage(NamedTuple):
    """What one message of a model cost, as the model reports; None where it does not."""

    message: str | None
    """The id of the message."""
    tokens: int | None
    cost: float | None


class TaskFacts(NamedTuple):
    """What is known of one task of a step: digests in place of contents.

    Parameters
    ----------
    calls, answers : sequence of Digest
        The calls that it answered, and their answers; of a task that is not a tool only one answer,
        what it wrote.
    failed : bool
        Whether it raised an error, or an answer says that it is one.
    usage : sequence of Usage
        What its messages of a model cost.
    """

    calls: Sequence[Digest] = ()
    answers: Sequence[Digest] = ()
    failed: bool = False
    usage: Sequence[Usage] = ()


class _UnreadableError(Exception):
    """A content has no text that stays the same."""


class RunFacts:
    """Turn what the tasks of one run say into `StepFacts`.

    Parameters
    ----------
    key : bytes or None
        The key of the digests, 16 to 64 random bytes; None makes one.
    max_entries : int
        The most calls, answers and pairs that it remembers of each kind; beyond it the oldest is
        forgotten, and counts as new when it comes again.

    Attributes
    ----------
    resumed : bool
        Whether the next step is the first after a resume.

    Notes
    -----
    `task` may be called from several threads at once, `step` and `carry` by one at a time.
    """

    __slots__ = (
        *("_answers", "_calls", "_counted", "_key", "_max_entries", "_pairs", "_spent"),
        "resumed",
    )

    def __init__(self, key: bytes | None = None, max_entries: int = 10_000) -> None:
        self._key = os.urandom(16) if key is None else key
        self._max_entries = max_entries
        self._calls: dict[bytes, int] = {}
        self._answers: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._counted: dict[bytes, int] = {}
        self._spent: list[Usage] = []
        self.resumed = False

    def task(
        self,
        messages: Sequence[Any],
        calls: Iterable[Mapping[str, Any]] = (),
        update: Any = None,
        *,
        failed: bool = False,
        called: Sequence[Digest] = (),
        usage: Sequence[Usage] = (),
    ) -> TaskFacts:
        """Return the facts of a task that ended.

        Parameters
        ----------
        messages : sequence of BaseMessage
            The messages that it wrote.
        calls : iterable of mapping
            The calls (``name``, ``args``, ``id``) that it was given: of these, the ones that a
            message answers; all of them, where it failed and wrote no answer.
        update : Any
            All that it returned: its answer, where it answered no call. Leave it out of a task
            that is not a state.
        failed : bool
            Whether it raised an error.
        called : sequence of Digest
            The calls of tools that started in it, where no message of `calls` is answered.
        usage : sequence of Usage
            What models that it called report, besides the messages.
        """
        key = self._key
        if not messages and not calls and not failed:
            return TaskFacts(called, (digest(key, update),) if update else (), False, usage)
        answers: list[Any] = []
        usage = [*usage]
        for message in messages:
            kind = message.type
            if kind == "tool":
                answers.append(message)
                failed = failed or message.status == "error"
            elif kind in _OF_A_MODEL:
                spent = read_usage(message)
                if spent.tokens is not None or spent.cost is not None:
                    usage.append(spent)
        ids = [message.tool_call_id for message in answers]
        asked = [
            digest_call(key, call.get("name"), call.get("args"))
            for call in calls
            if call.get("id") in ids or (failed and not ids)
        ]
        if asked:
            return TaskFacts(asked, [digest(key, m.content) for m in answers], failed, usage)
        return TaskFacts(called, (digest(key, update),) if update else (), failed, usage)

    def call(self, name: str, arguments: Any) -> Digest:
        """Return the digest of the call of a tool that starts, where no message asks for it."""
        return digest_call(self._key, name, arguments)

    def answer(self, content: Any) -> Digest:
        """Return the digest of an answer, where it is not in a message of LangChain."""
        return digest(self._key, content)

    def carry(self, task: TaskFacts) -> None:
        """Credit what a task without a state cost to the next step."""
        self._spent += self._new_usage(task)

    def step(self, number: int, tasks: Iterable[TaskFacts]) -> StepFacts:
        """Return the facts of a step, whose tasks ran side by side.

        Parameters
        ----------
        number : int
            The step, as the run counts its steps.
        tasks : iterable of TaskFacts
            Its tasks.
        """
        calls: Sequence[Digest] = ()
        answers: Sequence[Digest] = ()
        failed = False
        for task in tasks:
            calls = [*calls, *task.calls] if calls else task.calls
            answers = [*answers, *task.answers] if answers else task.answers
            failed = failed or task.failed
            if task.usage:
                self.carry(task)
        called = answered = call_size = answer_size = tokens = cost = None
        repeats = stale = False
        call = answer = None
        if calls:
            call, call_size = calls[0] if len(calls) == 1 else _join(calls)
            called, repeats = self._first(self._calls, call, number)
        if answers:
            answer, answer_size = answers[0] if len(answers) == 1 else _join(answers)
            answered, _ = self._first(self._answers, answer, number)
        if call is not None and answer is not None:
            _, stale = self._first(self._pairs, call + b"=" + answer, number)
        if self._spent:
            spent, self._spent = self._spent, []
            tokens = _total([usage.tokens for usage in spent])
            cost = _total([usage.cost for usage in spent])
        size = (call_size, answer_size)
        resumed, self.resumed = self.resumed, False
        return StepFacts(failed, called, answered, repeats, stale, *size, tokens, cost, resumed)

    def _first(
        self, seen: dict[bytes, int], value: bytes | None, number: int
    ) -> tuple[int | None, bool]:
        """Return the step at which a digest came first, and whether that was before this one."""
        if value is None:
            return None, False
        first = seen.get(value)
        if first is not None:
            return first, True
        seen[value] = number
        if len(seen) > self._max_entries:
            del seen[next(iter(seen))]
        return number, False

    def _new_usage(self, task: TaskFacts) -> list[Usage]:
        """Return the usage of its messages that was not counted: a node may return what it got."""
        return [
            usage
            for usage in task.usage
            if usage.message is None
            or not self._first(self._counted, usage.message.encode("utf-8", "replace"), 0)[1]
        ]


def _join(digests: Sequence[Digest]) -> Digest:
    """Return one digest for what happened side by side; it is None where one of them is."""
    if len(digests) == 1:
        return digests[0]
    values = {value for value, _ in digests if value is not None}
    known = all(value is not None for value, _ in digests)
    size = sum(size for _, size in digests)
    return Digest(b"".join(sorted(values)) if known else None, size)


def _total(numbers: Iterable[Any]) -> Any:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _public(update: Any) -> Any:
    """Return an update without the keys that begin with an underscore, as private ones do."""
    if type(update) is dict:
        private = [key for key in update if isinstance(key, str) and key.startswith("_")]
        return {k: v for k, v in update.items() if k not in private} if private else update
    if type(update) is list:
        return [_public(part) for part in update]
    return (_public(update.update), update.goto) if hasattr(update, "goto") else update


def read_usage(message: Any) -> Usage:
    """Return the tokens and the cost of a message, where the model reports them.

    Examples
    --------
    >>> counts = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    >>> from langchain_core.messages import AIMessage
    >>> read_usage(AIMessage("hi", usage_metadata=counts, id="7"))
    Usage(message='7', tokens=10, cost=None)
    """
    counts = message.usage_metadata
    tokens = counts.get("total_tokens") if counts else None
    about = message.response_metadata
    used = about.get("token_usage") if about else None
    cost = used.get("cost") if isinstance(used, dict) else None
    return Usage(message.id, _number(tokens, int), _number(cost, float))


def written_text(content: Any) -> str | None:
    """Return the text of a message's content, without its other blocks; None where there is none.

    Examples
    --------
    >>> written_text([{"type": "text", "text": "Let me"}, {"type": "tool_use"}, " see"])
    'Let me see'
    """
    if isinstance(content, str):
        return content or None
    if not isinstance(content, (list, tuple)):
        return None
    blocks = [block.get("text") if isinstance(block, dict) else block for block in content]
    return "".join(block for block in blocks if isinstance(block, str)) or None


def _number(value: Any, kind: type) -> Any:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind(value) if plain and value == value and 0 <= value < 1e15 else None


def digest(key: bytes, content: Any) -> Digest:
    """Return a keyed hash of what JSON may hold, of messages and of commands, and its size.

    Parameters
    ----------
    key : bytes
        The key of blake2b, at most 64 bytes.
    content : Any
        The content. Of more than 64 KiB, the first 64 KiB and the size count; of collections, the
        first 1,000 values in all, and how many each has.

    Examples
    --------
    >>> one, other = digest(b"k", {"a": 1, "b": [2]}), digest(b"k", {"b": [2], "a": 1})
    >>> one == other, digest(b"k", object()).value is None
    (True, True)
    """
    if type(content) is str:
        if len(content) > _READ:
            data = content[:_READ].encode("utf-8", "surrogatepass")
            return _digest(key, data, len(data) + len(content) - _READ)
        return _digest(key, data := content.encode("utf-8", "surrogatepass"), len(data))
    if (plain := _write_plain(content)) is not None:
        # Quicker than blake2b, and it leaves this process no more than that does.
        return Digest(hash((key, plain)).to_bytes(8, "big", signed=True), len(plain))
    parts: list[bytes] = []
    try:
        size = _Writer(parts).write(_public(content), 0)
    except (_UnreadableError, TypeError, ValueError, RecursionError):  # nothing that JSON holds
        return Digest(None, sum(map(len, parts)))
    return _digest(key, b"".join(parts), size)


def digest_call(key: bytes, name: Any, arguments: Any) -> Digest:
    """Return a keyed hash of the call of a tool, and the size of its arguments.

    Examples
    --------
    >>> one = digest_call(b"k", "search", {"q": "x", "n": 1})
    >>> one == digest_call(b"k", "search", {"n": 1, "q": "x"}), one == digest_call(b"k", "find", {})
    (True, False)
    """
    plain = _write_plain(arguments) if type(name) is str else None
    if plain is not None:
        hashed = hash((key, name, plain)).to_bytes(8, "big", signed=True)
        return Digest(hashed, len(plain))
    return digest(key, (name, arguments))


def _write_plain(value: Any) -> str | None:
    """Write a few short texts and numbers by their names, as almost all arguments are; else None.

    Their repr is exact, and quicker than all else.
    """
    if type(value) is not dict or len(value) > _PLAIN_ITEMS:
        return None
    for name, item in value.items():
        kind = type(item)
        if kind not in _PLAIN or (kind is str and len(item) > _PLAIN_TEXT):
            return None
        if type(name) is not str or name[:1] == "_":
            return None
    try:
        return repr(sorted(value.items()) if len(value) > 1 else value)
    except (TypeError, ValueError):  # keys of several types, an endless number, a lone surrogate
        return None


def _digest(key: bytes, data: bytes, size: int) -> Digest:
    length = len(data)
    if length == size and length <= _HASHED:
        return Digest(blake2b(data, key=key, digest_size=_DIGEST_BYTES).digest(), size)
    # The beginning is hashed, and the rest has a check sum: less than half the time.
    hashed = blake2b(data[:_HASHED], key=key, digest_size=_DIGEST_BYTES)
    hashed.update(b" %d %d" % (size, crc32(data[_HASHED:])))
    return Digest(hashed.digest(), size)


class _Writer:
    """Write a value as bytes that are the same for equal values, up to a budget.

    Every text stands behind its length, and every collection behind its number of items, so
    different values never run together into the same bytes.
    """

    __slots__ = ("_items_left", "_parts", "_room")

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._room = _READ
        self._items_left = _MOST_ITEMS

    def write(self, value: Any, depth: int) -> int:
        """Write a value, as far as there is room, and return its size in bytes."""
        if isinstance(value, str):
            return self._text(value)
        if value is None or value is True or value is False:
            return self._add(b"%b," % str(value).encode())
        if isinstance(value, int):
            return self._add(b"%x," % value)
        if isinstance(value, float):
            return self._add(b"%b," % repr(value).encode())
        if isinstance(value, bytes):
            self._add(b"b%d:%b" % (len(value), value[: max(self._room, 0)]))
            return len(value)
        if depth >= _DEEPEST:
            raise _UnreadableError
        if isinstance(value, dict):
            size = self._add(b"{%d:" % len(value))
            # Keys that cannot be sorted are not JSON, and not read.
            for name in _sorted(value) if len(value) <= _MOST_ITEMS else value:
                if not self._goes_on():
                    return size + len(value)
                size += self.write(name, depth + 1) + self.write(value[name], depth + 1)
            return size
        if isinstance(value, (list, tuple)):
            return self._values(b"[", value, depth)
        return self._object(value, depth)

    def _goes_on(self) -> bool:
        self._items_left -= 1
        return self._items_left >= 0 and self._room > 0

    def _add(self, data: bytes) -> int:
        self._parts.append(data)
        self._room -= len(data)
        return len(data)

    def _text(self, text: str) -> int:
        room = max(self._room, 0)
        data = text[:room].encode("utf-8", "surrogatepass")[:room]
        self._add(b"s%d:%b" % (len(text), data))
        return len(data) + max(len(text) - room, 0)

    def _values(self, mark: bytes, values: Collection[Any], depth: int) -> int:
        size = self._add(b"%b%d:" % (mark, len(values)))
        for value in values:
            if not self._goes_on():
                return size + len(values)
            size += self.write(value, depth + 1)
        return size

    def _object(self, value: Any, depth: int) -> int:
        kind = getattr(value, "type", None)
        if isinstance(kind, str) and hasattr(value, "content"):
            # A message, without its id and its metadata, which are never the same twice.
            calls = [(call["name"], call["args"]) for call in getattr(value, "tool_calls", ())]
            return self.write((value.type, value.content, calls), depth)
        if hasattr(value, "goto"):  # a command
            return self.write((value.update, value.goto), depth)
        if isinstance(value, Enum):
            return self._text(value.name)
        if isinstance(value, (set, frozenset)):
            return self._values(b"<", _sorted(value) if len(value) <= _MOST_ITEMS else (), depth)
        raise _UnreadableError


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Return values in order, of a class of the user's own too, which may refuse in any way."""
    try:
        return sorted(values)
    except Exception:
        raise _UnreadableError from None
