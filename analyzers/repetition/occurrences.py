"""`locate_loops`: in which runs loops were taken, how often, and from which move on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.table import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopOccurrences", "locate_loops"]

EXAMPLES = 3
"""So many runs are named as examples of a loop."""


@dataclass(frozen=True, slots=True)
class LoopOccurrences(Result):
    """Where a loop was taken.

    Parameters
    ----------
    loop : tuple of str
        In the order visited.
    runs, failed : int
        How many runs took it, and how many of them failed.
    rounds : int
        How often, in all runs.
    back : int
        How often the other way round.
    onset : float
        The median of the moves before its first round, NaN where no run took it.
    examples : tuple of str
        The runs that took it most, at most 3; of equal ones the first by name.
    """

    loop: tuple[str, ...]
    runs: int
    failed: int
    rounds: int
    back: int
    onset: float
    examples: tuple[str, ...]


def locate_loops(
    runs: Runs | MeasuredRuns, loops: Iterable[Sequence[str]]
) -> tuple[LoopOccurrences, ...]:
    """Say of each loop in how many runs it was taken, how often, and from which move on.

    Detours are cut out: a run that leaves a loop and comes back to where it left goes on.

    Parameters
    ----------
    runs : RunTable, iterable of Trajectory, or MeasuredRuns
        The runs.
    loops : iterable of sequence of str
        The states of each loop in the order visited, from any of them on.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> run = Trajectory(tuple(zip("xabcabxbca", "abcabxbcab")), "run-1")
    >>> seen = locate_loops([run], [("b", "c", "a")])[0]
    >>> seen.runs, seen.rounds, seen.back, seen.onset, seen.examples
    (1, 2, 0, 1.0, ('run-1',))
    """
    wanted = [tuple(loop) for loop in loops]
    if not wanted:
        return ()
    measured = MeasuredRuns.of(runs)
    there = measured.loops.find([Loop(loop) for loop in wanted])
    back = measured.loops.find([Loop(loop).reversed() for loop in wanted])
    rows = np.flatnonzero(np.isin(measured.loops.loop, np.concatenate([there, back])))
    made = measured.loops.loop[rows]
    rounds = np.zeros(len(measured.loops) + 1, dtype=np.int64)  # the last one for -1
    np.add.at(rounds, made, measured.loops.rounds[rows])
    return tuple(
        _describe(measured, loop, rows[made == number], int(rounds[other]))
        for loop, number, other in zip(wanted, there.tolist(), back.tolist(), strict=True)
    )


def _describe(
    measured: MeasuredRuns,
    loop: tuple[str, ...],
    rows: NDArray[np.int64],
    back: int,
) -> LoopOccurrences:
    """Return a loop with the rows of `LoopColumns` that hold it."""
    made, table = measured.loops, measured.table
    runs, rounds = made.run[rows], made.rounds[rows]
    names = measured.names[runs]
    order = np.lexsort((names, -rounds))
    most = dict.fromkeys(table.runs.name[runs[order[names[order] >= 0]]].tolist())
    return LoopOccurrences(
        loop,
        len(rows),
        int((table.runs.success[runs] == 0).sum()),
        int(rounds.sum()),
        back,
        float(np.median(made.onset[rows])) if len(rows) else float("nan"),
        tuple(most)[:EXAMPLES],
    )
