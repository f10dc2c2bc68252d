"""`MeasuredRuns`: what many runs do over and over, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detailed_balance.analyzers.repetition._loop_erasure import LoopColumns, close_loops
from detailed_balance.analyzers.repetition._stretches import (
    Blocks,
    StretchColumns,
    find_in_trap,
    find_shuttles,
    find_stays,
    find_visits,
    join_visits,
)
from detailed_balance.analyzers.runs.names import rank_names
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Evidence", "MeasuredRuns"]


class Evidence(NamedTuple):
    """How much runs did of one kind of repetition, as (r,) arrays of int64.

    Parameters
    ----------
    place : array
        What they repeated most: a trap or a loop, by its number; -1 else.
    onset, end : array
        The moves before it, and up to its end.
    times, visits : array
        How often they did it, and the visits that it took.
    """

    place: NDArray[np.int64]
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    times: NDArray[np.int64]
    visits: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRuns:
    """What each of some runs does over and over.

    Stays, shuttles and cycles are counted again where a run was resumed after an interrupt.

    Parameters
    ----------
    table : RunTable
        The r runs.
    blocks : Blocks
        Their visits, in parts between resumes.
    stay : StretchColumns
        The longest stay of each run in one state.
    shuttle : StretchColumns
        The stretch of each run among two states with the most changes between them.
    loops : LoopColumns
        The loops that they went round, over resumes as well.
    loops_anew : LoopColumns
        The same counted again with each resume.
    names : (r,) array of int64
        Their names in order (`rank_names`).

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory(tuple(zip(("__start__", *"xababa"), "xababac")))]
    >>> measured = MeasuredRuns.of(runs)
    >>> measured.shuttle.onset.tolist(), measured.shuttle.switches.tolist()
    ([2], [4])
    >>> measured.loops.name(0), measured.loops.rounds.tolist()
    (Loop('a', 'b'), [2])
    """

    table: RunTable
    blocks: Blocks
    stay: StretchColumns
    shuttle: StretchColumns
    loops: LoopColumns
    loops_anew: LoopColumns
    names: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Runs | MeasuredRuns) -> MeasuredRuns:
        """Measure runs; what is measured already is returned as it is."""
        if isinstance(runs, MeasuredRuns):
            return runs
        table = RunTable.of(runs)
        visits, runs = find_visits(table), np.arange(len(table))
        blocks = join_visits(visits, visits.part, visits.run_of_part)
        loops = anew = close_loops(blocks, table.states)
        if len(visits.run_of_part) > len(runs):
            loops = close_loops(join_visits(visits, visits.run, runs), table.states)
        found = blocks, find_stays(blocks), find_shuttles(blocks), loops, anew
        return cls(table, *found, rank_names(table.runs.name))

    def in_trap(self, trap: Iterable[str]) -> StretchColumns:
        """Return the longest stretch of each run in some states."""
        codes = [code for code in map(self.table.code, trap) if code >= 0]
        return find_in_trap(self.blocks, codes)

    def where(self, kind: str, run: int, loop: int) -> tuple[str, ...]:
        """Return where a run made its longest stay or shuttle; of a cycle, what that loop is."""
        if kind == "cycle":
            return self.loops_anew.name(loop)
        part = self.shuttle if kind == "shuttle" else self.stay
        codes = int(part.first[run]), int(part.second[run])
        return tuple(self.table.states[code] for code in codes if code >= 0)

    def shuttles(self) -> Evidence:
        """Return how often in a row runs changed between two states."""
        part, nothing = self.shuttle, np.full(len(self.table), -1)
        return Evidence(nothing, part.onset, part.end, part.switches, part.visits)

    def stays(self, traps: Sequence[Sequence[str]] = ()) -> Evidence:
        """Return how often in a row runs visited one state, or each state of a trap."""
        place, stay = np.full(len(self.table), -1), self.stay
        onset, end, times, visits = stay.onset, stay.end, stay.visits, stay.visits
        for i, trap in enumerate(traps):
            part = self.in_trap(trap)
            most = part.visits // len(set(trap))
            longer = most > times
            place = np.where(longer, i, place)
            onset, end = np.where(longer, part.onset, onset), np.where(longer, part.end, end)
            times = np.where(longer, most, times)
            visits = np.where(longer, part.visits, visits)
        return Evidence(place, onset, end, times, visits)

    def cycles(self, rounds: int = 1) -> Evidence:
        """Return how often runs went round the loop of two states or more that they closed most.

        Of runs that closed none so many times, nothing is said.
        """
        loops = self.loops_anew
        found = Evidence(np.full(len(self.table), -1), *np.zeros((4, len(self.table)), np.int64))
        rows = np.flatnonzero(loops.rounds >= max(rounds, 1))
        # The first row with the most of each run comes last, and is the one that stays.
        rows = rows[np.lexsort((-rows, loops.rounds[rows], loops.run[rows]))]
        run, loop, times = loops.run[rows], loops.loop[rows], loops.rounds[rows]
        found.place[run], found.onset[run], found.end[run] = (
            loop,
            loops.onset[rows],
            loops.end[rows],
        )
        found.times[run], found.visits[run] = times, times * loops.lengths[loop]
        return found
