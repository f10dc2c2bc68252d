"""How the database of a `TransitionStore` is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store._migrations import migrate, read_version, renumber_restored
from detailed_balance.callbacks.store._schema import METADATA, SCHEMA_VERSION

__all__ = [
    "begin",
    "driver_of",
    "file_of",
    "find_file",
    "find_version",
    "is_in_memory",
    "locate",
    "open_engine",
    "parse_url",
    "reopen",
]

_BACKENDS = ("sqlite", "postgresql")

# A server may not answer at all, or no more: then give up after 10 s. Words of libpq.
_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 10_000}


def is_in_memory(url: URL) -> bool:
    """Say whether the database lives in this process alone."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def file_of(url: URL) -> Path:
    """Return the path of an SQLite file, which may be given as ``file:runs.db?mode=ro&uri=true``.

    Examples
    --------
    >>> print(file_of(make_url("sqlite:///file:runs.db?mode=ro&uri=true")))
    runs.db
    """
    return Path((url.database or "").removeprefix("file:"))


def locate(store: str) -> str:
    """Return the URL of a store, given as URL or as path, that means the same in every folder.

    Raises
    ------
    InvalidInputError
        Where it is not a URL of a database that is supported.
    ReadError
        Where the folder of its file is not there.

    Examples
    --------
    >>> locate("sqlite:////tmp/runs.db"), locate("/tmp/runs.db")
    ('sqlite:////tmp/runs.db', 'sqlite:////tmp/runs.db')
    """
    url = _parse_store_url(store) if "://" in store else URL.create("sqlite", database=store)
    if url.get_backend_name() == "sqlite" and not is_in_memory(url):
        is_uri = (url.database or "").startswith("file:")
        url = url.set(database=f"{'file:' if is_uri else ''}{file_of(url).absolute()}")
        _check_file(url, create=True)
    return url.render_as_string(hide_password=False)


def driver_of(url: str) -> str:
    """Return the name of the module by which a database is reached.

    Examples
    --------
    >>> driver_of("sqlite://"), driver_of("postgresql+psycopg://host/runs")
    ('sqlite3', 'psycopg')
    """
    driver = make_url(url).get_dialect().driver
    return "sqlite3" if driver == "pysqlite" else str(driver)


def find_file(url: URL) -> tuple[int, int] | None:
    """Return what identifies the file of a database, even where another replaced it; or None."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return None
    try:
        found = file_of(url).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def find_version(engine: Engine) -> int:
    """Return the version of the tables, 0 where there are none."""
    with engine.connect() as connection:
        return read_version(connection) or 0


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction; a file that was damaged while it was open is said to be so.

    Raises
    ------
    ReadError
        Where SQLite finds that the file was truncated or overwritten.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except DatabaseError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise ReadError(
            f"{hide_secrets(engine.url)} is damaged: it was truncated or overwritten "
            f"({error.orig}); put back a copy, or begin with a new file"
        ) from error


def reopen(engine: Engine) -> None:
    """Make the store of `engine` again, where its file was deleted."""
    engine.dispose()
    _check_file(engine.url, create=True)
    _prepare(engine, create=True)


def open_engine(url: str | URL, *, create: bool, durable: bool = False) -> Engine:
    """Connect to a store, made where there is none and `create`.

    What is committed survives the death of the process, and that of the machine if `durable`.

    Raises
    ------
    InvalidInputError
        Where `url` is not a URL of a database that is supported and installed.
    ReadError
        Where it cannot be opened, is not a store, or is one of a newer version.
    """
    engine = _make_engine(_parse_store_url(url), durable)
    try:
        _check_file(engine.url, create)
        _prepare(engine, create)
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        engine.dispose()
        reason = hide_secrets(getattr(error, "orig", error))
        raise ReadError(f"cannot open {hide_secrets(engine.url)}: {reason}") from error
    except ReadError:
        engine.dispose()
        raise
    return engine


def parse_url(url: str | URL) -> URL:
    """Return the parts of the URL of a database; no error shows what is secret in it.

    Raises
    ------
    InvalidInputError
        Where it is none.

    Examples
    --------
    >>> parse_url("postgresql://me@host/runs").host
    'host'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # such as a port that is not a number
        raise InvalidInputError(
            f"{hide_secrets(url)!r} is not a database URL; the file x.db is written 'sqlite:///x.db'"
        ) from None
    if "@" in (parsed.host or ""):  # a driver would name the rest of the password as the host
        raise InvalidInputError(
            f"{hide_secrets(url)!r} has an @ in its password; it is written %40 there"
        )
    return parsed


