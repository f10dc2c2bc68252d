"""`SelectedFeed`, what is wanted of a live record, under the names that are wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from detailed_balance.analyzers import START, TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import moment_of
from detailed_balance.callbacks.graph import Move
from detailed_balance.sources.feeds import Feed, MoveBatch
from detailed_balance.sources.selection import Selection

if TYPE_CHECKING:
    from detailed_balance.analyzers.runs.table import RunTable

__all__ = ["MOST_RUNS", "SelectedFeed"]

MOST_RUNS = 100_000
"""So many runs, those that moved last, are followed from one move to the next."""

_ALL = 2**62
"""More moves than any record holds."""

_Key: TypeAlias = tuple[str | None, str | None]
"""The id of a run, or where it has none its trajectory."""


class _OpenRun:
    """Where one run stands.

    Parameters
    ----------
    is_wanted : bool
        Whether it began in the time asked for.
    """

    __slots__ = ("_hidden", "_shown", "has_moved", "is_wanted")

    def __init__(self, is_wanted: bool) -> None:
        self.is_wanted, self.has_moved = is_wanted, False
        # The hidden state in which it stands, and the last state before that is not hidden.
        self._hidden: str | None = None
        self._shown: str | None = None

    def splice(self, move: Move, hidden: frozenset[str]) -> Move | None:
        """Return a move as `RunTable.hide` leaves it; None where it goes."""
        source, target, trajectory, context, count, run = move
        before: str | None = source
        if source in hidden:
            before = self._shown if source == self._hidden else None
        self._hidden = self._shown = None
        if target in hidden or (target is None and source in hidden):
            # Of several such moves at once the second begins where the first did not end.
            torn = count > 1 and source in hidden and target not in (source, None)
            self._hidden, self._shown = target or source, None if torn else before
        if before is None or target in hidden:
            return None
        once = source in hidden and target is not None
        return before, target, trajectory, context, 1 if once else count, run


class SelectedFeed:
    """Apply a selection to a feed: to its counts, its moves and its runs.

    Parameters
    ----------
    feed : Feed
        What grows; it applies the labels itself.
    wanted : Selection
        What is wanted of it: `since`, `hide` and `merge`.

    Attributes
    ----------
    name : str
        What the feed is, safe to print.
    merge : object
        What `merge` is, in types that JSON has; None without.
    needs_moves : bool
        Whether each move must come by itself, and no counts before it.

    Raises
    ------
    InvalidInputError
        Where a state to hide marks where a run begins or ends.

    Notes
    -----
    The runs that moved last, 100,000, are followed. A run that moves again after that many others
    is taken as one that begins there.

    Examples
    --------
    >>> from detailed_balance import TransitionGraph
    >>> from detailed_balance.sources.feeds import GraphFeed
    >>> graph = TransitionGraph()
    >>> feed = SelectedFeed(GraphFeed(graph, None, graph), Selection.of(hide=["hub"]))
    >>> graph.record("plan", "hub", run="1")
    >>> graph.record("hub", "act", run="1")
    >>> feed.read().moves
    [('plan', 'act', None, (), 1, '1')]
    """

    def __init__(self, feed: Feed, wanted: Selection) -> None:
        self.name = feed.name
        self._feed, self._wanted = feed, wanted
        self._hidden, self._since = frozenset(wanted.hide), moment_of(wanted.since)
        if ends := sorted(self._hidden & BOUNDARIES):
            raise InvalidInputError(f"{ends[0]!r} marks where a run begins or ends; it stays")
        self.needs_moves = bool(self._hidden) or self._since is not None
        self.merge = _describe(wanted.merge)
        self._name = lru_cache(MOST_RUNS)(wanted.rename)
        self._unseen = set(self._hidden)
        self._runs: dict[_Key, _OpenRun] = {}
        self._not_spliced = self._without_time = 0

    @property
    def unseen(self) -> tuple[str, ...]:
        """The states to hide that have not come yet."""
        return tuple(sorted(self._unseen))

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts of what lies before the moves to come; see `Feed`."""
        counts = self._feed.start(cursor, _ALL if self.needs_moves else recent)
        if counts is None or (self.merge is None and not self.needs_moves):
            return counts
        counts = self._wanted.merge_counts(counts)
        return self._choose_counted(counts) if self.needs_moves else counts

    def _choose_counted(self, counts: TransitionCounts) -> TransitionCounts:
        """Return the counts of moves of no known run, as far as they are wanted."""
        total = int(counts.attempts.sum())
        self._unseen.difference_update(counts.states)
        if self._since is not None:
            self._without_time += total
            return TransitionCounts.from_edges([])
        edges = counts.counts.tocoo()
        names: tuple[str | None, ...] = (*counts.states, None)
        moves = [*zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True)]
        moves += [(i, -1, n) for i, n in enumerate(counts.escapes.tolist())]
        kept = TransitionCounts.from_edges(
            (counts.states[i], names[j], n)
            for i, j, n in moves
            if self._hidden.isdisjoint((names[i], names[j]))
        )
        self._not_spliced += total - int(kept.attempts.sum())
        return kept

    def read(self) -> MoveBatch:
        """Return the moves since, those that are wanted."""
        batch = self._feed.read()
        if self.merge is None and not self.needs_moves:
            return batch
        moves: list[Move] = []
        times: list[float | None] = []
        # What does not say when it was made, such as a live graph, is read as it comes.
        moments = batch.times or repeat(time.time())
        for move, moment in zip(batch.moves, moments, strict=False):
            if (chosen := self._choose(self._rename(move), moment)) is not None:
                moves.append(chosen)
                times.append(moment)
        return replace(batch, moves=moves, times=times if batch.times else ())

    def _rename(self, move: Move) -> Move:
        if self.merge is None:
            return move
        source, target, trajectory, context, count, run = move
        new_target = None if target is None else self._name(target)
        return self._name(source), new_target, trajectory, context, count, run

    def _choose(self, move: Move, moment: float | None) -> Move | None:
        if not self.needs_moves:
            return move
        source, target = move[:2]
        if self._unseen:
            self._unseen -= {source, target}
        run = self._find_run(move, moment)
        if run is None:
            if self._since is not None:
                self._without_time += move[4]
                return None
            if self._hidden.isdisjoint((source, target)):
                return move
            self._not_spliced += move[4]
            return None
        run.has_moved |= target is not None
        return run.splice(move, self._hidden) if run.is_wanted else None

    def _find_run(self, move: Move, moment: float | None) -> _OpenRun | None:
        """Return the run of a move, which may begin it; None where it is of no run."""
        source, trajectory, run = move[0], move[2], move[5]
        key = (run, None if run is not None else trajectory)
        if key == (None, None):
            return None
        found = self._runs.pop(key, None)
        if found is None or (run is None and source == START and found.has_moved):
            found = _OpenRun(self._began_in_time(moment))
            self._without_time += move[4] * (self._since is not None and moment is None)
        self._runs[key] = found  # behind those that moved before
        if len(self._runs) > MOST_RUNS:
            del self._runs[next(iter(self._runs))]
        return found

    def _began_in_time(self, moment: float | None) -> bool:
        return self._since is None or (moment is not None and moment >= self._since)

    def runs(self) -> RunTable | None:
        """Return the last runs, those that are wanted; None where none are known."""
        runs = self._feed.runs()
        return None if runs is None else self._wanted.select_last(runs) or None

    def losses(self) -> Mapping[str, int]:
        """Return how many moves were lost, by the reason."""
        return {
            **self._feed.losses(),
            "of no known run, from or to a state that is hidden": self._not_spliced,
            "without a time, so that no run is known to begin in the time asked for": (
                self._without_time
            ),
        }

    def close(self) -> None:
        """Let go of the source."""
        self._feed.close()


def _describe(merge: Any) -> Any:
    """Return what new names are, so that a state saved under others is known by it."""
    if merge is None or isinstance(merge, Mapping):
        return [list(pair) for pair in sorted(merge.items())] if merge else None
    return ".".join(str(getattr(merge, name, "")) for name in ("__module__", "__qualname__"))
