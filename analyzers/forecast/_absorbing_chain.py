"""An absorbing Markov chain with two ends: where it ends, how soon, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array, eye_array, hstack
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import splu

if TYPE_CHECKING:
    from numpy.typing import NDArray

DENSE_LIMIT = 300
"""Up to so many states a dense matrix is solved faster than a sparse one."""

ROUNDING = 1e-12
"""A probability below this may be rounding."""

ChainSampler: TypeAlias = "Callable[[np.random.Generator], AbsorbingChain]"
"""Draws another chain that the record allows."""


@dataclass(frozen=True, slots=True, eq=False)
class Absorption:
    """What becomes of a run, from each state; (n,) arrays of float.

    Parameters
    ----------
    success, failure, unknown : (n,) array of float
        Probabilities to end well, to end badly, and to get where no end was ever seen.
    steps : (n,) array of float
        Mean moves to the end; inf where `unknown` is above 0.
    cost : (n,) array of float
        Mean cost to the end, inf as for `steps`.
    """

    success: NDArray[np.float64]
    failure: NDArray[np.float64]
    unknown: NDArray[np.float64]
    steps: NDArray[np.float64]
    cost: NDArray[np.float64]

    def at(self, row: int) -> tuple[float, float, float, float, float]:
        """Return the five numbers of one state."""
        fields = (self.success, self.failure, self.unknown, self.steps, self.cost)
        one, two, three, four, five = (float(field[row]) for field in fields)
        return one, two, three, four, five


@dataclass(frozen=True, slots=True, eq=False)
class AbsorbingChain:
    """Probabilities of n states and two ends.

    Parameters
    ----------
    moves : (n, n + 2) csr_array or array of float
        Between states, and to success and failure.
    spread : (n,) array of float
        To anywhere: what a prior says of moves that were not seen.
    anywhere : (n + 2,) array of float
        Where such a move leads.
    stuck : (n,) array of bool
        States from which no end can be reached; their rows are 0.
    cost : (n,) array of float
        Mean cost of a move from each.
    """

    moves: Any
    spread: NDArray[np.float64]
    anywhere: NDArray[np.float64]
    stuck: NDArray[np.bool_]
    cost: NDArray[np.float64]

    def absorption(self) -> Absorption:
        """Solve for everything at once: one factor, one step of Sherman and Morrison."""
        n = len(self.stuck)
        ends = self.moves[:, n:] if isinstance(self.moves, np.ndarray) else _ends(self.moves)
        ends = ends + self.spread[:, None] * self.anywhere[n:]
        right = np.column_stack([ends, self.stuck, np.ones(n), self.cost, self.spread])
        solved = _solve(self.moves, right.astype(np.float64))
        x, y = solved[:, :-1], solved[:, -1]
        if self.spread.any():
            onward = self.anywhere[:n]
            x = x + np.outer(y, (onward @ x) / (1 - onward @ y))
        lost = x[:, 2] > ROUNDING
        steps, cost = np.where(lost[:, None], np.inf, x[:, 3:]).T
        return Absorption(x[:, 0], x[:, 1], np.where(lost, x[:, 2], 0.0), steps, cost)

    def cumulative_incidence(self, start: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
        """(horizon + 1, 2) array: the chance to have ended well, and badly, by each step."""
        n, now = len(self.stuck), start
        reached = np.zeros((horizon + 1, 2))
        turned = self.moves.T if isinstance(self.moves, np.ndarray) else self.moves.T.tocsr()
        spreads = bool(self.spread.any())
        for step in range(1, horizon + 1):
            after = turned @ now
            if spreads:
                after += (now @ self.spread) * self.anywhere
            reached[step], now = after[n:], after[:n]
        return np.cumsum(reached, axis=0)


def fit_chain(counts: csr_array[Any, tuple[int, int]], cost: NDArray[np.float64]) -> AbsorbingChain:
    """Fit the chain of greatest likelihood to (n, n + 2) counts; `cost` is that of each entry."""
    n = counts.shape[0]
    stuck = ~_reaches_end(counts)
    row = np.repeat(np.arange(n), np.diff(counts.indptr))
    total = np.maximum(np.bincount(row, counts.data, n), 1e-300)
    data = np.where(stuck[row], 0.0, counts.data / total[row])
    moves = _as_moves(data, counts)
    spent = np.bincount(row, data * cost, n).astype(np.float64)
    return AbsorbingChain(moves, np.zeros(n), np.zeros(n + 2), stuck, spent)


def posterior_sampler(
    counts: csr_array[Any, tuple[int, int]], cost: NDArray[np.float64], prior: float
) -> ChainSampler:
    """Draw chains from a Dirichlet posterior of each row, whose moves are independent then.

    The prior of a row is worth `prior` moves, spread as the moves of all rows are. The split of a
    row's ends into good and bad ones has a prior worth one end, shared by the rows that have ends:
    else a record without failures would leave no doubt that there are none.
    """
    rows = _Rows(counts, cost, prior)

    def draw(rng: np.random.Generator) -> AbsorbingChain:
        weight, unseen = rng.gamma(counts.data), rng.gamma(prior, size=counts.shape[0])
        good = rng.beta(rows.ended[:, 0] + rows.half, rows.ended[:, 1] + rows.half)
        return rows.make_chain(weight, unseen, good)

    return draw


def bootstrap_sampler(
    run_counts: csr_array[Any, tuple[int, int]],
    counts: csr_array[Any, tuple[int, int]],
    cost: NDArray[np.float64],
    prior: float,
) -> ChainSampler:
    """Draw chains from runs, or blocks of runs, drawn again with replacement.

    To each is added what the prior of `posterior_sampler` draws for moves and ends never seen.

    Parameters
    ----------
    run_counts : (g, n * (n + 2)) csr_array
        The counts of each run or block.
    counts : (n, n + 2) csr_array
        The counts of all.
    cost : (m,) array of float
        Of each entry of `counts`.
    prior : float
        How many moves the prior of a row is worth.
    """
    rows, (g, _), n = _Rows(counts, cost, prior), run_counts.shape, counts.shape[0]
    edges = counts.tocoo()
    by_cluster = run_counts.tocsc()[:, edges.row.astype(np.int64) * (n + 2) + edges.col].tocsr()

    def draw(rng: np.random.Generator) -> AbsorbingChain:
        often = np.bincount(rng.integers(g, size=g), minlength=g).astype(np.float64)
        weight = np.asarray(often @ by_cluster)
        unseen, more = rng.gamma(prior, size=n), rng.gamma(rows.half, size=(n, 2))
        ends = rows.sum_ends(weight) + more
        return rows.make_chain(weight, unseen, ends[:, 0] / np.maximum(ends.sum(axis=1), 1e-300))

    return draw


class _Rows:
    """The rows of a chain, which samplers draw the weights of."""

    def __init__(
        self, counts: csr_array[Any, tuple[int, int]], cost: NDArray[np.float64], prior: float
    ) -> None:
        n = counts.shape[0]
        self.counts, self.cost, self.ended = counts, cost, _ends(counts)
        self.row = np.repeat(np.arange(n), np.diff(counts.indptr))
        self.at_end = counts.indices >= n
        self.half = 0.5 / max(int(np.count_nonzero(self.ended.sum(axis=1))), 1)
        self.anywhere = np.asarray(counts.sum(axis=0), dtype=np.float64)
        self.anywhere[n:] += 0.5
        self.anywhere /= self.anywhere.sum()
        self.usual = float(counts.data @ cost / counts.data.sum())

    def sum_ends(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) array: the weights of the good and of the bad ends of each row."""
        n = len(self.ended)
        bad = self.counts.indices == n + 1
        found = [np.bincount(self.row[e], weight[e], n) for e in (self.at_end & ~bad, bad)]
        return np.stack(found, axis=1).astype(np.float64)

    def make_chain(
        self, weight: NDArray[np.float64], unseen: NDArray[np.float64], good: NDArray[np.float64]
    ) -> AbsorbingChain:
        """Return the chain of (m,) weights, of moves to anywhere, and of shares of good ends."""
        n = len(unseen)
        total = 1 / np.maximum(np.bincount(self.row, weight, n) + unseen, 1e-300)
        spent = (np.bincount(self.row, weight * self.cost, n) + unseen * self.usual) * total
        inner = _as_moves(np.where(self.at_end, 0.0, weight) * total[self.row], self.counts)
        both = self.sum_ends(weight).sum(axis=1)
        ends = np.column_stack([good * both, (1 - good) * both]) * total[:, None]
        never = np.zeros(n, dtype=bool)
        return AbsorbingChain(_with_ends(inner, ends), unseen * total, self.anywhere, never, spent)


