"""`LivePotential`: the potential of counts that grow, estimated again from where it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.flows import Pairs, ranges
from detailed_balance.analyzers.kernel import Kernel
from detailed_balance.analyzers.potential import Potential, as_potential, estimate_potential
from detailed_balance.analyzers.solver import Minimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["LivePotential"]


class LivePotential:
    """The potential of a growing record; asking again costs a fraction of the first estimate.

    New moves between states of one component leave the components and the list of pairs as they
    are, up to a few insertions, and V close to where it was; so does any move that was seen
    before. Anything else (a new state, the first move between two components, a state that now
    has enough attempts) is estimated afresh, from the last V.

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
        self._failed = False
        self._search: Minimizer | None = None
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
        moves, self._pending = self._pending, {}
        familiar = self._is_familiar(moves)
        for move, count in moves.items():
            self._since[move] = self._since.get(move, 0) + count
        if self._failed or not familiar:
            self._counts, self._since = self.counts, {}
            self._estimate_afresh(None if self._failed else self._potential)
        elif moves:
            self._failed = True  # until the estimate is there
            self._estimate_again(moves)
        self._failed = False

    def _estimate_afresh(self, initial: Potential | None) -> None:
        potential = estimate_potential(self._counts, initial=initial, **self._settings)
        states = potential.kernel.states
        known = self._counts if states == self._counts.states else self._counts.restrict(states)
        self._index, self._moves = known._indices, known.counts.copy()
        self._potential, self._search = potential, None

    def _is_familiar(self, moves: dict[tuple[str, str | None], int]) -> bool:
        """Return whether states are known, and moves between components were seen before."""
        index, components = self._index, self._potential.components
        starts, ends = self._moves.indptr, self._moves.indices
        for source, target in moves:
            if source not in index or (target is not None and target not in index):
                return False
            if target is None:
                continue
            f, g = index[source], index[target]
            if components[f] != components[g] and g not in ends[starts[f] : starts[f + 1]]:
                return False
        return True

    def _listed(self, kernel: Kernel) -> Minimizer:
        """List the pairs of a kernel, and where they stand in it."""
        last = self._potential
        pairs = Pairs.from_matrix(kernel.probabilities, last.components)
        self._pair_of = np.full(kernel.probabilities.nnz, -1)
        for places in pairs.places:
            self._pair_of[places[places >= 0]] = np.flatnonzero(places >= 0)
        return Minimizer(pairs, last.violation, tolerance=last.tolerance)

    def _estimate_again(self, moves: dict[tuple[str, str | None], int]) -> None:
        last = self._potential
        kernel, changed = self._grown_kernel(moves)
        rates = kernel.probabilities
        search = self._search
        if search is not None and search.can_reweigh and rates.nnz == len(self._pair_of):
            which = np.unique(self._pair_of[changed])
            which = which[which >= 0]  # without loops and moves between components
            solution = search.run(partial(search.reweigh, which, rates.data))
        else:
            search = self._listed(kernel)
            solution = search.run(partial(search.start, last.values))
        self._search, pairs = search, search.pairs
        self._potential = as_potential(solution, kernel, pairs, last.violation, last.tolerance)

    def _grown_kernel(
        self, moves: dict[tuple[str, str | None], int]
    ) -> tuple[Kernel, NDArray[Any]]:
        """Add moves between known states to the counts.

        Returns the kernel of them all, and where its entries may have changed.
        """
        kernel, index = self._potential.kernel, self._index
        assert kernel.attempts is not None  # noqa: S101 - for the type checkers
        attempts = kernel.attempts.copy()
        sources = np.array([index[f] for f, _ in moves], dtype=np.int64)
        np.add.at(attempts, sources, list(moves.values()))
        inner = [(index[f], index[g], c) for (f, g), c in moves.items() if g is not None]
        self._moves = _with_entries(self._moves, np.array(inner, dtype=np.int64).reshape(-1, 3))
        grown = self._moves
        changed, rows = _entries_of(grown, np.unique(sources))
        if grown.nnz == kernel.probabilities.nnz:
            rates = kernel.probabilities.data.copy()
            rates[changed] = np.minimum(1.0, grown.data[changed] / attempts[rows])
        else:
            rates = np.minimum(1.0, grown.data / np.repeat(attempts, np.diff(grown.indptr)))
        matrix = csr_array((rates, grown.indices, grown.indptr), shape=grown.shape)
        return replace(kernel, probabilities=matrix, attempts=attempts), changed


def _with_entries(
    matrix: csr_array[Any, tuple[int, int]], entries: NDArray[np.int64]
) -> csr_array[Any, tuple[int, int]]:
    """Add (row, column, count) entries, in place unless the pattern must grow."""
    rows, columns, counts = entries.T
    n = matrix.shape[1]
    places, row_of = _entries_of(matrix, np.unique(rows))
    keys, wanted = row_of * n + matrix.indices[places], rows * n + columns
    found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    if not len(keys) or (keys[found] != wanted).any():
        return csr_array(matrix + csr_array((counts, (rows, columns)), shape=matrix.shape))
    np.add.at(matrix.data, places[found], counts)
    return matrix


def _entries_of(
    matrix: csr_array[Any, tuple[int, int]], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the entries of some rows stand in the data of a matrix, and their rows."""
    return ranges(matrix.indptr, rows), np.repeat(rows, np.diff(matrix.indptr)[rows])
