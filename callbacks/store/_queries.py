"""The questions that a `TransitionStore` asks its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import BigInteger, Column, bindparam, cast, func, select

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store._rows import decode_context, digest, encode_text
from detailed_balance.callbacks.store._schema import (
    CONTEXTS,
    ENDINGS,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
)
from detailed_balance.callbacks.transition import Context, ContextLike, matches_context

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable, Select, Table
    from sqlalchemy.engine import Connection

SortKey: TypeAlias = Sequence[Column[Any]]
"""The columns that rows are ordered by, and that each row read begins with."""

_SOURCES, _TARGETS = STATES.alias("sources"), STATES.alias("targets")


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
