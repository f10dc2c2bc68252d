"""Taking states out of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES, unknown_state_message
from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable


_Number = TypeVar("_Number", np.float64, np.int64)


def hide_states(table: RunTable, states: Iterable[str]) -> RunTable:
    """Return `table` without some states; see `RunTable.hide`."""
    hidden = _mark(table, (states,) if isinstance(states, str) else tuple(states))
    if not hidden.any():
        return table
    source, target = table.source, table.target
    number, run = np.arange(table.total), table.run_of_move
    joined = np.zeros(table.total, dtype=bool)  # whether a move goes on where the last one led
    reached = np.where(target < 0, source, target)
    joined[1:] = (run[1:] == run[:-1]) & (source[1:] == reached[:-1])
    begin = np.maximum.accumulate(np.where(joined, 0, number))
    # The last move of the stretch that began in a state that stays: where the run still stands.
    stands = np.maximum.accumulate(np.where(hidden[source], -1, number))
    known = stands >= begin
    kept = known & ((target < 0) | ~hidden[target])
    left = np.add.reduceat(np.append(kept, False), table.offsets[:-1]) if len(table) else kept
    left = np.where(table.lengths > 0, left, 0)
    places = np.flatnonzero(kept)
    facts = None if table.facts is None else table.facts.select(places)
    if facts is not None and table.facts is not None:
        facts = facts._replace(
            known=_credit(table, places, table.facts.known.astype(np.int64), 0) > 0,
            tokens=_credit(table, places, table.facts.tokens, -1),
            cost=_credit(table, places, table.facts.cost, np.nan),
        )
    return replace(
        table,
        source=source[stands[places]],
        target=target[places],
        offsets=np.concatenate([[0], np.cumsum(left)]),
        costs=None if table.costs is None else _credit(table, places, table.costs, np.nan),
        facts=facts,
    )._with_states(table.states)


def _mark(table: RunTable, states: tuple[str, ...]) -> NDArray[np.bool_]:
    """(n + 1,) array of bool: whether each state is hidden; an escape, the last one, is not."""
    hidden = np.zeros(len(table.states) + 1, dtype=bool)
    for state in states:
        if state in BOUNDARIES:
            raise InvalidInputError(f"{state!r} marks where a run begins or ends; it stays")
        code = table.code(state)
        if code < 0:
            raise InvalidInputError(unknown_state_message(state, table.states))
        hidden[code] = True
    return hidden


def _credit(
    table: RunTable, kept: NDArray[np.int64], values: NDArray[_Number], missing: float
) -> NDArray[_Number]:
    """Return the values of moves that stay, each with those of the moves left out before it."""
    run = table.run_of_move
    known = (values != missing) & (values == values)
    to = np.minimum(np.searchsorted(kept, np.arange(table.total)), max(len(kept) - 1, 0))
    if not len(kept):
        return values[:0]
    last = np.maximum(np.searchsorted(kept, np.arange(table.total), side="right") - 1, 0)
    to = np.where(run[kept[to]] == run, to, last)
    known &= run[kept[to]] == run
    total = np.full(len(kept), missing, dtype=values.dtype)
    total[np.unique(to[known])] = 0
    np.add.at(total, to[known], values[known])
    return total
