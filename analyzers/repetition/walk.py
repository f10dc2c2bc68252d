"""What a run does over and over, move by move: loops, stays and oscillations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from detailed_balance.analyzers.counts import BOUNDARIES, END
from detailed_balance.analyzers.results import safe_name

__all__ = [
    "LoopErasure",
    "RepetitionTracker",
    "canonical_loop",
    "reversed_loop",
]

_LONGEST_LOOP = 6

_State = TypeVar("_State", str, int)


class LoopErasure(Generic[_State]):
    """The states of a run, less the loops that it closed.

    Whenever the run comes back to a state that is on the path, the states since then are a loop,
    and are cut off. Each state is cut off once, so that the cost of a visit does not grow with the
    length of the run.

    Parameters
    ----------
    visits : iterable of (state, int)
        The path so far.

    Examples
    --------
    >>> path = LoopErasure()
    >>> [path.visit(state, move) for move, state in enumerate("abcbd", 1)]
    [[], [], [], [('b', 2), ('c', 3)], []]
    """

    def __init__(self, visits: Iterable[tuple[_State, int]] = ()) -> None:
        self._visits: dict[_State, int] = dict(visits)

    def visit(self, state: _State, move: int) -> list[tuple[_State, int]]:
        """Add a visit, and return those of the loop that it closes, in order, from `state` on."""
        visits, loop = self._visits, []
        if state in visits:
            while True:
                last = visits.popitem()
                loop.append(last)
                if last[0] == state:
                    break
            loop.reverse()
        visits[state] = move
        return loop


def canonical_loop(loop: Sequence[str]) -> tuple[str, ...]:
    """Return a loop from its least state on, in the order walked.

    Examples
    --------
    >>> canonical_loop(["c", "a", "b"]), reversed_loop(["c", "a", "b"])
    (('a', 'b', 'c'), ('a', 'c', 'b'))
    """
    least = loop.index(min(loop))
    return (*loop[least:], *loop[:least])


def reversed_loop(loop: Sequence[str]) -> tuple[str, ...]:
    """Return the other way round a loop, from its least state on."""
    return canonical_loop(tuple(reversed(loop)))


class RepetitionTracker:
    """The loops that a run has closed, how long it stays, and how few states it is among.

    Loops are those of the loop-erased path (`LoopErasure`). The move to END is the last of a run
    and changes nothing; an escape is a step, after which the run stands where it stood. The cost of
    a move does not grow with the length of the run.

    Attributes
    ----------
    steps : int
        Moves so far, END not counted.
    escapes : int
        Moves without a target.
    visited : dict of str to None
        The states so far, in the order of their first visit.
    dwell, longest_dwell : int
        How many times in a row it is in the state where it is now; the most so far.
    oscillation, longest_oscillation : int
        How many of the last visits in a row were to at most two states; the most so far.
    loops : Counter of tuple of str
        How often each loop of two or more states was closed, by its states from the least on.

    Examples
    --------
    >>> tracker = RepetitionTracker()
    >>> for source, target in [("__start__", "a"), ("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")]:
    ...     tracker.update(source, target)
    >>> tracker.loops, tracker.oscillation
    (Counter({('a', 'b'): 2}), 5)
    >>> tracker.describe()
    'it went a -> b -> a 2 times'
    """

    def __init__(self) -> None:
        self.steps = self.escapes = 0
        self.visited: dict[str, None] = {}
        self.dwell = self.longest_dwell = 0
        self.oscillation = self.longest_oscillation = 0
        self.loops: Counter[tuple[str, ...]] = Counter()
        self.most_closed: tuple[str, ...] = ()
        self._state: str | None = None
        self._other: str | None = None
        self._longest_in: str | None = None
        self._path: LoopErasure[str] = LoopErasure()

    @property
    def closings(self) -> int:
        """How often the loop that was closed most was closed."""
        return self.loops[self.most_closed] if self.most_closed else 0

    def update(self, source: str, target: str | None) -> None:
        """Add one move."""
        if target == END:
            return
        if self._state is None and source not in BOUNDARIES:
            self._visit(source)  # a record that begins in the midst of a run
        self.steps += 1
        if target is None:
            self.escapes += 1
        else:
            self._visit(target)

    def _visit(self, state: str) -> None:
        self.visited[state] = None
        self._count_oscillation(state)
        self.dwell = self.dwell + 1 if state == self._state else 1
        if self.dwell > self.longest_dwell:
            self.longest_dwell, self._longest_in = self.dwell, state
        self._state = state
        loop = self._path.visit(state, self.steps)
        if len(loop) > 1:
            self._count_loop([state for state, _ in loop])

    def _count_oscillation(self, state: str) -> None:
        """Count the last visits that were to at most two states; call it before the dwell."""
        if state == self._state or state == self._other or self._other is None:
            self.oscillation += 1
        else:
            self.oscillation = self.dwell + 1
        if state != self._state:
            self._other = self._state
        self.longest_oscillation = max(self.longest_oscillation, self.oscillation)

    def _count_loop(self, loop: list[str]) -> None:
        key = canonical_loop(loop)
        self.loops[key] += 1
        if self.loops[key] > self.closings:
            self.most_closed = key

    def describe(self) -> str:
        """Say in a part of a sentence what the run does most, by the visits that went into it."""
        rounds = self.closings
        if rounds > 1 and rounds * len(self.most_closed) >= self.longest_dwell:
            return f"it went {self._write_loop()} {rounds} times"
        if self.longest_dwell > 1 and self._longest_in is not None:
            return f"it was in {safe_name(self._longest_in)} {self.longest_dwell} times in a row"
        return f"it has visited {len(self.visited)} states in {self.steps} steps"

    def _write_loop(self) -> str:
        loop = self.most_closed
        first = next(state for state in self.visited if state in loop)  # where it came in
        start = loop.index(first)
        names = [safe_name(state) for state in (*loop[start:], *loop[:start])]
        middle = names if len(names) <= _LONGEST_LOOP else [*names[:_LONGEST_LOOP], "..."]
        return " -> ".join([*middle, names[0]])
