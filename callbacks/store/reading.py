"""What is read of a store as a whole: its moves as columns, and stretches of runs as examples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from sqlalchemy import and_, exists, func, literal_column, or_, select

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import Context, ContextLike
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.store._rows import (
    HIDDEN_SOURCE,
    WHOLE_RUN,
    fact_columns,
    fetch_rows,
    read_contexts,
)
from detailed_balance.callbacks.store._schema import (
    RUNS,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
    decode_text,
    digest,
    encode_text,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.engine import Connection

    from detailed_balance.callbacks.store.store import TransitionStore

__all__ = ["MISSING", "Excerpt", "MoveColumns", "find_excerpts", "read_moves"]

MISSING = -(2**63) + 1
"""What stands for null in a column of whole numbers."""

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


class MoveColumns(NamedTuple):
    """The moves of a store in the order recorded, (m,) arrays.

    Parameters
    ----------
    states, trajectories, runs : list of str
        The names that the columns hold places of. Those of runs are of whole runs, whatever went
        on with them.
    contexts : list of Context
        Likewise.
    source, target, trajectory, run, context : array of int64
        Places in these; -1 where there is none, of a target an escape.
    step : array of int64
        `MISSING` where there is none.
    time : array of float64
        Seconds since 1970 (UTC); NaN where there is none.
    number : array of int64
        How many moves each stands for.
    facts : dict of str to array
        The fields of `StepFacts` by name, numbers without missing ones -1, NaN for a cost, and
        ``known``; empty where no move has any.
    whole : bool
        Whether these are all moves of the store.
    """

    states: list[str]
    trajectories: list[str]
    runs: list[str]
    contexts: list[Context]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    trajectory: NDArray[np.int64]
    run: NDArray[np.int64]
    context: NDArray[np.int64]
    step: NDArray[np.int64]
    time: NDArray[np.float64]
    number: NDArray[np.int64]
    facts: dict[str, NDArray[Any]]
    whole: bool = True


_BASE = ("source_id", "target_id", "trajectory_id", "run_id", "context_id", "step", "time", "count")
_NULLABLE = ("target_id", "trajectory_id", "run_id", "step", "time", "failed")
_FLOATS = ("time", "cost")
_OF_RUNS = (RUNS.c.digest, WHOLE_RUN)


def read_moves(store: TransitionStore, last: int | None = None) -> MoveColumns:
    """Return the moves of a store as columns.

    Columns that say nothing are not read.

    Parameters
    ----------
    store : TransitionStore
        The store.
    last : int, optional
        Only about so many moves, those recorded last.

    Raises
    ------
    ReadError
        Where a column holds something else than numbers.

    Examples
    --------
    >>> from detailed_balance import Transition, TransitionStore
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "T1"), Transition("search", None, "T1")])
    ...     moves = read_moves(store)
    >>> [moves.states[place] for place in moves.source], (moves.target < 0).tolist()
    (['plan', 'search'], [False, True])
    """
    version, shown = store._version, store._conditions(TRANSITIONS)
    table = TRANSITIONS.c
    base = _BASE if version >= 4 else [name for name in _BASE if name != "run_id"]
    names = [*base, *fact_columns(version)]
    try:
        with store._transaction() as connection:
            _begin_snapshot(connection)
            recent = [] if last is None else _find_recent(connection, last)
            shown += recent
            columns = _read_columns(connection, names, shown)
            contexts = read_contexts(connection)
            states = _read_names(connection, STATES.c.id, STATES.c.name)
            named = [_among(TRAJECTORIES.c.id, table.trajectory_id, where) for where in recent]
            trajectories = _read_names(connection, TRAJECTORIES.c.id, TRAJECTORIES.c.name, *named)
            named = [_among(RUNS.c.digest, table.run_id, where) for where in recent]
            runs = ([], []) if version < 4 else _read_names(connection, *_OF_RUNS, *named)
    except (TypeError, ValueError, OverflowError) as error:
        raise ReadError(f"the store {store._name} holds values of wrong types") from error
    state_names, ids = states
    source, target = (_places(ids, columns[n]) for n in ("source_id", "target_id"))
    if (source < 0).any() or (target[columns["target_id"] != MISSING] < 0).any():
        raise ReadError(f"the store {store._name} has moves of states without a name")
    run_names, run_ids = runs
    whole: dict[str, int] = {}
    whole_of = np.array([whole.setdefault(n, len(whole)) for n in run_names] + [-1], dtype=np.int64)
    labels = list(contexts.values())
    run = whole_of[_places(run_ids, columns["run_id"])] if run_ids else np.full(len(source), -1)
    facts = {} if "failed" not in columns else _facts(columns)
    return MoveColumns(
        state_names,
        trajectories[0],
        list(whole),
        labels,
        source,
        target,
        _places(trajectories[1], columns["trajectory_id"]),
        run,
        _places(list(contexts), columns["context_id"]),
        columns["step"],
        columns["time"],
        columns["count"],
        facts,
        whole=not recent,
    )


def _find_recent(connection: Connection, last: int) -> list[ColumnElement[bool]]:
    """Return the condition that a move is one of the last; none where all are."""
    key = TRANSITIONS.c.id
    first, latest = (
        int(connection.execute(select(end(key))).scalar() or 0) for end in (func.min, func.max)
    )
    return [] if latest - last < first else [key > latest - last]


def _among(
    key: ColumnElement[Any], used: ColumnElement[Any], where: ColumnElement[bool]
) -> ColumnElement[bool]:
    return key.in_(select(used).where(where))


def _begin_snapshot(connection: Connection) -> None:
    """Let all queries of a transaction see the same moment."""
    words = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"}
    connection.exec_driver_sql(words[connection.dialect.name])


def _read_columns(
    connection: Connection, names: list[str], shown: list[ColumnElement[bool]]
) -> dict[str, NDArray[Any]]:
    """Read the columns that say something, and fill in the others; facts only where there are."""
    table = TRANSITIONS.c
    total = connection.execute(select(func.count()).where(*shown)).scalar_one()
    columns = {name: np.full(total, MISSING) for name in _BASE}
    columns["time"], columns["count"] = np.full(total, np.nan), np.full(total, 1)
    first, last = (
        connection.execute(select(end(table.context_id))).scalar_one_or_none()
        for end in (func.min, func.max)  # each by itself, which the index answers
    )
    columns["context_id"] = np.full(total, first or 0)
    read = ["source_id"] + ["context_id"] * (first != last)
    there = [
        name for name in names if name in _NULLABLE and _has(connection, table[name].is_not(None))
    ]
    read += [name for name in there if name != "failed"]
    read += ["count"] * _has(connection, table["count"] > 1)
    read += [name for name in names if name not in _BASE] if "failed" in there else ()
    kind = np.dtype([(name, _kind(name)) for name in read])
    query = select(*(_filled(table[name]) for name in read)).where(*shown).order_by(table.id)
    with connection.execute(query) as result:  # the rows of the driver: tuples, made faster
        rows = np.fromiter(cast("Any", result.cursor), dtype=kind, count=total)
    return columns | {name: rows[name].copy() for name in read}


def _has(connection: Connection, condition: ColumnElement[bool]) -> bool:
    """Say whether some move fulfils a condition."""
    return bool(connection.execute(select(exists().where(condition))).scalar_one())


def _kind(name: str) -> Any:
    return np.float64 if name in _FLOATS else np.int64


def _filled(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column with `MISSING` for null; null becomes NaN by itself in a float."""
    if column.name in _FLOATS or not column.nullable:
        return column
    return func.coalesce(column, literal_column(str(MISSING)))


