"""`TransitionStore`, recorded transitions in a database."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.trajectory import Outcome
from detailed_balance.callbacks.ending import Ending
from detailed_balance.callbacks.forks import renew_after_fork
from detailed_balance.callbacks.rows import (
    Row,
    decode_context,
    decode_text,
    digest,
    encode_text,
    ending_from_row,
    ending_to_row,
    from_row,
    names_of,
    to_row,
)
from detailed_balance.callbacks.schema import (
    CONTEXTS,
    ENDINGS,
    TRAJECTORIES,
    TRANSITIONS,
    find_file,
    has_endings,
    is_in_memory,
    open_engine,
    reopen,
    select_edges,
    select_endings,
    select_rows,
)
from detailed_balance.callbacks.transition import (
    Context,
    ContextLike,
    Transition,
    matches_context,
)
from detailed_balance.callbacks.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from sqlalchemy import ColumnElement, Executable, Table
    from sqlalchemy.engine import URL, Connection

__all__ = ["TransitionStore"]

_BATCH = 10_000
"""How many rows one transaction writes, or one query reads, at most."""

_MOST_KNOWN = 100_000
"""How many names of a kind a store remembers to have written, about."""

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class TransitionStore:
    """Keep transitions in a database, SQLite in one file or PostgreSQL.

    Several threads and processes may write and read one store at the same time.

    Parameters
    ----------
    url : str or sqlalchemy.URL
        ``"sqlite:///file.db"`` for a file, ``"sqlite://"`` for memory,
        ``"postgresql+psycopg://user@host/database"`` for a server.
    create : bool
        Whether to make the store where there is none; False for one that is only read.
    capacity : int
        How many transitions may wait to be written by `record`.

    Raises
    ------
    InvalidInputError
        Where `url` is no URL of a database that is supported and installed.
    ReadError
        Where it cannot be opened, holds no store and `create` is False, or is of a newer version.

    Notes
    -----
    What `append` has written, or `flush` has waited for, survives the death of the process. SQLite
    may lose the last moments where the whole machine loses power.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", trajectory="thread-1", time=0.5)])
    ...     store.record(Transition("search", None, trajectory="thread-1", time=1.5))
    ...     store.flush()
    ...     store.counts().attempts.tolist()
    ...     [move.source for move in store.read(since=1.0)]
    [1, 1]
    ['search']
    """

    def __init__(self, url: str | URL, *, create: bool = True, capacity: int = 100_000) -> None:
        self._engine = open_engine(url, create=create)
        # In memory there is one connection for all threads, so one at a time.
        self._in_memory = is_in_memory(self._engine.url)
        self._file = find_file(self._engine.url)
        self._lock = threading.RLock() if self._in_memory else nullcontext()
        self._closed = False
        # The ids of names that are written already.
        self._known: dict[Table, set[int]] = {table: set() for table in names_of([])}
        self._writer = BatchWriter(self._write, name=repr(self._engine.url), capacity=capacity)
        renew_after_fork(self)

    @property
    def lost(self) -> int:
        """How many recorded transitions were not written; the first loss is also logged."""
        return self._writer.lost

    def record(self, record: Transition | Ending) -> None:
        """Put a transition or an ending in line to be written, within 0.2 s if all goes well.

        Never raises and never waits for the database: what cannot be written counts as `lost`.
        """
        self._writer.put(record)

    def judge(self, trajectory: str, *, success: bool) -> None:
        """Write down whether an agent run did its work, as somebody who looked at it says.

        Raises
        ------
        InvalidInputError
            Where `success` is neither True nor False.

        Examples
        --------
        >>> with TransitionStore("sqlite://") as store:
        ...     store.judge("thread-1", success=False)
        ...     [ending.success for ending in store.endings()]
        [False]
        """
        if not isinstance(success, bool):
            raise InvalidInputError(f"success must be True or False; got {success!r}")
        self.append([Ending(trajectory, success=success, time=time.time())])

    def append(self, records: Iterable[Transition | Ending]) -> None:
        """Write transitions and endings, in order, and return when they are written.

        They go in batches of 10,000, each of them written as a whole or not at all.

        Raises
        ------
        InvalidInputError
            Where a field has a value that is not allowed; the batches before are written.
        sqlalchemy.exc.SQLAlchemyError
            Where the database fails.
        """
        rows = map(_to_row, records)
        while batch := list(islice(rows, _BATCH)):
            self._insert(batch)

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
        bounds = select(func.min(place), func.max(place)).where(*chosen)
        first, last = self._fetch(bounds)[0]
        return iter(()) if first is None else self._stream([*chosen, place <= last], first)

    def counts(
        self,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
    ) -> TransitionCounts:
        """Count in the database what `read` would read.

        Returns
        -------
        TransitionCounts
            States in the order in which they were first recorded.
        """
        edges = self._fetch(
            select_edges(self._conditions(TRANSITIONS, trajectory, context, since, until))
        )
        return TransitionCounts.from_edges(
            (decode_text(source), None if target is None else decode_text(target), n)
            for source, target, n in edges
        )

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
        if not has_endings(self._engine):
            return ()
        chosen = self._conditions(ENDINGS, trajectory, context, since, until)
        contexts = self._read_contexts()
        rows = self._fetch(select_endings(chosen))
        return tuple(ending_from_row(contexts, *row) for row in rows)

    def outcomes(self, *, context: ContextLike = None) -> dict[Outcome, int]:
        """Count in the database how often trajectories stopped in which way, as a graph does."""
        if not has_endings(self._engine):
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

    def flush(self) -> None:
        """Wait until everything that was recorded before is written, or counted as `lost`."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is in line, and disconnect; a store that is closed can do nothing else."""
        self._writer.close()
        self._closed = True
        self._engine.dispose()

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process: the same database, opened there (or a memory of its own).
        return TransitionStore, (self._engine.url,)

    def __enter__(self) -> TransitionStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._closed:
            raise InvalidInputError(f"the store {self._engine.url!r} is closed; open it again")
        with self._lock, self._engine.begin() as connection:
            yield connection

    def _fetch(self, query: Executable) -> Sequence[Any]:
        with self._transaction() as connection:
            return connection.execute(query).all()

    def _write(self, records: list[Transition | Ending]) -> None:
        """Write what was recorded; what no database could keep takes nothing else along."""
        rows = []
        for record in records:
            try:
                rows.append(_to_row(record))
            except Exception as error:
                self._writer.lose(1, repr(error))
        if rows:
            self._insert(rows)

    def _insert(self, rows: list[Row]) -> None:
        """Write `rows`, and the names in them that are new, in one transaction."""
        self._follow_file()
        new = {table: self._new_names(table, texts) for table, texts in names_of(rows).items()}
        with self._transaction() as connection:
            for table, names in new.items():
                if names:
                    query = _INSERT[connection.dialect.name](table).on_conflict_do_nothing()
                    # Sorted, so that no two writers wait for each other.
                    connection.execute(query, [{"id": i, "name": names[i]} for i in sorted(names)])
            for table in (TRANSITIONS, ENDINGS):
                if columns := [row.columns for row in rows if row.table is table]:
                    connection.execute(insert(table), columns)
        for table, names in new.items():
            self._known[table].update(names)

    def _follow_file(self) -> None:
        """Open the file anew where it was deleted or replaced: else nobody would find the rows."""
        if find_file(self._engine.url) == self._file or self._closed:
            return
        reopen(self._engine)
        self._file = find_file(self._engine.url)
        for known in self._known.values():
            known.clear()

    def _new_names(self, table: Table, texts: set[str | None]) -> dict[int, str]:
        """Return the texts, by id, that this store has not written yet."""
        known = self._known[table]
        if len(known) > _MOST_KNOWN:
            known.clear()
        names = {digest(text): text for text in texts if text is not None}
        return {number: text for number, text in names.items() if number not in known}

    def _read_contexts(self) -> dict[int, Context]:
        query = select(CONTEXTS.c.id, CONTEXTS.c.name)
        return {number: decode_context(labels) for number, labels in self._fetch(query)}

    def _conditions(
        self,
        source: Table,
        trajectory: str | None,
        context: ContextLike,
        since: float | None,
        until: float | None,
    ) -> list[ColumnElement[bool]]:
        table = source.c
        chosen: list[ColumnElement[bool]] = []
        if trajectory is not None:
            chosen.append(table.trajectory_id == digest(encode_text(trajectory)))
        if context:
            matching = [
                number
                for number, labels in self._read_contexts().items()
                if matches_context(labels, context)
            ]
            # Written into the query: there may be more of them than a query may have parameters.
            numbers = bindparam(None, matching, BigInteger, expanding=True, literal_execute=True)
            chosen.append(table.context_id.in_(numbers))
        if since is not None:
            chosen.append(table.time >= _seconds(since))
        if until is not None:
            chosen.append(table.time < _seconds(until))
        return chosen

    def _stream(self, chosen: list[ColumnElement[bool]], first: int) -> Iterator[Transition]:
        """Yield the rows chosen, from the id `first` on, by one short query after another."""
        contexts = self._read_contexts()
        while rows := self._fetch(select_rows(chosen, first, _BATCH)):
            for _, *fields in rows:
                yield from_row(contexts, *fields)
            first = rows[-1][0] + 1

    def _after_fork(self) -> None:
        """Leave to the parent what is its own: the connections and what is in line."""
        self._writer.forget()
        if self._in_memory:
            self._lock = threading.RLock()
        else:
            self._engine.dispose(close=False)


def _to_row(record: Transition | Ending) -> Row:
    return ending_to_row(record) if isinstance(record, Ending) else to_row(record)


def _seconds(moment: float) -> float:
    if not isinstance(moment, (int, float)):
        raise InvalidInputError(
            f"since and until are seconds since 1970; got {moment!r} (a datetime gives them by "
            ".timestamp())"
        )
    return moment
