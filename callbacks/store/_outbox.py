"""How records reach a database: `Outbox`, by way of a file while it is away, and `RowInserter`."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store._rows import NO_FACTS, beginning_of, names_of
from detailed_balance.callbacks.store._runs import RunResolver
from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    NAMES_LOCK,
    NAMES_WRITER,
    RUNS,
    TRANSITIONS,
    WRITERS,
    digest,
    insert_for,
)
from detailed_balance.callbacks.store._spool import RecordBatch, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Insert, Table
    from sqlalchemy.engine import URL, Connection

    from detailed_balance.callbacks.store._rows import TableRow
    from detailed_balance.callbacks.store._spool import SpoolFolder
    from detailed_balance.callbacks.store._writer import BatchWriter
    from detailed_balance.callbacks.transition import Record

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
"""How many seconds pass before the database is tried again; they double each time."""

_QUIET = 3600.0
"""How many seconds pass, at least, between two log lines on a database that is away."""

_AWAY = (OperationalError, ReadError, OSError, MemoryError)
"""What says that the database is away, full, locked or gone."""

_NO_FAULT_OF_DATA = ("25006", "3F000", "42501", "42703", "42P01")
"""States of SQL: a database that is only read, no schema, no right, no column, no table."""

_MOST_KNOWN = 100_000
"""How many names of a kind are remembered to be written, about."""

# While rows are written, nobody deletes names; on SQLite nobody writes anything.
_BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": f"SELECT pg_advisory_xact_lock_shared({NAMES_LOCK})",
}


class Outbox:
    """Hand batches to a database in order, each once; keep them in a spool while it is away.

    One thread at a time uses it.

    Parameters
    ----------
    write : callable
        Writes batches of one writer at once, but for those that are written already; raises where
        the database fails. Its second argument is None, or a list that takes the reasons why
        single records are refused, which it then leaves out.
    queue : BatchWriter
        Where the records come from: it counts what is lost, and knows whether more come than the
        database takes; then the spool takes them.
    url : sqlalchemy.URL
        The database, for the log.
    folder : SpoolFolder or None
        Where the spools of this database are; None for none.
    durable : bool
        Whether a batch in the spool must be on the disk.
    """

    def __init__(
        self,
        write: Callable[[list[RecordBatch], list[str] | None], None],
        queue: BatchWriter[Record],
        url: URL,
        *,
        folder: SpoolFolder | None,
        durable: bool,
    ) -> None:
        self._write = write
        self._queue = queue
        self._name = hide_secrets(url)
        self._folder = folder
        self._durable = durable
        self._quiet_until = 0.0
        self._spools: list[Spool] = []  # those to be replayed, the own one last
        self.reset()

    def reset(self) -> None:
        """Become another writer; a forked process leaves the spool to its parent."""
        self.close()
        self._writer = int.from_bytes(os.urandom(8), signed=True)
        self._sequence = 0
        self._own = self._folder and self._folder.of(self._writer, durable=self._durable)
        self._pause, self._next_try = 0.0, 0.0

    @property
    def spooled(self) -> int:
        """How many records wait in spools."""
        return sum(map(len, self._spools))

    def adopt(self) -> bool:
        """Take over what dead processes left; say whether there is any."""
        if self._folder is not None:
            self._spools[:0] = self._folder.adopt_all()
        return bool(self._spools)

    def send(self, records: list[Record], rows: list[TableRow]) -> None:
        """Write the records, or keep them in the spool.

        Parameters
        ----------
        records : list of Record
            What is sent.
        rows : list of TableRow
            The same, as the database has them.

        Raises
        ------
        Exception
            Where neither can be done.
        """
        self._sequence += 1
        batch = RecordBatch(self._writer, self._sequence, tuple(records), rows)
        if self._must_wait() and self._keep(batch):
            return
        try:
            self._deliver([batch])
        except Exception as error:
            if not self._keep(batch):
                raise
            self._stay_away(repr(error))

    def replay(self, *, at_once: bool) -> float | None:
        """Write what the spools hold; return in how many seconds to do so again, None for never.

        Parameters
        ----------
        at_once : bool
            Whether to try though it failed a moment ago.
        """
        if at_once or time.monotonic() >= self._next_try:
            try:
                while self._spools and self._replay(self._spools[0]):
                    del self._spools[0]
                self._pause = 0.0
            except Exception as error:
                self._stay_away(repr(error))
        return max(0.0, self._next_try - time.monotonic()) if self._spools else None

    def close(self) -> None:
        """Leave what the spools hold to the next process."""
        for spool in self._spools:
            spool.release()
        self._spools = []

    def _must_wait(self) -> bool:
        """Say whether a batch must go to the spool: others are there, or there is no time."""
        if self._own is not None and self._queue.is_half_full:
            return True
        return self.replay(at_once=False) is not None

    def _keep(self, batch: RecordBatch) -> bool:
        """Put a batch in the spool; say whether it need not be written now.

        Raises
        ------
        OSError
            Where the spool cannot take it, and those before it are not written yet.
        """
        if self._own is None:
            return False
        try:
            self._own.append(batch)
        except OSError:
            if self._spools:
                raise
            return False
        if self._own not in self._spools:
            self._spools.append(self._own)
        return True

    def _replay(self, spool: Spool) -> bool:
        """Write what a spool holds; say whether that is all: not where the queue fills up."""
        for batches in spool.batches():
            if self._own is not None and self._queue.is_half_full:
                return False
            self._deliver(batches)
        if spool.damaged:
            warn("%d lines of a spool of %s were damaged", spool.damaged, self._name)
        spool.clear()
        return True

    def _deliver(self, batches: list[RecordBatch]) -> None:
        """Write batches; what the database refuses is lost alone, and holds up nothing."""
        try:
            self._write(batches, None)
            return
        except Exception as error:
            if _is_away(error):
                raise
        refused: list[str] = []
        self._write(batches, refused)
        for reason in refused:  # logged without the error, which may quote what an agent said
            self._queue.record_loss(1, reason)

    def _stay_away(self, reason: str) -> None:
        """Try again later, each time after a longer pause."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            warn("%s cannot be reached (%s); records wait in a file", self._name, reason)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._next_try = now + self._pause


