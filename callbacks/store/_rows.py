"""Records as rows of tables, whatever their texts hold, and queries for them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import BigInteger, Column, bindparam, case, cast, false, func, select

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    make_context,
    matches_context,
)
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.store._schema import (
    CONTEXTS,
    ENDINGS,
    RUNS,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
    decode_text,
    digest,
    encode_text,
)
from detailed_balance.callbacks.transition import (
    RESUMED,
    Beginning,
    Ending,
    Record,
    Standing,
    Transition,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable, Select, Table
    from sqlalchemy.engine import Connection

SortKey: TypeAlias = Sequence[Column[Any]]
"""The columns that rows are ordered by, and that each row read begins with."""

_SOURCES, _TARGETS = STATES.alias("sources"), STATES.alias("targets")

_OUTCOMES = {str(outcome): outcome for outcome in Outcome}

_FACTS = StepFacts._fields
_get_facts = attrgetter(*_FACTS)

NO_FACTS = dict.fromkeys(_FACTS)
"""The columns of the facts of a step where none are known."""


def fact_columns(version: int) -> tuple[str, ...]:
    """Return the names of the columns of the facts of a step in the tables of a version."""
    return _FACTS if version >= 5 else _FACTS[:-1] if version == 4 else ()


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


HIDDEN_SOURCE = digest(RESUMED)
"""The source of moves that are not shown: where they came from is not known, or not yet."""


class TableRow(NamedTuple):
    """A record as it is written: its names, which have tables of their own, and its columns."""

    table: Table
    labels: str
    trajectory: str | None
    states: tuple[str | None, ...]
    run: str | None
    columns: dict[str, Any]


def to_row(record: Record) -> TableRow:
    """Return a record as it is written.

    Raises
    ------
    InvalidInputError
        Where a field has a value that no database could keep.
    """
    if isinstance(record, Ending):
        return _ending_to_row(record)
    return _beginning_to_row(record) if isinstance(record, Beginning) else _move_to_row(record)


def to_rows(records: Iterable[Record], refused: list[str] | None = None) -> list[TableRow]:
    """Return records as they are written.

    Parameters
    ----------
    records : iterable of Record
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


def _move_to_row(transition: Transition) -> TableRow:
    _check_transition(transition)
    labels = _encode_labels(transition.context)
    trajectory, trajectory_id = _name(transition.trajectory)
    run, run_id = _name(transition.run)
    source, source_id = _name(transition.source)
    target, target_id = _name(transition.target)
    columns: dict[str, Any] = {
        "trajectory_id": trajectory_id,
        "context_id": digest(labels),
        "step": transition.step,
        "time": transition.time,
        "source_id": source_id,
        "target_id": target_id,
        "count": transition.count,
        "run_id": run_id,
    }
    if transition.facts is not None:
        columns |= _facts_to_columns(transition.facts)
    return TableRow(TRANSITIONS, labels, trajectory, (source, target), run, columns)


def _facts_to_columns(facts: StepFacts) -> dict[str, Any]:
    values = _get_facts(facts)
    try:
        valid = max(map(abs, filter(None, values)), default=0) < 2**63
    except TypeError:
        valid = False
    if not valid:
        raise InvalidInputError(f"facts must be numbers of at most 63 bits; got {facts!r}")
    columns = dict(zip(_FACTS, values, strict=True))
    for name in ("failed", "repeats", "stale", "resumed"):
        columns[name] = int(columns[name])
    return columns


def _beginning_to_row(beginning: Beginning) -> TableRow:
    _check(beginning, _BEGINNING_TYPES)
    _check_time(beginning)
    labels, trajectory = _encode_labels(beginning.context), _encode(beginning.trajectory)
    run, resumes = encode_text(beginning.run), beginning.resumes
    columns = {
        "digest": digest(run),
        "name": run,
        "trajectory_id": _number(trajectory),
        "context_id": digest(labels),
        "time": beginning.time,
        "thread": _encode(beginning.thread),
        "parent": _encode(beginning.parent),
        "origin": _encode(beginning.origin),
        "past_unknown": int(beginning.past_unknown),
        "task": None if resumes is None else encode_text(resumes.task),
        "superstep": None if resumes is None else resumes.superstep,
        "replays": None if resumes is None else int(resumes.replays),
        "waits": int(resumes is not None and trajectory is not None),
    }
    return TableRow(RUNS, labels, trajectory, (), run, columns)


