"""The cycles of a graph: all of its triangles, and a basis of the longer ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["find_triangles", "fundamental_cycles"]

WEDGES_AT_ONCE = 4_000_000
"""How many pairs of edges the search for triangles holds in memory at a time."""

MAX_CYCLES = 10_000
"""How many cycles longer than a triangle are tested, the most walked ones."""


def find_triangles(totals: csr_array[Any, tuple[int, int]]) -> list[tuple[int, ...]]:
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


def fundamental_cycles(
    totals: csr_array[Any, tuple[int, int]], *, limit: int = MAX_CYCLES
) -> list[tuple[int, ...]]:
    """List a basis of the cycles of a symmetric graph, without the triangles.

    Each edge outside the spanning tree of the most walked pairs closes one cycle; the `limit`
    most walked of these edges are taken.
    """
    cost = csr_array((1.0 / totals.data, totals.indices, totals.indptr), shape=totals.shape)
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
