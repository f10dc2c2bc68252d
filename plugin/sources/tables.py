"""From a table of events, wherever it is, to `TransitionCounts`; Parquet as its reader takes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.analyzers import END, START, TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.readers.records.base import ReadOptions, adapt_to_event_log
from detailed_balance.readers.records.columns import FieldNames, unknown_field_message
from detailed_balance.render.formatting import safe_text
from detailed_balance.sources._engines import FILE, MEMORY_LIMIT, ROW, find_parquet, open_table
from detailed_balance.sources._ibis import Table, count_events, count_in_order, count_moves

__all__ = ["count_parquet", "count_table"]

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
        ``duckdb:///file?table=t``.
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


# What only the reader understands: functions, outcomes, ids of events.
_READER_ALONE = {"states", "success_field", "cost_field", "event_field", "delimiter"}


def count_parquet(
    source: str | os.PathLike[str], context: Mapping[str, str] | None, options: Mapping[str, Any]
) -> TransitionCounts | None:
    """Count the moves of Parquet as `read_transitions` with these options would, by DuckDB.

    Parameters
    ----------
    source : str or path
        A file, a folder or a pattern. The files of the latter two are one table.
    context : mapping of str to str
        The labels that a move must carry.
    options : mapping
        As for `read_transitions`.

    Returns
    -------
    TransitionCounts or None
        None where it is the reader's: the source is no Parquet, a package is missing, or the
        table holds what the engine would read differently.

    Raises
    ------
    InvalidInputError, ReadError
        Where several files cannot be counted; one that cannot is the reader's.

    Examples
    --------
    >>> count_parquet("runs.jsonl", None, {}) is None
    True
    """
    given = {name: value for name, value in options.items() if value}
    if given.pop("format", "parquet") != "parquet" or "://" in str(source):
        return None
    files = find_parquet(source)
    alone = files == [Path(source)]
    try:
        return _count_files(source, dict(context or {}), given, alone=alone) if files else None
    except (InvalidInputError, ReadError):
        if alone:  # the reader can do it, or says better what is wrong
            return None
        raise


def _count_files(
    source: str | os.PathLike[str],
    context: dict[str, str],
    options: dict[str, Any],
    *,
    alone: bool,
) -> TransitionCounts | None:
    if unknown := _READER_ALONE & options.keys():
        raise InvalidInputError(f"{', '.join(sorted(unknown))} cannot be used with several files")
    if find_spec("ibis") is None or find_spec("duckdb") is None:
        raise InvalidInputError(
            "several files of Parquet are counted by DuckDB; install 'detailed-balance[scale]'"
        )
    with open_table(source) as table:
        fields = _name_fields(table, options)
        if unknown := context.keys() - set(fields.context):
            raise ReadError(f"no context_fields= names the column of {sorted(unknown)}")
        count = _count_moves if fields.state is None else _count_steps
        edges = count(table, fields, context, alone)
    if fields.state is not None:
        _refuse_markers(edges, fields.boundaries)
    return _to_counts(_rename(edges, fields.boundaries)) if edges or not alone else None


def _refuse_markers(edges: list[_Edge], names: Mapping[str, str]) -> None:
    if not names.keys().isdisjoint({edge[0] for edge in edges}):
        raise ReadError("steps that mark the start or the end of a run are the reader's")


def _name_fields(table: Table, options: dict[str, Any]) -> FieldNames:
    """Return which column is what, all of them there and of types that mean the same everywhere."""
    labels, names = options.pop("context_fields", ()), options.pop("boundaries", ())
    options.pop("skip_bad_lines", None)
    fields = FieldNames(
        context=(labels,) if isinstance(labels, str) else tuple(labels),
        boundaries=dict(zip(names, (START, END), strict=False)),
        **{option.removesuffix("_field"): name for option, name in options.items()},
    )
    columns = [name for name in table.columns if name not in (FILE, ROW)]
    fields = adapt_to_event_log(columns, ReadOptions(fields)).fields
    used = {fields.trajectory, fields.step, fields.time, fields.count} & set(columns)
    expected = fields.expected(steps=fields.state is not None)
    for name in sorted(used | set(expected)):
        if name not in columns:
            raise ReadError(unknown_field_message(name, expected[name], columns))
        _check_type(name, table.schema()[name], fields)
    return fields


def _check_type(name: str, kind: Any, fields: FieldNames) -> None:
    if name == fields.time and kind.is_timestamp():
        return
    texts = kind.is_string() and name not in (fields.step, fields.time, fields.count)
    if not (texts or kind.is_integer()):
        raise ReadError(
            f"the column '{safe_text(name, 40)}' has values of type {kind}; DuckDB counts texts "
            "and whole numbers as states, runs and labels, whole numbers as steps and counts, and "
            "timestamps or whole numbers as times"
        )


def _count_moves(
    table: Table, fields: FieldNames, context: Mapping[str, str], alone: bool
) -> list[_Edge]:
    count = fields.count if fields.count in table.columns else None
    return _sum_moves(
        table, source=fields.source, target=fields.target, count=count, context=context
    )


def _count_steps(
    table: Table, fields: FieldNames, context: Mapping[str, str], alone: bool
) -> list[_Edge]:
    """Count steps by their number, else by their time, else by their place in the files."""
    columns = {
        "trajectory": fields.trajectory if fields.trajectory in table.columns else None,
        "order": _find_order(table, fields, alone),
        "state": fields.state,
    }
    first = _count_in_one_pass(table, context=context, **columns)
    timed = fields.time in table.columns
    if alone and not first.is_exact and (context or (timed and first.escapes and first.doubts)):
        raise ReadError("labels inside of one step, and attempts recorded twice, are the reader's")
    return _recount_steps(first, table, columns, context)


def _find_order(table: Table, fields: FieldNames, alone: bool) -> list[str]:
    if fields.step in table.columns:
        return [fields.step]
    place = [ROW] if alone else [FILE, ROW]
    return [fields.time, *place] if fields.time in table.columns else place


def _rename(edges: list[_Edge], names: Mapping[str, str]) -> list[_Edge]:
    """Return edges with START and END for what the trace calls so."""
    if not names:
        return edges
    return [
        (names.get(source, source), None if target is None else names.get(target, target), count)
        for source, target, count in edges
    ]
