"""`LivePotential`: the potential of counts that grow, estimated again from where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.flows import Pairs
from detailed_balance.analyzers.kernel import Kernel
from detailed_balance.analyzers.potential import Potential, as_potential, estimate_potential
from detailed_balance.analyzers.solver import minimize_action

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["LivePotential"]


class LivePotential:
    """The potential of a growing record; asking again costs a fraction of the first estimate.

    New moves between states of one component leave the components and the list of pairs as they
    are, up to a few insertions, and V close to where it was. Anything else (a new state, a move
    between components, a state that now has enough attempts) is estimated afresh, from the last V.

    Parameters
    ----------
    counts : TransitionCounts
        What was recorded so far.
    violation : ViolationFunction
        K, `Exponential()` by default.
    min_attempts : int
        States with fewer attempts are left out; attempts are those observed.
    tolerance : float
        As for `estimate_potential`.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 10), ("b", "a", 90), ("b", "b", 10)])
    >>> live = LivePotential(counts)
    >>> round(live.potential.difference("a", "b"), 4)  # log(1 / 0.9)
    0.1054
    >>> live.update("b", "b", 100)
    >>> round(live.potential.difference("a", "b"), 4)  # log(1 / 0.45)
    0.7985
    """

    def __init__(
        self,
        counts: TransitionCounts,
        *,
        violation: ViolationFunction | None = None,
        min_attempts: int = 2,
        tolerance: float = 1e-6,
    ) -> None:
        self._settings: dict[str, Any] = {
            "violation": violation,
            "min_attempts": min_attempts,
            "tolerance": tolerance,
        }
        self._counts = counts.without_boundaries()
        self._pending: dict[tuple[str, str | None], int] = {}
        self._since: dict[tuple[str, str | None], int] = {}
        self._estimate_afresh(None)

    def update(self, source: str, target: str | None, count: int = 1) -> None:
        """Record `count` more moves; the target None is an escape."""
        if source not in BOUNDARIES:
            move = (source, None if target in BOUNDARIES else target)
            self._pending[move] = self._pending.get(move, 0) + count

    @property
    def counts(self) -> TransitionCounts:
        """All that was recorded, without START and END."""
        edges = [(f, g, c) for part in (self._since, self._pending) for (f, g), c in part.items()]
        return self._counts + TransitionCounts.from_edges(edges) if edges else self._counts

    @property
    def potential(self) -> Potential:
        """The potential of all that was recorded.

        Raises
        ------
        ConvergenceError
            As `estimate_potential`.
        """
        self._absorb()
        return self._potential

    def _absorb(self) -> None:
        if not self._pending:
            return
        if self._is_familiar(self._pending):
            self._estimate_again(self._pending)
            for move, count in self._pending.items():
                self._since[move] = self._since.get(move, 0) + count
        else:
            self._counts, self._since = self.counts, {}
            self._estimate_afresh(self._potential)
        self._pending = {}

    def _estimate_afresh(self, initial: Potential | None) -> None:
        potential = estimate_potential(self._counts, initial=initial, **self._settings)
        states, kernel = potential.kernel.states, potential.kernel
        known = self._counts if states == self._counts.states else self._counts.restrict(states)
        self._index, self._moves = known._indices, known.counts
        self._pairs = Pairs.from_matrix(kernel.probabilities, potential.components)
        self._potential = potential

    def _is_familiar(self, moves: dict[tuple[str, str | None], int]) -> bool:
        """Return whether all moves stay inside components of states that are in already."""
        index, components = self._index, self._potential.components
        for source, target in moves:
            if source not in index or (target is not None and target not in index):
                return False
            if target is not None and components[index[source]] != components[index[target]]:
                return False
        return True

    def _estimate_again(self, moves: dict[tuple[str, str | None], int]) -> None:
        kernel, last = self._grown_kernel(moves), self._potential
        if kernel.probabilities.nnz == last.kernel.probabilities.nnz:
            pairs = self._pairs.with_weights(kernel.probabilities.data)
        else:
            pairs = Pairs.from_matrix(kernel.probabilities, last.components)
        solution = minimize_action(
            pairs, last.violation, initial=last.values, tolerance=last.tolerance
        )
        self._pairs = pairs
        self._potential = as_potential(solution, kernel, pairs, last.violation, last.tolerance)

    def _grown_kernel(self, moves: dict[tuple[str, str | None], int]) -> Kernel:
        """Add moves between known states to the counts, and return the kernel of them all."""
        kernel, index = self._potential.kernel, self._index
        assert kernel.attempts is not None  # noqa: S101 - for the type checkers
        attempts = kernel.attempts.copy()
        np.add.at(attempts, [index[f] for f, _ in moves], list(moves.values()))
        inner = [(index[f], index[g], c) for (f, g), c in moves.items() if g is not None]
        self._moves = _with_entries(self._moves, np.array(inner, dtype=np.int64).reshape(-1, 3))
        grown = self._moves
        rates = np.minimum(1.0, grown.data / np.repeat(attempts, np.diff(grown.indptr)))
        matrix = csr_array((rates, grown.indices, grown.indptr), shape=grown.shape)
        return replace(kernel, probabilities=matrix, attempts=attempts)


def _with_entries(
    matrix: csr_array[Any, tuple[int, int]], entries: NDArray[np.int64]
) -> csr_array[Any, tuple[int, int]]:
    """Return the matrix with (row, column, count) entries added; its pattern grows if it must."""
    rows, columns, counts = entries.T
    place = np.array([_place(matrix, i, j) for i, j in entries[:, :2].tolist()], dtype=np.int64)
    if (place < 0).any():
        return csr_array(matrix + csr_array((counts, (rows, columns)), shape=matrix.shape))
    data = matrix.data.copy()
    np.add.at(data, place, counts)
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _place(matrix: csr_array[Any, tuple[int, int]], row: int, column: int) -> int:
    """Return where an entry stands in the data of a matrix with sorted rows; -1 for nowhere."""
    start, end = matrix.indptr[row], matrix.indptr[row + 1]
    place = int(start + np.searchsorted(matrix.indices[start:end], column))
    return place if place < end and matrix.indices[place] == column else -1
