"""`RowInserter`, which writes batches of rows with the names in them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from detailed_balance.callbacks.store._rows import digest, ending_to_row, names_of, to_row
from detailed_balance.callbacks.store._schema import ENDINGS, NAMES_WRITER, TRANSITIONS, WRITERS
from detailed_balance.callbacks.transition import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Insert, Table
    from sqlalchemy.engine import Connection

    from detailed_balance.callbacks.store._rows import Row
    from detailed_balance.callbacks.store._spool import Record

__all__ = ["NAMES_LOCK", "RowInserter", "insert_for", "to_row_of"]

_MOST_KNOWN = 100_000
"""How many names of a kind are remembered to be written, about."""

NAMES_LOCK = 2512010048
"""The advisory lock of PostgreSQL that writers share, and that takes who deletes names."""


# While rows are written, nobody deletes names; on SQLite nobody writes anything.
_BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": f"SELECT pg_advisory_xact_lock_shared({NAMES_LOCK})",
}


def insert_for(table: Table, connection: Connection) -> Any:
    """Return the insertion of the database's own dialect, which can do nothing on a conflict."""
    own = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return own[connection.dialect.name](table)


def to_row_of(record: Record) -> Row:
    """Return a transition or an ending as it is written."""
    return ending_to_row(record) if isinstance(record, Ending) else to_row(record)


class RowInserter:
    """Write rows, and the names in them that are new, each batch in one transaction.

    Parameters
    ----------
    transaction : callable
        Begins a transaction.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._transaction = transaction
        self.forget()

    def forget(self) -> None:
        """Take no name for written any more: the database may be another."""
        # The ids of names that are written already, and how often names had been deleted then.
        self._known: dict[Table, set[int]] = {table: set() for table in names_of([])}
        self._deletions: int | None = None

    def insert(self, rows: list[Row]) -> None:
        """Write rows in one transaction."""
        with self._writing() as connection:
            self._insert(connection, rows)

    def insert_once(self, writer: int, batches: list[tuple[int, list[Row]]]) -> None:
        """Write batches of one writer in one transaction, but for those that are written already.

        Parameters
        ----------
        writer : int
            Whose batches they are.
        batches : list of (int, list of Row)
            The numbers of the batches, ascending, and what is in them.
        """
        with self._writing() as connection:
            last = _last_sequence(connection, writer)
            if rows := [row for number, rows in batches for row in rows if number > last]:
                self._insert(connection, rows)
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

    def _insert(self, connection: Connection, rows: list[Row]) -> None:
        self._check_names(connection)
        texts = names_of(rows).items()
        self._new = {table: self._new_names(table, found) for table, found in texts}
        for table, names in self._new.items():
            if names:
                query = insert_for(table, connection).on_conflict_do_nothing()
                # Sorted, so that no two writers wait for each other.
                connection.execute(query, [{"id": i, "name": names[i]} for i in sorted(names)])
        for table in (TRANSITIONS, ENDINGS):
            if columns := [row.columns for row in rows if row.table is table]:
                connection.execute(_insertion(table, connection), columns)

    def _check_names(self, connection: Connection) -> None:
        """Forget which names are written where some were deleted since."""
        query = select(WRITERS.c.sequence).where(WRITERS.c.id == NAMES_WRITER)
        deletions = connection.scalar(query) or 0
        if deletions != self._deletions:
            self.forget()
            self._deletions = deletions

    def _new_names(self, table: Table, texts: set[str | None]) -> dict[int, str]:
        """Return the texts, by id, that have not been written yet."""
        known = self._known[table]
        if len(known) > _MOST_KNOWN:
            known.clear()
        names = {digest(text): text for text in texts if text is not None}
        return {number: text for number, text in names.items() if number not in known}


def _last_sequence(connection: Connection, writer: int) -> int:
    """Return the number of the last batch written, which nobody else changes until the commit."""
    query = insert_for(WRITERS, connection).values(id=writer, sequence=0, time=time.time())
    held = query.on_conflict_do_update(
        index_elements=[WRITERS.c.id], set_={"time": query.excluded.time}
    )
    connection.execute(held)
    return int(connection.scalars(select(WRITERS.c.sequence).where(WRITERS.c.id == writer)).one())


def _insertion(table: Table, connection: Connection) -> Insert:
    """Return what writes rows; on SQLite an ending keeps which transition was the last before."""
    if table is ENDINGS and connection.dialect.name == "sqlite":
        last = select(func.coalesce(func.max(TRANSITIONS.c.id), 0)).scalar_subquery()
        return insert(table).values(written=last)
    return insert(table)
