"""`TransitionStore`, recorded transitions in a database."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.isolation import renew_after_fork
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store._cursor import (
    StoreIncrement,
    fetch_counts,
    mark,
    read_increment,
)
from detailed_balance.callbacks.store._outbox import Outbox, RowInserter
from detailed_balance.callbacks.store._retention import forget_before
from detailed_balance.callbacks.store._rows import (
    check_seconds,
    conditions,
    context_condition,
    ending_from_row,
    fetch_rows,
    from_row,
    read_beginnings,
    read_contexts,
    run_conditions,
    select_endings,
    select_last_outcomes,
    select_moves,
    select_segments,
    to_row,
    to_rows,
)
from detailed_balance.callbacks.store._runs import find_judged
from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    RUNS,
    SCHEMA_VERSION,
    TRAJECTORIES,
    TRANSITIONS,
    decode_text,
)
from detailed_balance.callbacks.store._spool import find_spool_folder
from detailed_balance.callbacks.store._writer import BatchWriter, is_ended_without_notice
from detailed_balance.callbacks.store.engine import (
    begin,
    find_file,
    find_version,
    is_in_memory,
    open_engine,
    reopen,
)
from detailed_balance.callbacks.transition import Ending, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Executable, Table
    from sqlalchemy.engine import URL, Connection

    from detailed_balance.analyzers import TransitionCounts
    from detailed_balance.analyzers.runs.labels import Context, ContextLike
    from detailed_balance.callbacks.store._spool import RecordBatch
    from detailed_balance.callbacks.transition import Beginning, Transition

__all__ = ["TransitionStore"]

_BATCH = 10_000  # rows that one transaction writes, or one query reads, at most
_DURABILITIES = ("batched", "sync")

# Seconds to wait at most: if "sync"; at the end of a run in a process that is ended without notice.
_LONGEST_RECORD, _LONGEST_ENDING = 10.0, 5.0


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
        How many transitions may wait in memory to be written by `record`.
    durability : "batched" or "sync"
        Whether `record` queues what it is given, to be written within 0.2 s, or waits until it is
        written: then the agent waits for the database at each step.
    spool : str or os.PathLike or False, optional
        The folder of the file that keeps what is recorded while the database is away. By default
        that is the folder of an SQLite file, and for a server
        ``~/.local/state/detailed-balance`` or its like; False for none.

    Raises
    ------
    InvalidInputError
        Where `url` is not a URL of a database that is supported and installed, or `durability` is
        something else.
    ReadError
        Where it cannot be opened, holds no store and `create` is False, or is of a newer version.

    Notes
    -----
    What `append` has written, or `flush` has waited for, is acknowledged: it survives the death of
    the process, in the database or in the spool. The spool is replayed, in order and each batch
    once, by this process or by the next that opens the store with `create`. Where the whole
    machine loses power, SQLite and the spool may lose the last moments if "batched".

    Examples
    --------
    >>> from detailed_balance.callbacks import Transition
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", trajectory="thread-1", time=0.5)])
    ...     store.record(Transition("search", None, trajectory="thread-1", time=1.5))
    ...     store.flush()
    ...     store.counts().attempts.tolist()
    ...     [move.source for move in store.read(since=1.0)]
    [1, 1]
    ['search']
    """

    def __init__(
        self,
        url: str | URL,
        *,
        create: bool = True,
        capacity: int = 100_000,
        durability: Literal["batched", "sync"] = "batched",
        spool: str | os.PathLike[str] | Literal[False] | None = None,
    ) -> None:
        if durability not in _DURABILITIES:
            raise InvalidInputError(
                f"durability must be one of {', '.join(_DURABILITIES)}; got {durability!r}"
            )
        self._settings = {"capacity": capacity, "durability": durability, "spool": spool}
        self._is_sync = durability == "sync"
        self._engine = open_engine(url, create=create, durable=self._is_sync)
        self._name = hide_secrets(self._engine.url)
        # In memory there is one connection for all threads, so one at a time.
        self._in_memory = is_in_memory(self._engine.url)
        self._lock: AbstractContextManager[object] = nullcontext()
        if self._in_memory:
            self._lock = threading.RLock()
        self._closed = False
        self._known_version = find_version(self._engine)
        self._file = find_file(self._engine.url)
        self._inserter = RowInserter(self._transaction)
        self._writer: BatchWriter[Record] = BatchWriter(
            self._send, name=self._name, maintain=self._maintain, capacity=capacity
        )
        url, kept = self._engine.url, not (spool is False or self._in_memory)
        folder = find_spool_folder(url, spool) if kept else None
        self._outbox = Outbox(self._write, self._writer, url, folder=folder, durable=self._is_sync)
        renew_after_fork(self)
        if create and self._outbox.adopt():
            self._writer.start()

    @property
    def lost(self) -> int:
        """How many recorded transitions will never be written; the first loss is also logged."""
        return self._writer.lost

    @property
    def waiting(self) -> int:
        """How many recorded transitions wait in memory."""
        return self._writer.waiting

    @property
    def spooled(self) -> int:
        """How many recorded transitions wait in files until the database is back."""
        return self._outbox.spooled

    def record(self, record: Record) -> None:
        """Put a record of a run in the queue to be written, within 0.2 s if all goes well.

        Never raises. It never waits for the database, unless the durability is "sync": then it
        waits until the transition is written, or in the spool, for 10 s at most. In a daemonic
        process, as a worker of a `multiprocessing.Pool`, which is killed when its work is done, the
        ending of a run waits for 5 s at most. What can neither be written nor kept is `lost`.
        """
        self._writer.put(record)
        if self._is_sync:
            self._writer.flush(_LONGEST_RECORD)
        elif isinstance(record, Ending) and is_ended_without_notice():
            self._writer.flush(_LONGEST_ENDING)

    def judge(self, trajectory: str, *, success: bool) -> None:
        """Record a judgement of whether an agent run did its work.

        Parameters
        ----------
        trajectory : str
            The id of the run; or its trajectory, and then it is the run that began there last.
        success : bool
            Whether it did.

        Raises
        ------
        InvalidInputError
            Where there is no such run, or `success` is neither True nor False.

        Examples
        --------
        >>> with TransitionStore("sqlite://") as store:
        ...     store.append([Ending("thread-1")])
        ...     store.judge("thread-1", success=False)
        ...     [ending.success for ending in store.endings()]
        [None, False]
        """
        self.judge_runs({trajectory: success})

    def judge_runs(
        self, judgements: Mapping[str, bool], *, skip_unknown: bool = False, dry_run: bool = False
    ) -> tuple[str, ...]:
        """Record judgements of many runs: all of them, or none where one cannot be recorded.

        Parameters
        ----------
        judgements : mapping of str to bool
            The success of each run, as for `judge`.
        skip_unknown : bool
            Whether to leave out runs that are not there, whose names are returned.
        dry_run : bool
            Whether to check only, and write nothing.
        """
        self._writer.flush(_LONGEST_RECORD)  # it may be a run that was recorded just now
        with self._transaction() as connection:
            found, unknown = find_judged(connection, self._version, judgements, skip_unknown)
        if found and not dry_run:
            self._follow_file()
            self._inserter.insert(list(map(to_row, found)))
        return unknown

    def append(self, records: Iterable[Record]) -> None:
        """Write what was recorded of runs, in order, and return when they are written.

        They go in batches of 10,000, each of them written as a whole or not at all.

        Raises
        ------
        InvalidInputError
            Where a field has a value that is not allowed; the batches before are written.
        sqlalchemy.exc.SQLAlchemyError
            Where the database fails.
        """
        rows = map(to_row, records)
        while batch := list(islice(rows, _BATCH)):
            self._follow_file()
            self._inserter.insert(batch)

    def forget(self, before: float) -> int:
        """Delete what was recorded before a time, and names that nothing uses any more.

        Others may write meanwhile: what is deleted goes in small batches. The last row of all
        stays, and so does what has no time. On SQLite the file does not shrink, its room is used
        again.

        Parameters
        ----------
        before : float
            Seconds since 1970 (UTC).

        Returns
        -------
        int
            How many transitions and endings were deleted.

        Raises
        ------
        InvalidInputError
            Where `before` is not a number.
        ReadError
            Where the store is of an older version, and was not opened to be brought up to date.

        Examples
        --------
        >>> from detailed_balance.callbacks import Transition
        >>> with TransitionStore("sqlite://") as store:
        ...     store.append([Transition("plan", "search", time=float(t)) for t in range(9)])
        ...     store.forget(before=5.0), len(store)
        (5, 4)
        """
        if self._version < SCHEMA_VERSION:
            raise ReadError(f"{self._name} is of an older version; open it with create=True")
        return forget_before(self._transaction, check_seconds(before))

    def flush(self) -> None:
        """Wait until all that was recorded is written, in the spool, or counted as `lost`.

        What is in the spool is written too, where the database is back.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write what is queued, and disconnect; a store that is closed can do nothing else."""
        self._writer.close()
        self._outbox.close()
        self._closed = True
        self._engine.dispose()

    def read(
        self,
        *,
        trajectory: str | None = None,
        run: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Transition]:
        """Read what is recorded now, in the order in which it was, without loading it all.

        Parameters
        ----------
        trajectory : str, optional
            Only this trajectory: all runs of a thread.
        run : str, optional
            Only the run of this id, over all processes that went on with it.
        context : mapping or Context, optional
            Only moves that carry all these labels.
        since, until : float, optional
            Only moves of ``since <= time < until``, in seconds since 1970 (UTC).
        """
        chosen = self._conditions(TRANSITIONS, trajectory, context, since, until, run)
        key = TRANSITIONS.c.id
        first, last = self._fetch(select(func.min(key), func.max(key)).where(*chosen))[0]
        return iter(()) if first is None else self._stream([*chosen, key <= last], first)

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

        Raises
        ------
        ReadError
            Where the counts of a move add up to more than 63 bits.

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
            return fetch_counts(connection, self._version, chosen, before)

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
    ) -> StoreIncrement:
        """Read what was recorded since a cursor; an incremental reader sees each row exactly once.

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
            Where the cursor is of another store, or of this one before it was made again.
        ReadError
            Where a server's store is of an older version, until a user who may write opens it.

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
        run: str | None = None,
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
        chosen = self._conditions(ENDINGS, trajectory, context, since, until, run)
        rows = self._fetch(select_endings((), chosen, self._version).order_by(ENDINGS.c.id))
        contexts = self._read_contexts()
        return tuple(ending_from_row(contexts, *row) for row in rows)

    def runs(
        self,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[Beginning, ...]:
        """Return how the runs that have an id began, in the order recorded.

        The parameters are those of `read`. A run that other processes went on with is one, and
        what they recorded bears its id. One whose past was not recorded says so.

        Examples
        --------
        >>> from detailed_balance.callbacks.transition import Beginning
        >>> with TransitionStore("sqlite://") as store:
        ...     store.append([Beginning("thread-1", "b7", thread="thread-1")])
        ...     [run.run for run in store.runs()]
        ['b7']
        """
        if self._version < 4:
            return ()
        chosen = self._conditions(RUNS, trajectory, context, since, until)
        with self._transaction() as connection:
            return read_beginnings(connection, chosen)

    def outcomes(self, *, context: ContextLike = None) -> dict[Outcome, int]:
        """Count in the database how runs stopped, each once, by its last outcome."""
        if self._version < 2:
            return {}
        chosen = [*self._conditions(ENDINGS, None, context), ENDINGS.c.outcome.is_not(None)]
        found = self._fetch(select_last_outcomes(chosen, self._version))
        return {Outcome(outcome): count for outcome, count in found}

    def contexts(self) -> tuple[Context, ...]:
        """Return the contexts recorded so far, sorted."""
        return tuple(sorted(self._read_contexts().values()))

    @property
    def url(self) -> str:
        """The URL of the database, without what is secret; empty for one in memory."""
        return "" if self._in_memory else self._name

    def trajectories(self) -> tuple[str, ...]:
        """Return the trajectories recorded so far, sorted."""
        names = self._fetch(select(TRAJECTORIES.c.name))
        return tuple(sorted(decode_text(name) for (name,) in names))

    def __len__(self) -> int:
        shown = self._conditions(TRANSITIONS)
        return int(self._fetch(select(func.count()).where(*shown))[0][0])

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process: the same database, opened there (or a memory of its own).
        settings: dict[str, Any] = self._settings
        return partial(TransitionStore, self._engine.url, **settings), ()

    def __enter__(self) -> TransitionStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, records: list[Record]) -> None:
        """Send on what was recorded; what no database could keep takes nothing else along."""
        kept, rows = [], []
        for record in records:
            try:
                rows.append(to_row(record))
                kept.append(record)
            except Exception as error:
                self._writer.record_loss(1, repr(error))
        if kept:
            self._outbox.send(kept, rows)

    def _maintain(self, awaited: bool) -> float | None:
        return self._outbox.replay(at_once=awaited)

    def _write(self, batches: list[RecordBatch], refused: list[str] | None) -> None:
        """Write batches of one writer, unless they are written already."""
        rows = [(b.sequence, b.rows or to_rows(b.records, refused)) for b in batches]
        self._follow_file()
        self._inserter.insert_once(batches[0].writer, rows, refused)

    def _follow_file(self) -> None:
        """Open the file again where it was deleted or replaced: else the rows would be lost."""
        if find_file(self._engine.url) != self._file and not self._closed:
            reopen(self._engine)
            self._file = find_file(self._engine.url)
            self._inserter.reset()

    def _after_fork(self) -> None:
        """Leave to the parent what is its own: the connections, the queue, and the spool."""
        self._writer.reset()
        self._outbox.reset()
        if self._in_memory:
            self._lock = threading.RLock()
        else:
            self._engine.dispose(close=False)

    @property
    def _version(self) -> int:
        """The version of the tables, which another process may bring up to date meanwhile."""
        if self._known_version < SCHEMA_VERSION:
            self._known_version = find_version(self._engine)
        return self._known_version

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._closed:
            raise InvalidInputError(f"the store {self._name} is closed; open it again")
        with self._lock, begin(self._engine) as connection:
            yield connection

    def _fetch(self, query: Executable) -> Sequence[Any]:
        with self._transaction() as connection:
            return fetch_rows(connection, query)

    def _read_contexts(self) -> dict[int, Context]:
        with self._transaction() as connection:
            return read_contexts(connection)

    def _find_run(self, run: str) -> Sequence[Any]:
        """Return the trajectory, and the segments that processes recorded, of a run."""
        return self._fetch(select_segments(run)) if self._version >= 4 else ()

    def _conditions(
        self,
        table: Table,
        trajectory: str | None = None,
        context: ContextLike = None,
        since: float | None = None,
        until: float | None = None,
        run: str | None = None,
    ) -> list[ColumnElement[bool]]:
        chosen = conditions(table, trajectory, since, until)
        if run is not None:
            chosen += run_conditions(table, self._find_run(run))
        contexts = self._read_contexts() if context else {}
        return [*chosen, *context_condition(table, contexts, context)]

    def _stream(self, chosen: list[ColumnElement[bool]], first: int) -> Iterator[Transition]:
        """Yield the rows chosen, from the id `first` on, by one short query after another."""
        contexts, version, key = self._read_contexts(), self._version, TRANSITIONS.c.id
        query = select_moves((key,), chosen, version).limit(_BATCH)
        while rows := self._fetch(query.where(key >= first)):
            for _, *fields in rows:
                yield from_row(contexts, *fields)
            first = rows[-1][0] + 1
