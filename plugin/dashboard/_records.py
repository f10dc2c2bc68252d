"""`Records`, what the dashboard reads from: a store, a live graph, or a file of a trace."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import URL, event

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import Context, make_context, matches_context
from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store.reading import Excerpt, find_excerpts
from detailed_balance.readers.databases import store_url
from detailed_balance.render import safe_text
from detailed_balance.sources.feeds import StoreFeed
from detailed_balance.sources.selection import Selection
from detailed_balance.sources.source import open_source

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

MOST_MOVES = 2_000_000
"""The runs of so many moves, about, the last ones, are shown as runs."""

_CONTEXTS_KEPT = 5.0
_WALKS_SHOWN, _BEFORE, _AFTER = 3, 4, 16


class Records:
    """Read transitions for the dashboard, and write none.

    Parameters
    ----------
    source : object
        As for `open_source`. A store is opened for reading alone; files and runs are read once,
        into a store in memory.
    wanted : mapping, optional
        `context`, `since`, `last`, `hide` and `merge`, as for `open_source`: what is shown.
    **options
        As for `open_source`: which field of a file holds what.

    Attributes
    ----------
    wanted : dict
        What is wanted, `last` as the moment `since`; without the labels.
    context : Context
        The labels that all that is shown carries.

    Raises
    ------
    InvalidInputError
        Where it is something else.
    ReadError
        Where it cannot be opened or read.

    Examples
    --------
    >>> graph = TransitionGraph()
    >>> graph.record("plan", "search", context={"model": "a"})
    >>> with Records(graph) as records:
    ...     records.contexts(), records.counts(()).total, records.has_times
    (((('model', 'a'),),), 1, False)
    """

    def __init__(
        self, source: object, wanted: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        selection = Selection.of(**(wanted or {}))
        selection.check_followed()
        self.context = selection.labels
        names = ("since", "hide", "merge")
        self.wanted: dict[str, Any] = {name: getattr(selection, name) for name in names}
        self._selection = selection
        self.description = type(source).__name__
        self._opened: TransitionStore | None = None
        found = _find_recorded(source)
        if found is None:
            found = self._opened = _open(source, options)
            if isinstance(source, str | os.PathLike):
                self.description = safe_text(hide_secrets(str(source)), 120)
        self.watched: TransitionStore | TransitionGraph = found
        # A handler knows the runs that stopped last, where its graph only counts moves.
        self._runs_of = found if self._opened is not None else source
        self._contexts: tuple[float, tuple[Context, ...]] = (0.0, ())
        self._lock = Lock()

    @property
    def has_times(self) -> bool:
        """Whether a range of time can be asked for; a live graph keeps none."""
        return isinstance(self.watched, TransitionStore)

    def labels(self, asked: Context) -> Context:
        """Return the labels that are asked for, with those that all that is shown carries."""
        return make_context(dict((*asked, *self.context)))

    def contexts(self) -> tuple[Context, ...]:
        """Return the labels recorded, at most five seconds old."""
        with self._lock:
            read, found = self._contexts
            if time.monotonic() - read > _CONTEXTS_KEPT or not found:
                every = self.watched.contexts()
                found = tuple(each for each in every if matches_context(each, self.context))
                self._contexts = (time.monotonic(), found)
            return found

    def counts(
        self, context: Context, since: float | None = None, until: float | None = None
    ) -> TransitionCounts:
        """Count what carries these labels, in a range of time.

        Where states are hidden, or runs chosen by their time, these are the counts of the runs
        that began in it.

        Raises
        ------
        InvalidInputError
            Where a range is asked of a live graph.
        """
        if not self.has_times and (since is not None or until is not None):
            raise InvalidInputError("a live graph keeps no times; watch a store to choose a range")
        if self._selection.needs_runs:
            runs = self.runs()[0]
            return _count_runs(None if runs is None else runs.where(context, since, until))
        if isinstance(self.watched, TransitionStore):
            counts = self.watched.counts(context=context or None, since=since, until=until)
        else:
            counts = self.watched.snapshot(context or None)
        return self._selection.merge_counts(counts) if self._selection.merge else counts

    def runs(self) -> tuple[RunTable | None, bool]:
        """Return the runs of the last moves, and whether there were more before.

        There are None where the source has no runs.
        """
        if not isinstance(self.watched, TransitionStore):
            found, is_part = open_source(self._runs_of).runs(), False
        else:
            feed = StoreFeed(self.watched, None, self.description)
            found, is_part = feed.runs(MOST_MOVES), len(self.watched) > MOST_MOVES
        return None if found is None else self._selection.select_last(found), is_part

    def mark(self) -> object:
        """Return what changes when more is recorded; never the same where that is not known."""
        return self.watched.mark() if isinstance(self.watched, TransitionStore) else object()

    def walks(
        self,
        moves: Collection[tuple[str, str]],
        context: Context,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[Excerpt, ...]:
        """Return example runs that made all these moves; a live graph keeps none.

        Where states have other names than in the store, or are hidden, only runs of the last
        moves are searched, as for `runs`.
        """
        if self._selection.needs_runs or self._selection.merge is not None:
            runs = self.runs()[0]
            return () if runs is None else _find_walks(runs.where(context, since, until), moves)
        if not isinstance(self.watched, TransitionStore):
            return ()
        return find_excerpts(self.watched, moves, context=context or None, since=since, until=until)

    def close(self) -> None:
        """Disconnect from a store that was opened here."""
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str | URL) -> TransitionStore:
    """Open a store so that the database itself refuses to be written to."""
    store = TransitionStore(url, create=False)
    engine = store._engine
    if engine.dialect.name == "sqlite":
        command = "PRAGMA query_only = ON"
    else:
        command = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

    def refuse_writing(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(command)
        cursor.close()
        connection.commit()  # else it ends with the first transaction

    event.listen(engine, "connect", refuse_writing)
    engine.dispose()  # connections from before know nothing of it
    return store


def _count_runs(runs: RunTable | None) -> TransitionCounts:
    """Return the counts of runs, with the states that these touch."""
    if not runs:
        return TransitionCounts.from_edges([])
    counts = runs.counts()
    touched = (counts.attempts > 0) | (np.asarray(counts.counts.sum(axis=0)).ravel() > 0)
    return counts.restrict([counts.states[place] for place in np.flatnonzero(touched)])


def _find_walks(runs: RunTable, moves: Collection[tuple[str, str]]) -> tuple[Excerpt, ...]:
    """Return stretches of the runs that made all of some moves last, latest first."""
    made = np.zeros(len(runs), dtype=np.int64)
    hits = np.zeros(len(runs.source), dtype=bool)
    for source, target in moves:
        here = (runs.source == runs.code(source)) & (runs.target == runs.code(target))
        made[np.unique(runs.run_of_move[here])] += 1
        hits |= here
    found = np.flatnonzero(made == len(moves))[-_WALKS_SHOWN:] if moves else ()
    return tuple(_excerpt(runs, place, hits) for place in reversed([*found]))


def _excerpt(runs: RunTable, place: int, hits: NDArray[np.bool_]) -> Excerpt:
    start, end = runs.offsets[place : place + 2].tolist()
    run, made = runs[place], np.flatnonzero(hits[start:end])
    shown = slice(max(0, made[0] - _BEFORE), made[0] + _AFTER)
    time = run.started if run.ended is None else run.ended
    return Excerpt(run.name or run.run or "", run.moves[shown], len(made), time)


def _open(source: object, options: dict[str, Any]) -> TransitionStore:
    url = store_url(source) if isinstance(source, str | os.PathLike) else None
    if url is not None:
        return open_store(url)
    readers = open_source(source, **options).readers()
    store = TransitionStore("sqlite://")
    for reader in readers:
        store.append(reader.records())
    return store


def _find_recorded(source: object) -> TransitionStore | TransitionGraph | None:
    if isinstance(source, TransitionStore | TransitionGraph):
        return source
    parts = (getattr(source, "store", None), getattr(source, "graph", None))
    return next((p for p in parts if isinstance(p, TransitionStore | TransitionGraph)), None)
