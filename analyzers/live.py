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
from detailed_balance.analyzers.osborne import WIDEST
from detailed_balance.analyzers.potential import Potential, as_potential, estimate_potential
from detailed_balance.analyzers.solver import Minimizer
from detailed_balance.analyzers.waiting import Growth, Move, WaitingStates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["LivePotential"]


class LivePotential:
    """The potential of a growing record; asking again costs a fraction of the first estimate.

    New moves between states of one component leave the components and the list of pairs as they
    are, up to a few insertions, and V close to where it was; so does any move that was seen
    before, and so does a new state whose moves begin and end in one component: once it has enough
    attempts it is put behind the others, and begins at its own balance. Anything else, which may
    merge components, is estimated afresh, from the last V.

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
        self._enough = max(min_attempts, 1)
        self._counts = counts.without_boundaries()
        self._pending: dict[Move, int] = {}
        self._since: dict[Move, int] = {}
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
        for move, count in moves.items():
            self._since[move] = self._since.get(move, 0) + count
        failed, self._failed = self._failed, True  # until the estimate is there
        growth = None if failed or not moves else self._growth(moves)
        if growth is not None:
            self._estimate_again(*growth)
        elif moves or failed:
            self._counts, self._since = self.counts, {}
            self._estimate_afresh(None if failed else self._potential)
        self._failed = False

    def _estimate_afresh(self, initial: Potential | None) -> None:
        potential = estimate_potential(self._counts, initial=initial, **self._settings)
        states = potential.kernel.states
        known = self._counts if states == self._counts.states else self._counts.restrict(states)
        self._index, self._moves = dict(known._indices), known.counts.copy()
        self._potential, self._search = potential, None
        self._waiting = WaitingStates(self._counts, potential.kernel.dropped)

    def _growth(self, moves: dict[Move, int]) -> tuple[Growth, NDArray[Any]] | None:
        """Sort new moves out, and give new states components; None where some may merge."""
        index, waiting, growth = self._index, self._waiting, Growth()
        for move, count in moves.items():
            f, g = move
            if f in index:
                growth.attempts[f] = growth.attempts.get(f, 0) + count
            if f in index and g in index:
                growth.moves[move] = count
            elif f not in index or g is not None:
                waiting.add(move, count, index)
        components = self._potential.components.tolist()
        if any(self._links_anew(f, g) for f, g in growth.moves):
            return None
        for state in {f: None for f, _ in moves if waiting.attempts.get(f, 0) >= self._enough}:
            attempts, links = waiting.release(state)
            there = {components[index[str(g)]] for _, g in links if g != state}
            back = {components[index[f]] for f, _ in links if f != state}
            if there and back and (there != back or len(there) > 1):
                return None
            components.append(there.pop() if there and back else max(components) + 1)
            index[state] = len(index)
            growth.attempts[state] = attempts
            growth.moves |= links
            growth.states.append(state)
        return growth, np.array(components)

    def _links_anew(self, source: str, target: str | None) -> bool:
        """Return whether this is the first move from one component to another."""
        f, g = self._index[source], self._index[str(target)]
        components, starts = self._potential.components, self._moves.indptr
        row = self._moves.indices[starts[f] : starts[f + 1]]
        return bool(components[f] != components[g] and g not in row)

    def _listed(self, kernel: Kernel, components: NDArray[Any]) -> Minimizer:
        """List the pairs of a kernel, and where they stand in it."""
        last = self._potential
        pairs = Pairs.from_matrix(kernel.probabilities, components)
        self._pair_of = np.full(kernel.probabilities.nnz, -1)
        for places in pairs.places:
            self._pair_of[places[places >= 0]] = np.flatnonzero(places >= 0)
        return Minimizer(pairs, last.violation, tolerance=last.tolerance)

    def _estimate_again(self, growth: Growth, components: NDArray[Any]) -> None:
        last = self._potential
        kernel, changed = self._grown_kernel(growth)
        rates = kernel.probabilities
        search = self._search
        listed = not growth.states and rates.nnz == last.kernel.probabilities.nnz
        if listed and search is not None and search.can_reweigh:
            which = np.unique(self._pair_of[changed])
            which = which[which >= 0]  # without loops and moves between components
            solution = search.run(partial(search.reweigh, which, rates.data))
        else:
            search = self._listed(kernel, components)
            values = _with_new_states(last.values, rates, last.violation.beta)
            solution = search.run(partial(search.start, values))
        self._search, pairs = search, search.pairs
        self._potential = as_potential(solution, kernel, pairs, last.violation, last.tolerance)

    def _grown_kernel(self, growth: Growth) -> tuple[Kernel, NDArray[Any]]:
        """Add to the counts; return the kernel of them all, and where entries may have changed."""
        kernel, index = self._potential.kernel, self._index
        assert kernel.attempts is not None  # noqa: S101 - for the type checkers
        attempts = np.append(kernel.attempts, np.zeros(len(growth.states)))
        sources = np.array([index[f] for f in growth.attempts], dtype=np.int64)
        attempts[sources] += list(growth.attempts.values())
        inner = [(index[f], index[str(g)], c) for (f, g), c in growth.moves.items()]
        moves = _with_rows(self._moves, len(index))
        self._moves = _with_entries(moves, np.array(inner, dtype=np.int64).reshape(-1, 3))
        grown = self._moves
        changed, rows = _entries_of(grown, np.unique(sources))
        if grown.nnz == kernel.probabilities.nnz:
            rates = kernel.probabilities.data.copy()
            rates[changed] = np.minimum(1.0, grown.data[changed] / attempts[rows])
        else:
            rates = np.minimum(1.0, grown.data / np.repeat(attempts, np.diff(grown.indptr)))
        matrix = csr_array((rates, grown.indices, grown.indptr), shape=grown.shape)
        states, dropped = kernel.states + tuple(growth.states), tuple(self._waiting.attempts)
        kernel = replace(kernel, states=states, probabilities=matrix, attempts=attempts)
        return replace(kernel, dropped=dropped), changed


def _with_new_states(
    values: NDArray[np.float64], rates: csr_array[Any, tuple[int, int]], beta: float
) -> NDArray[np.float64]:
    """(n,) array: V of all states, of which the last balance by themselves (see `osborne`)."""
    known, n = len(values), rates.shape[0]
    if known == n:
        return values
    up = np.exp(np.clip(beta * values / 2, -WIDEST, WIDEST))
    out, into = rates[known:, :known] @ up, rates[:known, known:].T @ (1 / up)
    two_way = (out > 0) & (into > 0)
    new = np.zeros(n - known)
    new[two_way] = np.log(out[two_way] / into[two_way]) / beta
    return np.append(values, new)


def _with_rows(matrix: csr_array[Any, tuple[int, int]], n: int) -> csr_array[Any, tuple[int, int]]:
    """Add empty rows and columns up to (n, n)."""
    starts = np.pad(matrix.indptr, (0, n - matrix.shape[0]), mode="edge")
    return csr_array((matrix.data, matrix.indices, starts), shape=(n, n))


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
