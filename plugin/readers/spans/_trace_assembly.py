"""Spans in any order are put together into traces, and those into the events that they were.

A trace is assembled in bounded memory; its events are the starts and the ends of its spans.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
                        start INTEGER, stop INTEGER, kind TEXT, node INTEGER,
                        step INTEGER, body TEXT);
    CREATE TABLE links (trace TEXT, id TEXT, to_trace TEXT, to_id TEXT)
"""
_ORDERED = """
    SELECT trace, place, id, parent, start, stop, kind, node
    FROM (SELECT place, trace, id, parent, start, stop, kind, node, step,
                 MIN(start) OVER whole AS began, MIN(step) OVER whole AS first
          FROM spans WINDOW whole AS (PARTITION BY trace))
    ORDER BY began, first, trace, start, step, place
"""
# A link to a span that is not there says nothing, nor does one from a trace into itself.
_LINKED = """
    SELECT trace, id, to_trace, to_id FROM links
    WHERE trace <> to_trace AND EXISTS
          (SELECT 1 FROM spans WHERE spans.trace = links.to_trace AND spans.id = links.to_id)
    ORDER BY rowid
"""


class SpanRow(NamedTuple):
    """What has to be known of all spans of a trace at once."""

    place: int
    id: str
    parent: str | None
    start: int
    stop: int | None
    kind: str = "chain"
    node: bool = False
    """Whether it is a node of a graph, or a part of one."""


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
                found = [row for row, _ in batch]
                database.executemany("INSERT INTO spans VALUES (NULL,?,?,?,?,?,?,?,?,?)", found)
                links = [(*row[:2], *link) for row, link in batch if link]
                database.executemany("INSERT INTO links VALUES (?,?,?,?)", links)
            _join_linked(database)

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


def _join_linked(database: sqlite3.Connection) -> None:
    """Put a trace that was caused by a span of another one inside of that span."""
    linked = database.execute(_LINKED).fetchall()
    if not linked:
        return
    database.execute("CREATE INDEX by_trace ON spans (trace, id)")
    moved: dict[str, str] = {}  # traces, and what they became part of
    for trace, own, to_trace, to_id in linked:
        while to_trace in moved:
            to_trace = moved[to_trace]
        if trace in moved or trace == to_trace:
            continue
        moved[trace] = to_trace
        inside = "UPDATE spans SET parent = ? WHERE trace = ? AND id = ?"
        database.execute(inside, (to_id, trace, own))
        database.execute("UPDATE spans SET trace = ? WHERE trace = ?", (to_trace, trace))


def _to_rows(
    spans: Iterable[Span], bad: BadLines
) -> Iterator[tuple[tuple[Any, ...], tuple[str, str] | None]]:
    for span in spans:
        try:
            body = json.dumps([getattr(span, name) for name in _FIELDS], default=str)
        except (RecursionError, ValueError) as error:
            bad.accepted -= 1
            bad.report(span.line, f"it cannot be kept: {error}")
            continue
        # Spans that began at the same time by the clock are ordered by LangGraph's steps.
        step = span.metadata.get("langgraph_step")
        is_node = span.metadata.get("langgraph_node") or (
            span.kind != "agent" and span.metadata.get("graph.node.id")
        )
        place = (span.trace, span.id, span.parent, span.start, span.end)
        yield (*place, span.kind, bool(is_node), step, body), span.link


def _from_body(body: str) -> Span:
    values: dict[str, Any] = dict(zip(_FIELDS, json.loads(body), strict=True))
    values["tags"] = tuple(values["tags"])
    values["asks"] = None if values["asks"] is None else tuple(values["asks"])
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


class SpanTree:
    """The spans of a trace, or of a part of it, each inside of its parent.

    The tree is believed before the clocks: nothing starts before what it is inside of, nor ends
    after it. Where parents form a ring, it is cut at the span that began first. What is not among
    the spans is nobody's parent.

    Parameters
    ----------
    rows : sequence of SpanRow
        Sorted by their start; no id twice.

    Attributes
    ----------
    rows : sequence of SpanRow
        The spans.
    parents : list of int or None
        The place among the rows of the parent of each.
    children : list of list of int
        The places of those directly inside of each.
    starts : list of int
        When each started, but not before its parent.
    order : list of int
        The place of each in a walk around the tree.

    Examples
    --------
    >>> inner, outer = SpanRow(1, "in", "out", 5, 7), SpanRow(2, "out", None, 6, 7)
    >>> [(event.row.id, event.is_end) for event in SpanTree([inner, outer]).events()]
    [('out', False), ('in', False), ('in', True), ('out', True)]
    """

    def __init__(self, rows: Sequence[SpanRow]) -> None:
        self.rows = rows
        places = {row.id: place for place, row in enumerate(rows)}
        self.parents = [places.get(row.parent) if row.parent is not None else None for row in rows]
        self.children: list[list[int]] = [[] for _ in rows]
        for place, parent in enumerate(self.parents):
            if parent is not None:
                self.children[parent].append(place)
        self._walk = walk = _TreeWalk(rows, self.children)
        for place, parent in enumerate(self.parents):
            if parent is None:
                walk.around(place)
        for place in range(len(rows)):
            if place not in walk.starts:
                ring = self.parents[place]
                if ring is not None:
                    self.children[ring].remove(place)
                self.parents[place] = None
                walk.around(place)
        keys = [walk.starts[place] for place in range(len(rows))]
        self.starts = [key.time for key in keys]
        self.order = [key.number for key in keys]

    def walk_inside(self, top: int, outside: Collection[str] = ()) -> Iterator[int]:
        """Yield a span and all inside of it, but nothing inside of spans of the kinds `outside`."""
        waiting = [top]
        while waiting:
            place = waiting.pop()
            yield place
            if self.rows[place].kind not in outside:
                waiting += reversed(self.children[place])

    def events(self) -> Iterator[SpanEvent]:
        """Yield the starts and the ends of the spans; in one moment, in the order of the tree."""
        for time, _, _, span, is_end in sorted((*self._walk.starts.values(), *self._walk.ends)):
            parent = self.parents[span]
            above = None if parent is None else self.rows[parent]
            yield SpanEvent(time, self.rows[span], above, is_end)


@dataclass(slots=True)
class _Open:
    """A span that is being taken around."""

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
