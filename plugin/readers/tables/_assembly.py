"""Sorted rows of a table become runs, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.callbacks.names import join_names
from detailed_balance.readers.tables._bytes import DoubtError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENDED, _INTERRUPTED = OUTCOMES.index(Outcome.ENDED), OUTCOMES.index(Outcome.INTERRUPTED)
_SUCCESS = np.array(
    [-1 if each.success is None else int(each.success) for each in OUTCOMES], dtype=np.int8
)


class StateNames:
    """The states of a table by their codes; those that happened side by side are added.

    Parameters
    ----------
    names : iterable of str
        The states of single rows.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = sorted({*names, START, END})
        self.codes = {name: code for code, name in enumerate(self.names)}
        self.start, self.end = self.codes[START], self.codes[END]

    def join(self, codes: Sequence[int]) -> int:
        """Return the code of states side by side."""
        name = join_names(self.names[code] for code in codes)
        code = self.codes.setdefault(name, len(self.names))
        if code == len(self.names):
            self.names.append(name)
        return code


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows sorted by their trajectory and by their place in it, as (n,) arrays.

    Parameters
    ----------
    run : array of int
        The trajectory.
    source, target : array of int
        The codes of the states of moves; of steps the state is the target. -1 is an escape.
    step, has_step : array of int64 and of bool
        The number of the step, where it has one.
    time : array of float64
        The time; NaN where there is none.
    label : array of int
        The code of the labels.
    outcome, success : array of int8
        What the row says of the end of its run; -1 where it says nothing.
    place : array of int64
        The place in the table.
    cost : array of float64 or None
        The cost.
    event : array of uint64 or None
        The id of the step, as a number.
    has_event : array of bool or None
        Whether there is one.
    count : array of int64 or None
        How many moves a row stands for.
    """

    run: NDArray[Any]
    source: NDArray[Any]
    target: NDArray[Any]
    step: NDArray[np.int64]
    has_step: NDArray[np.bool_]
    time: NDArray[np.float64]
    label: NDArray[Any]
    outcome: NDArray[np.int8]
    success: NDArray[np.int8]
    place: NDArray[np.int64]
    cost: NDArray[np.float64] | None = None
    event: NDArray[np.uint64] | None = None
    has_event: NDArray[np.bool_] | None = None
    count: NDArray[np.int64] | None = None

    def select(self, rows: NDArray[Any]) -> Rows:
        """Return some of the rows."""
        each: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        chosen: Any = {k: None if v is None else v[rows] for k, v in each.items()}
        return Rows(**chosen)


class RunPart(NamedTuple):
    """Runs of a part of a table: (m,) arrays of their moves and (r,) arrays of the runs."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    costs: NDArray[np.float64] | None
    lengths: NDArray[np.int64]
    name: NDArray[np.int64]
    label: NDArray[np.int64]
    outcome: NDArray[np.int8]
    success: NDArray[np.int8]
    judged: NDArray[np.bool_]
    attempts: NDArray[np.int64]
    started: NDArray[np.float64]
    ended: NDArray[np.float64]


class _Told(NamedTuple):
    """What is said of the end of each run, and when it was over."""

    outcome: NDArray[np.int8]
    success: NDArray[np.int8]
    time: NDArray[np.float64]


def count_reordered(rows: Rows) -> int:
    """Return how many rows of a trajectory come after one that stood behind them in the table."""
    new = _begins(rows.run)
    if (new[1:] | (rows.place[1:] > rows.place[:-1])).all():
        return 0
    run, width = np.cumsum(new), int(rows.place.max()) + 1
    place = rows.place
    if width > 2**62 // len(new):
        place, width = np.empty_like(place), len(new)
        place[np.argsort(rows.place)] = np.arange(width)
    place = place + run * width
    return int((place[1:] < np.maximum.accumulate(place)[:-1]).sum())


