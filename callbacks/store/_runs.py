"""Which run is meant: by an invocation that goes on with one, and by a name that is judged.

The first is found by the writer, in the transaction that inserts.

A process that resumes the run of another knows neither its id nor where it stood. It records a run
of its own, whose first move has the source RESUMED. Here that becomes a segment of the run it goes
on with. What is not there yet is looked for again whenever more of the same trajectory is written.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, exists, func, select, text, update

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store._rows import (
    HIDDEN_SOURCE,
    decode_optional,
    standing_from_text,
)
from detailed_balance.callbacks.store._schema import (
    ENDINGS,
    RUNS,
    STATES,
    TRAJECTORIES,
    TRANSITIONS,
    WRITING,
    decode_text,
    digest,
    encode_text,
    insert_for,
)
from detailed_balance.callbacks.transition import RESUMED, Ending, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection

    from detailed_balance.callbacks.store._rows import TableRow

# What a segment waits for, in its column `waits`.
OTHERS, OWN = 1, 2  # rows of other runs, which may say more; more of its own moves

_LOCK, _SLOTS = 2512010, 64
"""The class of PostgreSQL's advisory locks on trajectories, and how many there are."""

_NAMES_ASKED, _NAMES_SHOWN, _NAMES_COMPARED = 500, 5, 5_000

_FIRST_ROWS, _LAST_ROWS = 200, 20
"""How many moves of a segment are looked at, from its beginning and from its end."""


class RunResolver:
    """Find the runs that are to be looked at when rows are written, and resolve them after that.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In the transaction that is about to write.
    rows : list of TableRow
        What it is about to write.
    """

    def __init__(self, connection: Connection, rows: list[TableRow]) -> None:
        self._connection = connection
        self._trajectories = self._find(rows)
        self._last: int | None = None  # the last row before, where ids tell what is new
        if self._trajectories and connection.dialect.name == "sqlite":
            self._last = connection.scalar(select(func.max(TRANSITIONS.c.id))) or 0

    def resolve(self) -> None:
        """Resolve what can be resolved, now that the rows are written."""
        if not self._trajectories:
            return
        query = select(RUNS).where(_is_in(RUNS.c.trajectory_id, self._trajectories))
        threads: defaultdict[int, list[_Segment]] = defaultdict(list)
        for row in self._connection.execute(query.order_by(RUNS.c.id).with_for_update()):
            threads[row.trajectory_id].append(_Segment.from_row(row))
        for segments in threads.values():
            _Thread(self._connection, segments, self._last).resolve()

    def _find(self, rows: list[TableRow]) -> set[int]:
        """Return the trajectories in which a run waits for such rows, or will."""
        written: defaultdict[int, set[str]] = defaultdict(set)
        resumed: set[int] = set()
        for row in rows:
            trajectory = row.columns["trajectory_id"]
            if row.run is not None and trajectory is not None:
                written[trajectory].add(row.run)
                if row.table is RUNS and row.columns["waits"]:
                    resumed.add(trajectory)
        if not written:
            return resumed
        self._lock(written, resumed)
        query = select(RUNS.c.trajectory_id, RUNS.c.name, RUNS.c.waits)
        query = query.where(RUNS.c.waits > 0, _is_in(RUNS.c.trajectory_id, written))
        for trajectory, name, waits in self._connection.execute(query):
            if waits & OWN or written[trajectory] != {name}:
                resumed.add(trajectory)
        return resumed

    def _lock(self, written: Any, resumed: set[int]) -> None:
        """Let nobody resolve a trajectory while others write to it.

        On SQLite nobody writes anyway. Who writes shares a lock, so that no one waits but for a
        resumption; all locks are taken at once, in order, before any other, so that no two
        transactions wait for each other.
        """
        if self._connection.dialect.name == "sqlite":
            return
        alone = {number % _SLOTS for number in resumed}
        shared = {number % _SLOTS for number in written} - alone
        slots = sorted([*((slot, 1) for slot in alone), *((slot, 0) for slot in shared)])
        query = text(
            "SELECT CASE WHEN slot % 2 = 1 THEN pg_advisory_xact_lock(:lock, slot / 2)::text"
            " ELSE pg_advisory_xact_lock_shared(:lock, slot / 2)::text END"
            " FROM unnest(CAST(:slots AS int[])) AS slot"
        )
        numbers = [2 * slot + is_alone for slot, is_alone in slots]
        self._connection.execute(query, {"lock": _LOCK, "slots": numbers})