def beginning_of(row: TableRow) -> dict[str, Any]:
    """Return the columns of the run of a record, whose beginning is not there."""
    return {
        "digest": _number(row.run),
        "name": row.run,
        "trajectory_id": row.columns["trajectory_id"],
        "context_id": row.columns["context_id"],
        "time": row.columns["time"],
        "past_unknown": 0,
        "waits": 0,
    }


def _ending_to_row(ending: Ending) -> TableRow:
    _check(ending, _ENDING_TYPES)
    _check_time(ending)
    if ending.outcome is not None and ending.outcome not in tuple(Outcome):
        raise InvalidInputError(
            f"outcome of an ending must be one of {', '.join(Outcome)}; got {ending.outcome!r}"
        )
    labels, trajectory = _encode_labels(ending.context), _encode(ending.trajectory)
    run = _encode(ending.run)
    columns = {
        "trajectory_id": _number(trajectory),
        "context_id": digest(labels),
        "time": ending.time,
        "outcome": None if ending.outcome is None else str(ending.outcome),
        "error": _encode(ending.error),
        "success": None if ending.success is None else int(ending.success),
        "run_id": _number(run),
        "supersteps": ending.supersteps,
        "standing": None if ending.standing is None else json.dumps(ending.standing),
    }
    return TableRow(ENDINGS, labels, trajectory, (), run, columns)


def ending_from_row(
    contexts: dict[int, Context],
    trajectory: str | None,
    context: int,
    time: float | None,
    outcome: str | None,
    error: str | None,
    success: int | None,
    run: str | None = None,
    supersteps: int | None = None,
    standing: str | None = None,
) -> Ending:
    """Return the ending that was written as this row."""
    return Ending(
        decode_optional(trajectory),
        None if outcome is None else _OUTCOMES.get(outcome) or Outcome(outcome),
        decode_optional(error),
        None if success is None else bool(success),
        contexts[context],
        time,
        decode_optional(run),
        standing_from_text(standing),
        supersteps,
    )


def standing_from_text(text: str | None) -> Standing | None:
    """Return where a run stood, as it was written with its ending."""
    if text is None:
        return None
    state, superstep, tasks, names = json.loads(text)
    return Standing(state, superstep, tuple(tasks), tuple(names))


def _number(text: str | None) -> int | None:
    return None if text is None else digest(text)


def _name(text: str | None) -> tuple[str | None, int | None]:
    """Return a text as it is kept, and its id."""
    if text is None:
        return None, None
    return _short_name(text) if len(text) < 200 else _name_text(text)


def _name_text(text: str) -> tuple[str, int]:
    encoded = encode_text(text)
    return encoded, digest(encoded)


_short_name = lru_cache(maxsize=65_536)(_name_text)


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
        RUNS: {row.run for row in rows},
    }


def from_row(
    contexts: dict[int, Context],
    source: str,
    target: str | None,
    trajectory: str | None,
    context: int,
    step: int | None,
    time: float | None,
    count: int,
    run: str | None = None,
    *facts: Any,
) -> Transition:
    """Return the transition that was written as this row; one of a damaged store is refused."""
    if context not in contexts:
        raise ReadError(f"a move has the labels {context!r}, which are not there: it is damaged")
    names = (decode_text(source), decode_optional(target), decode_optional(trajectory))
    found = None if not facts or facts[0] is None else _facts_from_columns(*facts)
    return Transition(*names, contexts[context], step, time, count, decode_optional(run), found)


def _facts_from_columns(
    failed: int,
    call: int | None,
    answer: int | None,
    repeats: int,
    stale: int,
    call_size: int | None,
    answer_size: int | None,
    tokens: int | None,
    cost: float | None,
    resumed: int | None = None,
) -> StepFacts:
    flags = bool(failed), call, answer, bool(repeats), bool(stale)
    return StepFacts(*flags, call_size, answer_size, tokens, cost, bool(resumed))


