"""`join_runs`: several tables of runs as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.runs.columns import FactColumns, RunColumns
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["join_runs"]


def join_runs(parts: Iterable[Runs]) -> RunTable:
    """Return the runs of several tables as one table, those of the first one first.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> table = join_runs([[Trajectory((("b", "c"),))], [Trajectory((("a", None),))]])
    >>> table.states, [run.moves for run in table]
    (('a', 'b', 'c'), [(('b', 'c'),), (('a', None),)])
    """
    tables = [RunTable.of(part) for part in parts]
    states, codes = _number([table.states for table in tables])
    contexts, context_codes = _number([table.contexts for table in tables])
    every_block = tuple(sorted({block for table in tables for block in table.blocks}))
    blocks, (_, *block_codes) = _number([every_block, *(table.blocks for table in tables)])
    columns = zip(*(table.runs for table in tables), strict=True)
    runs = RunColumns(*map(_concatenate, columns))._replace(
        context=_concatenate(
            [code[table.runs.context] for code, table in zip(context_codes, tables, strict=True)]
        ),
        block=_concatenate(
            [code[table.runs.block] for code, table in zip(block_codes, tables, strict=True)]
        ),
    )
    lengths = _concatenate([table.lengths for table in tables])
    return RunTable.from_codes(
        states,
        _concatenate([code[table.source] for code, table in zip(codes, tables, strict=True)]),
        _concatenate([code[table.target] for code, table in zip(codes, tables, strict=True)]),
        np.concatenate([[0], np.cumsum(lengths)]),
        runs,
        contexts=contexts or ((),),
        blocks=blocks,
        costs=_join_costs(tables),
        facts=_join_facts(tables),
    )


def _number(lists: Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], list[NDArray[np.int64]]]:
    """Return all values once, and for each list their places among these; -1 stays -1."""
    place: dict[Any, int] = {}
    codes = [
        np.array([*(place.setdefault(value, len(place)) for value in values), -1], dtype=np.int64)
        for values in lists
    ]
    return tuple(place), codes


def _concatenate(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)


def _join_costs(tables: Sequence[RunTable]) -> NDArray[np.float64] | None:
    if all(table.costs is None for table in tables):
        return None
    return np.concatenate(
        [np.full(t.total, np.nan) if t.costs is None else t.costs for t in tables]
    )


def _join_facts(tables: Sequence[RunTable]) -> FactColumns | None:
    if all(table.facts is None for table in tables):
        return None
    nothing = FactColumns.from_facts([None])
    parts = [
        nothing.select(np.zeros(t.total, dtype=np.int64)) if t.facts is None else t.facts
        for t in tables
    ]
    return FactColumns(*map(np.concatenate, zip(*parts, strict=True)))