def connect_steps(rows: Rows, names: StateNames) -> tuple[RunPart, int]:
    """Return the runs of steps, and how many steps were duplicates; see `records.steps`."""
    first = np.flatnonzero(_begins(rows.run))
    outcome, success = _last_told(rows.outcome, first), _last_told(rows.success, first)
    kept = _drop_duplicates(rows, names)
    group = kept[1]
    nothing: Any = None  # of what is not needed any more
    unneeded = dict.fromkeys(("outcome", "success", "place", "event", "has_event"), nothing)
    rows = replace(rows, source=nothing, **unneeded)
    rows = rows if len(kept[0]) == len(group) == len(rows.run) else rows.select(kept[0])
    begin = np.flatnonzero(_begins(group))
    last = np.append(begin[1:], len(group)) - 1
    target = rows.target[last].copy()
    _join_composites(rows.target, begin, target, names)
    cost = None if rows.cost is None else np.add.reduceat(rows.cost, begin)
    items = replace(
        rows if len(last) == len(group) else rows.select(last), target=target, cost=cost
    )
    moves, at = _close_runs(items, outcome, names)
    if not len(moves.run):
        raise DoubtError  # nothing but marks of START
    runs = _begin_runs(moves, names)
    # What is said of the end of a trajectory is of its last run.
    ends = np.append(_begins(moves.run[runs])[1:], True)
    trajectory = np.searchsorted(items.run[at], moves.run[runs])
    told = _Told(
        np.where(ends, outcome[trajectory], np.int8(-1)),
        np.where(ends, success[trajectory], np.int8(-1)),
        items.time[at][trajectory],
    )
    return _finish(moves, runs, told, names), len(kept[2]) - int(kept[2].sum())


def split_moves(rows: Rows, names: StateNames) -> RunPart:
    """Return the runs of moves."""
    runs = _begin_runs(rows, names)
    last = np.append(runs[1:], len(rows.run)) - 1
    told = _Told(_last_told(rows.outcome, runs), _last_told(rows.success, runs), rows.time[last])
    return _finish(rows, runs, told, names)


