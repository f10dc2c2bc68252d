"""Transitions and endings as rows of tables, whatever their texts hold, and queries for them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import BigInteger, Column, Double, bindparam, cast, func, select
from sqlalchemy.exc import DataError, OperationalError

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.store._schema import (
    CONTEXTS,
    ENDINGS,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
)
from detailed_balance.callbacks.transition import (
    Context,
    ContextLike,
    Ending,
    Transition,
    make_context,
    matches_context,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable, Select, Table
    from sqlalchemy.engine import Connection

# No database keeps NUL or a lone surrogate in a text, so they become SUBSTITUTE (U+001A) and four
# hexadecimal digits; so does SUBSTITUTE itself, which makes it reversible.
_UNSTORABLE = re.compile("[\x00\x1a\ud800-\udfff]")
_STORED = re.compile("\x1a([0-9a-f]{4})")

SortKey: TypeAlias = Sequence[Column[Any]]
"""The columns that rows are ordered by, and that each row read begins with."""

_SOURCES, _TARGETS = STATES.alias("sources"), STATES.alias("targets")


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
    return _STORED.sub(lambda found: chr(int(found[1], 16)), text)


@lru_cache(maxsize=4096)
def encode_context(context: Context) -> str:
    """Return the labels as JSON, always the same for the same labels.

    Examples
    --------
    >>> encode_context((("model", "gpt-4o"), ("version", "2")))
    '{"model":"gpt-4o","version":"2"}'
    """
    labels = {encode_text(name): encode_text(value) for name, value in context}
    return json.dumps(labels, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def decode_context(labels: str) -> Context:
    """Return the context that `encode_context` was given."""
    found = json.loads(labels).items()
    return make_context({decode_text(name): decode_text(value) for name, value in found})


def digest(text: str) -> int:
    """Return the id of an encoded text, a signed 64-bit number."""
    return _short_digest(text) if len(text) < 200 else _digest(text)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


_short_digest = lru_cache(maxsize=65_536)(_digest)


class TableRow(NamedTuple):
    """A transition or an ending as it is written: its names, which have own tables, and columns."""

    table: Table
    labels: str
    trajectory: str | None
    states: tuple[str | None, ...]
    columns: dict[str, Any]


def to_row(record: Transition | Ending) -> TableRow:
    """Return a transition or an ending as it is written.

    Raises
    ------
    InvalidInputError
        Where a field has a value that no database could keep.
    """
    return _ending_to_row(record) if isinstance(record, Ending) else _transition_to_row(record)


def to_rows(
    records: Iterable[Transition | Ending], refused: list[str] | None = None
) -> list[TableRow]:
    """Return records as they are written.

    Parameters
    ----------
    records : iterable of Transition or Ending
        What is to be written.
    refused : list of str, optional
        Takes the reasons why some cannot be, which are left out; None to raise.
    """
    rows = []
    for record in records:
        try:
            rows.append(to_row(record))
        except Exception as error:
            if refused is None:
                raise
            refused.append(repr(error))
    return rows


def _transition_to_row(transition: Transition) -> TableRow:
    _check_transition(transition)
    labels = _encode_labels(transition.context)
    trajectory = _encode(transition.trajectory)
    source, target = encode_text(transition.source), _encode(transition.target)
    columns = {
        "trajectory_id": None if trajectory is None else digest(trajectory),
        "context_id": digest(labels),
        "step": transition.step,
        "time": transition.time,
        "source_id": digest(source),
        "target_id": None if target is None else digest(target),
        "count": transition.count,
    }
    return TableRow(TRANSITIONS, labels, trajectory, (source, target), columns)


def _ending_to_row(ending: Ending) -> TableRow:
    _check(ending, _ENDING_TYPES)
    _check_time(ending)
    if ending.outcome is not None and ending.outcome not in tuple(Outcome):
        raise InvalidInputError(
            f"outcome of an ending must be one of {', '.join(Outcome)}; got {ending.outcome!r}"
        )
    labels, trajectory = _encode_labels(ending.context), _encode(ending.trajectory)
    columns = {
        "trajectory_id": None if trajectory is None else digest(trajectory),
        "context_id": digest(labels),
        "time": ending.time,
        "outcome": None if ending.outcome is None else str(ending.outcome),
        "error": _encode(ending.error),
        "success": None if ending.success is None else int(ending.success),
    }
    return TableRow(ENDINGS, labels, trajectory, (), columns)


def ending_from_row(
    contexts: dict[int, Context],
    trajectory: str | None,
    context: int,
    time: float | None,
    outcome: str | None,
    error: str | None,
    success: int | None,
) -> Ending:
    """Return the ending that was written as this row."""
    return Ending(
        _decode(trajectory),
        None if outcome is None else Outcome(outcome),
        _decode(error),
        None if success is None else bool(success),
        contexts[context],
        time,
    )


def _encode_labels(context: Context) -> str:
    try:
        return encode_context(make_context(context))
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"context of a transition must be (name, value) pairs of str; got {context!r}"
        ) from None


def names_of(rows: list[TableRow]) -> dict[Table, set[str | None]]:
    """Return the names in `rows`, by the table that they belong to."""
    return {
        CONTEXTS: {row.labels for row in rows},
        TRAJECTORIES: {row.trajectory for row in rows},
        STATES: {name for row in rows for name in row.states},
    }


def from_row(
    contexts: dict[int, Context],
    source: str,
    target: str | None,
    trajectory: str | None,
    context: int,
    *rest: Any,
) -> Transition:
    """Return the transition that was written as this row; `rest` is its step, time and count."""
    names = (decode_text(source), _decode(target), _decode(trajectory))
    return Transition(*names, contexts[context], *rest)


def _decode(text: str | None) -> str | None:
    return None if text is None else decode_text(text)


def _encode(text: str | None) -> str | None:
    return None if text is None else encode_text(text)


_TYPES: dict[str, tuple[type, ...]] = {
    "source": (str,),
    "target": (str, NoneType),
    "trajectory": (str, NoneType),
    "step": (int, NoneType),
    "time": (float, int, NoneType),
    "count": (int,),
}
_ENDING_TYPES: dict[str, tuple[type, ...]] = {
    "trajectory": (str, NoneType),
    "outcome": (str, NoneType),
    "error": (str, NoneType),
    "success": (bool, NoneType),
    "time": (float, int, NoneType),
}


def _check_transition(transition: Transition) -> None:
    """Refuse what no database could keep."""
    _check(transition, _TYPES)
    _check_time(transition)
    if not 1 <= transition.count < 2**63 or abs(transition.step or 0) >= 2**63:
        raise InvalidInputError(
            f"a transition needs a count of 1 or more and a step, both of at most 63 bits; got "
            f"{transition!r}"
        )


def _check_time(record: Transition | Ending) -> None:
    try:
        valid = record.time is None or math.isfinite(record.time)
    except OverflowError:
        valid = False
    if not valid:
        raise InvalidInputError(f"a time is finite, in seconds since 1970; got {record.time!r}")


def _check(record: Transition | Ending, allowed_types: dict[str, tuple[type, ...]]) -> None:
    for name, types in allowed_types.items():
        value = getattr(record, name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            allowed = " or ".join("None" if kind is NoneType else kind.__name__ for kind in types)
            what = "a transition" if isinstance(record, Transition) else "an ending"
            raise InvalidInputError(f"{name} of {what} must be {allowed}; got {value!r}")


def select_moves(key: SortKey, chosen: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Return the query of the transitions chosen, in the order of `key`."""
    table = TRANSITIONS.c
    names = (_SOURCES.c.name, _TARGETS.c.name, TRAJECTORIES.c.name)
    return (
        select(*key, *names, table.context_id, table.step, table.time, table.count)
        .select_from(TRANSITIONS)
        .join(_SOURCES, table.source_id == _SOURCES.c.id)
        .outerjoin(_TARGETS, table.target_id == _TARGETS.c.id)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen)
        .order_by(*key)
    )


