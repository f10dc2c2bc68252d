"""`StoreReader`, what can be asked of recorded transitions."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks.store._cursor import Increment, is_before, mark, read_increment
from detailed_balance.callbacks.store._queries import (
    conditions,
    context_condition,
    read_contexts,
    select_edges,
    select_endings,
    select_moves,
)
from detailed_balance.callbacks.store._rows import decode_text, ending_from_row, from_row
from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    SCHEMA_VERSION,
    TRAJECTORIES,
    TRANSITIONS,
)
from detailed_balance.callbacks.store.engine import find_version, is_in_memory, open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Executable, Table
    from sqlalchemy.engine import URL, Connection

    from detailed_balance.callbacks.transition import Context, ContextLike, Ending, Transition

__all__ = ["StoreReader"]

_BATCH = 10_000
"""How many rows one query reads, at most."""


class StoreReader:
    """The reading half of a `TransitionStore`, which can do all of this.

    Parameters
    ----------
    url : str or sqlalchemy.URL
        The database.
    create : bool
        Whether to make the store where there is none, or bring it up to date.
    durable : bool
        Whether what is committed must survive the death of the machine.
    """

    def __init__(self, url: str | URL, *, create: bool, durable: bool = False) -> None:
        self._engine = open_engine(url, create=create, durable=durable)
        # In memory there is one connection for all threads, so one at a time.
        self._in_memory = is_in_memory(self._engine.url)
        self._lock: AbstractContextManager[object] = nullcontext()
        if self._in_memory:
            self._lock = threading.RLock()
        self._closed = False
        self._known_version = find_version(self._engine)

    def read(
        self,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Transition]:
        """Read what is recorded now, in the order in which it was, without loading it all.

        Parameters
        ----------
        trajectory : str, optional
            Only this agent run.
        context : mapping or Context, optional
            Only moves that carry all these labels.
        since, until : float, optional
            Only moves of ``since <= time < until``, in seconds since 1970 (UTC).
        """
        chosen = self._conditions(TRANSITIONS, trajectory, context, since, until)
        place = TRANSITIONS.c.id
        first, last = self._fetch(select(func.min(place), func.max(place)).where(*chosen))[0]
        return iter(()) if first is None else self._stream([*chosen, place <= last], first)

    def counts(
        self,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
        before: str | None = None,
    ) -> TransitionCounts:
        """Count in the database what `read` would read.

        Parameters
        ----------
        trajectory, context, since, until
            As for `read`.
        before : str, optional
            Only what lies before this cursor of `mark` or `read_new`.

        Returns
        -------
        TransitionCounts
            States in the order in which they were first recorded.

        Examples
        --------
        >>> from detailed_balance.callbacks import Transition, TransitionStore
        >>> with TransitionStore("sqlite://") as store:
        ...     store.append([Transition("plan", "search")])
        ...     cursor = store.mark()
        ...     store.append([Transition("search", "plan")])
        ...     store.counts(before=cursor).total, store.counts().total
        (1, 2)
        """
        chosen = self._conditions(TRANSITIONS, trajectory, context, since, until)
        with self._transaction() as connection:
            if before is not None:
                chosen.append(is_before(connection, self._version, before))
            edges = connection.execute(select_edges(chosen)).all()
        return TransitionCounts.from_edges(
            (decode_text(source), None if target is None else decode_text(target), n)
            for source, target, n in edges
        )

    def mark(self, *, behind: int = 0) -> str:
        """Return the cursor behind all that can be read now, for `read_new` and `counts`.

        Parameters
        ----------
        behind : int
            How many of the last transitions to leave for `read_new`, about.
        """
        with self._transaction() as connection:
            return mark(connection, self._version, behind)

    def read_new(
        self, cursor: str | None = None, *, limit: int = 50_000, context: ContextLike = None
    ) -> Increment:
        """Read what was recorded since a cursor; whoever reads along sees each row just once.

        That holds with any number of writers, also where one of them commits what it began to
        write before others did. It takes no more than the right to read.

        Parameters
        ----------
        cursor : str, optional
            What `mark`, or the increment before, gave; None for the beginning.
        limit : int
            How many transitions, and how many endings, to read at most.
        context : mapping or Context, optional
            Only what carries all these labels.

        Raises
        ------
        InvalidInputError
            Where the cursor is of another store, or of this one before it was made anew.
        ReadError
            Where a server's store is of an older version and nobody who may write opened it since.

        Examples
        --------
        >>> from detailed_balance.callbacks import Transition, TransitionStore
        >>> with TransitionStore("sqlite://") as store:
        ...     store.append([Transition("plan", "search"), Transition("search", "plan")])
        ...     first = store.read_new(limit=1)
        ...     second = store.read_new(first.cursor)
        ...     [move.source for move in (*first.transitions, *second.transitions)], first.more
        (['plan', 'search'], True)
        """
        with self._transaction() as connection:
            return read_increment(connection, self._version, cursor, limit, context)

    def endings(
        self,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[Ending, ...]:
        """Return how agent runs stopped, and what was judged of them, in the order recorded.

        The parameters are those of `read`. A run that was interrupted and resumed, or a thread
        that was used again, has an ending for each time that it stopped.
        """
        if self._version < 2:
            return ()
        chosen = self._conditions(ENDINGS, trajectory, context, since, until)
        rows = self._fetch(select_endings((), chosen).order_by(ENDINGS.c.id))
        contexts = self._read_contexts()
        return tuple(ending_from_row(contexts, *row) for row in rows)

    def outcomes(self, *, context: ContextLike = None) -> dict[Outcome, int]:
        """Count in the database how often trajectories stopped in which way, as a graph does."""
        if self._version < 2:
            return {}
        kind = ENDINGS.c.outcome
        chosen = [*self._conditions(ENDINGS, None, context, None, None), kind.is_not(None)]
        query = select(kind, func.count()).where(*chosen).group_by(kind).order_by(kind)
        return {Outcome(outcome): count for outcome, count in self._fetch(query)}

    def contexts(self) -> tuple[Context, ...]:
        """Return the contexts recorded so far, sorted."""
        return tuple(sorted(self._read_contexts().values()))

    def trajectories(self) -> tuple[str, ...]:
        """Return the trajectories recorded so far, sorted."""
        names = self._fetch(select(TRAJECTORIES.c.name))
        return tuple(sorted(decode_text(name) for (name,) in names))

    def __len__(self) -> int:
        return int(self._fetch(select(func.count()).select_from(TRANSITIONS))[0][0])

    @property
    def _version(self) -> int:
        """The version of the tables, which another process may bring up to date meanwhile."""
        if self._known_version < SCHEMA_VERSION:
            self._known_version = find_version(self._engine)
        return self._known_version

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._closed:
            raise InvalidInputError(f"the store {self._engine.url!r} is closed; open it again")
        with self._lock, self._engine.begin() as connection:
            yield connection

    def _fetch(self, query: Executable) -> Sequence[Any]:
        with self._transaction() as connection:
            return connection.execute(query).all()

    def _read_contexts(self) -> dict[int, Context]:
        with self._transaction() as connection:
            return read_contexts(connection)

    def _conditions(
        self,
        table: Table,
        trajectory: str | None,
        context: ContextLike,
        since: float | None,
        until: float | None,
    ) -> list[ColumnElement[bool]]:
        contexts = self._read_contexts() if context else {}
        labelled = context_condition(table, contexts, context)
        return [*conditions(table, trajectory, since, until), *labelled]

    def _stream(self, chosen: list[ColumnElement[bool]], first: int) -> Iterator[Transition]:
        """Yield the rows chosen, from the id `first` on, by one short query after another."""
        contexts = self._read_contexts()
        place = (TRANSITIONS.c.id,)
        while rows := self._fetch(select_moves(place, [*chosen, place[0] >= first]).limit(_BATCH)):
            for _, *fields in rows:
                yield from_row(contexts, *fields)
            first = rows[-1][0] + 1
