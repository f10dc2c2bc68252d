"""The facts of steps that the fields of a table tell, before their run is known.

Of a call and of an answer only a digest and the size are kept. Which of them are the same is said
when the run is whole: by `RunFacts`, as everywhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from detailed_balance.callbacks.facts import Digest, RunFacts, TaskFacts, Usage
from detailed_balance.readers.records.values import TableMove

if TYPE_CHECKING:
    from detailed_balance.analyzers.runs.trajectory import StepFacts
    from detailed_balance.callbacks import Transition

__all__ = ["number_facts", "read_facts", "write_facts"]


def write_facts(told: TaskFacts | None) -> list[Any] | None:
    """Return what a record tells as JSON, for `read_facts`."""
    if told is None:
        return None
    calls, answers = (
        [[each.value.hex(), each.size] for each in digests if each.value is not None]
        for digests in (told.calls, told.answers)
    )
    return [calls, answers, told.failed, [usage.tokens for usage in told.usage]]


def read_facts(written: list[Any] | None) -> TaskFacts | None:
    """Return what `write_facts` made JSON of.

    Examples
    --------
    >>> read_facts(write_facts(TaskFacts([Digest(b"x", 1)]))).calls
    [Digest(value=b'x', size=1)]
    """
    if written is None:
        return None
    calls, answers = (
        [Digest(bytes.fromhex(value), size) for value, size in digests] for digests in written[:2]
    )
    return TaskFacts(calls, answers, written[2], [Usage(None, n, None) for n in written[3]])


def number_facts(moves: Iterable[Transition]) -> Iterator[StepFacts | None]:
    """Yield the facts of the moves of a run in order, each as often as it was made.

    A call or an answer has the number of the move at which it came first, from 1. The tokens of
    moves that were counted together are shared out evenly.

    Examples
    --------
    >>> told = TaskFacts([Digest(b"x", 1)], [Digest(b"y", 1)])
    >>> moves = [TableMove("a", "b"), TableMove("b", "a", told=(told,), count=2)]
    >>> [facts and (facts.call, facts.stale) for facts in number_facts(moves)]
    [None, (2, False), (2, True)]
    """
    run, number = RunFacts(max_entries=sys.maxsize), 0
    for move in moves:
        told = move.told if isinstance(move, TableMove) else ()
        for place in range(move.count):
            number += 1
            shares = told if move.count == 1 else [_share(each, move.count, place) for each in told]
            yield run.step(number, shares) if told else move.facts


def _share(told: TaskFacts, count: int, place: int) -> TaskFacts:
    """Return what one of several equal moves tells."""
    known = [usage.tokens for usage in told.usage if usage.tokens is not None]
    tokens = [total // count + (place < total % count) for total in known]
    return told._replace(usage=[Usage(None, share, None) for share in tokens])
