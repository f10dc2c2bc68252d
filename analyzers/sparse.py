"""Many entries of sparse matrices at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["lookup", "ranges"]


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