def _is_in(column: Any, numbers: Any) -> Any:
    # Written into the query: there may be more of them than a query may have parameters.
    values = bindparam(None, sorted(numbers), BigInteger, expanding=True, literal_execute=True)
    return column.in_(values)


@dataclass(slots=True)
class _Segment:
    """What one process recorded of a run."""

    digest: int
    name: str
    trajectory: int
    place: tuple[float, int]
    is_resumption: bool
    task: str
    superstep: int | None
    replays: bool
    past_unknown: bool
    origin: str | None
    follows: int | None
    continues: str | None
    source: int
    waits: int

    @classmethod
    def from_row(cls, row: Any) -> _Segment:
        return cls(
            row.digest,
            row.name,
            row.trajectory_id,
            (-inf if row.time is None else row.time, row.id),
            row.task is not None,
            decode_text(row.task or ""),
            row.superstep,
            bool(row.replays),
            bool(row.past_unknown),
            row.origin,
            row.follows,
            row.continues,
            HIDDEN_SOURCE if row.source_id is None else row.source_id,
            row.waits,
        )

    def columns(self) -> dict[str, Any]:
        """Return what is found out here."""
        return {
            "past_unknown": int(self.past_unknown),
            "origin": self.origin,
            "follows": self.follows,
            "continues": self.continues,
            "source_id": self.source,
            "waits": self.waits,
        }

    @property
    def is_first(self) -> bool:
        """Whether nothing can have come before it."""
        return self.superstep is not None and self.superstep <= 1


@dataclass(frozen=True, slots=True)
class _Stop:
    """How a segment stopped last."""

    outcome: str | None
    standing: Standing | None
    reached: tuple[tuple[int | None, str], ...]
    """The steps and states that it reached, the last first."""
    last_step: int | None

    @property
    def has_ended(self) -> bool:
        return self.outcome == Outcome.ENDED or any(state == END for _, state in self.reached)

    @property
    def is_cut(self) -> bool:
        """Whether it does not say where it stands: its process was killed, or is not heard yet."""
        return self.standing is None and self.outcome in (None, Outcome.INTERRUPTED)

    def state_before(self, superstep: int | None) -> str | None:
        """Return the last state reached before a superstep."""
        for step, state in self.reached:
            if superstep is None or step is None or step < superstep:
                return state
        return None


