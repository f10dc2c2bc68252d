"""`StoreFeed`, the moves of a store, from wherever they are recorded."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import URL, make_url

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store.engine import find_file
from detailed_balance.callbacks.store.store import TransitionStore
from detailed_balance.callbacks.transition import ContextLike
from detailed_balance.monitor.feeds import Batch
from detailed_balance.readers.store import show_url
from detailed_balance.render.formatting import safe_text

__all__ = ["OpenedFeed", "StoreFeed"]


class StoreFeed:
    """The moves of a store, which is only read.

    Parameters
    ----------
    store : TransitionStore
        What to follow.
    context : mapping, optional
        The labels that a move must carry.
    name : str
        What to call it, safe to print.
    """

    def __init__(self, store: TransitionStore, context: ContextLike, name: str) -> None:
        self.name = name
        self._store, self._context = store, context
        self._cursor: str | None = None

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Count, in the database, what lies before the moves to come."""
        if cursor is None:
            cursor = self._store.mark(behind=recent)
        elif not self._knows(cursor):
            return None
        self._cursor = cursor
        return self._store.counts(context=self._context, before=cursor)

    def read(self) -> Batch:
        """Return the moves since."""
        found = self._store.read_new(self._cursor, context=self._context)
        self._cursor = found.cursor
        moves = [(m.source, m.target, m.trajectory, m.context, m.count) for m in found.transitions]
        times = [move.time for move in found.transitions]
        return Batch(moves, found.endings, found.cursor, found.more, times)

    def _knows(self, cursor: str) -> bool:
        """Say whether the cursor is of this store, and not of one that was there before."""
        try:
            self._store.read_new(cursor, limit=1)
        except InvalidInputError:
            return False
        return True

    def losses(self) -> Mapping[str, int]:
        """Return what this process could not write."""
        return {"not written to the store": self._store.lost}

    def close(self) -> None:
        """Leave the store to whoever opened it."""


class OpenedFeed(StoreFeed):
    """The moves of the store at a URL; a file that was made anew there is read from its beginning.

    Raises
    ------
    ReadError
        Where there is no store.
    """

    def __init__(self, url: str | URL, context: ContextLike) -> None:
        shown = show_url(url) if isinstance(url, str) else str(url.database)
        self._url, self._away = make_url(url), False
        super().__init__(self._open(), context, safe_text(shown, 120))

    def read(self) -> Batch:
        """Return the moves since."""
        found = find_file(self._url)
        if self._away or found != self._file:
            self._away, same = True, found == self._file
            self._store.close()
            self._store = self._open()
            self._away, self._cursor = False, self._cursor if same else None
        return super().read()

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def _open(self) -> TransitionStore:
        store = TransitionStore(self._url, create=False)
        self._file = find_file(self._url)
        return store
