"""The order of runs by their names or by their moves, whatever the order of a record."""

from __future__ import annotations

from functools import partial
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

__all__ = ["order_runs", "rank_names"]

_MULTIPLIER = np.uint64(6364136223846793005)


def rank_names(names: NDArray[Any]) -> NDArray[np.int64]:
    """(r,) array of int64: the place of each of r names among all, sorted; -1 for None.

    Examples
    --------
    >>> rank_names(np.array(["b", None, "a", "b"], dtype=object)).tolist()
    [1, -1, 0, 1]
    """
    values = names.tolist()
    different = sorted(filter(partial(is_not, None), dict.fromkeys(values)))
    ranks: dict[str | None, int] = dict(zip(different, range(len(different)), strict=True))
    ranks[None] = -1
    return np.fromiter(map(ranks.__getitem__, values), dtype=np.int64, count=len(values))


def order_runs(table: RunTable) -> NDArray[np.int64]:
    """(r,) array of int64: the places of runs in an order that the order of a record cannot change.

    By name; runs of the same name, or of none, by when they began, by outcome and success, and by
    a hash of their moves. What is equal in all of these is equal for any statistic of runs.

    Examples
    --------
    >>> from detailed_balance.analyzers.runs.table import RunTable
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "b"),), name) for name in ("y", "x")]
    >>> order_runs(RunTable.of(runs)).tolist()
    [1, 0]
    """
    runs = table.runs
    keys = (_hash_moves(table), runs.success, runs.outcome, runs.started, rank_names(runs.name))
    return np.lexsort(keys)


def _hash_moves(table: RunTable) -> NDArray[np.uint64]:
    """(r,) array of uint64: the moves of each run as digits of a number, modulo 2^64."""
    longest = int(table.lengths.max(initial=0))
    powers = np.cumprod(np.full(longest + 1, _MULTIPLIER, dtype=np.uint64), dtype=np.uint64)
    place = np.arange(table.total) - np.repeat(table.offsets[:-1], table.lengths)
    width = len(table.states) + 1
    moves = table.source.astype(np.int64) * width + (table.target + 1) + 1
    totals = np.zeros(table.total + 1, dtype=np.uint64)
    np.cumsum(moves.astype(np.uint64) * powers[place], dtype=np.uint64, out=totals[1:])
    return totals[table.offsets[1:]] - totals[table.offsets[:-1]]
