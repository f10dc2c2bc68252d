"""The search for driven loops of any length, and the split of the moves that keeps it honest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import cg

from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["search_driven_loops", "split_moves"]

SEED = 0
"""The split is the same each time: no seed can be tried until the answer pleases."""

MAX_EDGES = 5_000
"""Loops are looked for among so many pairs, those that deviate most from balance."""

MAX_STARTS = 200
"""So many of them, the strongest, are closed to loops."""

_Moves: TypeAlias = "csr_array[Any, tuple[int, int]]"


def split_moves(moves: _Moves) -> tuple[_Moves, _Moves]:
    """Put each move into one of two halves by a fair coin.

    Given where they start, the moves of a Markov chain are drawn independently, and so then are
    the two halves: a loop that was chosen by looking at the first is tested fairly in the second.

    Examples
    --------
    >>> one, other = split_moves(csr_array([[0, 60], [40, 0]]))
    >>> (one + other).toarray().tolist()
    [[0, 60], [40, 0]]
    """
    drawn = np.random.default_rng(SEED).binomial(moves.data, 0.5)
    halves = (drawn, moves.data - drawn)
    one, other = (csr_array((h, moves.indices, moves.indptr), shape=moves.shape) for h in halves)
    return one, other


def search_driven_loops(moves: _Moves) -> list[tuple[int, ...]]:
    """Look for loops of four or more states that are driven, each in its driven direction.

    Each pair's log ratio of counts, less the gradient of the potential that fits all of them
    best (by least squares, weighted by 1 / variance), is what no potential explains. The pairs
    that deviate most, in standard errors, are followed in the direction of their deviation: each
    is closed to the loop whose other steps have the least sum of 1 / deviation.

    Parameters
    ----------
    moves : (n, n) csr_array of int
        Without self-loops.

    Returns
    -------
    list of tuple of int
        Loops as state indices, each loop once, at most 200.

    Examples
    --------
    >>> ring = np.roll(np.eye(5, dtype=int), 1, axis=1)
    >>> search_driven_loops(csr_array(90 * ring + 10 * ring.T))
    [(0, 1, 2, 3, 4)]
    """
    source, target, deviation = _deviations(moves)
    strongest = np.argsort(-np.abs(deviation), kind="stable")[:MAX_EDGES]
    strongest = strongest[np.abs(deviation[strongest]) > 1e-9]
    turned = deviation[strongest] < 0
    f = np.where(turned, target[strongest], source[strongest])
    g = np.where(turned, source[strongest], target[strongest])
    return _close_loops(f, g, 1.0 / np.abs(deviation[strongest]))


def _deviations(
    moves: _Moves,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return each pair, and its log ratio less the best gradient, in standard errors."""
    pairs = (moves + moves.T).tocoo()
    upper = (pairs.row < pairs.col) & (pairs.data > 0)
    f, g = pairs.row[upper].astype(np.int64), pairs.col[upper].astype(np.int64)
    there, back = lookup(moves, f, g) + 0.5, lookup(moves, g, f) + 0.5
    ratio, weight = np.log(there / back), 1 / (1 / there + 1 / back)
    n = moves.shape[0]
    pull = np.bincount(f, weight * ratio, n) - np.bincount(g, weight * ratio, n)
    degree = np.bincount(f, weight, n) + np.bincount(g, weight, n)
    ends = (np.concatenate([f, g]), np.concatenate([g, f]))
    links = coo_array((np.concatenate([weight, weight]), ends), shape=(n, n)).tocsr()
    diagonal = np.where(degree > 0, degree, 1.0)
    laplacian = csr_array((diagonal, np.arange(n), np.arange(n + 1)), shape=(n, n)) - links
    jacobi = csr_array((1 / diagonal, np.arange(n), np.arange(n + 1)), shape=(n, n))
    # Rough is good enough: the gradient decides what is looked at, never what is found.
    heights, _ = cg(laplacian, pull, rtol=1e-4, maxiter=100, M=jacobi)
    return f, g, (ratio - heights[f] + heights[g]) * np.sqrt(weight)


def _close_loops(
    f: NDArray[np.int64], g: NDArray[np.int64], cost: NDArray[np.float64]
) -> list[tuple[int, ...]]:
    """Close each of the first edges f -> g to its cheapest loop."""
    states, ends = np.unique(np.concatenate([f, g]), return_inverse=True)
    tail, head = ends[: len(f)], ends[len(f) :]
    graph = csr_array((cost, (tail, head)), shape=(len(states), len(states)))
    starts = head[:MAX_STARTS]
    if not len(starts):
        return []
    _, before = dijkstra(graph, indices=starts, return_predecessors=True)
    loops: dict[tuple[int, ...], None] = {}
    for row, (end, start) in enumerate(zip(tail.tolist(), starts.tolist(), strict=False)):
        path = _walk_back(before[row], end, start)
        if len(path) > 3:
            first = path.index(min(path))
            loops[tuple(states[[*path[first:], *path[:first]]].tolist())] = None
    return list(loops)


def _walk_back(before: NDArray[Any], end: int, start: int) -> list[int]:
    """Return the path from start to end, empty where there is none."""
    path = [end]
    while path[-1] != start:
        last = int(before[path[-1]])
        if last < 0:
            return []
        path.append(last)
    return path[::-1]
