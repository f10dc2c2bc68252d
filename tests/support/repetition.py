"""What a run does over and over, in the simplest words: the definition that columns are held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np

from detailed_balance.analyzers import END, Trajectory
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition.classify import REPEATING, RepetitionRules, RunKind
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.repetition.walk import LoopErasure


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
    """A loop of two states or more that a run went round, detours cut out.

    Parameters
    ----------
    states : tuple of str
        In the order visited, from the least on.
    onset, end : int
        The moves before it was first begun, and up to when it was closed last.
    rounds : int
        How often it was closed.
    """

    states: tuple[str, ...]
    onset: int
    end: int
    rounds: int


@dataclass(frozen=True, slots=True)
class RunRepetition:
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
    loops_anew : tuple of LoopWalk
        The same, of each part between resumes by itself.
    """

    stay: Stretch
    shuttle: Stretch
    trapped: tuple[Stretch, ...]
    loops: tuple[LoopWalk, ...]
    loops_anew: tuple[LoopWalk, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """Visits in a row to one state."""

    state: str
    onset: int
    visits: int


def measure_repetition(run: Trajectory, traps: Iterable[Sequence[str]] = ()) -> RunRepetition:
    """Find what a run does over and over.

    Parameters
    ----------
    run : Trajectory
        Its moves.
    traps : iterable of sequence of str
        Sets of states, the longest stay in each of which is wanted.
    """
    parts = [list(_blocks(part)) for part in _parts(run)]
    found = [_measure(blocks, [frozenset(trap) for trap in traps]) for blocks in parts]
    return RunRepetition(
        max((part.stay for part in found), key=lambda stay: stay.visits),
        max((part.shuttle for part in found), key=lambda shuttle: shuttle.switches),
        tuple(
            max(stretches, key=lambda stretch: stretch.visits)
            for stretches in zip(*(part.trapped for part in found), strict=True)
        ),
        tuple(_close_loops(list(_blocks(_visits(run))))),
        tuple(loop for part in found for loop in part.loops),
    )


def _parts(run: Trajectory) -> list[list[tuple[str, int]]]:
    """Return the visits between resumes."""
    resumed = [i for i, facts in enumerate(run.facts, 1) if facts is not None and facts.resumed]
    bounds = [0, *resumed, len(run) + 1]
    visits = list(_visits(run))
    return [[v for v in visits if begin <= v[1] < end] for begin, end in pairwise(bounds)]


def _measure(blocks: Sequence[_Block], traps: Sequence[frozenset[str]]) -> RunRepetition:
    longest = max(blocks, key=lambda block: block.visits, default=None)
    loops = tuple(_close_loops(blocks))
    return RunRepetition(
        Stretch() if longest is None else _stretch([longest]),
        _stretch(_longest_shuttle(blocks)),
        tuple(_longest_in(blocks, trap) for trap in traps),
        loops,
        loops,
    )


def _blocks(visited: Iterable[tuple[str, int]]) -> Iterator[_Block]:
    for state, visits in groupby(visited, key=lambda visit: visit[0]):
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
    path: LoopErasure[str] = LoopErasure()
    found: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for block in blocks:
        if loop := path.visit(block.state, block.onset):
            name = Loop([state for state, _ in loop])
            begun, _, rounds = found.get(name, (loop[0][1], 0, 0))
            found[name] = (begun, block.onset, rounds + 1)
    for name, walked in found.items():
        yield LoopWalk(name, *walked)


def repeating_kind(repetition: RunRepetition, rules: RepetitionRules) -> RunKind | None:
    """Return what kind of repetition a run shows, None where it shows none."""
    evidence = _evidence(repetition)
    limits: dict[RunKind, float] = dict.fromkeys(REPEATING, rules.visits)
    limits["cycle"] = rules.rounds
    holding: list[RunKind] = [kind for kind in REPEATING if evidence[kind].times >= limits[kind]]
    return max(holding, key=lambda k: evidence[k].visits, default=None)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The evidence for a kind."""

    states: tuple[str, ...] = ()
    onset: int = 0
    times: int = 0
    visits: int = 0


def _evidence(repetition: RunRepetition) -> dict[RunKind, _Evidence]:
    shuttle, stay = repetition.shuttle, repetition.stay
    longest = _Evidence(stay.states, stay.onset, stay.visits, stay.visits)
    for part in repetition.trapped:
        if (times := part.visits // len(part.states)) > longest.times:
            longest = _Evidence(part.states, part.onset, times, part.visits)
    cycle = _Evidence()
    for loop in repetition.loops_anew:
        if loop.rounds > cycle.times:
            cycle = _Evidence(loop.states, loop.onset, loop.rounds, loop.rounds * len(loop.states))
    return {
        "shuttle": _Evidence(shuttle.states, shuttle.onset, shuttle.switches, shuttle.visits),
        "stay": longest,
        "cycle": cycle,
    }


def _read_stretches(measured, columns, states=None) -> Iterator[Stretch]:
    for first, second, onset, visits, switches in zip(
        *map(np.ndarray.tolist, columns), strict=True
    ):
        names = tuple(measured.table.states[code] for code in (first, second) if code >= 0)
        yield Stretch(names if states is None else states, onset, visits, switches)


def _read_loops(columns, n: int) -> list[tuple[LoopWalk, ...]]:
    loops: list[list[LoopWalk]] = [[] for _ in range(n)]
    numbers = map(np.ndarray.tolist, (columns.onset, columns.end, columns.rounds))
    for run, loop, *rest in zip(columns.run, columns.loop, *numbers, strict=True):
        loops[run].append(LoopWalk(columns.name(loop), *rest))
    return list(map(tuple, loops))


def repetition_of_each(
    runs: Sequence[Trajectory], traps: Sequence[Sequence[str]] = ()
) -> list[RunRepetition]:
    """Return what the columns say of each run."""
    measured = MeasuredRuns.of(runs)
    trapped = [_read_stretches(measured, measured.in_trap(t), tuple(sorted(t))) for t in traps]
    rows = zip(
        _read_stretches(measured, measured.stay),
        _read_stretches(measured, measured.shuttle),
        zip(*trapped, strict=True) if traps else [()] * len(runs),
        _read_loops(measured.loops, len(runs)),
        _read_loops(measured.loops_anew, len(runs)),
        strict=True,
    )
    return [RunRepetition(*row) for row in rows]
