"""`LivePotential`: the potential of counts that grow, estimated again from where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers._solver.edges import Pairs
from detailed_balance.analyzers._solver.osborne import WIDEST
from detailed_balance.analyzers._solver.warm_start import WarmMinimizer
from detailed_balance.analyzers._sparse import add_entries, locate, ranges
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.kernel import Kernel
from detailed_balance.analyzers.potential.estimate import (
    Potential,
    as_potential,
    initial_values,
    prepare,
)
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

    The flow is balanced to 1e-10. Across a pair that alone links two parts of the graph, by a
    share s of all flow, V is followed to about 1e-10 / s; `estimate_potential` goes on until it is
    right there too.

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
        self._estimate_afresh(None)

    def update(self, source: str, target: str | None, count: int = 1) -> None:
        """Record `count` more moves; the target None is an escape.

        Raises
        ------
        InvalidInputError
            Where `count` is negative.
        """
        if count < 0:
            raise InvalidInputError(f"count={count!r}; moves are added, 0 or more of them")
        if count and source not in BOUNDARIES:
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
            self._estimate_again(growth)
        elif moves or failed:
            self._counts, self._since = self.counts, {}
            self._estimate_afresh(None if failed else self._potential)
        self._failed = False

    def _estimate_afresh(self, last: Potential | None) -> None:
        self._search, kernel = prepare(self._counts, **self._settings)
        start = partial(self._search.start, initial_values(kernel.states, last))
        self._potential = as_potential(self._search.run(start), kernel, self._search)
        same = kernel.states == self._counts.states
        known = self._counts if same else self._counts.restrict(kernel.states)
        self._index, self._moves = dict(known._indices), known.counts.copy()
        self._waiting = WaitingStates(self._counts, kernel.dropped)

    def _growth(self, moves: dict[Move, int]) -> Growth | None:
        """Sort new moves out, and give new states components; None where some may merge."""
        index, waiting, growth = self._index, self._waiting, Growth()
        for move, count in moves.items():
            f, g = (index.get(str(state)) if state is not None else None for state in move)
            if f is not None:
                growth.attempts.append((f, count))
            if f is not None and g is not None:
                growth.moves.append((f, g, count))
            elif f is None or move[1] is not None:
                waiting.add(move, count, index)
        if self._links_anew(growth):
            return None
        for state in {f: None for f, _ in moves if waiting.attempts.get(f, 0) >= self._enough}:
            attempts, links = waiting.release(state)
            there = {self._component(index[str(g)], growth) for _, g in links if g != state}
            back = {self._component(index[f], growth) for f, _ in links if f != state}
            if there and back and (there != back or len(there) > 1):
                return None
            alone = max([self._potential.components.max(), *growth.components]) + 1
            growth.components.append(there.pop() if there and back else int(alone))
            index[state] = len(index)
            growth.attempts.append((index[state], attempts))
            growth.moves += [(index[f], index[str(g)], c) for (f, g), c in links.items()]
            growth.states.append(state)
        return growth

    def _component(self, place: int, growth: Growth) -> int:
        known = self._potential.components
        return int(known[place]) if place < len(known) else growth.components[place - len(known)]

    def _links_anew(self, growth: Growth) -> bool:
        """Return whether there is a first move from one component to another."""
        components = self._potential.components
        sources, targets, _ = _columns(growth.moves, 3)
        across = components[sources] != components[targets]
        wanted = sources[across], targets[across]
        return not locate(self._moves.indptr, self._moves.indices, wanted)[1].all()

    def _estimate_again(self, growth: Growth) -> None:
        last, search = self._potential, self._search
        kernel, rows, new = self._grown_kernel(growth)
        components = np.append(last.components, np.array(growth.components, dtype=np.int64))
        rates = kernel.probabilities
        values = _with_new_states(last.values, rates, last.violation.beta)
        if search.can_reweigh:
            if new.size or growth.states:
                search.grow(new[0], new[1], components, values)
            entries = ranges(rates.indptr, rows)
            sources = np.repeat(rows, rates.indptr[rows + 1] - rates.indptr[rows])
            changed = sources, rates.indices[entries].astype(np.int64), rates.data[entries]
            solution = search.run(partial(search.reweigh, *changed))
        else:
            pairs = Pairs.from_matrix(rates, components)
            self._search = search = WarmMinimizer(pairs, last.violation, tolerance=last.tolerance)
            solution = search.run(partial(search.start, values))
        self._potential = as_potential(solution, kernel, search)

    def _grown_kernel(self, growth: Growth) -> tuple[Kernel, NDArray[np.int64], NDArray[np.int64]]:
        """Add to the counts.

        Returns the kernel of them all, the rows that changed, and the (2, k) sources and targets
        of moves that were never seen before.
        """
        kernel = self._potential.kernel
        assert kernel.attempts is not None  # noqa: S101 - for the type checkers
        attempts = np.append(kernel.attempts, np.zeros(len(growth.states)))
        sources, counts = _columns(growth.attempts, 2)
        np.add.at(attempts, sources, counts)
        moves = _columns(growth.moves, 3)
        grown, new, before = add_entries(_with_rows(self._moves, len(attempts)), *moves)
        self._moves = grown
        rows = np.unique(np.concatenate([sources, moves[0]]))
        changed = ranges(grown.indptr, rows)
        known = kernel.probabilities.data
        rates = np.insert(known, before, 0.0) if len(before) else known.copy()
        over = np.repeat(attempts[rows], grown.indptr[rows + 1] - grown.indptr[rows])
        rates[changed] = np.minimum(1.0, grown.data[changed] / over)
        matrix = csr_array((rates, grown.indices, grown.indptr), shape=grown.shape)
        states, dropped = kernel.states + tuple(growth.states), tuple(self._waiting.attempts)
        kernel = replace(kernel, states=states, probabilities=matrix, attempts=attempts)
        return replace(kernel, dropped=dropped), rows, new


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64).reshape(-1, width).T


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
