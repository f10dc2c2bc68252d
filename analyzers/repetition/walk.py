"""What a run does over and over: loops, stays and oscillations, move by move or all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Generic, TypeVar

from detailed_balance.analyzers.counts import BOUNDARIES, END
from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.runs.trajectory import Trajectory

__all__ = [
    "LoopErasure",
    "RepetitionTracker",
    "RunRepetition",
    "canonical_loop",
    "measure_repetition",
    "reversed_loop",
]

_LONGEST_LOOP = 6

_State = TypeVar("_State", str, int)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a run that keeps to a few states.

    Parameters
    ----------
    states : tuple of str
        Sorted.
    onset : int
        The moves before it.
    visits : int
        Its visits to states; an attempt that reached no state is one more where the run stands.
    switches : int
        How often it changed from one of the states to another.
    """

    states: tuple[str, ...] = ()
    onset: int = 0
    visits: int = 0
    switches: int = 0


@dataclass(frozen=True, slots=True)
class LoopWalk:
    """A loop of two states or more that a run went round, side trips cut out.

    Parameters
    ----------
    states : tuple of str
        In the order walked, from the least on.
    onset : int
        The moves before it was first begun.
    rounds : int
        How often it was closed.
    """

    states: tuple[str, ...]
    onset: int
    rounds: int


@dataclass(frozen=True, slots=True)
class RunRepetition:
    """What a run does over and over.

    Parameters
    ----------
    stay : Stretch
        Its longest stay in one state.
    oscillation : Stretch
        Its stretch among two states with the most changes between them.
    trapped : tuple of Stretch
        For each trap that was asked for, the longest stretch in it.
    loops : tuple of LoopWalk
        In the order in which they were first closed.
    """

    stay: Stretch
    oscillation: Stretch
    trapped: tuple[Stretch, ...]
    loops: tuple[LoopWalk, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """Visits in a row to one state."""

    state: str
    onset: int
    visits: int


def measure_repetition(run: Trajectory, traps: Iterable[Sequence[str]] = ()) -> RunRepetition:
    """Find what a run does over and over; the cost grows with its length alone.

    Parameters
    ----------
    run : Trajectory
        Its moves.
    traps : iterable of sequence of str
        Sets of states, the longest stay in each of which is wanted.

    Examples
    --------
    >>> run = Trajectory(tuple(zip(("__start__", *"xababa"), "xababac")))
    >>> found = measure_repetition(run)
    >>> found.oscillation
    Stretch(states=('a', 'b'), onset=2, visits=5, switches=4)
    >>> found.loops
    (LoopWalk(states=('a', 'b'), onset=2, rounds=2),)
    """
    blocks = list(_blocks(run))
    longest = max(blocks, key=lambda block: block.visits, default=None)
    return RunRepetition(
        Stretch() if longest is None else _stretch([longest]),
        _stretch(_longest_oscillation(blocks)),
        tuple(_longest_in(blocks, frozenset(trap)) for trap in traps),
        tuple(_close_loops(blocks)),
    )


def _blocks(run: Trajectory) -> Iterator[_Block]:
    for state, visits in groupby(_visits(run), key=lambda visit: visit[0]):
        onsets = [onset for _, onset in visits]
        yield _Block(state, onsets[0], len(onsets))


def _visits(run: Trajectory) -> Iterator[tuple[str, int]]:
    """Yield each state that the run was in, and the moves before it was reached."""
    if run.moves and run.moves[0][0] not in BOUNDARIES:
        yield run.moves[0][0], 0
    for number, (source, target) in enumerate(run.moves, 1):
        state = source if target is None else target
        if target != END and state not in BOUNDARIES:
            yield state, number


def _stretch(blocks: Sequence[_Block]) -> Stretch:
    """Return blocks that follow each other as one stretch."""
    if not blocks:
        return Stretch()
    states = tuple(sorted({block.state for block in blocks}))
    visits = sum(block.visits for block in blocks)
    return Stretch(states, blocks[0].onset, visits, len(blocks) - 1)


def _longest_oscillation(blocks: Sequence[_Block]) -> Sequence[_Block]:
    """Return the longest part among two states, empty where there is no change at all."""
    first, best = 0, (0, 0)
    for i in range(2, len(blocks) + 1):
        if i < len(blocks) and blocks[i].state == blocks[i - 2].state:
            continue
        best = max(best, (first, i), key=lambda part: part[1] - part[0])
        first = i - 1  # the last block may begin the next stretch
    return blocks[slice(*best)]


def _longest_in(blocks: Sequence[_Block], states: frozenset[str]) -> Stretch:
    parts = [
        list(group)
        for inside, group in groupby(blocks, key=lambda block: block.state in states)
        if inside
    ]
    longest = max(parts, key=lambda part: sum(block.visits for block in part), default=[])
    return replace(_stretch(longest), states=tuple(sorted(states)))


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


def _close_loops(blocks: Sequence[_Block]) -> Iterator[LoopWalk]:
    """Yield the loops of the loop-erased path, each once."""
    path: LoopErasure[str] = LoopErasure()
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for block in blocks:
        if loop := path.visit(block.state, block.onset):
            name = canonical_loop([state for state, _ in loop])
            begun, rounds = found.get(name, (loop[0][1], 0))
            found[name] = (begun, rounds + 1)
    for name, (onset, rounds) in found.items():
        yield LoopWalk(name, onset, rounds)


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