class _Thread:
    """The runs of one trajectory, in order."""

    def __init__(self, connection: Connection, segments: list[_Segment], last: int | None) -> None:
        self._connection, self._last = connection, last
        self._segments = sorted(segments, key=lambda segment: segment.place)
        self._by_digest = {segment.digest: segment for segment in segments}
        self._stops: dict[int, _Stop] = {}

    def resolve(self) -> None:
        """Link what goes on with another to it, and correct its first moves."""
        before = {segment.digest: segment.columns() for segment in self._segments}
        waiting = [segment for segment in self._segments if segment.waits & OTHERS]
        for segment in waiting:
            segment.follows = None
        # Twice: one may go on with another that is linked only now.
        for _ in range(2):
            for segment in waiting:
                if segment.follows is None:
                    self._link(segment)
        self._name_runs()
        for segment in self._segments:
            if segment.waits:
                self._correct(segment)
                self._stops.clear()
        for segment in self._segments:
            columns = segment.columns()
            if columns != before[segment.digest]:
                changed = update(RUNS).where(RUNS.c.digest == segment.digest)
                self._connection.execute(changed.values(columns))

    def _link(self, segment: _Segment) -> None:
        """Let a segment follow the one that it goes on with, if that is there."""
        found = self._find_open_task(segment) or self._find_next_step(segment)
        if found is None:
            return
        behind = self._follower(found)
        segment.follows = found.digest
        if behind is not None:  # it had come sooner
            behind.follows = segment.digest
        while behind is not None:
            behind.waits |= OWN
            behind = self._follower(behind)

    def _find_open_task(self, segment: _Segment) -> _Segment | None:
        """Return the newest segment in which the first task is open."""
        for other in reversed(self._segments):
            stop = self._stop(other)
            if stop.standing is None or segment.task not in stop.standing.tasks:
                continue
            is_open = not stop.has_ended
            if segment.replays:
                is_open = stop.outcome == Outcome.INTERRUPTED
            if is_open and self._may_follow(segment, other):
                return other
        return None

    def _find_next_step(self, segment: _Segment) -> _Segment | None:
        """Return the newest segment before this one, where this has its next superstep."""
        other = self._before(segment)
        if segment.replays or other is None or not self._may_follow(segment, other):
            return None
        stop, superstep = self._stop(other), segment.superstep
        if stop.has_ended or superstep is None:
            return None
        if stop.is_cut:
            return other if superstep >= (stop.last_step or 0) else None
        standing = stop.standing
        if standing is None or standing.superstep is None:
            return None
        expected = standing.superstep + (not standing.tasks)
        return other if superstep in (expected, expected + 1) else None

    def _may_follow(self, segment: _Segment, other: _Segment) -> bool:
        """Say whether one may come right behind another."""
        behind = self._follower(other)
        if behind is not None and (behind is segment or behind.place < segment.place):
            return False
        return all(ancestor is not segment for ancestor in self._chain(other))

    def _before(self, segment: _Segment) -> _Segment | None:
        """Return the newest segment that began before this one."""
        place = self._segments.index(segment)
        return self._segments[place - 1] if place else None

    def _follower(self, segment: _Segment) -> _Segment | None:
        return next((s for s in self._segments if s.follows == segment.digest), None)

    def _chain(self, segment: _Segment) -> Sequence[_Segment]:
        """Return a segment and those before it, back to the first."""
        chain = [segment]
        while (digest := chain[-1].follows) is not None and digest in self._by_digest:
            chain.append(self._by_digest[digest])
        return chain

    def _name_runs(self) -> None:
        """Say of each segment which run it belongs to."""
        for segment in self._segments:
            first = self._chain(segment)[-1]
            if first is not segment:
                segment.continues, segment.origin = first.name, None
            elif segment.waits & OTHERS:
                other = self._before(segment)
                segment.continues = None
                segment.origin = segment.origin if other is None else self._chain(other)[-1].name
                segment.past_unknown = not segment.is_first

    def _correct(self, segment: _Segment) -> None:
        """Give the first moves of a segment their source, and their part of an open superstep.

        The very first of them is the first after a resume, where a person has answered.
        """
        base, state, is_sure = None, START if segment.is_first else None, False
        answered = False
        if segment.follows is not None:
            other = self._by_digest[segment.follows]
            base = self._standing(other, segment.superstep)
            is_sure = not self._stop(other).is_cut
            answered = self._stop(other).outcome == Outcome.INTERRUPTED
            state = base.state if not is_sure or _is_next(base, segment) else None
        known = segment.source
        segment.source = source = HIDDEN_SOURCE if state is None else self._write_state(state)
        rows = self._first_rows(segment)
        is_known = bool(rows) and rows[0].source_id not in (HIDDEN_SOURCE, known, source)
        if is_known:  # its process did not come from where it was left
            rows = []
        entered = next((i for i, row in enumerate(rows) if row.target is not None), len(rows))
        joined = None
        if base is not None and base.tasks and entered < len(rows):
            joined = _join(base, rows[entered])
        target = None if joined is None else self._write_state(joined)
        if answered and rows:
            self._record_answer(rows[0])
        for row in rows[:entered]:
            self._change(row, source)
        for row in rows[entered : entered + 1]:
            self._change(row, source, target)
        for row in rows[entered + 1 :] if target is not None else ():
            self._change(row, target)
        left = len(rows) > entered + 1 and rows[-1].target is not None
        done = is_known or (entered < len(rows) and (target is None or left))
        is_sure = is_sure and state is not None
        segment.waits = (0 if is_sure else OTHERS) | (0 if done or state is None else OWN)

    def _record_answer(self, row: Any) -> None:
        """Let the facts of a move, where it has any, say that it is the first after a resume."""
        if row.failed is not None and not row.resumed:
            mine = update(TRANSITIONS).where(TRANSITIONS.c.id == row.id)
            self._connection.execute(mine.values(resumed=1))

    def _change(self, row: Any, source: int | None, target: int | None = None) -> None:
        """Change a move; one that was hidden becomes a new row, which readers have not seen."""
        values: dict[str, Any] = {"source_id": source}
        if target is not None:
            values["target_id"] = target
        if all(getattr(row, name) == value for name, value in values.items()):
            return
        if row.source_id == HIDDEN_SOURCE:
            values["written"] = WRITING
            if self._last is not None and row.id <= self._last:
                values["id"] = select(func.max(TRANSITIONS.c.id) + 1).scalar_subquery()
        self._connection.execute(
            update(TRANSITIONS).where(TRANSITIONS.c.id == row.id).values(values)
        )

    def _standing(self, segment: _Segment, superstep: int | None = None) -> Standing:
        """Return where a segment stands, as far as is known from it and those before it."""
        stop = self._stop(segment)
        base = None
        if segment.follows is not None:
            base = self._standing(self._by_digest[segment.follows], segment.superstep)
        if stop.standing is None:
            state = stop.state_before(superstep)
            if state is None and base is not None:
                state = base.state
            elif state is None and not (segment.past_unknown or segment.is_resumption):
                state = START
            return Standing(state, stop.last_step)
        state, reached, tasks, names = stop.standing
        if state == RESUMED:
            state = None if base is None else base.state
            if base is not None and base.tasks and base.superstep == reached:
                names = tuple(sorted({*base.names, *names}))
        elif state is not None and segment.is_resumption and stop.reached:
            state = stop.reached[0][1]  # it may be but a part of it
        return Standing(state, reached, tasks, names)

    def _stop(self, segment: _Segment) -> _Stop:
        if segment.digest not in self._stops:
            self._stops[segment.digest] = self._read_stop(segment)
        return self._stops[segment.digest]

    def _read_stop(self, segment: _Segment) -> _Stop:
        table = ENDINGS.c
        query = (
            select(table.outcome, table.standing)
            .where(table.trajectory_id == segment.trajectory, table.run_id == segment.digest)
            .where(table.outcome.is_not(None))
            .order_by(table.id.desc())
            .limit(1)
        )
        outcome, standing = self._connection.execute(query).first() or (None, None)
        moves = TRANSITIONS.c
        rows = self._connection.execute(
            select(moves.step, STATES.c.name)
            .outerjoin(STATES, moves.target_id == STATES.c.id)
            .where(moves.trajectory_id == segment.trajectory, moves.run_id == segment.digest)
            .order_by(moves.id.desc())
            .limit(_LAST_ROWS)
        ).all()
        steps = [step for step, _ in rows if step is not None]
        # By their steps: one that was hidden may have come later than what follows it.
        rows = sorted(rows, key=lambda row: -inf if row[0] is None else -row[0])
        reached = tuple((step, decode_text(name)) for step, name in rows if name is not None)
        return _Stop(outcome, standing_from_text(standing), reached, max(steps, default=None))

    def _first_rows(self, segment: _Segment) -> list[Any]:
        """Return the moves of a segment up to the one that leaves its first state."""
        moves, targets = TRANSITIONS.c, STATES.c.name.label("target")
        is_end = moves.target_id.is_not_distinct_from(digest(END))
        rows = self._connection.execute(
            select(moves.id, moves.step, moves.source_id, moves.target_id, targets)
            .add_columns(moves.failed, moves.resumed)
            .outerjoin(STATES, moves.target_id == STATES.c.id)
            .where(moves.trajectory_id == segment.trajectory, moves.run_id == segment.digest)
            .order_by(is_end, moves.step.nulls_last(), moves.id)
            .limit(_FIRST_ROWS)
        ).all()
        reached = [i for i, row in enumerate(rows) if row.target is not None]
        return list(rows[: reached[1] + 1] if len(reached) > 1 else rows)

    def _write_state(self, state: str) -> int:
        """Return the id of a state, which may be new."""
        name = encode_text(state)
        query = insert_for(STATES, self._connection).on_conflict_do_nothing()
        self._connection.execute(query, [{"id": digest(name), "name": name}])
        return digest(name)


