"""How old rows leave a store, while others write to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, bindparam, delete, false, func, not_, select, text, union
from sqlalchemy.exc import OperationalError

from detailed_balance.callbacks.store._cursor import order_of
from detailed_balance.callbacks.store._schema import (
    CONTEXTS,
    ENDINGS,
    NAMES_LOCK,
    NAMES_WRITER,
    RUNS,
    SCHEMA_VERSION,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
    WRITERS,
    insert_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Column, ColumnElement, Table
    from sqlalchemy.engine import Connection

    from detailed_balance.callbacks.store._cursor import Order, Snapshot

_BATCH = 5_000
"""How many rows one transaction deletes, so that no writer waits for long."""

_WRITER_AGE = 90 * 86_400.0
"""After how many seconds without a batch a writer counts as dead, and its spool as deleted."""

_USES: dict[Table, list[Column[int]]] = {
    RUNS: [TRANSITIONS.c.run_id, ENDINGS.c.run_id, RUNS.c.follows],
    STATES: [TRANSITIONS.c.source_id, TRANSITIONS.c.target_id],
    TRAJECTORIES: [table.c.trajectory_id for table in (TRANSITIONS, ENDINGS, RUNS)],
    CONTEXTS: [table.c.context_id for table in (TRANSITIONS, ENDINGS, RUNS)],
}
"""Where the names of each table, and the digests of runs, stand."""


def forget_before(begin: Callable[[], AbstractContextManager[Connection]], moment: float) -> int:
    """Delete what is older, and the names that nothing uses any more; see `TransitionStore.forget`.

    Parameters
    ----------
    begin : callable
        Begins a transaction.
    moment : float
        Seconds since 1970.

    Returns
    -------
    int
        How many rows were deleted.
    """
    deleted = 0
    for table in (TRANSITIONS, ENDINGS):
        while found := _delete_some(begin, table, moment):
            deleted += found
            time.sleep(0.01)  # who waits for the lock of an SQLite file looks only now and then
    if deleted:
        for table, uses in _USES.items():
            chosen = [table.c.time < moment] if table is RUNS else []
            _delete_names(begin, table, uses, chosen)
    with begin() as connection:
        old = (WRITERS.c.time < time.time() - _WRITER_AGE) & (WRITERS.c.id != NAMES_WRITER)
        connection.execute(delete(WRITERS).where(old))
    return deleted


def _delete_some(
    begin: Callable[[], AbstractContextManager[Connection]], table: Table, moment: float
) -> int:
    """Delete a batch of rows; the last of a table stays, for SQLite would give its id again."""
    last = select(func.max(table.c.id)).scalar_subquery()
    old = select(table.c.id).where(table.c.time < moment, table.c.id < last).limit(_BATCH)
    with begin() as connection:
        return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount


def _key(table: Table) -> Column[int]:
    key: Column[int] = table.c.digest if table is RUNS else table.c.id
    return key


def _delete_names(
    begin: Callable[[], AbstractContextManager[Connection]],
    table: Table,
    uses: list[Column[int]],
    chosen: list[ColumnElement[bool]],
) -> None:
    """Delete the names without a use, of those chosen.

    They are searched for while others write, and deleted while no other process writes; then only
    what was written meanwhile is checked.
    """
    with begin() as connection:
        order = order_of(connection, SCHEMA_VERSION)
        snapshot = order.snapshot(connection)
        used = union(*(select(column.label("id")) for column in uses)).subquery()
        unused = select(_key(table)).outerjoin(used, used.c.id == _key(table))
        ids = list(connection.scalars(unused.where(used.c.id.is_(None), *chosen)))
    for start in range(0, len(ids), _BATCH):
        try:
            with begin() as connection:
                _delete_unused(connection, order, snapshot, table, ids[start : start + _BATCH])
        except OperationalError:
            return  # a writer holds on for too long: another time


def _delete_unused(
    connection: Connection, order: Order, snapshot: Snapshot, table: Table, ids: list[int]
) -> None:
    """Delete the names of these ids that no row uses since the snapshot."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        connection.execute(text(f"SELECT pg_advisory_xact_lock({NAMES_LOCK})"))
    for column in _USES[table]:
        # Of runs, which are few, all are checked.
        earlier = false() if column.table is RUNS else order.was_there(column.table, snapshot)
        ids = sorted(set(ids).difference(connection.scalars(select(column).where(not_(earlier)))))
    numbers = bindparam(None, ids, BigInteger, expanding=True, literal_execute=True)
    connection.execute(delete(table).where(_key(table).in_(numbers)))
    _count_deletion(connection)


def _count_deletion(connection: Connection) -> None:
    """Let all writers know that names which they had written may be deleted."""
    query = insert_for(WRITERS, connection)
    query = query.values(id=NAMES_WRITER, sequence=1, time=time.time())
    more = {"sequence": WRITERS.c.sequence + 1, "time": query.excluded.time}
    connection.execute(query.on_conflict_do_update(index_elements=[WRITERS.c.id], set_=more))
