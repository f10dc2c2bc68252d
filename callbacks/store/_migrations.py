"""How the tables of an older version become those of now."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, insert, inspect, select, text, update

from detailed_balance.analyzers import START
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    METADATA,
    RUNS,
    SCHEMA_VERSION,
    TRANSITIONS,
    VERSIONS,
    digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

_START = digest(START)

_PAGE = 50_000
"""How many rows are read at once."""

# What a transaction begins with that must be alone: the creation of the tables.
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(2512010047)",
}


def _steps_to_4(big: str, key: str, real: str) -> tuple[str, ...]:
    """Return the SQL that makes version 4, with the types of a database."""
    prefix = "ALTER TABLE detailed_balance_"
    facts = (
        *(f"{name} INTEGER" for name in ("failed", "repeats", "stale")),
        *(f"{name} {big}" for name in ("call", "answer", "call_size", "answer_size", "tokens")),
    )
    return (
        *(f"{prefix}transitions ADD COLUMN {c}" for c in (f"run_id {big}", *facts, f"cost {real}")),
        *(
            f"{prefix}endings ADD COLUMN {column}"
            for column in (f"run_id {big}", f"supersteps {big}", "standing TEXT")
        ),
        f"CREATE TABLE detailed_balance_runs (id {key}, digest {big} NOT NULL, name TEXT NOT NULL,"
        f" trajectory_id {big}, context_id {big} NOT NULL, time {real}, thread TEXT, parent TEXT,"
        f" origin TEXT, past_unknown INTEGER NOT NULL, task TEXT, superstep {big},"
        f" replays INTEGER, follows {big}, continues TEXT, source_id {big},"
        " waits INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX detailed_balance_runs_by_digest ON detailed_balance_runs (digest)",
        "CREATE INDEX detailed_balance_runs_by_trajectory"
        " ON detailed_balance_runs (trajectory_id, waits)",
    )


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
    4: {
        "sqlite": _steps_to_4("INTEGER", "INTEGER NOT NULL PRIMARY KEY", "DOUBLE"),
        "postgresql": _steps_to_4("BIGINT", "BIGSERIAL PRIMARY KEY", "DOUBLE PRECISION"),
    },
    5: dict.fromkeys(
        ("sqlite", "postgresql"),
        ("ALTER TABLE detailed_balance_transitions ADD COLUMN resumed INTEGER",),
    ),
}


def read_version(connection: Connection) -> int | None:
    """Return the version of the tables; None where there are none.

    Raises
    ------
    ReadError
        Where a view stands for one of them: what it does when it is read, nobody knows.
    """
    if connection.dialect.name == "sqlite":
        views = {name.lower() for name in inspect(connection).get_view_names()}
        if ours := sorted(views & METADATA.tables.keys()):
            raise ReadError(f"{ours[0]} is a view and not a table: this is not a store of ours")
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
            if step == 4:
                _name_runs(connection)
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


class _OldRun(NamedTuple):
    """A run of an older version, which had no id."""

    trajectory: int
    name: str
    context: int
    began: float | None
    past_unknown: bool
    first: int


def _name_runs(connection: Connection) -> None:
    """Give each run an id: one begins with a trajectory, and at each START behind a move."""
    runs: defaultdict[int, list[_OldRun]] = defaultdict(list)
    has_moved: dict[int, bool] = {}
    last: dict[int, int] = {}
    for row in _read_moves(connection):
        key, own = row.trajectory_id, runs[row.trajectory_id]
        starts = row.source_id == _START
        if not own or (starts and has_moved[key]):
            name = f"{key % 2**64:016x}-{len(own) + 1}"
            own.append(_OldRun(key, name, row.context_id, row.time, not starts, row.id))
            has_moved[key] = False
        has_moved[key] |= row.target_id is not None
        last[key] = row.id
    for key, own in runs.items():
        ends = [*(run.first - 1 for run in own[1:]), last[key]]
        _write_runs(connection, own, ends)
    _assign_endings(connection, runs)


def _read_moves(connection: Connection) -> Iterator[Any]:
    """Yield the moves of trajectories, in order."""
    table, after = TRANSITIONS.c, -1
    columns = (table.id, table.trajectory_id, table.context_id, table.time)
    query = select(*columns, table.source_id, table.target_id)
    query = query.where(table.trajectory_id.is_not(None)).order_by(table.id).limit(_PAGE)
    while rows := connection.execute(query.where(table.id > after)).all():
        yield from rows
        after = rows[-1].id


def _write_runs(connection: Connection, runs: list[_OldRun], ends: list[int]) -> None:
    columns = [
        {
            "digest": digest(run.name),
            "name": run.name,
            "trajectory_id": run.trajectory,
            "context_id": run.context,
            "time": run.began,
            "past_unknown": int(run.past_unknown),
            "waits": 0,
        }
        for run in runs
    ]
    connection.execute(insert(RUNS), columns)
    table = TRANSITIONS.c
    here = table.trajectory_id == bindparam("of")
    own = here & table.id.between(bindparam("first"), bindparam("last"))
    connection.execute(
        update(TRANSITIONS).where(own).values(run_id=bindparam("run")),
        [
            {"of": run.trajectory, "first": run.first, "last": end, "run": digest(run.name)}
            for run, end in zip(runs, ends, strict=True)
        ],
    )


def _assign_endings(connection: Connection, runs: dict[int, list[_OldRun]]) -> None:
    """Give each ending to the last run of its trajectory that had begun by then."""
    table = ENDINGS.c
    rows = connection.execute(select(table.id, table.trajectory_id, table.time)).all()
    found = []
    for number, trajectory, time in rows:
        began = [-inf if run.began is None else run.began for run in runs.get(trajectory, ())]
        place = bisect_right(began, inf if time is None else time)
        if place:
            found.append({"number": number, "run": digest(runs[trajectory][place - 1].name)})
    if found:
        own = update(ENDINGS).where(table.id == bindparam("number"))
        connection.execute(own.values(run_id=bindparam("run")), found)