def _is_away(error: Exception) -> bool:
    """Say whether an error is about the database, and not about what it was to keep."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, _AWAY) or state in _NO_FAULT_OF_DATA


def _describe(row: TableRow) -> str:
    """Name a row without what is in it."""
    step = row.columns.get("step")
    return f"a row of {row.table.name}, step {step!r:.40} of trajectory {row.trajectory!r:.100}"


def _name_error(error: Exception) -> str:
    """Name an error without its text, which may quote what an agent said."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__}{f' ({state})' if state else ''}"


class RowInserter:
    """Write rows, and the names in them that are new, each batch in one transaction.

    Parameters
    ----------
    transaction : callable
        Begins a transaction.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._transaction = transaction
        self.reset()

    def reset(self) -> None:
        """Forget which names are written: the database may be another."""
        # The ids of names that are written already, and how often names had been deleted then.
        self._known: dict[Table, set[int]] = {table: set() for table in names_of([])}
        self._deletions: int | None = None

    def insert(self, rows: list[TableRow]) -> None:
        """Write rows in one transaction."""
        with self._writing() as connection:
            self._insert(connection, rows)

    def insert_once(
        self,
        writer: int,
        batches: list[tuple[int, list[TableRow]]],
        refused: list[str] | None = None,
    ) -> None:
        """Write batches of one writer in one transaction, but for those that are written already.

        Parameters
        ----------
        writer : int
            Whose batches they are.
        batches : list of (int, list of TableRow)
            The numbers of the batches, ascending, and what is in them.
        refused : list of str, optional
            Takes the reasons why the database refuses single rows, which are left out; None to
            raise.
        """
        with self._writing() as connection:
            last = _last_sequence(connection, writer)
            if rows := [row for number, rows in batches for row in rows if number > last]:
                if refused is None:
                    self._insert(connection, rows)
                else:
                    self._insert_accepted(connection, rows, refused)
            done = {"sequence": max(last, batches[-1][0]), "time": time.time()}
            connection.execute(update(WRITERS).where(WRITERS.c.id == writer).values(done))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Begin a transaction; what it has written of names is known after it."""
        self._new: dict[Table, dict[int, str]] = {}
        with self._transaction() as connection:
            connection.exec_driver_sql(_BEGIN[connection.dialect.name])
            yield connection
        for table, names in self._new.items():
            self._known[table].update(names)

    def _insert_accepted(
        self, connection: Connection, rows: list[TableRow], refused: list[str]
    ) -> None:
        """Write rows but for those that the database refuses, which are found by halving."""
        try:
            with connection.begin_nested():
                self._insert(connection, rows)
        except Exception as error:
            if _is_away(error):
                raise
            self._new = {}  # the names are not written either
            if len(rows) == 1:
                refused.append(f"{_describe(rows[0])} is refused: {_name_error(error)}")
                return
            middle = len(rows) // 2
            self._insert_accepted(connection, rows[:middle], refused)
            self._insert_accepted(connection, rows[middle:], refused)

    def _insert(self, connection: Connection, rows: list[TableRow]) -> None:
        resolver = RunResolver(connection, rows)
        self._check_names(connection)
        texts = names_of(rows).items()
        self._new = {table: self._new_names(table, found) for table, found in texts}
        for table, names in self._new.items():
            if table is RUNS:
                _insert_runs(connection, rows, names)
            elif names:
                query = insert_for(table, connection).on_conflict_do_nothing()
                # Sorted, so that no two writers wait for each other.
                connection.execute(query, [{"id": i, "name": names[i]} for i in sorted(names)])
        if moves := [row.columns for row in rows if row.table is TRANSITIONS]:
            _insert_moves(connection, moves)
        if endings := [row.columns for row in rows if row.table is ENDINGS]:
            connection.execute(_ending_insertion(connection), endings)
        resolver.resolve()

    def _check_names(self, connection: Connection) -> None:
        """Forget which names are written where some were deleted since."""
        query = select(WRITERS.c.sequence).where(WRITERS.c.id == NAMES_WRITER)
        deletions = connection.scalar(query) or 0
        if deletions != self._deletions:
            self.reset()
            self._deletions = deletions

    def _new_names(self, table: Table, texts: set[str | None]) -> dict[int, str]:
        """Return the texts, by id, that have not been written yet."""
        known = self._known[table]
        if len(known) > _MOST_KNOWN:
            known.clear()
        names = {digest(text): text for text in texts if text is not None}
        return {number: text for number, text in names.items() if number not in known}