def _is_next(base: Standing, segment: _Segment) -> bool:
    """Say whether nothing happened between: no person updated the state, no superstep is lost."""
    if base.superstep is None or segment.superstep is None:
        return True
    passed = segment.superstep - base.superstep
    return passed == 0 or (passed == 1 and not base.names)


def _join(base: Standing, row: Any) -> str | None:
    """Return the states of one superstep as one, where a move ends what stood open."""
    if row.step != base.superstep or row.target == END:
        return None
    return "|".join(sorted({*base.names, *decode_text(row.target).split("|")}))


def find_judged(
    connection: Connection, version: int, judgements: Mapping[str, bool], skip: bool
) -> tuple[list[Ending], tuple[str, ...]]:
    """Return judgements as records, and the names of runs that are not there.

    Raises
    ------
    InvalidInputError
        Where a judgement is neither True nor False; where there is no such run, and not `skip`.
    """
    for success in judgements.values():
        if not isinstance(success, bool):
            raise InvalidInputError(f"success must be True or False; got {success!r}")
    found, now = _find_named(connection, version, list(judgements)), time.time()
    unknown = tuple(name for name in judgements if name not in found)
    if unknown and not skip:
        raise InvalidInputError(_explain_unknown(connection, version, unknown))
    endings = [
        Ending(trajectory, success=judgements[name], time=now, run=run)
        for name, (trajectory, run) in found.items()
    ]
    return endings, unknown


