"""Parquet to counts as the reader of Parquet takes it, but by DuckDB, where that gives the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import END, START, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.readers.records.base import ReadOptions, adapt_to_event_log
from detailed_balance.readers.records.columns import FieldNames, unknown_field_message
from detailed_balance.render.formatting import safe_text
from detailed_balance.sources._engines import FILE, ROW, find_parquet, open_table
from detailed_balance.sources._ibis import Table
from detailed_balance.sources.tables import (
    Edge,
    settle_steps,
    tally_moves,
    tally_steps,
    to_counts,
)

__all__ = ["count_parquet"]

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
        table holds what the engine would take otherwise.

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
    return to_counts(_rename(edges, fields.boundaries)) if edges or not alone else None


def _refuse_markers(edges: list[Edge], names: Mapping[str, str]) -> None:
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
) -> list[Edge]:
    count = fields.count if fields.count in table.columns else None
    return tally_moves(
        table, source=fields.source, target=fields.target, count=count, context=context
    )


def _count_steps(
    table: Table, fields: FieldNames, context: Mapping[str, str], alone: bool
) -> list[Edge]:
    """Count steps by their number, else by their time, else by their place in the files."""
    columns = {
        "trajectory": fields.trajectory if fields.trajectory in table.columns else None,
        "order": _find_order(table, fields, alone),
        "state": fields.state,
    }
    tally = tally_steps(table, context=context, **columns)
    timed = fields.time in table.columns
    if alone and not tally.is_exact and (context or (timed and tally.escapes and tally.doubts)):
        raise ReadError("labels inside of one step, and attempts told twice, are the reader's")
    return settle_steps(tally, table, columns, context)


def _find_order(table: Table, fields: FieldNames, alone: bool) -> list[str]:
    if fields.step in table.columns:
        return [fields.step]
    place = [ROW] if alone else [FILE, ROW]
    return [fields.time, *place] if fields.time in table.columns else place


def _rename(edges: list[Edge], names: Mapping[str, str]) -> list[Edge]:
    """Return edges with START and END for what the trace calls so."""
    if not names:
        return edges
    return [
        (names.get(source, source), None if target is None else names.get(target, target), count)
        for source, target, count in edges
    ]
