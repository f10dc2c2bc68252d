"""Stretches of recorded runs that hold certain moves, as examples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.callbacks.store._rows import HIDDEN_SOURCE
from detailed_balance.callbacks.store._schema import (
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
    decode_text,
    digest,
    encode_text,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from detailed_balance.callbacks.store.store import TransitionStore

__all__ = ["Excerpt", "find_excerpts"]

_SEARCHED = 200_000
"""Of the moves recorded last; so an example costs no more on a large store than on a small one."""

_BEFORE, _AFTER = 4, 16


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A stretch of one run.

    Parameters
    ----------
    trajectory : str
        The run.
    moves : tuple of (str, str or None)
        Its moves from shortly before the first that was asked for; None is an escape.
    hits : int
        How many of the moves searched are those asked for.
    time : float or None
        When the last of them was made, in seconds since 1970 (UTC).
    """

    trajectory: str
    moves: tuple[tuple[str, str | None], ...]
    hits: int
    time: float | None


def find_excerpts(
    store: TransitionStore,
    moves: Collection[tuple[str, str]],
    *,
    context: ContextLike = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 3,
) -> tuple[Excerpt, ...]:
    """Return stretches of the runs that made all of `moves` last, latest first.

    Only the 200,000 transitions recorded last are searched.

    Examples
    --------
    >>> from detailed_balance import Transition, TransitionStore
    >>> with TransitionStore("sqlite://") as store:
    ...     path = ["plan", "search", "read", "plan", "answer"]
    ...     store.append([Transition(*move, "run") for move in zip(path, path[1:])])
    ...     excerpt, = find_excerpts(store, [("search", "read"), ("read", "plan")])
    >>> excerpt.trajectory, excerpt.hits, len(excerpt.moves)
    ('run', 2, 4)
    """
    if not moves:
        return ()
    table = TRANSITIONS.c
    last = store._fetch(select(func.max(table.id)))[0][0] or 0
    chosen = store._conditions(TRANSITIONS, None, context, since, until)
    made = [
        and_(table.source_id == _number(source), table.target_id == _number(target))
        for source, target in moves
    ]
    hits = (
        select(table.trajectory_id, func.min(table.id), func.count(), func.max(table.time))
        .where(*chosen, table.id > last - _SEARCHED, table.trajectory_id.is_not(None))
        .where(or_(*made))
        .group_by(table.trajectory_id)
        .having(func.count(table.source_id.distinct()) == len({source for source, _ in moves}))
        .order_by(func.max(table.id).desc())
        .limit(limit)
    )
    return tuple(_read_excerpt(store, *row) for row in store._fetch(hits))


def _number(state: str) -> int:
    return digest(encode_text(state))


def _read_excerpt(
    store: TransitionStore, trajectory: int, first: int, hits: int, time: float | None
) -> Excerpt:
    key = TRANSITIONS.c.id
    before = _read_moves(store, trajectory, key < first, key.desc(), _BEFORE)[::-1]
    after = _read_moves(store, trajectory, key >= first, key, _AFTER)
    names = TRAJECTORIES.c
    (name,) = store._fetch(select(names.name).where(names.id == trajectory))[0]
    return Excerpt(decode_text(name), (*before, *after), hits, time)


def _read_moves(
    store: TransitionStore, trajectory: int, where: ColumnElement[bool], order: Any, limit: int
) -> list[tuple[str, str | None]]:
    table, sources, targets = TRANSITIONS.c, STATES.alias(), STATES.alias()
    query = (
        select(sources.c.name, targets.c.name)
        .select_from(TRANSITIONS)
        .join(sources, table.source_id == sources.c.id)
        .outerjoin(targets, table.target_id == targets.c.id)
        .where(table.trajectory_id == trajectory, table.source_id != HIDDEN_SOURCE, where)
        .order_by(order)
        .limit(limit)
    )
    return [
        (decode_text(source), None if target is None else decode_text(target))
        for source, target in store._fetch(query)
    ]
