"""What runs have done over and over after each of their moves, all runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.repetition._loop_erasure import find_closings
from detailed_balance.analyzers.repetition._stretches import Blocks, find_visits
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PrefixColumns", "highest_so_far", "measure_prefixes", "sum_so_far"]


class PrefixColumns(NamedTuple):
    """What a `RepetitionTracker` that is told no facts knows after each of the m moves of runs.

    So it does not start again where a run was resumed, as a guard that watches a run does not.

    Parameters
    ----------
    steps, escapes, stay, shuttle, rounds : (m,) arrays of int64
        As in `RepetitionTracker`.
    longest_stay, longest_shuttle : (m,) arrays of int64
        The most visits and changes in a row so far.
    new_move, new_state : (k,) arrays of int64
        The k first visits of a run to a state: the move that led there, and the state, a place in
        `RunTable.states`; in the order of the moves.
    """

    steps: NDArray[np.int64]
    escapes: NDArray[np.int64]
    stay: NDArray[np.int64]
    longest_stay: NDArray[np.int64]
    shuttle: NDArray[np.int64]
    longest_shuttle: NDArray[np.int64]
    rounds: NDArray[np.int64]
    new_move: NDArray[np.int64]
    new_state: NDArray[np.int64]


def measure_prefixes(runs: Runs) -> PrefixColumns:
    """Measure each run after each of its moves, as `RepetitionTracker` does move by move.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> moves = [("__start__", "a"), ("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")]
    >>> found = measure_prefixes([Trajectory(tuple(moves))])
    >>> found.rounds.tolist(), found.shuttle.tolist()
    ([0, 0, 1, 1, 2], [0, 1, 2, 3, 4])
    """
    table = RunTable.of(runs)
    counted = table.target != table.code(END)
    visits = find_visits(table)
    state, run = visits.state, visits.run
    move = table.offsets[run] + np.maximum(visits.onset - 1, 0)
    block = np.cumsum(_differs(run) | _differs(state)) - 1
    first = np.flatnonzero(_differs(block))  # the visit with which each block begins
    stay = np.arange(len(move)) - first[block] + 1
    of_block = run[first]
    shuttle = (np.arange(len(first)) - _stretch_of(state[first], of_block))[block]
    rounds = np.zeros(len(move), dtype=np.int64)
    rounds[first] = _count_rounds(state[first], of_block, len(table), len(table.states))
    number = np.bincount(move, minlength=table.total)
    last = np.cumsum(number) - 1  # of each move: the visit that it ends with
    known = sum_so_far(number, table.offsets) > 0

    def of_moves(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(known, np.append(values, 0)[last], 0)

    new = _first_of_each(run * max(len(table.states), 1) + state)
    return PrefixColumns(
        sum_so_far(counted, table.offsets),
        sum_so_far(counted & (table.target < 0), table.offsets),
        of_moves(stay),
        of_moves(highest_so_far(stay, run)),
        of_moves(shuttle),
        of_moves(highest_so_far(shuttle, run)),
        of_moves(highest_so_far(rounds, run)),
        move[new],
        state[new].astype(np.int64),
    )


def sum_so_far(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) array of int64: the sums of whole numbers in each run up to each move.

    Examples
    --------
    >>> sum_so_far(np.array([1, 2, 5, 7]), np.array([0, 2, 4])).tolist()
    [1, 3, 5, 12]
    """
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return np.asarray(total[1:] - np.repeat(total[offsets[:-1]], np.diff(offsets)))


def highest_so_far(values: NDArray[np.int64], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) array of int64: the largest of values, 0 or more, in each run up to each.

    Examples
    --------
    >>> highest_so_far(np.array([2, 1, 3, 1]), np.array([0, 0, 0, 1])).tolist()
    [2, 2, 3, 1]
    """
    above = run * (int(values.max(initial=0)) + 1)
    return np.asarray(np.maximum.accumulate(values + above) - above)


def _differs(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each value is another than the one before; the first is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _stretch_of(state: NDArray[np.int32], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each block, the block with which its stretch among two states begins."""
    number = np.arange(len(state))
    third = np.zeros(len(state), dtype=bool)
    third[2:] = (run[2:] == run[:-2]) & (state[2:] != state[:-2])
    return np.maximum.accumulate(np.where(third, number - 1, np.where(_differs(run), number, 0)))


def _count_rounds(
    state: NDArray[np.int32], run: NDArray[np.int64], runs: int, n: int
) -> NDArray[np.int64]:
    """Return, for each block, how often the run has closed the loop that it closes; or 0."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(run, minlength=runs))])
    nothing = np.zeros(len(state), dtype=np.int64)
    found = find_closings(Blocks(state, nothing, nothing, offsets, np.arange(runs)), n)
    loops = run[found.last] * (int(found.loop.max(initial=0)) + 1) + found.loop
    order = np.lexsort((found.last, loops))
    begin = np.flatnonzero(_differs(loops[order]))
    size = np.diff(np.append(begin, len(order)))
    times = np.zeros(len(state), dtype=np.int64)
    times[found.last[order]] = np.arange(len(order)) - np.repeat(begin, size) + 1
    return times


def _first_of_each(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places where each key comes for the first time, in order."""
    return np.sort(np.unique(keys, return_index=True)[1])