def decode_optional(text: str | None) -> str | None:
    """Return the text that was encoded, or None."""
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
    "run": (str, NoneType),
    "facts": (StepFacts, NoneType),
}
_ENDING_TYPES: dict[str, tuple[type, ...]] = {
    "trajectory": (str, NoneType),
    "outcome": (str, NoneType),
    "error": (str, NoneType),
    "success": (bool, NoneType),
    "time": (float, int, NoneType),
    "run": (str, NoneType),
    "standing": (Standing, NoneType),
    "supersteps": (int, NoneType),
}
_BEGINNING_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("trajectory", "thread", "parent", "origin"), (str, NoneType)),
    "run": (str,),
    "time": (float, int, NoneType),
}
_FIELDS = {
    Transition: attrgetter(*_TYPES),
    Ending: attrgetter(*_ENDING_TYPES),
    Beginning: attrgetter(*_BEGINNING_TYPES),
}
_KINDS = {Transition: "a transition", Ending: "an ending", Beginning: "a beginning"}


def _check_transition(transition: Transition) -> None:
    """Refuse what no database could keep."""
    _check(transition, _TYPES)
    _check_time(transition)
    if not 1 <= transition.count < 2**63 or abs(transition.step or 0) >= 2**63:
        raise InvalidInputError(
            f"a transition needs a count of 1 or more and a step, both of at most 63 bits; got "
            f"{transition!r}"
        )


def _check_time(record: Record) -> None:
    try:
        valid = record.time is None or math.isfinite(record.time)
    except OverflowError:
        valid = False
    if not valid:
        raise InvalidInputError(f"a time is finite, in seconds since 1970; got {record.time!r}")


def _check(record: Record, allowed_types: dict[str, tuple[type, ...]]) -> None:
    values = _FIELDS[type(record)](record)
    if all(map(isinstance, values, allowed_types.values())) and bool not in map(type, values):
        return
    for (name, types), value in zip(allowed_types.items(), values, strict=True):
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            allowed = " or ".join("None" if kind is NoneType else kind.__name__ for kind in types)
            what = _KINDS[type(record)]
            raise InvalidInputError(f"{name} of {what} must be {allowed}; got {value!r}")


WHOLE_RUN = func.coalesce(RUNS.c.continues, RUNS.c.name)
"""The name of the run that a row belongs to, over all processes that went on with it."""


def select_moves(key: SortKey, chosen: Sequence[ColumnElement[bool]], version: int) -> Select[Any]:
    """Return the query of the transitions chosen, in the order of `key`."""
    table = TRANSITIONS.c
    names = (_SOURCES.c.name, _TARGETS.c.name, TRAJECTORIES.c.name)
    query = (
        select(*key, *names, table.context_id, table.step, table.time, table.count)
        .select_from(TRANSITIONS)
        .join(_SOURCES, table.source_id == _SOURCES.c.id)
        .outerjoin(_TARGETS, table.target_id == _TARGETS.c.id)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen)
        .order_by(*key)
    )
    if version < 4:
        return query
    query = query.add_columns(WHOLE_RUN, *(table[name] for name in fact_columns(version)))
    return query.outerjoin(RUNS, RUNS.c.digest == table.run_id)


def select_endings(
    key: SortKey, chosen: Sequence[ColumnElement[bool]], version: int
) -> Select[Any]:
    """Return the query of the endings chosen, in the order of `key`."""
    table = ENDINGS.c
    query = (
        select(*key, TRAJECTORIES.c.name, table.context_id, table.time)
        .add_columns(table.outcome, table.error, table.success)
        .select_from(ENDINGS)
        .outerjoin(TRAJECTORIES, table.trajectory_id == TRAJECTORIES.c.id)
        .where(*chosen)
        .order_by(*key)
    )
    if version < 4:
        return query
    query = query.add_columns(WHOLE_RUN, table.supersteps, table.standing)
    return query.outerjoin(RUNS, RUNS.c.digest == table.run_id)


