"""The tables of a `TransitionStore`, and how its database is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Executable,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    cast,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from detailed_balance.analyzers.errors import InvalidInputError, ReadError

__all__ = [
    "CONTEXTS",
    "ENDINGS",
    "SCHEMA_VERSION",
    "STATES",
    "TRAJECTORIES",
    "TRANSITIONS",
    "find_file",
    "has_endings",
    "is_in_memory",
    "open_engine",
    "reopen",
    "select_edges",
    "select_endings",
    "select_rows",
]

SCHEMA_VERSION = 2
"""The version of the tables that this library writes and reads."""

_METADATA = MetaData()
_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by INTEGER alone

# The prefix keeps the tables apart from those of an application in the same database.
_VERSIONS = Table(
    "detailed_balance_versions",
    _METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
)


def _name_table(kind: str) -> Table:
    return Table(
        f"detailed_balance_{kind}",
        _METADATA,
        Column("id", _BIG, primary_key=True, autoincrement=False),
        Column("name", Text, nullable=False),
    )


# The id of a name is its digest. So a writer knows it without asking the database, all writers
# agree on it, and the length of a name (states are what a language model wrote) costs no index.
STATES = _name_table("states")
"""The state keys."""

TRAJECTORIES = _name_table("trajectories")
"""The agent runs."""

CONTEXTS = _name_table("contexts")
"""The labels of transitions, as JSON."""

TRANSITIONS = Table(
    "detailed_balance_transitions",
    _METADATA,
    Column("id", _BIG, primary_key=True),
    Column("trajectory_id", _BIG),
    Column("context_id", _BIG, nullable=False),
    Column("step", _BIG),
    Column("time", Double),
    Column("source_id", _BIG, nullable=False),
    Column("target_id", _BIG),
    Column("count", _BIG, nullable=False),
    Index("detailed_balance_by_trajectory", "trajectory_id", "id"),
    Index("detailed_balance_by_context", "context_id", "id"),
    Index("detailed_balance_by_time", "time", "id"),
)
"""The moves, numbered as they were recorded; no target is an escape."""

ENDINGS = Table(
    "detailed_balance_endings",
    _METADATA,
    Column("id", _BIG, primary_key=True),
    Column("trajectory_id", _BIG),
    Column("context_id", _BIG, nullable=False),
    Column("time", Double),
    Column("outcome", Text),
    Column("error", Text),
    Column("success", Integer),
    Index("detailed_balance_endings_by_trajectory", "trajectory_id", "id"),
)
"""How trajectories stopped, and what was judged of them; since version 2."""

_SOURCES, _TARGETS = STATES.alias("sources"), STATES.alias("targets")

# What a transaction begins with that must be alone: the creation of the tables.
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(2512010047)",
}


def select_rows(chosen: list[ColumnElement[bool]], first: int, limit: int) -> Executable:
    """Return the query of the transitions chosen, as they were recorded from the id `first` on."""
    table = TRANSITIONS.c
    names = (_SOURCES.c.name, _TARGETS.c.name, TRAJECTORIES.c.name)
    return (
        select(table.id, *names, table.context_id, table.step, table.time, table.count)
        .join(_SOURCES, table.source_id == _SOURCES.c.id)
        .outerjoin(_TARGETS, table.target_id == _TARGETS.c.id)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen, table.id >= first)
        .order_by(table.id)
        .limit(limit)
    )


def select_endings(chosen: list[ColumnElement[bool]]) -> Executable:
    """Return the query of the endings chosen, as they were recorded."""
    table = ENDINGS.c
    return (
        select(TRAJECTORIES.c.name, table.context_id, table.time)
        .add_columns(table.outcome, table.error, table.success)
        .select_from(ENDINGS)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen)
        .order_by(table.id)
    )


def select_edges(chosen: list[ColumnElement[bool]]) -> Executable:
    """Return the query of (source, target, count) over the transitions chosen, first seen first."""
    table = TRANSITIONS.c
    total = cast(func.sum(table.count), BigInteger).label("total")
    edges = (
        select(table.source_id, table.target_id, total, func.min(table.id).label("first"))
        .where(*chosen)
        .group_by(table.source_id, table.target_id)
        .subquery()
    )
    return (
        select(_SOURCES.c.name, _TARGETS.c.name, edges.c.total)
        .join(_SOURCES, edges.c.source_id == _SOURCES.c.id)
        .outerjoin(_TARGETS, edges.c.target_id == _TARGETS.c.id)
        .order_by(edges.c.first)
    )


def has_endings(engine: Engine) -> bool:
    """Say whether the store has them; one of version 1 that cannot be written to has not."""
    return inspect(engine).has_table(ENDINGS.name)


def is_in_memory(url: URL) -> bool:
    """Say whether the database lives in this process alone."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def find_file(url: URL) -> tuple[int, int] | None:
    """Return what tells the file of a database from another in its place; None where none is."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return None
    try:
        found = Path(url.database or "").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def reopen(engine: Engine) -> None:
    """Make the store of `engine` anew, where its file is there no more."""
    engine.dispose()
    _check_file(engine.url, create=True)
    _prepare(engine, create=True)


def open_engine(url: str | URL, *, create: bool) -> Engine:
    """Connect to a store of this schema version, made anew where there is none and `create`.

    Raises
    ------
    InvalidInputError
        Where `url` is no URL of a database that is supported and installed.
    ReadError
        Where it cannot be opened, is no store, or is one of a newer version.
    """
    engine = _make_engine(_parse_url(url))
    try:
        _check_file(engine.url, create)
        _prepare(engine, create)
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        engine.dispose()
        raise ReadError(f"cannot open {engine.url!r}: {getattr(error, 'orig', error)}") from error
    except ReadError:
        engine.dispose()
        raise
    return engine


def _parse_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInputError(
            f"{url!r} is no database URL; the file x.db is written 'sqlite:///x.db'"
        ) from None
    if parsed.get_backend_name() not in _ALONE:
        raise InvalidInputError(
            f"{parsed.get_backend_name()!r} is no database that a store can live in; use "
            "'sqlite:///file.db' or 'postgresql+psycopg://user@host/database'"
        )
    return parsed


def _make_engine(url: URL) -> Engine:
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if is_in_memory(url):
        settings = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    elif url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        settings["connect_args"] = {"connect_timeout": 10}  # a server may not answer at all
    try:
        engine = create_engine(url, **settings)
    except (ImportError, NoSuchModuleError) as error:
        raise InvalidInputError(
            f"the driver of {url.drivername!r} is not there ({error}); for PostgreSQL install "
            "'detailed-balance[postgres]' and write 'postgresql+psycopg://...'"
        ) from error
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    # With a write-ahead log, NORMAL survives the death of the process, and does not wait for
    # the disk at each commit. The other is the time to wait for another writer.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA busy_timeout = 30000")


def _check_file(url: URL, create: bool) -> None:
    """Refuse a file that is not there; SQLite would make it."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return
    path = Path(url.database or "")
    if create and not path.absolute().parent.is_dir():
        raise ReadError(f"cannot open {path}: there is no folder {path.absolute().parent}")
    if not create and not path.exists():
        raise ReadError(f"there is no store {path}")


def _prepare(engine: Engine, create: bool) -> None:
    """Make the tables where they are missing, and check their version."""
    with engine.connect() as connection:
        version = _read_version(connection)
    if version is None and not create:
        raise ReadError(f"{engine.url!r} holds no recorded transitions")
    if version is None or (create and version < SCHEMA_VERSION):
        version = _create(engine)
    if version > SCHEMA_VERSION:
        raise ReadError(
            f"{engine.url!r} has schema version {version}, this library knows "
            f"{SCHEMA_VERSION}; install a newer detailed-balance"
        )


def _read_version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    version: int | None = connection.scalar(select(func.max(_VERSIONS.c.version)))
    return version


def _create(engine: Engine) -> int:
    """Make the tables that are missing; each version so far has only added some."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Readers and a writer at the same time; the file keeps this setting.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql(_ALONE[engine.dialect.name])
        _METADATA.create_all(connection)
        version = _read_version(connection)
        if version is None or version < SCHEMA_VERSION:  # else another process was quicker
            version = SCHEMA_VERSION
            connection.execute(insert(_VERSIONS).values(version=version))
        connection.commit()
    return version
