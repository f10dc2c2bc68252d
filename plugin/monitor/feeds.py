"""Where a monitor reads: a store, a live graph or a file that grows, each as increments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks._subscription import Move
from detailed_balance.callbacks.graph import TransitionGraph
from detailed_balance.callbacks.transition import Context, ContextLike, matches_context
from detailed_balance.render.formatting import safe_text

__all__ = ["Batch", "Feed", "GraphFeed", "open_feed"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What came since the last time.

    Parameters
    ----------
    moves : sequence of Move
        Source, target, trajectory, context and count, in the order recorded for each trajectory.
    endings : sequence of Ending
        How runs stopped.
    cursor : str or None
        How far this is in the record, for the next process; None where that means nothing there.
    more : bool
        Whether there is more to read right now.
    times : sequence of float or None
        When each move was made, where the source tells.
    """

    moves: Sequence[Move]
    endings: Sequence[Ending] = ()
    cursor: str | None = None
    more: bool = False
    times: Sequence[float | None] = ()


class Feed(Protocol):
    """What a monitor reads from.

    Attributes
    ----------
    name : str
        What it is, safe to print.
    """

    name: str

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts of what lies before the moves to come.

        These begin at the cursor, or without one with the last `recent` moves. None says that
        there is nothing before the cursor: it is of another record.
        """
        ...

    def read(self) -> Batch:
        """Return what came since."""
        ...

    def losses(self) -> Mapping[str, int]:
        """Return how many moves were lost, by the reason."""
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


class GraphFeed:
    """The moves of a live graph, from this process.

    Parameters
    ----------
    graph : TransitionGraph
        What to follow.
    context : mapping, optional
        The labels that a move must carry.
    recorder : object
        What records into it, a `TransitionCallbackHandler` or the graph itself; asked for losses.
    """

    def __init__(self, graph: TransitionGraph, context: ContextLike, recorder: object) -> None:
        self.name = type(recorder).__name__
        self._graph, self._recorder, self._context = graph, recorder, context
        self._wanted: dict[Context, bool] = {}
        self._subscription = graph.subscribe(context=context)

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts up to now."""
        return self._subscription.before

    def read(self) -> Batch:
        """Return the moves since."""
        moves = self._subscription.take()
        if self._context is None:
            return Batch(moves)
        return Batch([move for move in moves if self._is_wanted(move[3])])

    def losses(self) -> Mapping[str, int]:
        """Return what was not recorded, and what came too fast to be read."""
        store = getattr(self._recorder, "store", None)
        return {
            "errors in the recorder": getattr(self._recorder, "faults", 0),
            "not written to the store": getattr(store, "lost", 0),
            "recorded faster than they were read": self._subscription.lost,
        }

    def close(self) -> None:
        """Get no more moves."""
        self._subscription.close()

    def _is_wanted(self, labels: Context) -> bool:
        if labels not in self._wanted:
            self._wanted[labels] = matches_context(labels, self._context)
        return self._wanted[labels]


def open_feed(source: Any, context: ContextLike) -> Feed:
    """Return the feed of a source.

    Raises
    ------
    InvalidInputError
        Where the source is of no kind that grows.
    ReadError
        Where it cannot be read.
    """
    graph = source if isinstance(source, TransitionGraph) else getattr(source, "graph", None)
    if isinstance(graph, TransitionGraph):
        return GraphFeed(graph, context, source)
    from detailed_balance.callbacks.store.store import TransitionStore  # loads SQLAlchemy
    from detailed_balance.monitor._store_feed import OpenedFeed, StoreFeed
    from detailed_balance.readers.store import store_url

    if isinstance(source, TransitionStore):
        return StoreFeed(source, context, type(source).__name__)
    if isinstance(source, str | os.PathLike):
        url = store_url(source)
        if url is not None:
            return OpenedFeed(url, context)
        return _open_file(os.fspath(source), context)
    raise InvalidInputError(
        f"a {type(source).__name__} cannot be watched; allowed are a TransitionCallbackHandler, a "
        "TransitionGraph, a TransitionStore, its path or URL, and a JSON Lines file"
    )


def _open_file(path: str, context: ContextLike) -> Feed:
    from detailed_balance.monitor._file_feed import FileFeed

    if not path.endswith((".jsonl", ".ndjson")):
        there = "" if os.path.exists(path) else "there is no file "
        raise ReadError(
            f"{there}{safe_text(path)}: what can be watched is a store (a file or a URL) and a "
            "JSON Lines file (.jsonl) that grows"
        )
    return FileFeed(path, context)
