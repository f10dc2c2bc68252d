"""The tables of a `TransitionStore`, and what names are in them."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
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
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SCHEMA_VERSION = 5
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


WRITING = _Writing()
"""What `written` is for a row of this transaction, on PostgreSQL."""


# No database keeps NUL or a lone surrogate in a text, so they become SUBSTITUTE (U+001A) and four
# hexadecimal digits; so does SUBSTITUTE itself, which makes it reversible.
_UNSTORABLE = re.compile("[\x00\x1a\ud800-\udfff]")
_STORED = re.compile("\x1a([0-9a-f]{4})")


def encode_text(text: str) -> str:
    r"""Return `text` as every database can keep it; ordinary text stays as it is.

    Examples
    --------
    >>> encode_text("plan"), encode_text("nul \x00")
    ('plan', 'nul \x1a0000')
    >>> decode_text(encode_text("nul \x00")) == "nul \x00"
    True
    """
    return _UNSTORABLE.sub(lambda found: f"\x1a{ord(found[0]):04x}", text)


def decode_text(text: str) -> str:
    """Return the text that `encode_text` was given."""
    if "\x1a" not in text:
        return text
    return _STORED.sub(lambda found: chr(int(found[1], 16)), text)


def digest(text: str) -> int:
    """Return the id of an encoded text, a signed 64-bit number."""
    return _short_digest(text) if len(text) < 200 else _digest(text)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


_short_digest = lru_cache(maxsize=65_536)(_digest)


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
    Column("run_id", _BIG),
    Column("failed", Integer),
    Column("call", _BIG),
    Column("answer", _BIG),
    Column("repeats", Integer),
    Column("stale", Integer),
    Column("call_size", _BIG),
    Column("answer_size", _BIG),
    Column("tokens", _BIG),
    Column("cost", Double),
    Column("resumed", Integer),
    Index("detailed_balance_by_trajectory", "trajectory_id", "id"),
    Index("detailed_balance_by_context", "context_id", "id"),
    Index("detailed_balance_by_time", "time", "id"),
    Index("detailed_balance_by_writing", "written", "id").ddl_if(dialect="postgresql"),
)
"""The moves, numbered as they were recorded; no target is an escape.

`written` is the transaction on PostgreSQL, where a lower id may be committed later; else 0. Since
version 4 they have a run and facts; where `failed` is null, there are no facts. `resumed` is one of
them since version 5; null is no.
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
    Column("run_id", _BIG),
    Column("supersteps", _BIG),
    Column("standing", Text),
    Index("detailed_balance_endings_by_trajectory", "trajectory_id", "id"),
    Index("detailed_balance_endings_by_writing", "written", "id").ddl_if(dialect="postgresql"),
)
"""How trajectories stopped, and what was judged of them; since version 2.

`written` is the transaction on PostgreSQL, the id of the last transition before it on SQLite. Since
version 4 they have a run, its supersteps, and where it stood, as JSON.
"""

RUNS = Table(
    "detailed_balance_runs",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("digest", _BIG, nullable=False),
    Column("name", Text, nullable=False),
    Column("trajectory_id", _BIG),
    Column("context_id", _BIG, nullable=False),
    Column("time", Double),
    Column("thread", Text),
    Column("parent", Text),
    Column("origin", Text),
    Column("past_unknown", Integer, nullable=False),
    Column("task", Text),
    Column("superstep", _BIG),
    Column("replays", Integer),
    Column("follows", _BIG),
    Column("continues", Text),
    Column("source_id", _BIG),
    Column("waits", Integer, nullable=False),
    Index("detailed_balance_runs_by_digest", "digest", unique=True),
    Index("detailed_balance_runs_by_trajectory", "trajectory_id", "waits"),
)
"""The runs, and the invocations in other processes that go on with one; since version 4.

Transitions and endings have the digest of their run as `run_id`. An invocation `follows` another,
by its digest, and `continues` the first of them, by its name; `source_id` is where it went on from.
What `waits` says stands in `_runs`.
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


def insert_for(table: Table, connection: Connection) -> Any:
    """Return the insertion of the database's own dialect, which can do nothing on a conflict."""
    own = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return own[connection.dialect.name](table)
