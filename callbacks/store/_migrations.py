"""How the tables of an older store become those of now, one version after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select, text, update

from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    METADATA,
    SCHEMA_VERSION,
    TRANSITIONS,
    VERSIONS,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["migrate", "read_version", "renumber_restored"]

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

    They were restored from the dump of another server; whoever reads along would not see them.
    """
    with engine.begin() as connection:
        following = text("pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        for table in (TRANSITIONS, ENDINGS):
            newest = select(func.max(table.c.written)).scalar_subquery()
            if connection.scalar(select(newest >= following)):
                old = update(table).where(table.c.written >= following)
                connection.execute(old.values(written=0))
