"""The rows of a LangGraph saver: checkpoints, each with the writes of its tasks, as plain values.

No class is imported and nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store.engine import parse_url

__all__ = [
    "OPAQUE",
    "Checkpoint",
    "Key",
    "Write",
    "connect",
    "count",
    "has_checkpoints",
    "has_paths",
    "read_checkpoints",
    "read_values",
    "unpack",
]

Key: TypeAlias = tuple[str, str, str]
"""Thread, namespace and id of a checkpoint."""

_TABLES = {"sqlite": ("writes", "value"), "postgresql": ("checkpoint_writes", "blob")}
_ROWS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Write:
    """What one task wrote into one channel.

    Parameters
    ----------
    task, path : str
        The id of the task, and how it was called.
    channel : str
        The channel.
    kind : str or None
        How `data` is written.
    data : Any
        The value, as stored.
    """

    task: str
    path: str
    channel: str
    kind: str | None
    data: Any

    def value(self) -> Any:
        """Return the value as `unpack` does."""
        return unpack(self.kind, self.data)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint, and what ran from there.

    Parameters
    ----------
    key : Key
        Thread, namespace and id; the ids of a thread are in the order of time.
    parent : str or None
        The id of the checkpoint before.
    kind : str or None
        How `data` is written; None where the database unpacked it.
    data, metadata : Any
        As stored.
    writes : list of Write
        In the order in which LangGraph applies them.
    """

    key: Key
    parent: str | None
    kind: str | None
    data: Any
    metadata: Any
    writes: list[Write]

    def values(self) -> dict[str, Any]:
        """Return the checkpoint; a damaged one raises ValueError."""
        return _mapping(self.data if self.kind is None else unpack(self.kind, self.data))

    def labels(self) -> dict[str, Any]:
        """Return its metadata; damaged ones raise ValueError."""
        data = self.metadata
        return _mapping(json.loads(data) if isinstance(data, str | bytes) else data)


def has_checkpoints(url: str | URL) -> bool:
    """Say whether a database has the tables of a saver, and not those of a store."""
    try:
        with connect(url) as connection:
            names = set(inspect(connection).get_table_names())
            writes = _TABLES.get(connection.dialect.name, ("", ""))[0]
    except (ReadError, SQLAlchemyError, ValueError):
        return False
    return {"checkpoints", writes} <= names and "detailed_balance_transitions" not in names


@contextmanager
def connect(url: str | URL) -> Iterator[Connection]:
    """Connect for reading alone, and see one moment of the database.

    Raises
    ------
    ReadError
        Where the driver is missing.
    """
    engine = _make_engine(parse_url(url))
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def _make_engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            file = f"file:{quote(url.database or '')}"
            query = {"mode": "ro", "uri": "true"}
            return create_engine(URL.create("sqlite", database=file, query=query))
        engine = create_engine(url, connect_args={"connect_timeout": 10})
        return engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True, stream_results=True
        )
    except ImportError as error:
        raise ReadError(
            f"the driver of {url.drivername!r} is not installed ({error}); for PostgreSQL install "
            "'detailed-balance[postgres]' and write 'postgresql+psycopg://...'"
        ) from error
    except (SQLAlchemyError, TypeError, ValueError) as error:  # a parameter has a wrong value
        raise ReadError(f"{hide_secrets(url)} cannot be used: {hide_secrets(error)}") from None


def count(connection: Connection) -> int:
    """Return how many checkpoints there are.

    Raises
    ------
    ReadError
        Where a view stands for one of the tables: what it does when it is read, nobody knows.
    """
    ours = {"checkpoints", _TABLES[connection.dialect.name][0]}
    views = {name.lower() for name in inspect(connection).get_view_names()}
    for name in sorted(ours & views):
        raise ReadError(f"{name} is a view and not a table: no saver of LangGraph wrote this")
    return int(connection.execute(text("SELECT count(*) FROM checkpoints")).scalar_one())


def read_checkpoints(connection: Connection) -> Iterator[Checkpoint | Key]:
    """Yield checkpoints by thread, namespace and time; a bare key has writes, but no checkpoint.

    Both tables are read as streams in one order, so that the memory does not grow.
    """
    found = _merge(_stream(connection, _checkpoints(connection)), _writes_by_key(connection))
    for key, row, writes in found:
        yield key if row is None else Checkpoint(key, row[0], row[1], row[2], row[3], writes)