def _facts(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    facts: dict[str, NDArray[Any]] = {"known": columns["failed"] != MISSING}
    nothing = np.full(len(columns["failed"]), MISSING)  # for a column of a later version
    for name in StepFacts._fields:
        values = columns.get(name, nothing)
        if name in ("failed", "repeats", "stale", "resumed"):
            facts[name] = (values != MISSING) & (values != 0)
        else:
            facts[name] = values if name in _FLOATS else np.where(values == MISSING, -1, values)
    return facts


def _read_names(
    connection: Connection,
    key: ColumnElement[Any],
    name: ColumnElement[Any],
    *chosen: ColumnElement[bool],
) -> tuple[list[str], list[int]]:
    """Return names, and their numbers."""
    rows = fetch_rows(connection, select(key, name).where(*chosen))
    return [decode_text(text) for _, text in rows], [number for number, _ in rows]


def _places(numbers: list[int], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each number of a column among `numbers`, -1 where it is not there."""
    if not numbers:
        return np.full(len(column), -1)
    known = np.array(numbers, dtype=np.int64)
    order = np.argsort(known)
    first = np.flatnonzero(np.append(True, column[1:] != column[:-1])[: len(column)])
    different = column[first]  # moves of one run often stand in a row
    place = np.minimum(np.searchsorted(known[order], different), len(known) - 1)
    found = np.where(known[order][place] == different, order[place], -1)
    return np.repeat(found, np.diff(np.append(first, len(column))))
