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
    find_blocks,
    find_in_trap,
    find_oscillations,
    find_stays,
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
    onset, times, visits : array
        The moves before it, how often they did it, and the visits that it took.
    """

    place: NDArray[np.int64]
    onset: NDArray[np.int64]
    times: NDArray[np.int64]
    visits: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRuns:
    """What each of some runs does over and over.

    Parameters
    ----------
    table : RunTable
        The r runs.
    blocks : Blocks
        Their visits.
    stay : StretchColumns
        The longest stay of each run in one state.
    oscillation : StretchColumns
        The stretch of each run among two states with the most changes between them.
    loops : LoopColumns
        The loops that they went round.
    names : (r,) array of int64
        Their names in order (`rank_names`).

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory(tuple(zip(("__start__", *"xababa"), "xababac")))]
    >>> measured = MeasuredRuns.of(runs)
    >>> measured.oscillation.onset.tolist(), measured.oscillation.switches.tolist()
    ([2], [4])
    >>> measured.loops.name(0), measured.loops.rounds.tolist()
    (('a', 'b'), [2])
    """

    table: RunTable
    blocks: Blocks
    stay: StretchColumns
    oscillation: StretchColumns
    loops: LoopColumns
    names: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Runs | MeasuredRuns) -> MeasuredRuns:
        """Measure runs; what is measured already is returned as it is."""
        if isinstance(runs, MeasuredRuns):
            return runs
        table = RunTable.of(runs)
        blocks = find_blocks(table)
        stays, oscillations = find_stays(blocks), find_oscillations(blocks)
        loops = close_loops(blocks, table.states)
        return cls(table, blocks, stays, oscillations, loops, rank_names(table.runs.name))

    def in_trap(self, trap: Iterable[str]) -> StretchColumns:
        """Return the longest stretch of each run in some states."""
        codes = [code for code in map(self.table.code, trap) if code >= 0]
        return find_in_trap(self.blocks, codes)

    def oscillating(self) -> Evidence:
        """Return how often runs went back and forth between two states."""
        part = self.oscillation
        return Evidence(np.full(len(self.table), -1), part.onset, part.switches, part.visits)

    def stuck(self, traps: Sequence[Sequence[str]] = ()) -> Evidence:
        """Return how often runs visited one state in a row, or each state of a trap."""
        place, onset = np.full(len(self.table), -1), self.stay.onset
        times = visits = self.stay.visits
        for i, trap in enumerate(traps):
            part = self.in_trap(trap)
            most = part.visits // len(set(trap))
            longer = most > times
            place = np.where(longer, i, place)
            onset = np.where(longer, part.onset, onset)
            times = np.where(longer, most, times)
            visits = np.where(longer, part.visits, visits)
        return Evidence(place, onset, times, visits)

    def driven(self, rounds: int = 1) -> Evidence:
        """Return how often runs closed a loop of three states more than the other way round.

        Of runs that closed none so many times, nothing is said.
        """
        n, loops = len(self.table), self.loops
        place, onset = np.full(n, -1), np.zeros(n, dtype=np.int64)
        times, visits = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        lengths = loops.lengths
        rows = np.flatnonzero((loops.rounds >= max(rounds, 1)) & (lengths[loops.loop] > 2))
        more = loops.rounds[rows] - self._rounds_back(rows)
        rows, more = rows[more > 0], more[more > 0]
        # The first row with the most of each run comes last, and is the one that stays.
        order = np.lexsort((-rows, more, loops.run[rows]))
        rows, more = rows[order], more[order]
        run, loop = loops.run[rows], loops.loop[rows]
        place[run], onset[run] = loop, loops.onset[rows]
        times[run], visits[run] = more, more * lengths[loop]
        return Evidence(place, onset, times, visits)

    def _rounds_back(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how often the runs of some rows of loops closed them the other way round."""
        loops, width = self.loops, max(len(self.loops), 1)
        different, number = np.unique(loops.loop[rows], return_inverse=True)
        back = loops.reverse(different)[number]
        known = np.flatnonzero(np.isin(loops.loop, back[back >= 0]))
        keys = loops.run[known] * width + loops.loop[known]
        order = np.argsort(keys)
        keys, known = keys[order], known[order]
        if not len(keys):
            return np.zeros(len(rows), dtype=np.int64)
        wanted = np.where(back >= 0, loops.run[rows] * width + back, -1)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, loops.rounds[known[place]], 0)
