"""`LivePotential`: the potential of counts that grow, estimated again from where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.flows import Pairs
from detailed_balance.analyzers.kernel import Kernel, estimate_kernel
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
        self._estimate_afresh(None)

    def update(self, source: str, target: str | None, count: int = 1) -> None:
        """Record `count` more moves; the target None is an escape."""
        if source not in BOUNDARIES:
            move = (source, None if target in BOUNDARIES else target)
            self._pending[move] = self._pending.get(move, 0) + count

    @property
    def counts(self) -> TransitionCounts:
        """All that was recorded, without START and END."""
        self._absorb()
        return self._counts

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
        moves, self._pending = self._pending, {}
        if self._changes_nothing_but_weights(moves):
            self._estimate_again(moves)
        else:
            edges = [(source, target, count) for (source, target), count in moves.items()]
            self._counts = self._counts + TransitionCounts.from_edges(edges)
            self._estimate_afresh(self._potential)

    def _estimate_afresh(self, initial: Potential | None) -> None:
        self._potential = estimate_potential(self._counts, initial=initial, **self._settings)
        kernel, components = self._potential.kernel, self._potential.components
        self._pairs = Pairs.from_matrix(kernel.probabilities, components)
        place = {state: i for i, state in enumerate(kernel.states)}
        self._place = np.array([place.get(state, -1) for state in self._counts.states])

    def _changes_nothing_but_weights(self, moves: dict[tuple[str, str | None], int]) -> bool:
        """Return whether all moves stay inside components of states that are in already."""
        known, components = self._counts._indices, self._potential.components
        for source, target in moves:
            if source not in known or (target is not None and target not in known):
                return False
            f = self._place[known[source]]
            g = f if target is None else self._place[known[target]]
            if f < 0 or g < 0 or components[f] != components[g]:
                return False
        return True

    def _estimate_again(self, moves: dict[tuple[str, str | None], int]) -> None:
        known = self._counts._indices
        source = np.array([known[f] for f, _ in moves])
        target = np.array([-1 if g is None else known[g] for _, g in moves])
        count = np.array(list(moves.values()))
        self._counts = _grown(self._counts, source, target, count)
        kernel = self._kernel()
        if not self._pairs_hold(kernel):
            self._pairs = Pairs.from_matrix(kernel.probabilities, self._potential.components)
        else:
            self._pairs = self._pairs.with_weights(kernel.probabilities.data)
        last = self._potential
        solution = minimize_action(
            self._pairs, last.violation, initial=last.values, tolerance=last.tolerance
        )
        self._potential = as_potential(
            solution, kernel, self._pairs, last.violation, last.tolerance
        )

    def _kernel(self) -> Kernel:
        """Return the kernel of the counts as they are; the states kept stay the same."""
        return estimate_kernel(self._counts, min_attempts=self._settings["min_attempts"])

    def _pairs_hold(self, kernel: Kernel) -> bool:
        return kernel.probabilities.nnz == self._potential.kernel.probabilities.nnz


def _grown(
    counts: TransitionCounts,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    count: NDArray[np.int64],
) -> TransitionCounts:
    """Return the counts with moves added between known states; the target -1 is an escape."""
    matrix, attempts = counts.counts, counts.attempts.copy()
    np.add.at(attempts, source, count)
    inner = target >= 0
    new = (source[inner], target[inner])
    place = _places(matrix, *new)
    if (place >= 0).all():
        data = matrix.data.copy()
        np.add.at(data, place, count[inner])
        grown = csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    else:
        grown = csr_array(matrix + csr_array((count[inner], new), shape=matrix.shape))
    return replace(counts, counts=grown, attempts=attempts)


def _places(
    matrix: csr_array[Any, tuple[int, int]], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where entries stand in the data of a matrix with sorted rows; -1 for none."""
    found = np.full(len(rows), -1, dtype=np.int64)
    for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        start, end = matrix.indptr[i], matrix.indptr[i + 1]
        place = start + np.searchsorted(matrix.indices[start:end], j)
        if place < end and matrix.indices[place] == j:
            found[k] = place
    return found