def _reaches_end(counts: csr_array[Any, tuple[int, int]]) -> NDArray[np.bool_]:
    """(n,) array: whether some end can be reached."""
    n = counts.shape[0]
    edges = counts.tocoo()
    # Both ends are node n, and all edges are turned round.
    ends = (np.minimum(edges.col, n), edges.row)
    turned = csr_array((np.ones(len(edges.data)), ends), shape=(n + 1, n + 1))
    reached = np.zeros(n + 1, dtype=bool)
    reached[breadth_first_order(turned, n, return_predecessors=False)] = True
    return reached[:n]


def _as_moves(data: NDArray[np.float64], counts: csr_array[Any, tuple[int, int]]) -> Any:
    moves = csr_array((data, counts.indices, counts.indptr), shape=counts.shape)
    return moves.toarray() if counts.shape[0] <= DENSE_LIMIT else moves


def _ends(moves: csr_array[Any, tuple[int, int]]) -> NDArray[np.float64]:
    n = moves.shape[0]
    return np.asarray(moves[:, [n, n + 1]].toarray())


def _with_ends(moves: Any, ends: NDArray[np.float64]) -> Any:
    """Return the moves with other ends in place of none."""
    n = len(ends)
    if isinstance(moves, np.ndarray):
        moves[:, n:] = ends
        return moves
    return csr_array(moves + hstack([csr_array((n, n)), csr_array(ends)]))


def _solve(moves: Any, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 - Q)^-1 right, Q being the moves between states."""
    n = len(right)
    if isinstance(moves, np.ndarray):
        return np.asarray(np.linalg.solve(np.eye(n) - moves[:, :n], right), dtype=np.float64)
    return np.asarray(splu((eye_array(n) - moves[:, :n]).tocsc()).solve(right))