def _begins(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a value differs from the one before it."""
    begins = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    return begins


def _last_told(values: NDArray[np.int8], first: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the last value of each part that is not -1."""
    last = np.maximum.reduceat(np.where(values >= 0, np.arange(len(values)), -1), first)
    return np.where(last >= 0, values[last], np.int8(-1))


def _drop_duplicates(
    rows: Rows, names: StateNames
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the places of rows that say something new, their groups, and a mask of all rows.

    A group is one step: its states happened side by side.
    """
    n = len(rows.run)
    places, new_to_run = np.arange(n), np.ones(n, dtype=bool)
    if rows.event is not None and rows.has_event is not None:
        having = np.flatnonzero(rows.has_event)
        order = having[np.lexsort((rows.event[having], rows.run[having]))]
        again = ~(_begins(rows.event[order]) | _begins(rows.run[order]))
        new_to_run[order[again]] = False
        places = np.flatnonzero(new_to_run)
    state, time = rows.target[places], rows.time[places]
    step, has_step = rows.step[places], rows.has_step[places]
    same = ~_begins(rows.run[places]) & ~_begins(step)
    same[1:] &= has_step[1:] & has_step[:-1]
    escape, marker = state < 0, (state == names.start) | (state == names.end)
    alone = escape | marker
    begin = ~same | alone
    begin[1:] |= alone[:-1]
    group = np.cumsum(begin) - 1
    twice = escape & same
    twice[1:] &= time[1:] == time[:-1]
    several = np.flatnonzero(np.bincount(group, minlength=1)[group] > 1)
    order = several[np.lexsort((state[several], group[several]))]
    if len(order):
        twice[order] |= ~(_begins(state[order]) | _begins(group[order]))
    mask = new_to_run
    mask[places[twice]] = False
    return places[~twice], group[~twice], mask


def _join_composites(
    state: NDArray[Any], begin: NDArray[np.int64], target: NDArray[Any], names: StateNames
) -> None:
    """Write the codes of groups of several states into `target`."""
    size = np.diff(np.append(begin, len(state)))
    for width in np.unique(size[size > 1]).tolist():
        places = np.flatnonzero(size == width)
        members = np.sort(state[begin[places][:, None] + np.arange(width)], axis=1)
        different, which = np.unique(members, axis=0, return_inverse=True)
        codes = np.array([names.join(each) for each in different.tolist()], dtype=target.dtype)
        target[places] = codes[which.ravel()]


def _close_runs(
    items: Rows, outcome: NDArray[np.int8], names: StateNames
) -> tuple[Rows, NDArray[np.int64]]:
    """Return the moves between items, and the place of the last item of each trajectory."""
    n = len(items.run)
    new = _begins(items.run)
    first = np.flatnonzero(new)
    at = np.append(first[1:], n) - 1
    start = items.target == names.start
    value = np.where(start | (items.target == names.end), names.start, items.target)
    sets = np.maximum.accumulate(np.where(items.target >= 0, np.arange(n), -1))
    before = np.append(-1, sets[:-1])
    began = np.repeat(first, at - first + 1)
    source = np.where(before >= began, value[before], names.start)
    here = np.where(sets[at] >= first, value[sets[at]], names.start)
    closed = (here != names.start) & ((outcome < 0) | (outcome == _ENDED))
    kept = np.flatnonzero(~start)
    shift = np.cumsum(closed) - closed
    upto = np.cumsum(~start)
    place = upto[kept] - 1 + np.repeat(shift, at - first + 1)[kept]
    place_closed = upto[at[closed]] + shift[closed]
    order = np.empty(len(kept) + len(place_closed), dtype=np.int64)
    order[place], order[place_closed] = kept, at[closed]
    moves = items.select(order)
    moves = replace(moves, source=source[order].astype(np.int32))
    moves.source[place_closed], moves.target[place_closed] = here[closed], names.end
    if moves.cost is not None:
        moves.cost[place_closed] = 0.0
    return moves, at


def _begin_runs(moves: Rows, names: StateNames) -> NDArray[np.int64]:
    """Return where runs begin: with a trajectory, and at each START after a state was reached."""
    new = _begins(moves.run)
    part = np.flatnonzero(new | (moves.source == names.start))
    reached = np.add.reduceat((moves.target >= 0).astype(np.int64), part) > 0
    begins: NDArray[np.int64] = part[new[part] | np.append(True, reached[:-1])]
    return begins


def _finish(moves: Rows, runs: NDArray[np.int64], told: _Told, names: StateNames) -> RunPart:
    """Return moves as runs that begin at `runs`."""
    n = len(moves.run)
    last = np.append(runs[1:], n) - 1
    knows = told.outcome >= 0
    ended = moves.target[last] == names.end
    outcome = np.where(knows, told.outcome, np.where(ended, _ENDED, -1)).astype(np.int8)
    by_outcome = np.where(knows, _SUCCESS[told.outcome], np.int8(-1))
    source, target, costs = moves.source, moves.target, moves.cost
    lengths = last - runs + 1
    if moves.count is not None:
        lengths = np.add.reduceat(moves.count, runs) if len(runs) else lengths
        costs = None if costs is None else np.repeat(costs / moves.count, moves.count)
        source, target = np.repeat(source, moves.count), np.repeat(target, moves.count)
    return RunPart(
        source.astype(np.int32, copy=False),
        target.astype(np.int32, copy=False),
        costs,
        lengths,
        moves.run[runs].astype(np.int64),
        moves.label[last].astype(np.int64),
        outcome,
        np.where(told.success >= 0, told.success, by_outcome),
        told.success >= 0,
        (knows & (told.outcome != _INTERRUPTED)).astype(np.int64),
        moves.time[runs],
        np.where(knows, told.time, np.nan),
    )
