"""Which spans of a trace are runs of agents.

A run is the topmost span that is part of an agent: foreign spans around it (an HTTP request, an
evaluation) hold one run or several. Models and tools right below a foreign span are one run
together. Spans whose parent is not in the trace are one run that has no end, unless they are agents
that are there as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from detailed_balance.readers.spans._trace_assembly import SpanRow, SpanTree
from detailed_balance.readers.spans.span import Span

_CALLS = frozenset({"model", "tool", "retriever", "handoff"})
HIDES = ("tool",)
"""What is inside of such a span is not part of the path."""


@dataclass(frozen=True, slots=True)
class SpanRun:
    """The spans of one run.

    Parameters
    ----------
    tree : SpanTree
        Of its trace.
    tops : sequence of int
        The topmost spans of it.
    parts : sequence of int
        Where its path begins: the same spans, or those inside of a foreign one.
    is_whole : bool
        Whether its beginning and its end are in the trace.
    """

    tree: SpanTree
    tops: Sequence[int]
    parts: Sequence[int]
    is_whole: bool = True

    @property
    def top(self) -> SpanRow | None:
        """The span that is the run; None where it has none."""
        is_one = self.is_whole and len(self.tops) == 1
        return self.tree.rows[self.tops[0]] if is_one and not self._is_call(self.tops[0]) else None

    @property
    def key(self) -> str:
        """An id for it among the runs of the trace."""
        first = self.tree.rows[self.tops[0]]
        return first.id if self.top else f"{first.parent or first.id}^"

    @property
    def is_graph(self) -> bool:
        """Whether nodes of a graph are in it."""
        rows, walk = self.tree.rows, self.tree.walk_inside
        return any(rows[place].node for part in self.parts for place in walk(part, HIDES))

    @property
    def has_ended(self) -> bool:
        """Whether its end is in the trace."""
        return self.is_whole and all(self.tree.rows[top].stop is not None for top in self.tops)

    @property
    def stop(self) -> int:
        """When the last of it ended, in nanoseconds since 1970."""
        return max(self.tree.rows[top].stop or self.tree.starts[top] for top in self.tops)

    def rows(self) -> list[SpanRow]:
        """Return all its spans by their start."""
        rows, inside = self.tree.rows, self.tree.walk_inside
        places = {place for part in self.parts for place in inside(part)}
        return [rows[place] for place in sorted({*self.tops, *places})]

    def _is_call(self, place: int) -> bool:
        return self.tree.rows[place].kind in _CALLS


def find_runs(tree: SpanTree, load: Callable[[SpanRow], Span]) -> Iterator[SpanRun]:
    """Yield the runs of a trace, the one that began first first.

    Examples
    --------
    >>> rows = [SpanRow(1, "http", None, 0, 9, "foreign"), SpanRow(2, "a", "http", 1, 2, "agent")]
    >>> rows += [SpanRow(3, "b", "http", 3, 4, "agent"), SpanRow(4, "find", "b", 3, 4, "tool")]
    >>> [run.top.id for run in find_runs(SpanTree(rows), lambda row: None)]
    ['a', 'b']
    """
    rows = tree.rows
    orphans: dict[str, list[int]] = defaultdict(list)
    found: list[SpanRun] = []
    for place, row in enumerate(rows):
        if tree.parents[place] is not None:
            continue
        if row.kind == "foreign":
            found += _find_inside(tree, place)
        elif row.parent is None:
            found.append(SpanRun(tree, [place], [place]))
        else:
            orphans[row.parent].append(place)
    for places in orphans.values():
        whole = _are_whole(tree, places, load)
        groups = [[place] for place in places] if whole else [places]
        found += [SpanRun(tree, group, group, is_whole=whole) for group in groups]
    yield from sorted(found, key=lambda run: (tree.starts[run.parts[0]], tree.order[run.parts[0]]))


def _find_inside(tree: SpanTree, top: int) -> Iterator[SpanRun]:
    """Yield the runs inside of a foreign span."""
    rows, calls = tree.rows, []
    known = ("agent", "chain", *_CALLS)
    for place in tree.walk_inside(top, known):
        row = rows[place]
        if row.kind in _CALLS or row.node:
            calls.append(place)
        elif row.kind != "foreign":
            yield SpanRun(tree, [place], [place])
    if calls:
        yield SpanRun(tree, [top], calls)


def _are_whole(tree: SpanTree, places: Sequence[int], load: Callable[[SpanRow], Span]) -> bool:
    """Say whether each of the spans of one missing parent is a whole run of an agent."""
    rows = tree.rows
    if any(rows[place].stop is None for place in places):
        return False
    if len(places) == 1:
        (place,) = places
        inside = tree.walk_inside(place, HIDES)
        return any(rows[part].kind == "agent" or rows[part].node for part in inside)
    # Several of one agent are repetitions; different agents of one parent gave work to each other.
    is_agent = all(rows[place].kind == "agent" and not rows[place].node for place in places)
    return is_agent and len({load(rows[place]).name for place in places}) == 1
