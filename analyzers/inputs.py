"""What analyzers take as counts: arrays, sparse matrices, data frames, graphs and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import networkx as nx
import numpy as np
from scipy.sparse import coo_array, issparse

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import sparray, spmatrix

__all__ = [
    "CountsLike",
    "StateMatrix",
    "find_matrix",
    "is_frame",
    "read_counts",
    "read_recorded",
]

CountsLike: TypeAlias = "TransitionCounts | ArrayLike | sparray | spmatrix | nx.Graph[Any] | Runs"
"""Counts, or what holds them.

A square array, sparse matrix or DataFrame (pandas or polars) of whole numbers, row = source; a
directed networkx graph, whose edges have a ``count`` or a ``weight`` (1 without either); a
`RunTable`, or an iterable of `Trajectory`. An array names its states ``"0"``, ``"1"``, ...
"""

_ALLOWED = (
    "allowed are TransitionCounts, a square array, sparse matrix or DataFrame of counts, a "
    "directed networkx graph, a RunTable or an iterable of Trajectory, and a Kernel where known "
    "probabilities will do. Edges become counts by TransitionCounts.from_edges, a recording or a "
    "DataFrame of steps by open_source(x).counts()"
)


class StateMatrix(NamedTuple):
    """A square matrix with the names of its states.

    Parameters
    ----------
    states : tuple of str, length n
        The names.
    matrix : (n, n) array or sparse array
        One number for each move, row = source.
    escapes : sequence of int, length n or 0
        Attempts that led nowhere, by state.
    """

    states: tuple[str, ...]
    matrix: Any
    escapes: Sequence[int] = ()

    @property
    def has_fractions(self) -> bool:
        """Whether its numbers are probabilities: some are no whole numbers."""
        values = np.asarray(self.matrix.data if self._is_sparse else self.matrix)
        return values.dtype.kind == "f" and bool((values != np.floor(values)).any())

    @property
    def _is_sparse(self) -> bool:
        return bool(issparse(self.matrix))

    def counts(self) -> TransitionCounts:
        """Return its numbers as counts; raises `InvalidInputError` for fractions."""
        if not self._is_sparse:
            return TransitionCounts.from_dense(self.matrix, self.states)
        edges, escaped = self.matrix.tocoo(), len(self.escapes)
        return TransitionCounts.from_arrays(
            self.states,
            [*edges.row.tolist(), *range(escaped)],
            [*edges.col.tolist(), *[-1] * escaped],
            np.concatenate([edges.data, np.array(self.escapes, dtype=np.int64)]),
        )


def read_counts(source: CountsLike) -> TransitionCounts:
    """Return counts of whatever holds them.

    Raises
    ------
    InvalidInputError
        Where `source` is none of `CountsLike`, or holds something else than counts.

    Examples
    --------
    >>> read_counts([[0, 2], [1, 0]]).states
    ('0', '1')
    >>> graph = nx.DiGraph([("plan", "search", {"count": 3}), ("search", "plan", {"count": 2})])
    >>> read_counts(graph).counts.toarray().tolist()
    [[0, 3], [2, 0]]
    """
    return read_recorded(source)[0]


def read_recorded(source: CountsLike) -> tuple[TransitionCounts, RunTable | None]:
    """Return counts, and the runs that they are of; None where runs are not known."""
    if isinstance(source, TransitionCounts):
        return source, None
    if (found := find_matrix(source)) is not None:
        return found.counts(), None
    runs = _find_runs(source)
    return runs.counts(), runs


def find_matrix(source: object) -> StateMatrix | None:
    """Return a square array, sparse matrix, data frame or graph as a matrix; None for others.

    Raises
    ------
    InvalidInputError
        Where an array is not square, or a graph is not directed.
    """
    if isinstance(source, nx.Graph):
        return _from_graph(source)
    if is_frame(source, "pandas"):
        return _from_pandas(source)
    if is_frame(source, "polars"):
        return _from_polars(source)
    matrix: Any = None
    if isinstance(source, np.ndarray) or issparse(source):
        matrix = source
    elif isinstance(source, list | tuple) and source and not isinstance(source[0], Trajectory):
        matrix = _from_lists(source)
    if matrix is None:
        return None
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InvalidInputError(
            f"an array of counts is square, (n, n); this one has the shape {matrix.shape}"
        )
    return StateMatrix(tuple(map(str, range(matrix.shape[0]))), matrix)


def is_frame(source: object, package: str) -> bool:
    """Say whether an object is a data frame of a package, which is not loaded for it."""
    kind = type(source)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == package


def _find_runs(source: object) -> RunTable:
    if isinstance(source, RunTable):
        return source
    frame = is_frame(source, "pandas") or is_frame(source, "polars")
    if isinstance(source, Iterable) and not isinstance(source, str | bytes) and not frame:
        runs = list(source)
        if all(isinstance(run, Trajectory) for run in runs):
            return RunTable.of(runs)
    raise InvalidInputError(f"a {type(source).__name__} holds no counts; {_ALLOWED}")


def _from_lists(rows: Sequence[Any]) -> NDArray[Any] | None:
    try:
        matrix = np.asarray(rows)
    except ValueError:
        raise InvalidInputError("the rows of an array differ in length") from None
    return matrix if matrix.dtype.kind in "biuf" else None


def _from_graph(graph: nx.Graph[Any]) -> StateMatrix:
    if not graph.is_directed():
        raise InvalidInputError(
            "an undirected graph does not say which way its edges were walked; give a DiGraph"
        )
    there = {name for _, _, data in graph.edges(data=True) for name in data}
    name = next((each for each in ("count", "weight") if each in there), None)
    place = {node: i for i, node in enumerate(graph)}
    edges = list(graph.edges(data=name, default=1)) if name else [(*e[:2], 1) for e in graph.edges]
    values = np.array([value for _, _, value in edges])
    if edges and values.dtype.kind not in "biuf":
        source, target, value = next(e for e in edges if not isinstance(e[2], int | float))
        raise InvalidInputError(f"{name}={value!r} of the edge {source!r} -> {target!r}: no number")
    ends = ([place[f] for f, _, _ in edges], [place[g] for _, g, _ in edges])
    escapes: list[int] = [data.get("escapes", 0) for _, data in graph.nodes(data=True)]
    matrix = coo_array((values, ends), shape=(len(place), len(place)))
    return StateMatrix(tuple(map(str, place)), matrix, escapes)


def _from_pandas(frame: Any) -> StateMatrix | None:
    """Return a frame whose index has the names of its columns, in any order."""
    rows, columns = [str(name) for name in frame.index], [str(name) for name in frame.columns]
    if not columns or sorted(rows) != sorted(columns) or len(set(columns)) < len(columns):
        return None
    place = {name: i for i, name in enumerate(rows)}
    return StateMatrix(tuple(columns), frame.to_numpy()[[place[name] for name in columns]])


def _from_polars(frame: Any) -> StateMatrix | None:
    """Return a frame of as many numbers as columns; the first column may be names.

    A frame of polars has no index: its rows are in the order of its columns.
    """
    names = list(frame.columns)
    numeric = [bool(kind.is_numeric()) for kind in frame.dtypes]
    if numeric and not numeric[0] and all(numeric[1:]) and len(names) == frame.height + 1:
        rows = [str(name) for name in frame.get_column(names[0]).to_list()]
        if sorted(rows) == sorted(names[1:]):
            place = {name: i for i, name in enumerate(rows)}
            values = frame.to_numpy()[[place[name] for name in names[1:]], 1:]
            return StateMatrix(tuple(names[1:]), values.astype(float))
    if names and all(numeric) and len(names) == frame.height and "count" not in names:
        return StateMatrix(tuple(names), frame.to_numpy())
    return None
