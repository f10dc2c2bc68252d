"""Taking states out of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from detailed_balance.analyzers.runs.columns import FactColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Number = TypeVar("_Number", np.float64, np.int64)


def splice_out(
    source: NDArray[Any], target: NDArray[Any], run: NDArray[Any], hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the places of the (m,) moves that stay without some states, and their sources.

    `hidden` says it of each state, and of an escape, which comes last and stays.
    """
    number = np.arange(len(source))
    joined = np.zeros(len(source), dtype=bool)  # whether a move goes on where the last one led
    reached = np.where(target < 0, source, target)
    joined[1:] = (run[1:] == run[:-1]) & (source[1:] == reached[:-1])
    begin = np.maximum.accumulate(np.where(joined, 0, number))
    # The last move of the stretch that began in a state that stays: where the run still stands.
    stands = np.maximum.accumulate(np.where(hidden[source], -1, number))
    kept = np.flatnonzero((stands >= begin) & ~hidden[target])
    return kept, source[stands[kept]]


def credit_facts(facts: FactColumns, kept: NDArray[Any], run: NDArray[Any]) -> FactColumns:
    """Return the facts of moves that stay; what the others cost is added to them.

    Where one that is left out came first after a resume, the next one that stays does.
    """
    known = credit(facts.known.astype(np.int64), kept, run, 0) > 0
    tokens, cost = credit(facts.tokens, kept, run, -1), credit(facts.cost, kept, run, np.nan)
    moves, resumed = np.flatnonzero(facts.resumed), np.zeros(len(kept), dtype=bool)
    following = np.searchsorted(kept, moves)
    there = following < len(kept)
    moves, following = moves[there], following[there]
    resumed[following[run[kept[following]] == run[moves]]] = True
    changed = {"known": known, "tokens": tokens, "cost": cost, "resumed": resumed}
    return facts.select(kept)._replace(**changed)


def credit(
    values: NDArray[_Number], kept: NDArray[Any], run: NDArray[Any], missing: float
) -> NDArray[_Number]:
    """Return the values of moves that stay, each with those of the moves left out before it.

    What comes after the last move of a run that stays is added to that.
    """
    if not len(kept):
        return values[:0]
    number = np.arange(len(values))
    following = np.minimum(np.searchsorted(kept, number), len(kept) - 1)
    before = np.maximum(np.searchsorted(kept, number, side="right") - 1, 0)
    to = np.where(run[kept[following]] == run, following, before)
    known = (values != missing) & (values == values) & (run[kept[to]] == run)
    total = np.full(len(kept), missing, dtype=values.dtype)
    total[np.unique(to[known])] = 0
    np.add.at(total, to[known], values[known])
    return total