def _merge(rows: Iterator[Any], writes: Iterator[tuple[Key, list[Write]]]) -> Iterator[Any]:
    """Join two streams that are sorted by key; the second has at most one item a key."""
    pending = next(writes, None)
    for row in rows:
        key = (row[0], row[1], row[2])
        while pending is not None and pending[0] < key:
            yield pending[0], None, pending[1]
            pending = next(writes, None)
        own: list[Write] = []
        if pending is not None and pending[0] == key:
            own, pending = pending[1], next(writes, None)
        yield key, tuple(row[3:]), own
    while pending is not None:
        yield pending[0], None, pending[1]
        pending = next(writes, None)


def _checkpoints(connection: Connection) -> str:
    kind = "type" if connection.dialect.name == "sqlite" else "NULL"
    return (
        "SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, "  # noqa: S608
        f"{kind}, checkpoint, metadata FROM checkpoints ORDER BY {_order(connection)}"
    )


def _writes_by_key(connection: Connection) -> Iterator[tuple[Key, list[Write]]]:
    table, value = _TABLES[connection.dialect.name]
    columns = {column["name"] for column in inspect(connection).get_columns(table)}
    path = "COALESCE(task_path, '')" if "task_path" in columns else "''"
    order = f"{_order(connection)}, {path}, task_id, idx"
    query = (
        f"SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, {path}, channel, "  # noqa: S608
        f"type, {value} FROM {table} ORDER BY {order}"
    )
    for key, rows in groupby(_stream(connection, query), itemgetter(0, 1, 2)):
        yield key, [Write(*row[3:]) for row in rows]


def _order(connection: Connection) -> str:
    """Return an order that is the one in which Python sorts texts."""
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    collation = "" if connection.dialect.name == "sqlite" else ' COLLATE "C"'
    return ", ".join(name + collation for name in names)


def _stream(connection: Connection, query: str) -> Iterator[Any]:
    yield from connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(text(query))


def has_paths(connection: Connection) -> bool:
    """Say whether all writes into channels of the graph tell how their task was called.

    Those of langgraph-checkpoint-sqlite before 3.1 do not, nor those by hand.
    """
    table, _ = _TABLES[connection.dialect.name]
    if "task_path" not in {column["name"] for column in inspect(connection).get_columns(table)}:
        return False
    without = f"SELECT 1 FROM {table} WHERE task_path = '' AND substr(channel, 1, 2) <> '__'"  # noqa: S608
    return connection.execute(text(f"{without} LIMIT 1")).first() is None


def read_values(connection: Connection) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield the namespaces of checkpoints, each with what returns its values."""
    for row in _stream(connection, _checkpoints(connection)):
        key = (row[0], row[1], row[2])
        yield row[1], Checkpoint(key, row[3], row[4], row[5], row[6], []).values


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is not a mapping, so this saver wrote it encrypted or in another way")
    return value


OPAQUE = object()
"""Stands for a value that is not read, because only code could read it."""

_PLAIN = {0, 1, 2, 4, 5}
"""Extension types of a triple (module, class, what it is made from): only the last is read."""

_SNAPSHOT = 7


def unpack(kind: str | None, data: Any) -> Any:
    r"""Return a value that a saver wrote, objects as the plain values that they were made from.

    The savers write msgpack, in which objects are extension types that name a class. Here the
    name is passed over: a message is the mapping of its fields, a ``Send`` the list of its
    arguments, a set a list. Pickled and encrypted values, arrays and the like are `OPAQUE`.

    Raises
    ------
    ValueError
        Where `data` is damaged.

    Examples
    --------
    >>> unpack("msgpack", b"\x92\x01\xa1x"), unpack("null", b""), unpack("pickle", b"") is OPAQUE
    ([1, 'x'], None, True)
    """
    if kind in ("null", "empty"):
        return None
    if data is None or kind not in ("msgpack", "json"):
        return OPAQUE
    try:
        return json.loads(data) if kind == "json" else _unpack(bytes(data))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unpack(data: bytes) -> Any:
    import ormsgpack  # comes with LangGraph; loaded for checkpoints alone

    return ormsgpack.unpackb(data, ext_hook=_open_extension, option=ormsgpack.OPT_NON_STR_KEYS)


def _open_extension(code: int, data: bytes) -> Any:
    value = _unpack(data) if code in _PLAIN or code == _SNAPSHOT else OPAQUE
    if code in _PLAIN:
        return value[2] if isinstance(value, list) and len(value) > 2 else OPAQUE
    return value
