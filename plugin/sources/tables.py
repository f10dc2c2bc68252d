"""From a table of events, wherever it is, to `TransitionCounts`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from detailed_balance.analyzers import END, START, TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.render.formatting import safe_text
from detailed_balance.sources._engines import MEMORY_LIMIT, open_table
from detailed_balance.sources._ibis import Table, count_events, count_in_order, count_moves

__all__ = ["count_table"]

_Edge: TypeAlias = tuple[str, str | None, int]
"""Source, target (None: an escape) and count."""


def count_table(
    source: object,
    *,
    trajectory: str | None = None,
    order: str | Sequence[str] | None = None,
    state: str | None = None,
    source_column: str = "source",
    target_column: str = "target",
    count: str | None = None,
    context: Mapping[str, str] | None = None,
    boundaries: bool = True,
    memory_limit: str = MEMORY_LIMIT,
    temp_directory: str | os.PathLike[str] | None = None,
) -> TransitionCounts:
    """Count the moves of a table where it is, and bring back the counts alone.

    Parameters
    ----------
    source : object
        An Ibis table of any engine (PySpark for one), Parquet (a file, a folder, or a pattern such
        as ``"runs/*.parquet"``), a DuckDB file, or a URL: ``postgresql://host/database?table=t``,
        ``duckdb:///file?table=t``. A view in a DuckDB file is refused. PostgreSQL may take 10
        minutes for a query; ``&options=-c%20statement_timeout%3D0`` in the URL lifts that.
    trajectory, order, state, count, context, boundaries
        As for `count_events`.
    source_column, target_column : str
        As its `source` and `target`.
    memory_limit : str
        The memory that DuckDB may use; the rest of a sort goes to the disk.
    temp_directory : path, optional
        Where to; by default the folder of the system for temporary files.

    Returns
    -------
    TransitionCounts
        The same for the same rows, in whatever order they are.

    Raises
    ------
    InvalidInputError
        Where a column is missing, steps have no order, or a package is not installed.
    ReadError
        Where the source cannot be opened, or the engine fails; where rows have no place in the
        order, no source or a negative count; where states of steps are called as START or END are.

    Notes
    -----
    Steps are counted in one pass over the sorted table. Only where that pass met places with
    several rows, or escapes, `count_events` follows.

    Examples
    --------
    >>> import ibis
    >>> steps = ibis.memtable({"run": ["A", "A", "B"], "at": [1, 2, 1], "tool": ["a", "b", "b"]})
    >>> count_table(steps, trajectory="run", order="at", state="tool").total
    5
    """
    with open_table(source, memory_limit=memory_limit, temp_directory=temp_directory) as table:
        if state is None:
            names = {"source": source_column, "target": target_column, "count": count}
            edges = _sum_moves(table, context=context, **names)
        else:
            columns = {"trajectory": trajectory, "order": order, "state": state}
            edges = _recount_steps(
                _count_in_one_pass(table, context=context, **columns), table, columns, context
            )
    return _to_counts(edges, boundaries=boundaries)


@dataclass(frozen=True, slots=True)
class _FirstPass:
    """What one pass over steps in order has found.

    Parameters
    ----------
    edges : list of _Edge
        The moves, START and END included; right only where nothing below speaks against them.
    doubts : int
        Steps that share their place with others, or have none.
    escapes : bool
        Whether some step has no state.
    markers : bool
        Whether some step's state is START or END.
    """

    edges: list[_Edge]
    doubts: int
    escapes: bool
    markers: bool

    @property
    def is_exact(self) -> bool:
        """Whether the edges hold."""
        return not (self.doubts or self.escapes or self.markers)


def _count_in_one_pass(table: Table, **settings: Any) -> _FirstPass:
    """Count steps in one pass; the settings are those of `count_in_order`."""
    edges: list[_Edge] = []
    ends: Counter[str] = Counter()
    doubts = 0
    for source, target, count, ended, doubtful in _rows(count_in_order(table, **settings)):
        doubts += doubtful
        ends[target] += ended
        edges.append((START if source is None else source, target, count))
    edges += [(state, END, count) for state, count in ends.items()]
    states: set[str | None] = set(ends)
    escapes, markers = not states.isdisjoint({None, ""}), not states.isdisjoint(BOUNDARIES)
    return _FirstPass([edge for edge in edges if edge[2]], doubts, escapes, markers)


def _recount_steps(
    first: _FirstPass,
    table: Table,
    columns: Mapping[str, Any],
    context: Mapping[str, str] | None,
) -> list[_Edge]:
    """Return the edges of a first pass, counted again by `count_events` where it does not hold.

    Raises
    ------
    ReadError
        Where rows have no place in the order, or states are called as START or END are.
    """
    if first.markers:
        raise ReadError(
            f"some steps are called {START!r} or {END!r}, which are the marks around a run and no "
            "states; filter them out before counting"
        )
    if first.is_exact:
        return first.edges
    if first.doubts:
        order = columns["order"]
        names = [order] if isinstance(order, str) else list(order)
        without = int(table.filter(table[names[-1]].isnull()).count().execute())
        if without:
            raise ReadError(
                f"{without:,} rows have no {names[-1]!r}, so their place in the run is not known; "
                "filter them out, or order by another column"
            )
    return list(_rows(count_events(table, context=context, unique=not first.doubts, **columns)))


def _sum_moves(table: Table, **settings: Any) -> list[_Edge]:
    """Add up the moves of a table; the settings are those of `count_moves`.

    Raises
    ------
    ReadError
        Where a row has no source, or a negative count.
    """
    edges: list[_Edge] = []
    for source, target, count, least in _rows(count_moves(table, **settings)):
        if source is None:
            raise ReadError(f"some rows have no {settings['source']!r}: moves from nowhere")
        if least < 0:
            raise ReadError(f"a count must be 0 or more; the column has {least}")
        edges.append((source, target, count))
    return [edge for edge in edges if edge[2]]


def _to_counts(edges: list[_Edge], *, boundaries: bool = True) -> TransitionCounts:
    """Return edges as counts, the same for the same edges whatever their order."""
    kept = (edge for edge in edges if boundaries or not (edge[0] == START or edge[1] == END))
    return TransitionCounts.from_edges(sorted(kept, key=_by_name))


def _rows(expression: Table) -> Iterator[tuple[Any, ...]]:
    """Compute an expression, and yield its rows."""
    try:
        result = expression.to_pyarrow()
    except Exception as error:  # each engine has its own
        what = safe_text(hide_secrets(str(error).partition("\n")[0]), 300)
        raise ReadError(f"the events could not be counted ({what})") from error
    for batch in result.to_batches():
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True)


def _by_name(edge: _Edge) -> tuple[str, bool, str]:
    return edge[0], edge[1] is not None, edge[1] or ""
