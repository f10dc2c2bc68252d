"""The order in which rows became visible, so that whoever reads along misses none of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, false, func, literal, select, text, tuple_

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.store._schema import ENDINGS, TRANSITIONS

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

__all__ = ["Order", "PostgresOrder", "SQLiteOrder", "Snapshot", "order_of"]

Snapshot = list[Any]
"""What tells the rows that were there at a moment from all others, as JSON can hold it."""


class Order(ABC):
    """How one kind of database orders its rows."""

    @abstractmethod
    def snapshot(self, connection: Connection) -> Snapshot:
        """Return the snapshot of now."""

    @abstractmethod
    def was_there(self, table: Table, snapshot: Snapshot) -> ColumnElement[bool]:
        """Return the condition that a row was there at the snapshot."""

    @abstractmethod
    def place(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the columns in whose order the rows were recorded."""

    @abstractmethod
    def is_settled(self, place: list[int]) -> ColumnElement[bool]:
        """Return the condition that an ending comes after no transition beyond `place`."""

    def is_after(self, table: Table, place: list[int]) -> ColumnElement[bool]:
        """Return the condition that a row comes after a place."""
        return tuple_(*self.place(table)) > tuple_(*map(literal, place))


class SQLiteOrder(Order):
    """One writer at a time: what has a lower id was there sooner."""

    def __init__(self, version: int) -> None:
        self._version = version

    def snapshot(self, connection: Connection) -> Snapshot:
        """Return the last ids, both of one moment."""
        last = [select(func.coalesce(func.max(TRANSITIONS.c.id), 0)).scalar_subquery()]
        if self._version > 1:
            last.append(select(func.coalesce(func.max(ENDINGS.c.id), 0)).scalar_subquery())
        found = connection.execute(select(*last)).one()
        return [found[0], found[-1] if self._version > 1 else 0]

    def was_there(self, table: Table, snapshot: Snapshot) -> ColumnElement[bool]:
        """Return the condition that the id is not above the last."""
        condition: ColumnElement[bool] = table.c.id <= snapshot[table is ENDINGS]
        return condition

    def place(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the id."""
        return (table.c.id,)

    def is_settled(self, place: list[int]) -> ColumnElement[bool]:
        """Return the condition that the last transition before the ending is not above."""
        return ENDINGS.c.written <= place[0] if self._version > 2 else false()

    def is_after(self, table: Table, place: list[int]) -> ColumnElement[bool]:
        """Return the condition that a row has a greater id."""
        condition: ColumnElement[bool] = table.c.id > place[0]
        return condition


class PostgresOrder(Order):
    """Many writers: a lower id may be committed later, so transactions tell what was there.

    A snapshot is the first transaction that had not begun, and those before it that had not ended.
    """

    def snapshot(self, connection: Connection) -> Snapshot:
        """Return which transactions have ended."""
        query = text("SELECT pg_is_in_recovery(), pg_current_snapshot()::text")
        follows, found = connection.execute(query).one()
        first, following, open_ones = found.split(":")
        if follows:  # a standby does not know which transactions are open, only the first
            return [int(first), []]
        return [int(following), [int(number) for number in open_ones.split(",") if number]]

    def was_there(self, table: Table, snapshot: Snapshot) -> ColumnElement[bool]:
        """Return the condition that the transaction had ended."""
        following, open_ones = snapshot
        ended: ColumnElement[bool] = table.c.written < following
        return and_(ended, table.c.written.not_in(open_ones)) if open_ones else ended

    def place(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the transaction, and the id."""
        return (table.c.written, table.c.id)

    def is_settled(self, place: list[int]) -> ColumnElement[bool]:
        """Return the condition that the ending is of an earlier transaction."""
        condition: ColumnElement[bool] = ENDINGS.c.written < place[0]
        return condition


def order_of(connection: Connection, version: int) -> Order:
    """Return the order of a database whose tables have this version."""
    if connection.dialect.name == "sqlite":
        return SQLiteOrder(version)
    if version < 3:
        raise ReadError(
            f"{connection.engine.url!r} has schema version {version}, which does not tell what "
            "is new; open it once with create=True, as a user who may change it"
        )
    return PostgresOrder()
