"""Spans in any order are put together into traces, and those into the events that they were.

A trace is assembled in bounded memory; its events are the starts and the ends of its spans.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import groupby, islice
from typing import Any, NamedTuple

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.spans.span import Span

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


class SpanRow(NamedTuple):
    """What has to be known of all spans of a trace at once."""

    place: int
    id: str
    parent: str | None
    start: int
    stop: int | None


class Trace(NamedTuple):
    """All spans of one trace, by their start, and how to load one of them."""

    rows: list[SpanRow]
    load: Callable[[SpanRow], Span]


def sort_spans(spans: Iterable[Span], bad: BadLines) -> Iterator[Trace]:
    """Yield the traces, the one that began first at first.

    Parameters
    ----------
    spans : iterable of Span
        In any order, traces interleaved. It is used up first, into a database in a temporary
        file: about 64 MB stay in memory, and some 200 bytes for each span of the longest trace.
    bad : BadLines
        Its `duplicates` counts the spans that were there already. Of two with one id the one
        whose end was seen is kept.

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

            def load(row: SpanRow) -> Span:
                (body,) = database.execute("SELECT body FROM spans WHERE place=?", row[:1])
                return _from_body(body[0])

            for _, group in groupby(database.execute(_ORDERED), lambda found: found[0]):
                yield Trace(_drop_duplicates((SpanRow(*found[1:]) for found in group), bad), load)
    except sqlite3.Error as error:
        raise ReadError(
            f"{bad.name} cannot be sorted in a temporary file ({error}); make room for it, or "
            "name a folder that has room in the environment variable SQLITE_TMPDIR"
        ) from error


def _drop_duplicates(rows: Iterable[SpanRow], bad: BadLines) -> list[SpanRow]:
    kept: dict[str, SpanRow] = {}
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
            bad.accepted -= 1
            bad.report(span.line, f"it cannot be kept: {error}")
            continue
        # Spans that began at the same time by the clock are ordered by LangGraph's steps.
        step = span.metadata.get("langgraph_step")
        yield span.trace, span.id, span.parent, span.start, span.end, step, body


def _from_body(body: str) -> Span:
    values: dict[str, Any] = dict(zip(_FIELDS, json.loads(body), strict=True))
    values["tags"] = tuple(values["tags"])
    return Span(**values)


class SpanEvent(NamedTuple):
    """The start or the end of a span, inside of another or not."""

    time: int
    row: SpanRow
    parent: SpanRow | None
    is_end: bool


class _SortKey(NamedTuple):
    """The start or the end of a span."""

    time: int
    after_ends: int
    """0 for the end of what had begun before: what begins in that moment begins after it."""
    number: int
    """The place in a walk around the tree."""
    span: int
    is_end: bool


def order_events(rows: Sequence[SpanRow]) -> Iterator[SpanEvent]:
    """Yield the starts and the ends of the spans of a trace in their order.

    The tree is believed before the clocks: nothing starts before what it is inside of, nor ends
    after it. What happens in one moment is put into the order of the tree. Where parents form a
    ring, it is cut at the span that began first.

    Parameters
    ----------
    rows : sequence of SpanRow
        Sorted by their start; no id twice.

    Examples
    --------
    >>> inner, outer = SpanRow(1, "in", "out", 5, 7), SpanRow(2, "out", None, 6, 7)
    >>> [(event.row.id, event.is_end) for event in order_events([inner, outer])]
    [('out', False), ('in', False), ('in', True), ('out', True)]
    """
    places = {row.id: place for place, row in enumerate(rows)}
    parents = [places.get(row.parent) if row.parent is not None else None for row in rows]
    children: list[list[int]] = [[] for _ in rows]
    for place, parent in enumerate(parents):
        if parent is not None:
            children[parent].append(place)
    walk = _TreeWalk(rows, children)
    for place, parent in enumerate(parents):
        if parent is None:
            walk.around(place)
    for place in range(len(rows)):
        if place not in walk.starts:
            parents[place] = None
            walk.around(place)
    for time, _, _, span, is_end in sorted((*walk.starts.values(), *walk.ends)):
        parent = parents[span]
        yield SpanEvent(time, rows[span], None if parent is None else rows[parent], is_end)


@dataclass(slots=True)
class _Open:
    """A span that is being walked around."""

    span: int
    children: Iterator[int]
    last: tuple[int, int]
    """When the last thing inside of it happened."""


class _TreeWalk:
    """A walk around the trees, which numbers each start and each end."""

    def __init__(self, rows: Sequence[SpanRow], children: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        self._children = children
        self._open: list[_Open] = []
        self.starts: dict[int, _SortKey] = {}
        self.ends: list[_SortKey] = []

    def around(self, root: int) -> None:
        """Walk around the tree of `root`; without recursion, for a trace may be very deep."""
        self._start(root)
        while self._open:
            inner = self._open[-1]
            child = next((c for c in inner.children if c not in self.starts), None)
            if child is not None:
                self._start(child)
                continue
            self._open.pop()
            self._end(inner)
            if self._open:
                self._open[-1].last = max(self._open[-1].last, inner.last)

    def _start(self, span: int) -> None:
        time = self._rows[span].start
        if self._open:
            time = max(time, self.starts[self._open[-1].span].time)
        self.starts[span] = _SortKey(time, 1, self._count(), span, False)
        self._open.append(_Open(span, iter(self._children[span]), (time, 1)))

    def _end(self, done: _Open) -> None:
        """End a span, at its own time or with the last of what happened inside of it."""
        stop = self._rows[done.span].stop
        if stop is not None:
            if stop > self.starts[done.span].time:
                done.last = max(done.last, (stop, 0))
            self.ends.append(_SortKey(*done.last, self._count(), done.span, True))

    def _count(self) -> int:
        return len(self.starts) + len(self.ends)
