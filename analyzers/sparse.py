"""Many entries of sparse matrices at once, and the counts that go into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["count_distinct", "exact_type", "find_places", "lookup", "ranges"]


def count_distinct(keys: NDArray[Any], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which numbers are among `keys`, of 0 to size - 1, sorted, and how often each is.

    Examples
    --------
    >>> count_distinct(np.array([4, 1, 4]), 5)
    (array([1, 4]), array([1, 2]))
    """
    if size > 4 * len(keys):  # sorting takes less memory
        return np.unique(keys, return_counts=True)
    number = np.bincount(keys, minlength=size)
    distinct = np.flatnonzero(number)
    return distinct, number[distinct]


def find_places(keys: NDArray[Any], distinct: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return the place of each of `keys`, of 0 to size - 1, in sorted `distinct`; -1 for none.

    Examples
    --------
    >>> find_places(np.array([4, 1, 4, 2]), np.array([1, 4]), 5).tolist()
    [1, 0, 1, -1]
    """
    if size > 4 * len(keys):
        place = np.searchsorted(distinct, keys)
        there = np.append(distinct, -1)[place] == keys
        return np.where(there, place, -1)
    places = np.full(size, -1)
    places[distinct] = np.arange(len(distinct))
    return np.asarray(places[keys])


def exact_type(most: float) -> type[np.float32] | type[np.float64]:
    """Return the smaller type of float that adds whole numbers up to `most` without rounding."""
    return np.float32 if most < 2**24 else np.float64


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


def ranges(starts: NDArray[Any], which: NDArray[Any]) -> NDArray[np.int64]:
    """Return starts[k], starts[k] + 1, ... to starts[k + 1] - 1, for each k of `which`."""
    begin = starts[which].astype(np.int64)
    lengths = starts[which + 1] - begin
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(begin - before, lengths))
