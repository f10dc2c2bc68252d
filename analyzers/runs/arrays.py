"""Runs as arrays of moves: what forecasts, comparisons and tests of the order compute on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Paths", "Steps"]


@dataclass(frozen=True, slots=True)
class Steps:
    """Moves of several runs with the state before each, (m,) arrays of int.

    Parameters
    ----------
    run : (m,) array of int
        Whose move it is.
    before : (m,) array of int
        Where that run was one move earlier; -1 where that is not known.
    here, after : (m,) arrays of int
        The move.
    """

    run: NDArray[Any]
    before: NDArray[Any]
    here: NDArray[Any]
    after: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Runs, cut into unbroken stretches, as arrays.

    An escape is a move to where the run stands. The moves to END, and those of a run that stopped
    without one, lead to ends, which come behind the n states.

    Parameters
    ----------
    states : tuple of str, length n
        START included where runs have it, END not.
    n_ends : int
        How many ends there are.
    steps : Steps
        The moves, run after run; `before` is -1 where a stretch begins.
    first : (s,) array of int
        The state in which each stretch begins.
    length : (s,) array of int
        The moves of each stretch.
    end : (s,) array of int
        Where each stretch ended, 0 to n_ends - 1; -1 where it is open.
    run : (s,) array of int
        The run of each stretch.
    n_runs : int
        How many runs there are.
    """

    states: tuple[str, ...]
    n_ends: int
    steps: Steps
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    end: NDArray[np.int64]
    run: NDArray[np.int64]
    n_runs: int

    @classmethod
    def from_runs(
        cls,
        runs: Runs,
        *,
        judged: bool = False,
        states: tuple[str, ...] | None = None,
    ) -> Paths:
        """Take runs as they are, with END as the one end; or, `judged`, success and failure.

        A judged run ends with one more move where it stopped without END; one that was not judged
        is open, and its move to END is left out. `states` gives their order, and what they are.

        Raises
        ------
        InvalidInputError
            Where something is no `Trajectory`.
        InsufficientDataError
            Where there are no moves.
        """
        table = RunTable.of(runs)
        if not table.total:
            raise InsufficientDataError("there are no moves in these runs")
        run, here, after, end = _moves(table, judged)
        if not len(run):
            raise InsufficientDataError("there are no moves in these runs")
        names = _name_states(table, here, after, states)
        place = {state: i for i, state in enumerate(names)}
        codes = np.array([place.get(state, -1) for state in table.states])
        after = np.where(end < 0, codes[after], len(names) + end)
        return cls._from_moves(names, 2 if judged else 1, run, codes[here], after, len(table))

    @classmethod
    def _from_moves(
        cls,
        states: tuple[str, ...],
        n_ends: int,
        run: NDArray[np.int64],
        here: NDArray[np.int64],
        after: NDArray[np.int64],
        n_runs: int,
    ) -> Paths:
        goes_on = np.zeros(len(run), dtype=bool)
        goes_on[1:] = (run[1:] == run[:-1]) & (here[1:] == after[:-1])
        before = np.where(goes_on, np.roll(here, 1), -1)
        begin = np.flatnonzero(~goes_on)
        length = np.diff(np.append(begin, len(run)))
        end = np.maximum(after[begin + length - 1] - len(states), -1)
        steps = Steps(run, before, here, after)
        return cls(states, n_ends, steps, here[begin], length, end, run[begin], n_runs)

    def counts(self) -> csr_array[Any, tuple[int, int]]:
        """(n, n + n_ends) csr_array: the moves between states, and to each end."""
        n, places = len(self.states), (self.steps.here, self.steps.after)
        counts = csr_array((np.ones(len(places[0])), places), shape=(n, n + self.n_ends))
        counts.sort_indices()
        return counts

    def run_counts(self) -> csr_array[Any, tuple[int, int]]:
        """(n_runs, n * (n + n_ends)) csr_array: the same of each run, flattened."""
        width = len(self.states) + self.n_ends
        keys = self.steps.here * width + self.steps.after
        shape = (self.n_runs, len(self.states) * width)
        return csr_array((np.ones(len(keys)), (self.steps.run, keys)), shape=shape)

    def whole_runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return first state, moves and end of each run that has moves; -1 for an open one."""
        runs, begin = np.unique(self.run, return_index=True)
        last = np.append(begin[1:], len(self.run)) - 1
        return (
            self.first[begin],
            np.bincount(self.run, self.length)[runs].astype(int),
            self.end[last],
        )


def _moves(
    table: RunTable, judged: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return run, source, target and end of each move, up to END; the end is -1 between states."""
    success, number = _succeeded(table), np.arange(table.total)
    run, source = table.run_of_move, table.source.astype(np.int64)
    to_end = table.target == table.code(END)
    after = np.where(table.target < 0, source, table.target)
    ends = np.flatnonzero(to_end)
    first = np.full(len(table) + 1, table.total)  # the first move to END of each run
    np.minimum.at(first, run[ends], ends)
    kept = number <= first[run]
    ended = first[:-1] < table.total
    end = np.where(to_end, 0, -1)
    if judged:
        end = np.where(to_end, success[run] == 0, end)
        kept &= ~(to_end & (success[run] < 0))
        stops = np.flatnonzero(~ended & (success >= 0) & (table.lengths > 0))
        last = table.offsets[stops + 1] - 1
        places = np.concatenate([np.flatnonzero(kept), last])
        extra = np.repeat([False, True], [len(places) - len(last), len(last)])
        order = np.lexsort((extra, places))
        places, extra = places[order], extra[order]
        here = np.where(extra, after[places], source[places])
        end = np.where(extra, success[run[places]] == 0, end[places])
        return run[places], here, after[places], end
    return run[kept], source[kept], after[kept], end[kept]


def _name_states(
    table: RunTable,
    here: NDArray[np.int64],
    after: NDArray[np.int64],
    states: tuple[str, ...] | None,
) -> tuple[str, ...]:
    """Return the states visited, without END; those of `states` first, where it is given."""
    seen = np.zeros(len(table.states), dtype=bool)
    seen[here] = seen[after] = True
    seen[table.code(END) if END in table.states else []] = False
    found = tuple(state for state, there in zip(table.states, seen, strict=True) if there)
    return tuple(dict.fromkeys((*(states or ()), *found)))


def _succeeded(table: RunTable) -> NDArray[np.int8]:
    """(r,) array: 1 or 0, as told or else as the outcome says; -1 where nobody knows."""
    by_outcome = [-1 if outcome.success is None else int(outcome.success) for outcome in OUTCOMES]
    told = np.array([*by_outcome, -1], dtype=np.int8)[table.runs.outcome]
    return np.where(table.success >= 0, table.success, told)