def _parse_store_url(url: str | URL) -> URL:
    parsed = parse_url(url)
    if parsed.get_backend_name() not in _BACKENDS:
        raise InvalidInputError(
            f"{parsed.get_backend_name()!r} is not a database that a store can live in; use "
            "'sqlite:///file.db' or 'postgresql+psycopg://user@host/database'"
        )
    return parsed


def _make_engine(url: URL, durable: bool) -> Engine:
    # What is written is what agents said, so it stands in no message.
    settings: dict[str, Any] = {"hide_parameters": True}
    if is_in_memory(url):
        settings |= {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    elif url.get_backend_name() == "postgresql":
        settings["connect_args"] = {
            name: value for name, value in _PATIENCE.items() if name not in url.query
        }
    try:
        engine = create_engine(url, pool_pre_ping=not is_in_memory(url), **settings)
    except (ImportError, NoSuchModuleError) as error:
        raise InvalidInputError(
            f"the driver of {url.drivername!r} is not installed ({error}); for PostgreSQL install "
            "'detailed-balance[postgres]' and write 'postgresql+psycopg://...'"
        ) from error
    except (ArgumentError, TypeError, ValueError) as error:  # a parameter has a wrong value
        reason = hide_secrets(error)
        raise InvalidInputError(f"{hide_secrets(url)} cannot be used: {reason}") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", partial(_set_up_sqlite, durable=durable))
    return engine


def _set_up_sqlite(connection: Any, _: object, *, durable: bool) -> None:
    # With a write-ahead log, NORMAL survives the death of the process, and does not wait for
    # the disk at each commit. The next is the time to wait for another writer; the last how many
    # pages the log has before it is brought into the file: the indexes touch many each time.
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("PRAGMA wal_autocheckpoint = 10000")


def _check_file(url: URL, create: bool) -> None:
    """Refuse a file that is not there; SQLite would make it."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return
    path = file_of(url)
    if create and not path.absolute().parent.is_dir():
        raise ReadError(f"cannot open {path}: there is no folder {path.absolute().parent}")
    if not create and not path.exists():
        raise ReadError(f"there is no store {path}")


def _prepare(engine: Engine, create: bool) -> None:
    """Make the tables where they are missing, and check their version."""
    with engine.connect() as connection:
        version = read_version(connection)
    if version is None and not create:
        raise ReadError(f"{hide_secrets(engine.url)} holds no recorded transitions")
    if version is None or (create and version < SCHEMA_VERSION):
        version = migrate(engine)
    if version > SCHEMA_VERSION:
        raise ReadError(
            f"{hide_secrets(engine.url)} has schema version {version}, this library knows "
            f"{SCHEMA_VERSION}; install a newer detailed-balance"
        )
    if version == SCHEMA_VERSION:
        _check_tables(engine)
    if create and engine.dialect.name == "postgresql":
        renumber_restored(engine)


def _check_tables(engine: Engine) -> None:
    """Refuse a database whose tables are others than its version says."""
    with engine.connect() as connection:
        there = inspect(connection).get_multi_columns(filter_names=list(METADATA.tables))
        columns = {name: {column["name"] for column in each} for (_, name), each in there.items()}
        for name, table in METADATA.tables.items():
            found = columns.get(name, set())
            if missing := [column.name for column in table.columns if column.name not in found]:
                lacks = f"has no column {', '.join(missing[:5])}" if found else "is missing"
                raise ReadError(
                    f"{hide_secrets(engine.url)} is no store of version {SCHEMA_VERSION}, as it "
                    f"says: its table {name} {lacks}; put back a copy, or begin with a new one"
                )
