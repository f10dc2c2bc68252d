"""`TransitionCounts`, the integer matrix that every analyzer reads."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from detailed_balance.analyzers.boundaries import BOUNDARIES, END, START
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["BOUNDARIES", "END", "START", "TransitionCounts", "unknown_state_message"]

_MOST_COUNTED = 2**63 - 1
"""What counts may add up to."""


@dataclass(frozen=True, slots=True, eq=False)
class TransitionCounts(TableResult):
    """How often each state was followed by each other state.

    Parameters
    ----------
    states : tuple of str, length n
        The state keys, all different.
    counts : (n, n) csr_array of int64
        ``counts[i, j]`` is the number of transitions states[i] -> states[j].
    attempts : (n,) array of int64
        The attempts from each state: its transitions, self-loops and escapes included.

    Raises
    ------
    InvalidInputError
        Where shapes disagree, a state is twice there, a count is negative, or a state has fewer
        attempts than transitions.

    Notes
    -----
    Paper: N(g<-f) of eq. 6 is ``counts[f, g]``.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 3), ("b", "a", 1), ("a", None, 2)])
    >>> counts.states
    ('a', 'b')
    >>> counts.counts.toarray().tolist()
    [[0, 3], [1, 0]]
    >>> counts.attempts.tolist()
    [5, 1]
    """

    states: tuple[str, ...]
    counts: csr_array[Any, tuple[int, int]]
    attempts: NDArray[np.int64]
    _indices: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n = len(self.states)
        indices = {state: i for i, state in enumerate(self.states)}
        if len(indices) != n:
            twice = next(s for i, s in enumerate(self.states) if indices[s] != i)
            raise InvalidInputError(f"state {twice!r} is listed twice; state keys must differ")
        if self.counts.shape != (n, n) or self.attempts.shape != (n,):
            raise InvalidInputError(
                f"{n} states need counts of shape ({n}, {n}) and attempts of shape ({n},); "
                f"got {self.counts.shape} and {self.attempts.shape}"
            )
        if self.counts.nnz and self.counts.data.min() < 0:
            raise InvalidInputError(f"counts must be 0 or more; got {self.counts.data.min()}")
        _check_total(self.counts.data)
        _check_total(self.attempts)
        short = np.flatnonzero(self.attempts < self.counts.sum(axis=1))
        if short.size:
            raise InvalidInputError(
                f"state {self.states[short[0]]!r} has {self.attempts[short[0]]} attempts but more "
                "transitions; attempts count transitions, self-loops and escapes"
            )
        object.__setattr__(self, "_indices", indices)

    @classmethod
    def from_edges(cls, edges: Iterable[tuple[str, str | None, int]]) -> TransitionCounts:
        """Count ``(source, target, count)`` triples; the target None is an escape.

        States come in the order in which they are first named; equal edges add up.

        Raises
        ------
        InvalidInputError
            Where a count is a fraction, negative, or too large.
        """
        indices: dict[str, int] = {}
        rows: list[tuple[int, int, int]] = []
        for source, target, count in edges:
            i = indices.setdefault(source, len(indices))
            j = -1 if target is None else indices.setdefault(target, len(indices))
            rows.append((i, j, count))
        table = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
        counts = [count for _, _, count in rows]
        return cls.from_arrays(tuple(indices), table[:, 0], table[:, 1], counts)

    @classmethod
    def from_arrays(
        cls, states: tuple[str, ...], sources: ArrayLike, targets: ArrayLike, counts: ArrayLike
    ) -> TransitionCounts:
        """Count an edge list of state indices, each (m,) of int; the target -1 is an escape.

        Raises
        ------
        InvalidInputError
            Where a count is a fraction, negative, or too large.
        """
        n = len(states)
        source = np.asarray(sources, dtype=np.int64)
        target = np.asarray(targets, dtype=np.int64)

        def name_edge(place: int) -> str:
            reached = "an escape" if target[place] < 0 else repr(states[target[place]])
            return f"{states[source[place]]!r} -> {reached}"

        count = _whole_numbers(counts, name_edge)
        if count.size and count.min() < 0:
            raise InvalidInputError(f"counts must be 0 or more; got {count.min()}")
        attempts = np.zeros(n, dtype=np.int64)
        np.add.at(attempts, source, count)
        kept = (target >= 0) & (count > 0)
        matrix = coo_array((count[kept], (source[kept], target[kept])), shape=(n, n)).tocsr()
        return cls(states, matrix, attempts)

    @classmethod
    def from_dense(cls, matrix: ArrayLike, states: Iterable[str] | None = None) -> TransitionCounts:
        """Take an (n, n) array or data frame of counts.

        Parameters
        ----------
        matrix : array_like or DataFrame
            Row = source, column = target.
        states : iterable of str, optional
            Their names; by default those of the rows of a data frame, of an array ``"0"``,
            ``"1"``, ...

        Raises
        ------
        InvalidInputError
            Where a count is a fraction, negative, or too large, the array is not square, or the
            rows and the columns of a data frame have different names.

        Examples
        --------
        >>> TransitionCounts.from_dense([[0, 2], [1, 0]], ["plan", "search"]).total
        3
        """
        if states is None and hasattr(matrix, "columns"):
            matrix, states = _read_frame(matrix)
        values = np.asarray(matrix)
        width = values.shape[-1] if values.ndim == 2 else 1
        whole = _whole_numbers(
            values, lambda place: f"row {place // width}, column {place % width}"
        )
        sparse = csr_array(whole)
        names = tuple(map(str, range(len(values)))) if states is None else tuple(states)
        return cls(names, sparse, np.asarray(sparse.sum(axis=1), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.states)

    def __contains__(self, state: object) -> bool:
        return state in self._indices

    @property
    def total(self) -> int:
        """The number of transitions, self-loops included and escapes not."""
        return int(self.counts.sum())

    @property
    def escapes(self) -> NDArray[np.int64]:
        """(n,) array of int64: the attempts from each state that reached no state kept here."""
        return self.attempts - self.counts.sum(axis=1)

    def to_table(self) -> Table:
        """Return the columns source, target (None: escapes) and count, START and END included.

        Examples
        --------
        >>> TransitionCounts.from_edges([("a", "b", 3), ("a", None, 1)]).to_table()
        {'source': ['a', 'a'], 'target': ['b', None], 'count': [3, 1]}
        """
        edges, states = self.counts.tocoo(), self.states
        failed = np.flatnonzero(self.escapes).tolist()
        return {
            "source": [states[i] for i in [*edges.row.tolist(), *failed]],
            "target": [*(states[j] for j in edges.col.tolist()), *(None for _ in failed)],
            "count": [*edges.data.tolist(), *self.escapes[failed].tolist()],
        }

    def index(self, state: str) -> int:
        """Return the place of `state` in `states`.

        Raises
        ------
        UnknownStateError
            Where there is no such state; the message names the closest ones.
        """
        try:
            return self._indices[state]
        except KeyError:
            raise UnknownStateError(unknown_state_message(state, self.states)) from None

    def restrict(self, states: Collection[str]) -> TransitionCounts:
        """Keep only `states`, in the order given.

        Attempts stay as they were: a move to a state that is not kept was an attempt all the same.
        """
        kept = np.array([self.index(state) for state in states], dtype=np.int64)
        return TransitionCounts(
            tuple(states), self.counts[kept, :][:, kept].tocsr(), self.attempts[kept]
        )

    def sorted(self) -> TransitionCounts:
        """Put the states in the order of their names, so that no result depends on another one.

        Examples
        --------
        >>> TransitionCounts.from_edges([("b", "c", 1), ("a", "b", 2)]).sorted().states
        ('a', 'b', 'c')
        """
        states = tuple(sorted(self.states))
        if states == self.states and self.counts.has_canonical_format:
            return self
        ordered = self.restrict(states)
        ordered.counts.sum_duplicates()
        return ordered

    def without_boundaries(self) -> TransitionCounts:
        """Drop START and END; moves into END stay attempts of the states they came from."""
        if BOUNDARIES.isdisjoint(self._indices):
            return self
        return self.restrict([state for state in self.states if state not in BOUNDARIES])

    def __add__(self, other: TransitionCounts) -> TransitionCounts:
        """Add two counts over the union of their states."""
        _check_total([int(part.attempts.sum()) for part in (self, other)])
        states = tuple(dict.fromkeys(self.states + other.states))
        place = {state: i for i, state in enumerate(states)}
        total = csr_array((len(states), len(states)), dtype=np.int64)
        attempts = np.zeros(len(states), dtype=np.int64)
        for part in (self, other):
            where = np.array([place[state] for state in part.states], dtype=np.int64)
            edges = part.counts.tocoo()
            moved = (edges.data, (where[edges.row], where[edges.col]))
            total = total + csr_array(moved, shape=total.shape)
            attempts[where] += part.attempts
        return TransitionCounts(states, total, attempts)


def _read_frame(frame: Any) -> tuple[NDArray[Any], list[str]]:
    """Return the numbers of a data frame and the names of its states; polars names columns only."""
    columns, values = [str(name) for name in frame.columns], frame.to_numpy()
    rows = [str(name) for name in getattr(frame, "index", columns)]
    numbers = [str(place) for place in range(len(columns))]
    if sorted(rows) == sorted(columns):
        return values[:, [columns.index(name) for name in rows]], rows
    if numbers not in (rows, columns):
        odd = next(iter(sorted({*rows} ^ {*columns})), rows[0])
        raise InvalidInputError(
            f"the rows and columns of a data frame of counts have the same names; {odd!r} is "
            "not in both"
        )
    return values, columns if rows == numbers else rows


def _whole_numbers(counts: ArrayLike, name: Callable[[int], str]) -> NDArray[np.int64]:
    """Return counts as integers; fractions are refused, by the name of their place."""
    values = np.asarray(counts)
    if values.dtype.kind not in "iub":
        flat = values.ravel()
        if values.dtype.kind == "f":
            wrong = np.flatnonzero(~(flat == np.floor(flat)) | np.isinf(flat)).tolist()
        else:
            wrong = [place for place, value in enumerate(flat.tolist()) if not _is_whole(value)]
        for place in wrong[:1]:
            raise InvalidInputError(
                f"counts are whole numbers; {name(place)} has {flat[place]!s}. Give how often "
                "each move was made; for a matrix of probabilities call "
                "detailed_balance.analyzers.estimate_potential(matrix)"
            )
    _check_total(values)
    return values.astype(np.int64)


def _is_whole(value: Any) -> bool:
    try:
        return bool(value == int(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _check_total(counts: ArrayLike) -> None:
    """Refuse counts whose sum, and so perhaps that of some of them, has more than 63 bits."""
    values = np.asarray(counts)
    if values.size and float(np.abs(values).sum(dtype=np.float64)) > _MOST_COUNTED / 2:
        total = sum(abs(int(value)) for value in values.ravel())
        if total > _MOST_COUNTED:
            raise InvalidInputError(
                f"counts may add up to {_MOST_COUNTED}, that is 2**63 - 1; these make {total}"
            )


def unknown_state_message(state: str, states: Collection[str]) -> str:
    """Say that `state` is not among `states`, and which ones are close."""
    close = difflib.get_close_matches(state, list(states)[:10_000], n=3)
    hint = f"did you mean {', '.join(map(repr, close))}?" if close else _first_states(states)
    return f"no state {state!r} among the {len(states)} states; {hint}"


def _first_states(states: Collection[str]) -> str:
    first = ", ".join(repr(state) for state in list(states)[:5])
    return f"the first are {first}" if first else "there are none: nothing was recorded"
