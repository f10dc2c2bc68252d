"""Runs drawn again: how often each is, and the counts of their moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.sparse import exact_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 8_000_000
"""So many weights of runs are held in memory at a time."""


def draw_weights(
    blocks: NDArray[np.int64], order: NDArray[np.int64], rng: np.random.Generator, replicates: int
) -> NDArray[np.int64]:
    """(replicates, r) array of int64: how often each run is drawn; as for `cluster_runs`."""
    units, n = cluster_runs(blocks, order)
    return draw(rng, replicates, n)[:, units]


def draw_counts(
    counts: csr_array[Any, tuple[int, int]],
    blocks: NDArray[np.int64],
    order: NDArray[np.int64],
    rng: np.random.Generator,
    replicates: int,
) -> NDArray[np.int64]:
    """(replicates, k) array of int64: the sums of the (r, k) counts of the runs drawn."""
    units, n = cluster_runs(blocks, order)
    counts = sum_clusters(counts, units, n)
    by_move, most = counts.T.tocsr(), int(counts.sum(axis=0).max()) if counts.nnz else 0
    found = np.empty((replicates, by_move.shape[0]), dtype=np.int64)
    at_once = max(1, AT_ONCE // max(n, 1))
    for begin in range(0, replicates, at_once):
        weights = draw(rng, min(at_once, replicates - begin), n)
        kind = exact_type(int(weights.max(initial=0)) * most)
        drawn = by_move.astype(kind) @ np.ascontiguousarray(weights.T.astype(kind))
        found[begin : begin + len(weights)] = drawn.T
    return found


def cluster_runs(
    blocks: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return the cluster of each run, its block or (where that is -1) itself, and how many.

    Clusters are numbered by their blocks and then by `RunTable.order`, not by the order of rows.
    """
    alone = np.flatnonzero(blocks < 0)
    different, unit = np.unique(blocks[blocks >= 0], return_inverse=True)
    units = np.empty(len(blocks), dtype=np.int64)
    units[blocks >= 0] = unit
    units[order[blocks[order] < 0]] = len(different) + np.arange(len(alone))
    return units, len(different) + len(alone)


def sum_clusters(
    counts: csr_array[Any, tuple[int, int]], units: NDArray[np.int64], n: int
) -> csr_array[Any, tuple[int, int]]:
    """(n, k) csr_array: the (r, k) counts of runs, those of each cluster added up."""
    if n == len(units):  # each run is a cluster by itself
        return csr_array(counts[np.argsort(units)])
    ones, runs = np.ones(len(units), dtype=np.int64), np.arange(len(units))
    return csr_array(csr_array((ones, (units, runs)), shape=(n, len(units))) @ counts)


def draw(rng: np.random.Generator, replicates: int, n: int) -> NDArray[np.int64]:
    if not n:
        return np.zeros((replicates, 0), dtype=np.int64)
    drawn = rng.integers(n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * n).reshape(replicates, n)