def select_endings(key: SortKey, chosen: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Return the query of the endings chosen, in the order of `key`."""
    table = ENDINGS.c
    return (
        select(*key, TRAJECTORIES.c.name, table.context_id, table.time)
        .add_columns(table.outcome, table.error, table.success)
        .select_from(ENDINGS)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen)
        .order_by(*key)
    )


def select_edges(chosen: Sequence[ColumnElement[bool]]) -> Executable:
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


def fetch_edges(
    connection: Connection, chosen: Sequence[ColumnElement[bool]]
) -> list[tuple[str, str | None, int]]:
    """Return (source, target, count) over the transitions chosen, first seen first.

    Raises
    ------
    ReadError
        Where the counts of an edge add up to more than 63 bits.
    """
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
    return [(decode_text(source), _decode(target), count) for source, target, count in edges]


def read_contexts(connection: Connection) -> dict[int, Context]:
    """Return the contexts by their ids."""
    query = select(CONTEXTS.c.id, CONTEXTS.c.name)
    return {number: decode_context(labels) for number, labels in connection.execute(query)}


def context_condition(
    table: Table, contexts: dict[int, Context], wanted: ContextLike
) -> list[ColumnElement[bool]]:
    """Return the condition that a row carries all labels wanted; none where none is."""
    if not wanted:
        return []
    matching = [number for number, labels in contexts.items() if matches_context(labels, wanted)]
    # Written into the query: there may be more of them than a query may have parameters.
    numbers = bindparam(None, matching, BigInteger, expanding=True, literal_execute=True)
    return [table.c.context_id.in_(numbers)]


def conditions(
    table: Table, trajectory: str | None, since: float | None, until: float | None
) -> list[ColumnElement[bool]]:
    """Return the conditions that a row is of this agent run and of this time."""
    chosen: list[ColumnElement[bool]] = []
    if trajectory is not None:
        chosen.append(table.c.trajectory_id == digest(encode_text(trajectory)))
    if since is not None:
        chosen.append(table.c.time >= check_seconds(since))
    if until is not None:
        chosen.append(table.c.time < check_seconds(until))
    return chosen


def check_seconds(moment: float) -> float:
    """Return a moment that is a number, and refuse any other."""
    if not isinstance(moment, (int, float)):
        raise InvalidInputError(
            f"a time is given in seconds since 1970; got {moment!r} (a datetime gives them by "
            ".timestamp())"
        )
    return moment