def read_beginnings(
    connection: Connection, chosen: Sequence[ColumnElement[bool]]
) -> tuple[Beginning, ...]:
    """Return the runs chosen, each once, whatever went on with it."""
    run = RUNS.c
    query = (
        select(TRAJECTORIES.c.name, run.name, run.thread, run.parent, run.origin)
        .add_columns(run.past_unknown, run.context_id, run.time)
        .select_from(RUNS)
        .outerjoin(TRAJECTORIES, run.trajectory_id == TRAJECTORIES.c.id)
        .where(run.continues.is_(None), *chosen)
        .order_by(run.id)
    )
    rows = fetch_rows(connection, query)
    segments = connection.execute(select(run.name, run.continues).where(run.continues.is_not(None)))
    whole = {row.name: row.continues for row in segments}
    contexts = read_contexts(connection)
    return tuple(
        Beginning(
            decode_optional(trajectory),
            decode_text(name),
            decode_optional(thread),
            decode_optional(whole.get(parent, parent)),
            decode_optional(whole.get(origin, origin)),
            bool(past_unknown),
            None,
            contexts[context],
            time,
        )
        for trajectory, name, thread, parent, origin, past_unknown, context, time in rows
    )


def fetch_rows(connection: Connection, query: Executable) -> list[tuple[Any, ...]]:
    """Return the rows of a query as the driver gives them, which is faster for many."""
    with connection.execute(query) as result:
        cursor: Any = result.cursor
        return list(cursor)


def select_segments(run: str) -> Executable:
    """Return the query of (trajectory, segment): what was recorded of a run, by each process."""
    given, segment = RUNS.alias("given"), RUNS.c
    whole = func.coalesce(given.c.continues, given.c.name)
    same = segment.trajectory_id.is_not_distinct_from(given.c.trajectory_id) & (whole == WHOLE_RUN)
    query = select(TRAJECTORIES.c.name, segment.digest).select_from(given.join(RUNS, same))
    query = query.outerjoin(TRAJECTORIES, segment.trajectory_id == TRAJECTORIES.c.id)
    return query.where(given.c.digest == digest(encode_text(run)))


def select_last_outcomes(chosen: Sequence[ColumnElement[bool]], version: int) -> Executable:
    """Return the query of (outcome, how often), each run once, by its last."""
    table = ENDINGS.c
    kind = table.outcome
    if version < 4:
        return select(kind, func.count()).where(*chosen).group_by(kind).order_by(kind)
    alone = case((WHOLE_RUN.is_(None), table.id))  # of no run, so counted by itself
    order = (table.time.desc().nulls_last(), table.id.desc())
    place = func.row_number().over(partition_by=(WHOLE_RUN, alone), order_by=order)
    stops = (
        select(kind, place.label("place"))
        .select_from(ENDINGS)
        .outerjoin(RUNS, RUNS.c.digest == table.run_id)
        .where(*chosen, kind.is_not(None))
        .subquery()
    )
    last = stops.c.outcome
    return select(last, func.count()).where(stops.c.place == 1).group_by(last).order_by(last)


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
    """Return the conditions that a row is shown, of this trajectory and of this time."""
    chosen: list[ColumnElement[bool]] = []
    if table is TRANSITIONS:
        chosen.append(table.c.source_id != HIDDEN_SOURCE)
    if trajectory is not None:
        chosen.append(table.c.trajectory_id == digest(encode_text(trajectory)))
    if since is not None:
        chosen.append(table.c.time >= check_seconds(since))
    if until is not None:
        chosen.append(table.c.time < check_seconds(until))
    return chosen


def run_conditions(table: Table, segments: Sequence[Any]) -> list[ColumnElement[bool]]:
    """Return the conditions that a row is of the run with these segments, of `select_segments`."""
    if not segments:
        return [false()]
    chosen: list[ColumnElement[bool]] = [table.c.run_id.in_([number for _, number in segments])]
    trajectory = segments[0][0]
    if trajectory is not None:
        chosen.append(table.c.trajectory_id == digest(trajectory))
    return chosen


def check_seconds(moment: float) -> float:
    """Return a moment that is a number, and refuse any other."""
    if not isinstance(moment, (int, float)):
        raise InvalidInputError(
            f"a time is given in seconds since 1970; got {moment!r} (a datetime gives them by "
            ".timestamp())"
        )
    return moment
