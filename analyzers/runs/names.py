"""The order of runs by their names or by their moves, whatever the order of a record."""

from __future__ import annotations

from functools import partial
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.columns import RunColumns

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


def order_runs(
    runs: RunColumns, moves: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(r,) array of int64: the places of runs, sorted as `RunTable.order` says.

    Parameters
    ----------
    runs : RunColumns
        What is known of each.
    moves : (m,) array of int64
        A number for each move, the same for the same move.
    offsets : (r + 1,) array of int64
        Run i has the moves ``offsets[i]`` to ``offsets[i + 1]``.
    """
    rank = rank_names(runs.name)
    if rank.max(initial=-1) == len(rank) - 1:  # each has a name of its own
        return np.argsort(rank)
    lengths = np.diff(offsets)
    powers = np.full(int(lengths.max(initial=0)) + 1, _MULTIPLIER, dtype=np.uint64)
    place = np.arange(len(moves)) - np.repeat(offsets[:-1], lengths)
    digits = (moves + 1).astype(np.uint64) * np.cumprod(powers, dtype=np.uint64)[place]
    totals = np.zeros(len(moves) + 1, dtype=np.uint64)
    np.cumsum(digits, dtype=np.uint64, out=totals[1:])
    paths = totals[offsets[1:]] - totals[offsets[:-1]]  # digits of a number, modulo 2^64
    return np.lexsort((paths, runs.success, runs.outcome, runs.started, rank))
