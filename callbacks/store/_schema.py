"""The tables of a `TransitionStore`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = [
    "CONTEXTS",
    "ENDINGS",
    "METADATA",
    "NAMES_WRITER",
    "SCHEMA_VERSION",
    "STATES",
    "TRAJECTORIES",
    "TRANSITIONS",
    "VERSIONS",
    "WRITERS",
]

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
