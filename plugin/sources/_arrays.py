"""Arrays, sparse matrices and data frames, as counts or as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from scipy.sparse import issparse

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError


def find_counts(source: object) -> TransitionCounts | None:
    """Return a square array, sparse matrix or data frame as counts; None for anything else.

    Raises
    ------
    InvalidInputError
        Where it is not square, or holds something else than counts.

    Examples
    --------
    >>> find_counts(np.array([[0, 2], [1, 0]])).states
    ('0', '1')
    """
    if isinstance(source, np.ndarray) or issparse(source):
        matrix: Any = source
        if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InvalidInputError(
                f"an array of counts is square, (n, n); this one has the shape {matrix.shape}"
            )
        return _from_matrix(matrix, tuple(map(str, range(matrix.shape[0]))))
    if _is_frame(source, "pandas"):
        return _from_pandas(source)
    return _from_polars(source) if _is_frame(source, "polars") else None


def find_rows(source: object) -> list[dict[str, Any]] | None:
    """Return a data frame of steps or moves as rows; None for anything else."""
    if _is_frame(source, "pandas"):
        frame: Any = source
        names = [str(name) for name in frame.columns]
        columns = [list(map(_plain, frame.iloc[:, i].tolist())) for i in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if _is_frame(source, "polars"):
        return [{name: _plain(value) for name, value in row.items()} for row in source.to_dicts()]  # type: ignore[attr-defined] # a polars frame
    return None


def _is_frame(source: object, package: str) -> bool:
    """Say whether an object is a data frame of a package, which is not loaded for it."""
    kind = type(source)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == package


def _from_pandas(frame: Any) -> TransitionCounts | None:
    """Return a frame whose index has the names of its columns, in any order, as counts."""
    rows, columns = [str(name) for name in frame.index], [str(name) for name in frame.columns]
    if not columns or sorted(rows) != sorted(columns) or len(set(columns)) < len(columns):
        return None
    place = [rows.index(name) for name in columns]
    return _from_matrix(frame.to_numpy()[place], tuple(columns))


def _from_polars(frame: Any) -> TransitionCounts | None:
    """Return a frame of as many numbers as columns as counts; the first column may be names.

    A frame of polars has no index: its rows are in the order of its columns.
    """
    names = list(frame.columns)
    numeric = [bool(kind.is_numeric()) for kind in frame.dtypes]
    if numeric and not numeric[0] and all(numeric[1:]) and len(names) == frame.height + 1:
        rows = [str(name) for name in frame.get_column(names[0]).to_list()]
        if sorted(rows) == sorted(names[1:]):
            place = [rows.index(name) for name in names[1:]]
            return _from_matrix(frame.to_numpy()[place, 1:].astype(float), tuple(names[1:]))
    if names and all(numeric) and len(names) == frame.height and "count" not in names:
        return _from_matrix(frame.to_numpy(), tuple(names))
    return None


def _from_matrix(matrix: Any, states: Sequence[str]) -> TransitionCounts:
    if isinstance(matrix, np.ndarray):
        return TransitionCounts.from_dense(matrix, states)
    edges = matrix.tocoo()
    return TransitionCounts.from_arrays(tuple(states), edges.row, edges.col, edges.data)


def _plain(value: Any) -> Any:
    """Return a cell as a reader takes it: None where it is missing, a date as text."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if isinstance(value, date) else value
