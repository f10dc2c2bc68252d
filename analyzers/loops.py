"""Loops of states: finding them, and the affinity that drives an agent round them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.stats import false_discovery_control, norm

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.tables import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopTable", "find_loops", "find_triangles", "fundamental_cycles", "lookup"]

MIN_PAIR_COUNT = 5
"""Loops with a pair walked fewer times (both ways together) are not tested."""

SMALL_COUNT = 10
"""Loops with a smaller count on some edge get 1/2 added to all their counts."""

WEDGES_AT_ONCE = 4_000_000
"""How many pairs of edges the search for triangles holds in memory at a time."""

Z95 = 1.959964
"""Standard errors on each side of a 95% interval."""

MAX_CYCLES = 10_000
"""How many cycles longer than a triangle are tested, the most walked ones."""


@dataclass(frozen=True, slots=True, eq=False)
class LoopTable:
    """The m tested loops, each in the direction in which it is driven, strongest first.

    Strongest means the most affinity per step, by the lower end of its 95% interval.

    Parameters
    ----------
    states : tuple of str
        The states that the members index.
    members : tuple of tuple of int, length m
        The states of each loop, in order, starting with the lowest index.
    affinity : (m,) array of float, 0 or more
        A = log of the product of forward over the product of backward counts, in nats
        (paper eq. 7; the attempts N0 cancel).
    error : (m,) array of float
        Its standard error: the root of the sum of 1/n over the loop's counts.
    pvalue, adjusted : (m,) arrays of float
        Two-sided p-value of A = 0, and the same adjusted for the number of loops
        (Benjamini and Hochberg).
    forward, backward : (m,) arrays of int
        The smallest count along the loop, each way round: it was walked at most so often.
    untested : int
        Loops left out because a pair of theirs was walked fewer than 5 times.

    Notes
    -----
    A loop that could not be walked either way round (some edge missing in each direction) is no
    loop of the agent and is not listed.
    """

    states: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    affinity: NDArray[np.float64]
    error: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    untested: int

    def __len__(self) -> int:
        return len(self.members)

    def names(self, loop: int) -> tuple[str, ...]:
        """Return the states of loop number `loop`, in the driven order."""
        return tuple(self.states[i] for i in self.members[loop])

    def to_table(self) -> Table:
        """Return the columns loop, affinity, error, pvalue, adjusted, forward, backward."""
        return {
            "loop": [self.names(i) for i in range(len(self))],
            "affinity": self.affinity.tolist(),
            "error": self.error.tolist(),
            "pvalue": self.pvalue.tolist(),
            "adjusted": self.adjusted.tolist(),
            "forward": self.forward.tolist(),
            "backward": self.backward.tolist(),
        }


def find_loops(counts: TransitionCounts, *, min_pair_count: int = MIN_PAIR_COUNT) -> LoopTable:
    """Test the triangles and a basis of the longer cycles of a graph.

    Parameters
    ----------
    counts : TransitionCounts
        Without START and END.
    min_pair_count : int
        Pairs walked fewer times, both ways together, carry no test. The choice does not look at
        the direction of a move, so it does not bend the tests.

    Returns
    -------
    LoopTable
        Sorted by affinity per step, by the lower end of its 95% interval.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7 and Fig. 3.

    Examples
    --------
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> loops = find_loops(TransitionCounts.from_edges(edges))
    >>> loops.names(0), round(float(loops.affinity[0]), 3)  # 3 log 9
    (('a', 'b', 'c'), 6.592)
    """
    moves = counts.counts.astype(np.int64)
    moves.setdiag(0)
    moves.eliminate_zeros()
    totals = (moves + moves.T).tocsr()
    loops = find_triangles(totals) + fundamental_cycles(totals)
    return _test_loops(counts.states, moves, loops, min_pair_count)


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


def lookup(matrix: Any, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """Return the (m,) entries of a sparse matrix at (rows, columns), 0 where there are none."""
    entries, n = matrix.tocoo(), matrix.shape[1]
    if not entries.nnz:
        return np.zeros(len(rows), dtype=entries.dtype)
    keys = entries.row.astype(np.int64) * n + entries.col
    place = np.argsort(keys, kind="stable")
    keys, data = keys[place], entries.data[place]
    wanted = np.asarray(rows, dtype=np.int64) * n + columns
    where = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[where] == wanted, data[where], 0)


def _test_loops(
    states: tuple[str, ...],
    moves: csr_array[Any, tuple[int, int]],
    loops: list[tuple[int, ...]],
    min_pair_count: int,
) -> LoopTable:
    """Test each loop for an affinity; all of them at once, their edges laid end to end."""
    lengths = np.array([len(loop) for loop in loops], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    source = np.array([state for loop in loops for state in loop], dtype=np.int64)
    target = np.array([state for loop in loops for state in (*loop[1:], loop[0])], dtype=np.int64)
    there, back = lookup(moves, source, target), lookup(moves, target, source)
    forward, backward = _reduce(np.minimum, there, starts), _reduce(np.minimum, back, starts)
    walkable = np.maximum(forward, backward) > 0
    tested = walkable & (_reduce(np.minimum, there + back, starts) >= min_pair_count)
    half = np.repeat(np.where(np.minimum(forward, backward) < SMALL_COUNT, 0.5, 0.0), lengths)
    with np.errstate(divide="ignore", invalid="ignore"):
        affinity = _reduce(np.add, np.log(there + half) - np.log(back + half), starts)
        error = np.sqrt(_reduce(np.add, 1 / (there + half) + 1 / (back + half), starts))
    kept = np.flatnonzero(tested)
    # A longer loop through a driven one shares its push, but less of it for each of its steps.
    push = (np.abs(affinity[kept]) - Z95 * error[kept]) / lengths[kept]
    kept = kept[np.argsort(-push, kind="stable")]
    turned = affinity[kept] < 0
    pvalue = 2 * norm.sf(np.abs(affinity[kept]) / error[kept])
    return LoopTable(
        states,
        tuple(_oriented(loops[i], turn) for i, turn in zip(kept, turned, strict=True)),
        np.abs(affinity[kept]),
        error[kept],
        pvalue,
        false_discovery_control(pvalue) if len(kept) else pvalue,
        np.where(turned, backward[kept], forward[kept]),
        np.where(turned, forward[kept], backward[kept]),
        int(np.count_nonzero(walkable & ~tested)),
    )


def _reduce(ufunc: np.ufunc, values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    return ufunc.reduceat(values, starts) if len(starts) else values


def _oriented(loop: tuple[int, ...], turned: bool) -> tuple[int, ...]:
    loop = loop[::-1] if turned else loop
    first = loop.index(min(loop))
    return loop[first:] + loop[:first]


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
