"""The visits of many runs as columns: longest stays and shuttles, and stretches in traps.

What a run repeats is counted again with each move that is the first after a resume: there runs are
taken apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Blocks(NamedTuple):
    """Visits in a row to one state, part of a run after part of a run.

    Parameters
    ----------
    state : (b,) array of int32
        The state, its place in `RunTable.states`.
    onset : (b,) array of int64
        The moves of the run before the first of the visits.
    visits : (b,) array of int64
        How many there are; an attempt that reached no state is one more where the run stands.
    offsets : (p + 1,) array of int64
        Part i has the blocks ``offsets[i]`` to ``offsets[i + 1]``.
    run_of_part : (p,) array of int64
        The run that each part is of, in order; every run has one or more.
    """

    state: NDArray[np.int32]
    onset: NDArray[np.int64]
    visits: NDArray[np.int64]
    offsets: NDArray[np.int64]
    run_of_part: NDArray[np.int64]

    @property
    def part(self) -> NDArray[np.int64]:
        """(b,) array of int64: the part of each block."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def offsets_of_runs(self, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """(r + 1,) array of int64: where each run begins among things that are of these parts."""
        runs = int(self.run_of_part[-1]) + 1 if len(self.run_of_part) else 0
        number = np.bincount(self.run_of_part[part], minlength=runs)
        return np.concatenate([[0], np.cumsum(number)])


class StretchColumns(NamedTuple):
    """A part of each run that keeps to a few states, as (r,) arrays of int64.

    Parameters
    ----------
    first, second : array
        Two of its states, places in `RunTable.states`; -1 where it has fewer.
    onset : array
        The moves before it.
    visits : array
        Its visits to states; an attempt that reached no state is one more where the run stands.
    switches : array
        How often it changed from one of the states to another.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    onset: NDArray[np.int64]
    visits: NDArray[np.int64]
    switches: NDArray[np.int64]

    @property
    def end(self) -> NDArray[np.int64]:
        """(r,) array of int64: the moves up to its end."""
        return self.onset + np.maximum(self.visits - 1, 0)


class Visits(NamedTuple):
    """The v visits of runs to states, run after run; START and END are none.

    Parameters
    ----------
    state : (v,) array of int32
        The state, its place in `RunTable.states`.
    run, part : (v,) arrays of int64
        The run, and the part of it.
    onset : (v,) array of int64
        The moves of the run up to the visit: 0 where it began there.
    run_of_part : (p,) array of int64
        The run that each part is of; a move that is the first after a resume begins one.
    """

    state: NDArray[np.int32]
    run: NDArray[np.int64]
    part: NDArray[np.int64]
    onset: NDArray[np.int64]
    run_of_part: NDArray[np.int64]


def find_visits(table: RunTable) -> Visits:
    """Return the visits of runs; an attempt that reached no state is one where the run stands."""
    visited = np.arange(len(table.states), dtype=np.int32)
    visited[[state in BOUNDARIES for state in table.states]] = -1
    run, moves = table.run_of_move, np.arange(table.total)
    # A place for where each run begins, and one for each move.
    state = np.full(table.total + len(table), -1, dtype=np.int32)
    begins = np.flatnonzero(table.lengths)
    state[table.offsets[begins] + begins] = visited[table.source[table.offsets[begins]]]
    state[moves + run + 1] = visited[np.where(table.target < 0, table.source, table.target)]
    places = np.flatnonzero(state >= 0)
    start = table.offsets[:-1] + np.arange(len(table))
    begins_part = np.zeros(len(state), dtype=bool)
    begins_part[start] = True
    if table.facts is not None:
        begins_part[moves + run + 1] = table.facts.resumed
    part = np.cumsum(begins_part) - 1
    run_of = np.repeat(np.arange(len(table)), table.lengths + 1)
    return Visits(
        state[places],
        run_of[places],
        part[places],
        places - start[run_of[places]],
        run_of[begins_part],
    )


