"""The order in which the spans of a trace started and ended, as far as their clocks tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detailed_balance.readers.spans._trace_assembly import Row

__all__ = ["Turn", "order_moments"]


class Turn(NamedTuple):
    """The start or the end of a span, inside of another or not."""

    time: int
    row: Row
    parent: Row | None
    is_end: bool


class _Moment(NamedTuple):
    """The start or the end of a span."""

    time: int
    after_ends: int
    """0 for the end of what had begun before: what begins in that moment begins after it."""
    number: int
    """The place in a walk around the tree."""
    span: int
    is_end: bool


def order_moments(rows: Sequence[Row]) -> Iterator[Turn]:
    """Yield the starts and the ends of the spans of a trace in their order.

    The tree is believed before the clocks: nothing starts before what it is inside of, nor ends
    after it. What happens in one moment is put into the order of the tree. Where parents form a
    ring, it is cut at the span that began first.

    Parameters
    ----------
    rows : sequence of Row
        Sorted by their start; no id twice.

    Examples
    --------
    >>> inner, outer = Row(1, "in", "out", 5, 7), Row(2, "out", None, 6, 7)
    >>> [(turn.row.id, turn.is_end) for turn in order_moments([inner, outer])]
    [('out', False), ('in', False), ('in', True), ('out', True)]
    """
    places = {row.id: place for place, row in enumerate(rows)}
    parents = [places.get(row.parent) if row.parent is not None else None for row in rows]
    children: list[list[int]] = [[] for _ in rows]
    for place, parent in enumerate(parents):
        if parent is not None:
            children[parent].append(place)
    walk = _Walk(rows, children)
    for place, parent in enumerate(parents):
        if parent is None:
            walk.around(place)
    for place in range(len(rows)):
        if place not in walk.starts:
            parents[place] = None
            walk.around(place)
    for time, _, _, span, is_end in sorted((*walk.starts.values(), *walk.ends)):
        parent = parents[span]
        yield Turn(time, rows[span], None if parent is None else rows[parent], is_end)


@dataclass(slots=True)
class _Open:
    """A span that is being walked around."""

    span: int
    children: Iterator[int]
    last: tuple[int, int]
    """When the last thing inside of it happened."""


class _Walk:
    """A walk around the trees, which numbers each start and each end."""

    def __init__(self, rows: Sequence[Row], children: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        self._children = children
        self._open: list[_Open] = []
        self.starts: dict[int, _Moment] = {}
        self.ends: list[_Moment] = []

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
        self.starts[span] = _Moment(time, 1, self._count(), span, False)
        self._open.append(_Open(span, iter(self._children[span]), (time, 1)))

    def _end(self, done: _Open) -> None:
        """End a span, at its own time or with the last of what happened inside of it."""
        stop = self._rows[done.span].stop
        if stop is not None:
            if stop > self.starts[done.span].time:
                done.last = max(done.last, (stop, 0))
            self.ends.append(_Moment(*done.last, self._count(), done.span, True))

    def _count(self) -> int:
        return len(self.starts) + len(self.ends)
