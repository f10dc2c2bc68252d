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
    blocks: NDArray[np.int64], rng: np.random.Generator, replicates: int
) -> NDArray[np.int64]:
    """(replicates, r) array of int64: how often each run is drawn, by the block of each."""
    units, n = _units(blocks)
    return _draw(rng, replicates, n)[:, units]


def draw_counts(
    counts: csr_array[Any, Any],
    blocks: NDArray[np.int64],
    rng: np.random.Generator,
    replicates: int,
) -> NDArray[np.int64]:
    """(replicates, k) array of int64: the sums of the (r, k) counts of the runs drawn."""
    units, n = _units(blocks)
    if n < len(units):  # the moves of a block are drawn together
        ones, runs = np.ones(len(units), dtype=np.int64), np.arange(len(units))
        counts = csr_array(csr_array((ones, (units, runs)), shape=(n, len(units))) @ counts)
    by_move, most = counts.T.tocsr(), int(counts.sum(axis=0).max()) if counts.nnz else 0
    found = np.empty((replicates, by_move.shape[0]), dtype=np.int64)
    at_once = max(1, AT_ONCE // max(n, 1))
    for begin in range(0, replicates, at_once):
        weights = _draw(rng, min(at_once, replicates - begin), n)
        kind = exact_type(int(weights.max(initial=0)) * most)
        drawn = by_move.astype(kind) @ np.ascontiguousarray(weights.T.astype(kind))
        found[begin : begin + len(weights)] = drawn.T
    return found


def _units(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return the block of each run, a run of none being one by itself, and how many there are."""
    alone = codes < 0
    blocks, unit = np.unique(codes[~alone], return_inverse=True)
    units = np.empty(len(codes), dtype=np.int64)
    units[~alone] = unit
    units[alone] = len(blocks) + np.arange(np.count_nonzero(alone))
    return units, len(blocks) + int(np.count_nonzero(alone))


def _draw(rng: np.random.Generator, replicates: int, n: int) -> NDArray[np.int64]:
    if not n:
        return np.zeros((replicates, 0), dtype=np.int64)
    drawn = rng.integers(n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * n).reshape(replicates, n)