def _insert_runs(connection: Connection, rows: list[TableRow], new: dict[int, str]) -> None:
    """Write how runs begin; of one whose beginning is missing, what its first record tells."""
    begun = [row.columns for row in rows if row.table is RUNS]
    if begun:
        query = insert_for(RUNS, connection)
        better = {name: query.excluded[name] for name in begun[0]}
        query = query.on_conflict_do_update(index_elements=[RUNS.c.digest], set_=better)
        connection.execute(query, begun)
    known = {columns["name"] for columns in begun}
    others: dict[int, TableRow] = {}
    for row in rows:
        if row.run is not None and row.run not in known and digest(row.run) in new:
            others.setdefault(digest(row.run), row)
    if others:
        query = insert_for(RUNS, connection).on_conflict_do_nothing()
        connection.execute(query, [beginning_of(others[i]) for i in sorted(others)])


def _last_sequence(connection: Connection, writer: int) -> int:
    """Return the number of the last batch written, locked until the commit."""
    query = insert_for(WRITERS, connection).values(id=writer, sequence=0, time=time.time())
    held = query.on_conflict_do_update(
        index_elements=[WRITERS.c.id], set_={"time": query.excluded.time}
    )
    connection.execute(held)
    return int(connection.scalars(select(WRITERS.c.sequence).where(WRITERS.c.id == writer)).one())


def _insert_moves(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write transitions; they are many, so the driver gets them as they are."""
    if any("failed" in row for row in rows):
        rows = [row if "failed" in row else row | NO_FACTS for row in rows]
    names = tuple(rows[0])
    into = f"INSERT INTO {TRANSITIONS.name} ({', '.join(names)})"
    values: Any = list(map(itemgetter(*names), rows))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"{into} VALUES ({', '.join('?' * len(names))})", values)
        return
    # All in one statement: a column is one parameter.
    kinds = [TRANSITIONS.c[name].type.compile(connection.dialect) for name in names]
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    columns = tuple(map(_one_type, kinds, zip(*values, strict=True)))
    query = f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - of the names of columns
    connection.exec_driver_sql(query, columns)


def _one_type(kind: str, column: tuple[Any, ...]) -> list[Any]:
    if kind.startswith("DOUBLE"):
        return [None if value is None else float(value) for value in column]
    return list(column)


def _ending_insertion(connection: Connection) -> Insert:
    """Return what writes endings; on SQLite one keeps which transition was the last before."""
    if connection.dialect.name == "sqlite":
        last = select(func.coalesce(func.max(TRANSITIONS.c.id), 0)).scalar_subquery()
        return insert(ENDINGS).values(written=last)
    return insert(ENDINGS)
