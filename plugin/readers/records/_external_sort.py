"""Steps in any order, sorted by trajectory and place, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.callbacks import Ending
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.records.facts import read_facts, write_facts
from detailed_balance.readers.records.values import Step

_BATCH = 10_000
_NOTHING = (None, None, None, None)
_SETTINGS = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -16384;
"""
_TABLE = """
    CREATE TABLE steps (place INTEGER PRIMARY KEY, trajectory TEXT, last INTEGER, step INTEGER,
                        time REAL, state TEXT, event TEXT, context TEXT, extra TEXT)
"""
_ORDERED = """
    SELECT place, trajectory, last, step, time, state, event, context, extra
    FROM (SELECT *, MIN(time) OVER run AS began, MIN(place) OVER run AS first
          FROM steps WINDOW run AS (PARTITION BY trajectory))
    ORDER BY began, first, last, step IS NULL, step, state IS NOT NULL AND step IS NOT NULL,
             time IS NULL, time, place
"""


def sort_steps(steps: Iterable[Step | Ending], bad: BadLines) -> Iterator[Step | Ending]:
    """Yield steps trajectory by trajectory, those that began first at first, each in order.

    Within a trajectory the number of a step decides, where there is one; then the time; then the
    place in the trace. So a clock that jumps does no harm where steps are numbered. What has
    neither number nor time comes after what has. Endings come last.

    Parameters
    ----------
    steps : iterable of Step or Ending
        Is used up first. A database in a temporary file sorts it: its caches take tens of MB, and
        a large trace takes about its own size on the disk for as long as it is read.
    bad : BadLines
        Its `reordered` counts the steps that come after one that stood behind them in the trace.

    Raises
    ------
    ReadError
        Where there is no room for the temporary file.

    Examples
    --------
    >>> bad = BadLines("events.csv", skip=False)
    >>> [s.state for s in sort_steps([Step("T", "b", time=2.0), Step("T", "a", time=1.0)], bad)]
    ['a', 'b']
    >>> bad.reordered
    1
    """
    try:
        with closing(
            sqlite3.connect("", check_same_thread=False)
        ) as database:  # a temporary file, deleted when closed
            database.executescript(_SETTINGS + _TABLE)
            rows = map(_to_row, steps)
            while batch := list(islice(rows, _BATCH)):
                database.executemany("INSERT INTO steps VALUES (NULL,?,?,?,?,?,?,?,?)", batch)
            furthest: tuple[str | None, int] = (None, 0)
            for place, trajectory, last, *fields in database.execute(_ORDERED):
                if trajectory != furthest[0]:
                    furthest = (trajectory, 0)
                if last:
                    yield _to_ending(trajectory, *fields)
                    continue
                bad.reordered += place < furthest[1]
                furthest = (trajectory, max(place, furthest[1]))
                yield _to_step(trajectory, *fields)
    except sqlite3.Error as error:
        raise ReadError(
            f"{bad.name} cannot be sorted in a temporary file ({error}); make room for it, or "
            "name a folder that has room in the environment variable SQLITE_TMPDIR"
        ) from error


def _to_row(step: Step | Ending) -> tuple[Any, ...]:
    context = _write_context(step.context)
    if isinstance(step, Step):
        told = (step.cost, step.outcome, step.success, write_facts(step.told))
        extra = None if told == _NOTHING else json.dumps(told)
        return step.trajectory, 0, step.step, step.time, step.state, step.event, context, extra
    extra = json.dumps([step.outcome, step.error, step.success])
    return step.trajectory, 1, None, step.time, None, None, context, extra


def _to_step(trajectory: str | None, *row: Any) -> Step:
    step, time, state, event, context, extra = row
    step = Step(trajectory, state, step, time, _read_context(context), event)
    if extra is None:
        return step
    cost, outcome, success, told = json.loads(extra)
    kind = None if outcome is None else Outcome(outcome)
    return replace(step, cost=cost, outcome=kind, success=success, told=read_facts(told))


def _to_ending(trajectory: str | None, *row: Any) -> Ending:
    _, time, _, _, context, extra = row
    outcome, error, success = json.loads(extra)
    kind = None if outcome is None else Outcome(outcome)
    return Ending(trajectory, kind, error, success, _read_context(context), time)


@lru_cache(maxsize=1_000)
def _write_context(context: Context) -> str:
    return json.dumps(context)


@lru_cache(maxsize=1_000)
def _read_context(text: str) -> Context:
    return tuple((name, value) for name, value in json.loads(text))
