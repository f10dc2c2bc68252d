"""`find_patterns`: what one run does over and over, and from which move on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from detailed_balance.analyzers.counts import BOUNDARIES, END
from detailed_balance.analyzers.runs.trajectory import Trajectory

__all__ = ["LoopWalk", "RunPatterns", "Stretch", "find_patterns", "name_loop", "turn_loop"]


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
class RunPatterns:
    """What a run does over and over.

    Parameters
    ----------
    stay : Stretch
        Its longest stay in one state.
    shuttle : Stretch
        Its stretch among two states with the most changes between them.
    trapped : tuple of Stretch
        For each trap that was asked for, the longest stretch in it.
    loops : tuple of LoopWalk
        In the order in which they were first closed.
    """

    stay: Stretch
    shuttle: Stretch
    trapped: tuple[Stretch, ...]
    loops: tuple[LoopWalk, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """Visits in a row to one state."""

    state: str
    onset: int
    visits: int


def find_patterns(run: Trajectory, traps: Iterable[Sequence[str]] = ()) -> RunPatterns:
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
    >>> found = find_patterns(run)
    >>> found.shuttle
    Stretch(states=('a', 'b'), onset=2, visits=5, switches=4)
    >>> found.loops
    (LoopWalk(states=('a', 'b'), onset=2, rounds=2),)
    """
    blocks = list(_blocks(run))
    longest = max(blocks, key=lambda block: block.visits, default=None)
    return RunPatterns(
        Stretch() if longest is None else _stretch([longest]),
        _stretch(_longest_shuttle(blocks)),
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


def _longest_shuttle(blocks: Sequence[_Block]) -> Sequence[_Block]:
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


def _close_loops(blocks: Sequence[_Block]) -> Iterator[LoopWalk]:
    """Yield the loops of the loop-erased path, each once."""
    path: dict[str, int] = {}
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for block in blocks:
        if block.state in path:
            onset, loop = path[block.state], [block.state]
            while (last := next(reversed(path))) != block.state:
                loop.append(last)
                del path[last]
            name = name_loop([block.state, *reversed(loop[1:])])
            begun, rounds = found.get(name, (onset, 0))
            found[name] = (begun, rounds + 1)
        path[block.state] = block.onset
    for name, (onset, rounds) in found.items():
        yield LoopWalk(name, onset, rounds)


def name_loop(loop: Sequence[str]) -> tuple[str, ...]:
    """Return a loop from its least state on, in the order walked.

    Examples
    --------
    >>> name_loop(["c", "a", "b"]), turn_loop(["c", "a", "b"])
    (('a', 'b', 'c'), ('a', 'c', 'b'))
    """
    least = loop.index(min(loop))
    return (*loop[least:], *loop[:least])


def turn_loop(loop: Sequence[str]) -> tuple[str, ...]:
    """Return the other way round a loop, from its least state on."""
    return name_loop(tuple(reversed(loop)))