def _find_named(
    connection: Connection, version: int, names: Sequence[str]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the (trajectory, run) that each name means, without those that nothing is called.

    A name is the id of a run, or a trajectory; of a trajectory the run is None.
    """
    encoded = {digest(encode_text(name)): name for name in names}
    numbers, found = list(encoded), dict[str, tuple[str | None, str | None]]()
    of_runs = select(RUNS.c.digest, TRAJECTORIES.c.name).select_from(
        RUNS.outerjoin(TRAJECTORIES, RUNS.c.trajectory_id == TRAJECTORIES.c.id)
    )
    for start in range(0, len(numbers), _NAMES_ASKED):
        part = numbers[start : start + _NAMES_ASKED]
        for (number,) in connection.execute(
            select(TRAJECTORIES.c.id).where(TRAJECTORIES.c.id.in_(part))
        ):
            found[encoded[number]] = (encoded[number], None)
        if version >= 4:
            for number, trajectory in connection.execute(of_runs.where(RUNS.c.digest.in_(part))):
                found[encoded[number]] = (decode_optional(trajectory), encoded[number])
    return found


def _explain_unknown(connection: Connection, version: int, names: Sequence[str]) -> str:
    """Say that nothing has these names, how many runs there are, and which names are like them."""
    alone = select(func.count()).select_from(TRAJECTORIES)
    queries, runs = [select(TRAJECTORIES.c.name).limit(_NAMES_COMPARED)], 0
    if version >= 4:
        latest = select(RUNS.c.name).order_by(RUNS.c.id.desc())
        queries.append(latest.limit(_NAMES_COMPARED))
        whole = select(func.count()).select_from(RUNS).where(RUNS.c.continues.is_(None))
        runs = connection.execute(whole).scalar_one()
        alone = alone.where(~exists().where(RUNS.c.trajectory_id == TRAJECTORIES.c.id))
    runs += connection.execute(alone).scalar_one()
    # The names of trajectories are the user's own, the ids of runs are not.
    known = [[decode_text(name) for (name,) in connection.execute(query)] for query in queries]
    shown = ", ".join(repr(name[:120]) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    near = (get_close_matches(names[0], part, n=_NAMES_SHOWN, cutoff=0.5) for part in known)
    close = next(filter(None, near), known[0][:_NAMES_SHOWN])
    like = ", ".join(repr(name[:120]) for name in close)
    nearest = f"; the nearest names are {like}" if like else ""
    held = f"holds {runs:,} run{'s' * (runs != 1)}" if runs else "is empty"
    return f"no run is called {shown}{more}; the store {held}{nearest}"
