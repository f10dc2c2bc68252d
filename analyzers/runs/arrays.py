"""Runs as arrays of moves: what forecasts, comparisons and tests of the order compute on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Trajectory

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
        runs: Iterable[Trajectory],
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
        place = {} if states is None else {state: i for i, state in enumerate(states)}
        rows: list[tuple[int, int, int]] = []
        number = -1
        for number, run in enumerate(runs):
            if not isinstance(run, Trajectory):
                raise InvalidInputError(
                    f"a run is a Trajectory; got {type(run).__name__}. "
                    "read_trajectories reads them from a store or a file"
                )
            for source, target, end in _moves(run, judged):
                here = place.setdefault(source, len(place))
                there = -1 - end if end >= 0 else place.setdefault(str(target), len(place))
                rows.append((number, here, there))
        if not rows:
            raise InsufficientDataError("there are no moves in these runs")
        return cls._from_rows(tuple(place), 2 if judged else 1, np.array(rows), number + 1)

    @classmethod
    def _from_rows(
        cls, states: tuple[str, ...], n_ends: int, rows: NDArray[Any], n_runs: int
    ) -> Paths:
        run, here, after = rows.T
        after = np.where(after < 0, len(states) - 1 - after, after)
        goes_on = np.zeros(len(rows), dtype=bool)
        goes_on[1:] = (run[1:] == run[:-1]) & (here[1:] == after[:-1])
        before = np.where(goes_on, np.roll(here, 1), -1)
        begin = np.flatnonzero(~goes_on)
        length = np.diff(np.append(begin, len(rows)))
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


def _moves(run: Trajectory, judged: bool) -> Iterator[tuple[str, str, int]]:
    """Yield source, target and end of each move; the end is -1 between states."""
    success = _succeeded(run)
    here = None
    for source, target in run.moves:
        if target == END:
            if not judged or success is not None:
                yield source, END, 0 if not judged or success else 1
            return
        here = source if target is None else target
        yield source, here, -1
    if judged and success is not None and here is not None:
        yield here, END, 0 if success else 1


def _succeeded(run: Trajectory) -> bool | None:
    """Return whether a run did its work: as it was judged, or else as its outcome says.

    Examples
    --------
    >>> from detailed_balance.analyzers import Outcome
    >>> _succeeded(Trajectory((), outcome=Outcome.ENDED)), _succeeded(Trajectory(()))
    (True, None)
    """
    return run.success if run.success is not None or run.outcome is None else run.outcome.success
