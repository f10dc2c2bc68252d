"""What failed runs hold more often than successful ones: log ratios of n-grams, in whole units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import END

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from detailed_balance.analyzers.runs.table import RunTable

UNIT = 2.0**-30
"""What is added up over a run is a multiple of this, so live and offline sums are equal."""

Gram = tuple[str | None, ...]
"""States in a row; None is an escape."""

ORDER = 3
"""The most states in a row."""


class Grams(NamedTuple):
    """The k n-grams that moves complete, in the order of the moves.

    Parameters
    ----------
    move : (k,) array of int64
        The move.
    gram : (k,) array of int64
        Which of the `size` n-grams it is.
    size : int
        How many different ones there are.
    """

    move: NDArray[np.int64]
    gram: NDArray[np.int64]
    size: int

    def held(self, table: RunTable) -> csr_array[Any, Any]:
        """(r, size) csr_array of int64: 1 where a run holds an n-gram."""
        pairs = np.unique(table.run_of_move[self.move] * self.size + self.gram)
        run, gram = np.divmod(pairs, max(self.size, 1))
        ones, shape = np.ones(len(pairs), dtype=np.int64), (len(table), self.size)
        return csr_array((ones, (run, gram)), shape=shape)

    def first_in_run(self, table: RunTable) -> Grams:
        """Return those that a run completes for the first time."""
        keys = table.run_of_move[self.move] * self.size + self.gram
        first = np.sort(np.unique(keys, return_index=True)[1])
        return Grams(self.move[first], self.gram[first], self.size)


def log_ratio(
    held: csr_array[Any, Any], bad: NDArray[np.bool_], good: NDArray[np.bool_], prior: float
) -> tuple[NDArray[np.int64], int]:
    """(size,) array: log of the share of each n-gram in bad runs over that in good ones, in units.

    A run that holds an n-gram counts once. Both shares are shrunk to that of all runs, as if
    `prior` n-grams had been held as those say. The second value is that of an n-gram that no run
    holds.
    """
    in_bad, in_good = (np.asarray(held.T @ runs.astype(np.int64)) for runs in (bad, good))
    pooled = in_bad + in_good + 0.5
    pooled /= pooled.sum()
    of_bad, of_good = in_bad.sum() + prior, in_good.sum() + prior
    ratio = np.log((in_bad + prior * pooled) / of_bad) - np.log(
        (in_good + prior * pooled) / of_good
    )
    unseen = in_units(np.log(of_good / of_bad))
    return np.where(in_bad + in_good > 0, in_units(ratio), unseen), int(unseen)


def state_grams(table: RunTable) -> tuple[Grams, list[Gram]]:
    """Return the runs of one to `ORDER` states that moves complete, and what each is.

    The source of a run's first move begins the first of them. Moves to END complete none.
    """
    inner = np.flatnonzero(table.target != table.code(END))
    run = table.run_of_move[inner]
    first = np.append(True, run[1:] != run[:-1])[: len(run)]
    # The path of each run: its first source, then its targets; -1 for the move that led there.
    behind = np.arange(len(run)) + np.cumsum(first)
    symbol = np.zeros(len(run) + int(first.sum()), dtype=np.int64)
    move = np.full(len(symbol), -1, dtype=np.int64)
    symbol[behind], move[behind] = table.target[inner] + 1, inner
    symbol[behind[first] - 1] = table.source[inner[first]] + 1
    place = np.arange(len(symbol)) - np.repeat(
        behind[first] - 1, np.diff(np.append(np.flatnonzero(first), len(run))) + 1
    )
    labels: list[Gram] = [(None,), *((state,) for state in table.states)]
    code, names, found = symbol, labels, []
    all_names: list[Gram] = []
    for order in range(1, ORDER + 1):
        if order > 1:  # one more state behind those one shorter, up to the place before
            keys = np.append(0, code[:-1]) * len(labels) + symbol
            distinct, code = np.unique(keys, return_inverse=True)
            names = [
                names[key // len(labels)] + labels[key % len(labels)] for key in distinct.tolist()
            ]
        done = np.flatnonzero((place >= max(order - 1, 1)) & (move >= 0))
        found.append((move[done], code[done] + len(all_names)))
        all_names += names
    moves, grams = (np.concatenate(part) for part in zip(*found, strict=True))
    order_of = np.argsort(moves, kind="stable")
    return Grams(moves[order_of], grams[order_of], len(all_names)), all_names


def last_grams(path: Sequence[str | None]) -> Iterator[Gram]:
    """Yield the n-grams that the last state of a path completes; the first only begins some.

    Examples
    --------
    >>> list(last_grams(["__start__", "a", "b"]))
    [('b',), ('a', 'b'), ('__start__', 'a', 'b')]
    """
    for length in range(1, min(ORDER, len(path)) + 1):
        yield tuple(path[-length:])


def in_units(values: ArrayLike) -> NDArray[np.int64]:
    """Return values as whole numbers of units, rounded."""
    return np.rint(np.asarray(values, dtype=np.float64) / UNIT).astype(np.int64)


def from_units(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return whole numbers of units as floats, without rounding."""
    return np.asarray(values * UNIT, dtype=np.float64)
