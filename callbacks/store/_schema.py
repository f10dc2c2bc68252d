"""The tables of a `TransitionStore`, and how those of an older version become those of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

SCHEMA_VERSION = 3
"""The version of the tables that this library writes; it reads the older ones too."""

METADATA = MetaData()
"""All tables. Their prefix keeps them apart from those of an application in the same database."""

_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by INTEGER alone


class _Writing(FunctionElement[int]):
    """The number of the transaction that writes a row."""

    inherit_cache = True


@compiles(_Writing, "sqlite")
def _write_zero(*_: Any, **__: Any) -> str:
    return "0"  # there is one writer at a time, so the ids are in the order of the commits


@compiles(_Writing, "postgresql")
def _write_number(*_: Any, **__: Any) -> str:
    return "(pg_current_xact_id()::text::bigint)"


VERSIONS = Table(
    "detailed_balance_versions",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""The versions that the tables have had; the greatest is what they are now."""


def _name_table(kind: str) -> Table:
    return Table(
        f"detailed_balance_{kind}",
        METADATA,
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
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("trajectory_id", _BIG),
    Column("context_id", _BIG, nullable=False),
    Column("step", _BIG),
    Column("time", Double),
    Column("source_id", _BIG, nullable=False),
    Column("target_id", _BIG),
    Column("count", _BIG, nullable=False),
    Column("written", _BIG, nullable=False, server_default=_Writing()),
    Index("detailed_balance_by_trajectory", "trajectory_id", "id"),
    Index("detailed_balance_by_context", "context_id", "id"),
    Index("detailed_balance_by_time", "time", "id"),
    Index("detailed_balance_by_writing", "written", "id").ddl_if(dialect="postgresql"),
)
"""The moves, numbered as they were recorded; no target is an escape.

`written` is the transaction on PostgreSQL, where a lower id may be committed later; else 0.
"""

ENDINGS = Table(
    "detailed_balance_endings",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("trajectory_id", _BIG),
    Column("context_id", _BIG, nullable=False),
    Column("time", Double),
    Column("outcome", Text),
    Column("error", Text),
    Column("success", Integer),
    Column("written", _BIG, nullable=False, server_default=_Writing()),
    Index("detailed_balance_endings_by_trajectory", "trajectory_id", "id"),
    Index("detailed_balance_endings_by_writing", "written", "id").ddl_if(dialect="postgresql"),
)
"""How trajectories stopped, and what was judged of them; since version 2.

`written` is the transaction on PostgreSQL, the id of the last transition before it on SQLite.
"""

WRITERS = Table(
    "detailed_balance_writers",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("sequence", _BIG, nullable=False),
    Column("time", Double, nullable=False),
)
"""The number of the last batch of each writer, so that none is written twice; since version 3."""

NAMES_WRITER = 0
"""Not a writer: here `WRITERS` counts how often names were deleted."""

NAMES_LOCK = 2512010048
"""The advisory lock of PostgreSQL that writers share, and that takes who deletes names."""

# What a transaction begins with that must be alone: the creation of the tables.
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(2512010047)",
}

# What makes each version of the one before it. Written out, for what was then does not change.
_STEPS: dict[int, dict[str, tuple[str, ...]]] = {
    2: {
        "sqlite": (
            "CREATE TABLE detailed_balance_endings (id INTEGER NOT NULL PRIMARY KEY,"
            " trajectory_id INTEGER, context_id INTEGER NOT NULL, time DOUBLE, outcome TEXT,"
            " error TEXT, success INTEGER)",
            "CREATE INDEX detailed_balance_endings_by_trajectory"
            " ON detailed_balance_endings (trajectory_id, id)",
        ),
        "postgresql": (
            "CREATE TABLE detailed_balance_endings (id BIGSERIAL PRIMARY KEY,"
            " trajectory_id BIGINT, context_id BIGINT NOT NULL, time DOUBLE PRECISION,"
            " outcome TEXT, error TEXT, success INTEGER)",
            "CREATE INDEX detailed_balance_endings_by_trajectory"
            " ON detailed_balance_endings (trajectory_id, id)",
        ),
    },
    3: {
        "sqlite": (
            "ALTER TABLE detailed_balance_transitions ADD COLUMN written INTEGER"
            " NOT NULL DEFAULT 0",
            "ALTER TABLE detailed_balance_endings ADD COLUMN written INTEGER NOT NULL DEFAULT 0",
            "UPDATE detailed_balance_endings SET written ="
            " (SELECT coalesce(max(id), 0) FROM detailed_balance_transitions)",
            "CREATE TABLE detailed_balance_writers (id INTEGER NOT NULL PRIMARY KEY,"
            " sequence INTEGER NOT NULL, time DOUBLE NOT NULL)",
        ),
        "postgresql": (
            # The rows that are there come before all transactions; this rewrites no table.
            "ALTER TABLE detailed_balance_transitions ADD COLUMN written BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE detailed_balance_endings ADD COLUMN written BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE detailed_balance_transitions ALTER COLUMN written"
            " SET DEFAULT (pg_current_xact_id()::text::bigint)",
            "ALTER TABLE detailed_balance_endings ALTER COLUMN written"
            " SET DEFAULT (pg_current_xact_id()::text::bigint)",
            "CREATE INDEX detailed_balance_by_writing"
            " ON detailed_balance_transitions (written, id)",
            "CREATE INDEX detailed_balance_endings_by_writing"
            " ON detailed_balance_endings (written, id)",
            "CREATE TABLE detailed_balance_writers (id BIGINT PRIMARY KEY,"
            " sequence BIGINT NOT NULL, time DOUBLE PRECISION NOT NULL)",
        ),
    },
}


def read_version(connection: Connection) -> int | None:
    """Return the version of the tables; None where there are none."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    version: int | None = connection.scalar(select(func.max(VERSIONS.c.version)))
    return version


def migrate(engine: Engine) -> int:
    """Make the tables, or bring them up to date; return their version.

    A store of a newer version is left as it is. All is done in one transaction, one process at a
    time, so that a store is never between two versions.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Readers and a writer at the same time; the file keeps this setting.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql(_ALONE[engine.dialect.name])
        version = read_version(connection)  # another process may have been quicker
        if version is None:
            METADATA.create_all(connection)
        for step in range((version or SCHEMA_VERSION) + 1, SCHEMA_VERSION + 1):
            for statement in _STEPS[step][engine.dialect.name]:
                connection.exec_driver_sql(statement)
        if version is None or version < SCHEMA_VERSION:
            version = SCHEMA_VERSION
            connection.execute(insert(VERSIONS).values(version=version))
        connection.commit()
    return version


def renumber_restored(engine: Engine) -> None:
    """Put rows before all others whose transactions this server has not come to yet.

    They were restored from the dump of another server; incremental readers would not see them.
    """
    with engine.begin() as connection:
        following = text("pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        for table in (TRANSITIONS, ENDINGS):
            newest = select(func.max(table.c.written)).scalar_subquery()
            if connection.scalar(select(newest >= following)):
                old = update(table).where(table.c.written >= following)
                connection.execute(old.values(written=0))
