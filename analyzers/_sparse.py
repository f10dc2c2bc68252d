"""Sparse patterns that grow: where entries stand in rows that are sorted, or would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_entries", "insert", "locate", "ranges"]


def ranges(starts: NDArray[Any], which: NDArray[Any]) -> NDArray[np.int64]:
    """Return starts[k], starts[k] + 1, ... to starts[k + 1] - 1, for each k of `which`."""
    begin = starts[which].astype(np.int64)
    lengths = starts[which + 1] - begin
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(begin - before, lengths))


def locate(
    starts: NDArray[Any], columns: NDArray[Any], wanted: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where (k,) wanted entries stand in a sorted CSR pattern, or would, and which do.

    Only the rows that are asked for are read.
    """
    rows, ends = (part.astype(np.int64) for part in wanted)
    some = np.unique(rows)
    row_of = np.repeat(some, starts[some + 1] - starts[some])
    width = 1 + max(int(columns.max(initial=0)), int(ends.max(initial=0)))
    keys = row_of * width + columns[ranges(starts, some)]
    place = np.searchsorted(keys, rows * width + ends)
    found = np.append(keys, -1)[place] == rows * width + ends
    return starts[rows] + place - np.searchsorted(keys, rows * width), found


def insert(
    starts: NDArray[Any], columns: NDArray[Any], wanted: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Make room for those of (k,) wanted entries that a sorted CSR pattern lacks.

    Returns its `starts` with them, the (2, j) rows and columns of the new entries in order, each
    once, and before which of the old entries they stand, as `numpy.insert` takes it.
    """
    places, found = locate(starts, columns, wanted)
    new, once = np.unique(np.array(wanted)[:, ~found], axis=1, return_index=True)
    more = np.cumsum(np.bincount(new[0] + 1, minlength=len(starts)))
    return starts + more.astype(starts.dtype), new, places[~found][once]


def add_entries(
    matrix: csr_array[Any, tuple[int, int]],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[csr_array[Any, tuple[int, int]], NDArray[np.int64], NDArray[np.int64]]:
    """Add counts to a matrix, in place unless its pattern must grow.

    Returns the matrix, the (2, j) rows and columns of new entries, and before which of the old
    ones they were inserted.
    """
    starts, new, before = insert(matrix.indptr, matrix.indices, (rows, columns))
    if len(before):
        data, ends = np.insert(matrix.data, before, 0), np.insert(matrix.indices, before, new[1])
        matrix = csr_array((data, ends, starts), shape=matrix.shape)
    places, _ = locate(matrix.indptr, matrix.indices, (rows, columns))
    np.add.at(matrix.data, places, counts)
    return matrix, new, before
