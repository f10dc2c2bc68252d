"""What is new in a store, each committed row once, and the counts of what lies before."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, and_, cast, false, func, literal, not_, or_, select, text, tuple_
from sqlalchemy.exc import DataError, OperationalError

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store._rows import (
    HIDDEN_SOURCE,
    context_condition,
    decode_optional,
    ending_from_row,
    from_row,
    read_contexts,
    select_edges,
    select_endings,
    select_moves,
)
from detailed_balance.callbacks.store._schema import ENDINGS, TRANSITIONS, decode_text
from detailed_balance.callbacks.transition import Ending, Transition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Select, Table
    from sqlalchemy.engine import Connection

    from detailed_balance.analyzers import TransitionCounts

Snapshot = list[Any]
"""Identifies the rows that were there at a moment, in a form that JSON can hold."""


class Order(ABC):
    """How one kind of database orders its rows."""

    @abstractmethod
    def snapshot(self, connection: Connection) -> Snapshot:
        """Return the snapshot of now."""

    @abstractmethod
    def was_there(self, table: Table, snapshot: Snapshot) -> ColumnElement[bool]:
        """Return the condition that a row was there at the snapshot."""

    @abstractmethod
    def sort_key(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the columns in whose order the rows were recorded."""

    @abstractmethod
    def is_settled(self, key: list[int]) -> ColumnElement[bool]:
        """Return the condition that an ending comes after no transition beyond `key`."""

    def is_after(self, table: Table, key: list[int]) -> ColumnElement[bool]:
        """Return the condition that a row comes after a key."""
        return tuple_(*self.sort_key(table)) > tuple_(*map(literal, key))


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

    def sort_key(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the id."""
        return (table.c.id,)

    def is_settled(self, key: list[int]) -> ColumnElement[bool]:
        """Return the condition that the last transition before the ending is not above."""
        return ENDINGS.c.written <= key[0] if self._version > 2 else false()

    def is_after(self, table: Table, key: list[int]) -> ColumnElement[bool]:
        """Return the condition that a row has a greater id."""
        condition: ColumnElement[bool] = table.c.id > key[0]
        return condition


class PostgresOrder(Order):
    """Many writers: a lower id may be committed later, so transactions say what was there.

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

    def sort_key(self, table: Table) -> tuple[Column[Any], ...]:
        """Return the transaction, and the id."""
        return (table.c.written, table.c.id)

    def is_settled(self, key: list[int]) -> ColumnElement[bool]:
        """Return the condition that the ending is of an earlier transaction."""
        condition: ColumnElement[bool] = ENDINGS.c.written < key[0]
        return condition


def order_of(connection: Connection, version: int) -> Order:
    """Return the order of a database whose tables have this version."""
    if connection.dialect.name == "sqlite":
        return SQLiteOrder(version)
    if version < 3:
        raise ReadError(
            f"{hide_secrets(connection.engine.url)} has schema version {version}, which does not "
            "tell what is new; open it once with create=True, as a user who may change it"
        )
    return PostgresOrder()


@dataclass(frozen=True, slots=True)
class StoreIncrement:
    """What a store holds beyond a cursor.

    Parameters
    ----------
    transitions : tuple of Transition
        In the order recorded, within each trajectory. One from a place that was not known comes
        when that is known, after what came meanwhile.
    endings : tuple of Ending
        How agent runs stopped; none comes in an earlier increment than a transition before it.
    cursor : str
        Where the next increment begins; ASCII.
    more : bool
        Whether there may be more already, as where the limit allowed no more.
    """

    transitions: tuple[Transition, ...]
    endings: tuple[Ending, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What was given: all that was there `before`; then, of what was there `within`, up to here."""

    backend: str
    before: Snapshot | None = None
    within: Snapshot | None = None
    moves: list[int] | None = None
    endings: list[int] | None = None

    def encode(self) -> str:
        fields = (self.backend, self.before, self.within, self.moves, self.endings)
        return json.dumps(fields, separators=(",", ":"))


def mark(connection: Connection, version: int, behind: int = 0) -> str:
    """Return the cursor behind all that can be read now, but for the last `behind` transitions."""
    order, backend = order_of(connection, version), connection.dialect.name
    now = order.snapshot(connection)
    if not behind:
        return _Cursor(backend, now).encode()
    moves = _last(connection, order, TRANSITIONS, order.was_there(TRANSITIONS, now), behind)
    if moves is None or version < 2:
        return _Cursor(backend, None, now, moves).encode()
    settled = and_(order.was_there(ENDINGS, now), order.is_settled(moves))
    return _Cursor(backend, None, now, moves, _last(connection, order, ENDINGS, settled)).encode()


def _last(
    connection: Connection,
    order: Order,
    table: Table,
    chosen: ColumnElement[bool],
    behind: int = 0,
) -> list[int] | None:
    """Return the key of the last row chosen, or of one so many before it, if there is one."""
    columns = order.sort_key(table)
    query = select(*columns).where(chosen).order_by(*(column.desc() for column in columns))
    row = connection.execute(query.offset(behind).limit(1)).first()
    return None if row is None else list(row)


def is_before(connection: Connection, version: int, cursor: str) -> ColumnElement[bool]:
    """Return the condition that a transition was given before the cursor."""
    order, position = order_of(connection, version), _decode(connection, cursor)
    given = false() if position.before is None else order.was_there(TRANSITIONS, position.before)
    if position.within is None or position.moves is None:
        return given
    behind = not_(order.is_after(TRANSITIONS, position.moves))
    return or_(given, and_(order.was_there(TRANSITIONS, position.within), behind))


def read_increment(
    connection: Connection, version: int, cursor: str | None, limit: int, context: ContextLike
) -> StoreIncrement:
    """Return what comes after the cursor; see `TransitionStore.read_new`."""
    if limit < 1:
        raise InvalidInputError(f"limit must be 1 or more; got {limit!r}")
    order = order_of(connection, version)
    position = _Cursor(connection.dialect.name) if cursor is None else _decode(connection, cursor)
    now = order.snapshot(connection)
    _check_age(position, now, cursor)
    position = replace(position, within=position.within or now)
    contexts = read_contexts(connection)  # after the snapshot, so that none of its is missing

    chosen = [
        *_new(order, TRANSITIONS, position),
        *context_condition(TRANSITIONS, contexts, context),
    ]
    query = select_moves(order.sort_key(TRANSITIONS), chosen, version).limit(limit)
    moves, position = _fetch(connection, query, order, position, TRANSITIONS)
    full = len(moves) == limit
    endings: Sequence[Sequence[Any]] = ()
    if version > 1:
        chosen = [*_new(order, ENDINGS, position), *context_condition(ENDINGS, contexts, context)]
        if full and position.moves is not None:
            chosen.append(order.is_settled(position.moves))
        query = select_endings(order.sort_key(ENDINGS), chosen, version).limit(limit)
        endings, position = _fetch(connection, query, order, position, ENDINGS)
        full = full or len(endings) == limit
    return StoreIncrement(
        tuple(from_row(contexts, *row) for row in moves),
        tuple(ending_from_row(contexts, *row) for row in endings),
        (position if full else _Cursor(position.backend, position.within)).encode(),
        full or position.within != now,  # something may have come since the first of these
    )


def _new(order: Order, table: Table, position: _Cursor) -> list[ColumnElement[bool]]:
    """Return the conditions that a row is still to be given."""
    chosen = [TRANSITIONS.c.source_id != HIDDEN_SOURCE] if table is TRANSITIONS else []
    if position.within is not None:
        chosen.append(order.was_there(table, position.within))
    if position.before is not None:
        chosen.append(not_(order.was_there(table, position.before)))
    given = position.moves if table is TRANSITIONS else position.endings
    if given is not None:
        chosen.append(order.is_after(table, given))
    return chosen


def _fetch(
    connection: Connection, query: Select[Any], order: Order, position: _Cursor, table: Table
) -> tuple[list[Sequence[Any]], _Cursor]:
    """Return the rows without their keys, and the cursor behind them."""
    rows = connection.execute(query).all()
    width = len(order.sort_key(table))
    if rows:
        last = list(rows[-1][:width])
        if table is TRANSITIONS:
            position = replace(position, moves=last)
        else:
            position = replace(position, endings=last)
    return [row[width:] for row in rows], position


def _decode(connection: Connection, cursor: str) -> _Cursor:
    try:
        position = _Cursor(*json.loads(cursor))
        if position.backend == connection.dialect.name:
            return position
    except (TypeError, ValueError):
        pass
    raise InvalidInputError(
        f"{cursor!r} is not a cursor of {hide_secrets(connection.engine.url)}; give what mark() or "
        "read_new() of it gave, or None for the beginning"
    )


def _check_age(position: _Cursor, now: Snapshot, cursor: str | None) -> None:
    """Refuse a cursor of what this database has not come to yet: it was replaced since."""
    for snapshot in (position.before, position.within):
        if snapshot is not None and snapshot[0] > now[0]:
            raise InvalidInputError(
                f"the cursor {cursor!r} is beyond the end of the store, which was replaced since; "
                "begin with None"
            )


def fetch_counts(
    connection: Connection, version: int, chosen: Sequence[ColumnElement[bool]], before: str | None
) -> TransitionCounts:
    """Count what is chosen and before a cursor, states in the order in which they were first seen.

    Raises
    ------
    ReadError
        Where the counts of an edge add up to more than 63 bits.
    """
    from detailed_balance.analyzers import TransitionCounts  # loads SciPy

    if before is not None:
        chosen = [*chosen, is_before(connection, version, before)]
    try:
        with connection.begin_nested():  # so that the sum can be named where there is none
            edges = connection.execute(select_edges(chosen)).all()
    except (DataError, OperationalError) as error:
        total = func.sum(cast(TRANSITIONS.c.count, Double))
        most = connection.scalar(select(total).where(*chosen)) or 0
        if most < 2**63:
            raise
        raise ReadError(
            f"counts may add up to {2**63 - 1}, that is 2**63 - 1; these make about {most:.6g}"
        ) from error
    return TransitionCounts.from_edges(
        (decode_text(source), decode_optional(target), count) for source, target, count in edges
    )
