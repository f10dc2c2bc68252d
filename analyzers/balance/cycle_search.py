"""Search for cycles: all triangles, a basis of the longer ones, and the longer ones most driven."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import (
    breadth_first_order,
    connected_components,
    dijkstra,
    minimum_spanning_tree,
)
from scipy.sparse.linalg import cg

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["find_triangles", "fundamental_cycles", "search_driven_loops", "split_moves"]

WEDGES_AT_ONCE = 4_000_000
"""How many pairs of edges the search for triangles holds in memory at a time."""

MAX_CYCLES = 10_000
"""How many cycles longer than a triangle are tested, the most taken ones."""

MAX_EDGES = 5_000
"""Loops are looked for among so many pairs, those that deviate most from balance."""

MAX_STARTS = 200
"""So many of them, the strongest, are closed to loops."""

_Matrix: TypeAlias = "csr_array[Any, tuple[int, int]]"


def find_triangles(totals: _Matrix) -> list[tuple[int, ...]]:
    """List the triangles of a symmetric (n, n) graph, each once.

    Each edge points to its end of higher degree, and pairs of edges out of one state are looked
    up as an edge: at most m sqrt(m) of them for m edges.
    """
    n = totals.shape[0]
    degree = np.diff(totals.indptr)
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((np.arange(n), degree))] = np.arange(n)
    source = np.repeat(np.arange(n), degree)
    up = rank[source] < rank[totals.indices]
    tail, head = source[up], totals.indices[up].astype(np.int64)
    start = np.searchsorted(tail, np.arange(n + 1))
    keys = np.sort(tail * n + head)
    fan = np.diff(start)[head]
    found: list[tuple[int, ...]] = []
    for part in _batches(fan, WEDGES_AT_ONCE):
        edge = np.repeat(part, fan[part])
        offset = np.arange(len(edge)) - np.repeat(np.cumsum(fan[part]) - fan[part], fan[part])
        third = head[start[head[edge]] + offset]
        key = tail[edge] * n + third
        hit = keys[np.minimum(np.searchsorted(keys, key), len(keys) - 1)] == key
        found += zip(
            tail[edge[hit]].tolist(), head[edge[hit]].tolist(), third[hit].tolist(), strict=True
        )
    return found


def fundamental_cycles(totals: _Matrix, *, limit: int = MAX_CYCLES) -> list[tuple[int, ...]]:
    """List a basis of the cycles of a symmetric graph, without the triangles.

    Each edge outside the spanning tree of the most taken pairs closes one cycle; the `limit`
    most taken of these edges are taken.
    """
    # Before 1.17, scipy finds a spanning tree, or shortest paths, by 32-bit indices alone.
    places = (totals.indices.astype(np.int32), totals.indptr.astype(np.int32))
    cost = csr_array((1.0 / totals.data, *places), shape=totals.shape)
    tree = minimum_spanning_tree(cost)
    tree = (tree + tree.T).tocsr()
    parent, depth = _root_trees(tree)
    edges = totals.tocoo()
    outside = (edges.row < edges.col) & (lookup(tree, edges.row, edges.col) == 0)
    strongest = np.argsort(-edges.data[outside], kind="stable")[:limit]
    pairs = zip(edges.row[outside][strongest], edges.col[outside][strongest], strict=True)
    cycles = (_tree_path(parent, depth, int(i), int(j)) for i, j in pairs)
    return [cycle for cycle in cycles if len(cycle) > 3]


def _batches(sizes: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Cut the places of `sizes` into runs that hold about `most` in all."""
    batch = np.cumsum(sizes) // most
    yield from np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(batch)) + 1)


def _root_trees(tree: Any) -> tuple[list[int], list[int]]:
    """Return the parent and the depth of each state, all trees hung on one extra root, state n."""
    n = tree.shape[0]
    _, labels = connected_components(tree, directed=False)
    _, tops = np.unique(labels, return_index=True)
    trees = tree.tocoo()
    rows = np.concatenate([trees.row, np.full(len(tops), n)])
    columns = np.concatenate([trees.col, tops])
    hung = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
    order, before = breadth_first_order(hung, n)
    parent, depth = before.tolist(), [0] * (n + 1)
    for state in order[1:].tolist():
        depth[state] = depth[parent[state]] + 1
    return parent, depth


def _tree_path(parent: list[int], depth: list[int], i: int, j: int) -> tuple[int, ...]:
    """Return the states on the tree's path from i to j."""
    left, right = [i], [j]
    while left[-1] != right[-1]:
        side = left if depth[left[-1]] >= depth[right[-1]] else right
        side.append(parent[side[-1]])
    return (*left, *right[-2::-1])


def split_moves(moves: _Matrix, seed: int) -> tuple[_Matrix, _Matrix]:
    """Put each move into one of two halves by a fair coin.

    Given where they start, the moves of a Markov chain are drawn independently, and so then are
    the two halves: a loop that was chosen by looking at the first is tested fairly in the second.

    Examples
    --------
    >>> one, other = split_moves(csr_array([[0, 60], [40, 0]]), seed=0)
    >>> (one + other).toarray().tolist()
    [[0, 60], [40, 0]]
    """
    drawn = np.random.default_rng(seed).binomial(moves.data, 0.5)
    halves = (drawn, moves.data - drawn)
    one, other = (csr_array((h, moves.indices, moves.indptr), shape=moves.shape) for h in halves)
    return one, other


def search_driven_loops(moves: _Matrix) -> list[Loop[int]]:
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
    list of Loop
        Of state indices, each loop once, at most 200.

    Examples
    --------
    >>> ring = np.roll(np.eye(5, dtype=int), 1, axis=1)
    >>> search_driven_loops(csr_array(90 * ring + 10 * ring.T))
    [Loop(0, 1, 2, 3, 4)]
    """
    source, target, deviation = _deviations(moves)
    strongest = np.argsort(-np.abs(deviation), kind="stable")[:MAX_EDGES]
    strongest = strongest[np.abs(deviation[strongest]) > 1e-9]
    turned = deviation[strongest] < 0
    f = np.where(turned, target[strongest], source[strongest])
    g = np.where(turned, source[strongest], target[strongest])
    return _close_loops(f, g, 1.0 / np.abs(deviation[strongest]))


def _deviations(
    moves: _Matrix,
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
) -> list[Loop[int]]:
    """Close each of the first edges f -> g to its cheapest loop."""
    states, ends = np.unique(np.concatenate([f, g]), return_inverse=True)
    tail, head = np.split(ends.astype(np.int32), [len(f)])  # 32 bits: see `fundamental_cycles`
    graph = csr_array((cost, (tail, head)), shape=(len(states), len(states)))
    starts = head[:MAX_STARTS]
    if not len(starts):
        return []
    _, before = dijkstra(graph, indices=starts, return_predecessors=True)
    loops: dict[Loop[int], None] = {}
    for row, (end, start) in enumerate(zip(tail.tolist(), starts.tolist(), strict=False)):
        path = _walk_back(before[row], end, start)
        if len(path) > 3:
            loops[Loop(states[path].tolist())] = None
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