def join_visits(visits: Visits, part: NDArray[np.int64], run_of_part: NDArray[np.int64]) -> Blocks:
    """Return the visits in a row to one state; `part` is in which part each of them is."""
    state = visits.state
    new = np.ones(len(state), dtype=bool)
    new[1:] = (part[1:] != part[:-1]) | (state[1:] != state[:-1])
    first = np.flatnonzero(new)
    return Blocks(
        state[first],
        visits.onset[first],
        np.diff(np.append(first, len(state))),
        np.concatenate([[0], np.cumsum(np.bincount(part[first], minlength=len(run_of_part)))]),
        run_of_part,
    )


def find_stays(blocks: Blocks) -> StretchColumns:
    """Return the longest stay of each run in one state; of equal ones the first."""
    runs, best = _first_largest(blocks.visits, blocks.offsets_of_runs(blocks.part))
    return _stretches(blocks, runs, best, best + 1)


def find_shuttles(blocks: Blocks) -> StretchColumns:
    """Return the stretch among two states with the most changes; of equal ones the first."""
    state, offsets = blocks.state, blocks.offsets
    wide = np.flatnonzero(np.diff(offsets) > 1)
    first = np.zeros(len(state), dtype=bool)
    first[offsets[wide]] = True
    # A third state ends a stretch, and the block before it begins the next one.
    third = np.zeros(len(state), dtype=bool)
    third[2:] = state[2:] != state[:-2]
    heads = offsets[wide]
    third[heads] = third[heads + 1] = False
    third[offsets[:-1][np.diff(offsets) == 1]] = False
    first[:-1] |= third[1:]
    start = np.flatnonzero(first)
    part = blocks.part[start]
    stop = np.append(start[1:] + 1, len(state))
    stop = np.minimum(stop, offsets[part + 1])
    runs, best = _first_largest(stop - start, blocks.offsets_of_runs(part))
    return _stretches(blocks, runs, start[best], stop[best])


def find_in_trap(blocks: Blocks, trap: Sequence[int]) -> StretchColumns:
    """Return the longest stretch of each run in some states; of equal ones the first."""
    inside = np.flatnonzero(np.isin(blocks.state, np.asarray(trap, dtype=np.int32)))
    part = blocks.part[inside]
    new = np.ones(len(inside), dtype=bool)
    new[1:] = (np.diff(inside) > 1) | (part[1:] != part[:-1])
    last = np.ones(len(inside), dtype=bool)
    last[:-1] = new[1:]
    first = np.flatnonzero(new)
    start, stop = inside[first], inside[last] + 1
    visits = _sums(blocks.visits, start, stop)
    runs, best = _first_largest(visits, blocks.offsets_of_runs(part[first]))
    return _stretches(blocks, runs, start[best], stop[best])


def _stretches(
    blocks: Blocks, runs: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> StretchColumns:
    """Return the blocks from `start` to before `stop` of some runs as stretches."""
    n = int(blocks.run_of_part[-1]) + 1 if len(blocks.run_of_part) else 0
    found = StretchColumns(*np.full((2, n), -1), *np.zeros((3, n), dtype=np.int64))
    last = np.minimum(start + 1, stop - 1)
    one, other = blocks.state[start], blocks.state[last]
    found.first[runs] = np.minimum(one, other)
    found.second[runs] = np.where(one == other, -1, np.maximum(one, other))
    found.onset[runs] = blocks.onset[start]
    found.visits[runs] = _sums(blocks.visits, start, stop)
    found.switches[runs] = stop - start - 1
    return found


def _sums(
    values: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(total[stop] - total[start])


def _first_largest(
    values: NDArray[Any], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the groups that are not empty, and the place of the first largest value in each."""
    groups = np.flatnonzero(np.diff(offsets))
    if not len(groups):
        return groups, groups
    most = np.maximum.reduceat(values, offsets[groups])
    group = np.repeat(np.arange(len(groups)), np.diff(offsets)[groups])
    hits = np.flatnonzero(values == most[group])[::-1]
    best = np.empty(len(groups), dtype=np.int64)
    best[group[hits]] = hits
    return groups, best
