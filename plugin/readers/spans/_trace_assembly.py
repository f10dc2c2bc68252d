"""Spans in any order, put together trace by trace, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import fields
from itertools import groupby, islice
from typing import Any, NamedTuple

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.spans.span import Span

__all__ = ["Row", "Trace", "sort_spans"]

_BATCH = 1_000
_FIELDS = tuple(field.name for field in fields(Span))
_SETTINGS = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -65536;
    CREATE TABLE spans (place INTEGER PRIMARY KEY, trace TEXT, id TEXT, parent TEXT,
                        start INTEGER, stop INTEGER, step INTEGER, body TEXT)
"""
_ORDERED = """
    SELECT trace, place, id, parent, start, stop
    FROM (SELECT place, trace, id, parent, start, stop, step,
                 MIN(start) OVER whole AS began, MIN(step) OVER whole AS first
          FROM spans WINDOW whole AS (PARTITION BY trace))
    ORDER BY began, first, trace, start, step, place
"""


class Row(NamedTuple):
    """What has to be known of all spans of a trace at once."""

    place: int
    id: str
    parent: str | None
    start: int
    stop: int | None


class Trace(NamedTuple):
    """All spans of one trace, by their start, and how to load one of them."""

    rows: list[Row]
    load: Callable[[Row], Span]


def sort_spans(spans: Iterable[Span], bad: BadLines) -> Iterator[Trace]:
    """Yield the traces, the one that began first at first.

    Parameters
    ----------
    spans : iterable of Span
        In any order, traces interleaved. It is used up first, into a database in a temporary
        file: about 64 MB stay in memory, and some 200 bytes for each span of the longest trace.
    bad : BadLines
        Its `duplicates` counts the spans that were there already. Of two with one id the one
        whose end was seen is taken.

    Raises
    ------
    ReadError
        Where there is no room for the temporary file.

    Examples
    --------
    >>> first, last = Span("t", "1", None, "chain", "a", 5), Span("t", "2", "1", "tool", "b", 6)
    >>> for trace in sort_spans([last, first, last], BadLines("spans.jsonl", skip=False)):
    ...     print([trace.load(row).name for row in trace.rows])
    ['a', 'b']
    """
    try:
        with closing(sqlite3.connect("", check_same_thread=False)) as database:
            database.executescript(_SETTINGS)
            rows = _to_rows(spans, bad)
            while batch := list(islice(rows, _BATCH)):
                database.executemany("INSERT INTO spans VALUES (NULL,?,?,?,?,?,?,?)", batch)

            def load(row: Row) -> Span:
                (body,) = database.execute("SELECT body FROM spans WHERE place=?", row[:1])
                return _from_body(body[0])

            for _, group in groupby(database.execute(_ORDERED), lambda found: found[0]):
                yield Trace(_take_once((Row(*found[1:]) for found in group), bad), load)
    except sqlite3.Error as error:
        raise ReadError(
            f"{bad.name} cannot be sorted in a temporary file ({error}); make room for it, or "
            "name a folder that has room in the environment variable SQLITE_TMPDIR"
        ) from error


def _take_once(rows: Iterable[Row], bad: BadLines) -> list[Row]:
    kept: dict[str, Row] = {}
    for row in rows:
        before = kept.setdefault(row.id, row)
        if before is not row:
            bad.duplicates += 1
            if before.stop is None and row.stop is not None:
                kept[row.id] = row
    return list(kept.values())


def _to_rows(spans: Iterable[Span], bad: BadLines) -> Iterator[tuple[Any, ...]]:
    for span in spans:
        try:
            body = json.dumps([getattr(span, name) for name in _FIELDS], default=str)
        except (RecursionError, ValueError) as error:
            bad.taken -= 1
            bad.report(span.line, f"it cannot be kept: {error}")
            continue
        # Of what began in one moment, as far as the clock tells, LangGraph's steps tell the order.
        step = span.metadata.get("langgraph_step")
        yield span.trace, span.id, span.parent, span.start, span.end, step, body


def _from_body(body: str) -> Span:
    values: dict[str, Any] = dict(zip(_FIELDS, json.loads(body), strict=True))
    values["tags"] = tuple(values["tags"])
    return Span(**values)
