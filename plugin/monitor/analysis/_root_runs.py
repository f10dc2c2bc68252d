"""The root runs of a record that grows: which have stopped, each once, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.repetition.classify import REPEATING, RunKinds
from detailed_balance.analyzers.repetition.progress import StepProgress, classify_steps
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.diagnosis.agents import name_agents
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.render.formatting import count_noun, shorten_states

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

_INTERRUPTED, _LIMIT = (OUTCOMES.index(o) for o in (Outcome.INTERRUPTED, Outcome.RECURSION_LIMIT))

_WAITED_FOR = 20
"""A run that is open does not hold up later ones where so many of them have stopped."""

RunKey: TypeAlias = tuple[str | None, float | None, int]


@dataclass(frozen=True, slots=True, eq=False)
class RootRuns:
    """The outcomes of the root runs of a table.

    Parameters
    ----------
    table : RunTable
        The r runs.
    places : (k,) array of int64
        The root runs, in the order in which they began.
    stopped, failed, limited, repeating : (r,) arrays of bool
        Whether each run has stopped; did not do its work; was stopped at the recursion limit; and
        repeated itself, with the runs inside it, by the rules of `classify_runs`, without getting
        anywhere as far as the facts of its steps tell. These rules look at one run alone, which
        the test of a rate needs; findings compare runs with each other (`find_onsets`).
    graphs : (r,) array of object
        The name of the agent of each run, as a report calls it; empty where there is one alone.
    """

    table: RunTable
    places: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    limited: NDArray[np.bool_]
    repeating: NDArray[np.bool_]
    graphs: NDArray[np.object_]

    @classmethod
    def of(cls, table: RunTable) -> RootRuns:
        """Look at the runs of a table."""
        root, outcome = root_places(table), table.runs.outcome
        places = np.unique(root)
        repeating = np.zeros(len(table), dtype=bool)
        repeating[root[_is_repeating(table)]] = True
        graphs = name_agents(table)
        stopped = (outcome >= 0) & (outcome != _INTERRUPTED)
        failed = stopped & (table.runs.success == 0)
        return cls(table, places, stopped, failed, outcome == _LIMIT, repeating, graphs)

    def counts_for(self, rate: str, graph: str) -> NDArray[np.bool_]:
        """(r,) array: whether each run of an agent counts for a rate; one at the limit for one."""
        values = self.failed & ~self.limited if rate == "failed" else getattr(self, rate)
        return np.asarray(values & (self.graphs == graph))


def _is_repeating(table: RunTable) -> NDArray[np.bool_]:
    kinds, progress = RunKinds.find(table).kind, classify_steps(table)
    score = np.where(progress == StepProgress.NEW, 1.0, -1.0)
    score[progress == StepProgress.UNKNOWN] = 0.0
    advances = np.bincount(table.run_of_move, score, minlength=len(table)) > 0
    return np.asarray((kinds < len(REPEATING)) & ~advances)


class RunFollower:
    """Say which root runs have stopped since the last time, each once.

    They come in the order in which they began, because those that fail may end first. What is no
    longer in the table does not come back.

    Examples
    --------
    >>> from detailed_balance.analyzers import RunTable, Trajectory
    >>> runs = [Trajectory((("a", "b"),), name, Outcome.FAILED) for name in "xy"]
    >>> stopped, found = RunFollower(), RootRuns.of(RunTable.of(runs))
    >>> stopped.update(found).tolist(), stopped.update(found).tolist()
    ([0, 1], [])
    """

    def __init__(self) -> None:
        self._seen: set[RunKey] = set()

    @property
    def seen(self) -> Set[RunKey]:
        """The root runs that were returned, as far as they are still in the table."""
        return self._seen

    def update(self, found: RootRuns) -> NDArray[np.int64]:
        """(k,) array of int64: the places of the root runs that are new."""
        places = found.places[found.stopped[found.places]]
        behind = np.zeros(len(found.table) + 1, dtype=np.int64)
        behind[places] = 1
        behind = behind[::-1].cumsum()[::-1]  # that stopped, from each place on
        there = {run_key(found.table, place): place for place in places.tolist()}
        self._seen &= there.keys()
        waiting = found.places[~found.stopped[found.places] & (behind[found.places] < _WAITED_FOR)]
        until = int(waiting.min(initial=len(found.table)))
        new = [place for key, place in there.items() if key not in self._seen and place < until]
        self._seen |= {key for key, place in there.items() if place < until}
        return np.array(new, dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        return {"seen": [list(key) for key in self._seen]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self._seen = {(name, at, int(n)) for name, at, n in state["seen"]}


STUCK = "by a rule: 10 or more steps without progress, twice as many as any successful run had"
"""What a finding of runs that get nowhere now rests on."""

_LEAST_IDLE = 10
_ALIVE = 600.0  # seconds since an open run was seen to grow
_STATES_NAMED = 3


class StuckRuns:
    """Find open runs that go on and get nowhere: all their last steps failed or were stale.

    A step is stale where the same call got the same answer before in the run, as the facts of steps
    say. An open run whose process has ended does not grow, and is not found.
    """

    def __init__(self) -> None:
        self._grown: dict[str, tuple[int, float]] = {}  # moves, and when they were seen to grow

    def find(self, found: RootRuns, now: float) -> Iterator[Finding]:
        """Yield a finding for each agent that has such runs."""
        table = found.table
        alive = self._find_alive(table, now)
        if not alive.any():
            return
        idle, root = _count_idle(table), root_places(table)
        good = np.isin(table.run_of_move, np.flatnonzero(table.runs.success == 1))
        least = max(_LEAST_IDLE, 2 * int(idle[good].max(initial=0)))
        at_end = np.zeros(len(table), dtype=np.int64)
        at_end[alive] = idle[table.offsets[1:][alive] - 1]
        stuck = np.flatnonzero(at_end >= least)
        still_open = ~found.stopped[found.places]
        for graph in sorted(set(found.graphs[root[stuck]].tolist())):
            own = stuck[found.graphs[root[stuck]] == graph]
            number = int((still_open & (found.graphs[found.places] == graph)).sum())
            yield _describe_stuck(table, own, at_end, root, graph, number)

    def _find_alive(self, table: RunTable, now: float) -> NDArray[np.bool_]:
        alive = np.zeros(len(table), dtype=bool)
        grown: dict[str, tuple[int, float]] = {}
        for place in np.flatnonzero((table.runs.outcome < 0) & (table.lengths > 0)).tolist():
            name = table.runs.run[place] or table.runs.name[place]
            if name is None:
                continue
            moves, at = int(table.lengths[place]), -_ALIVE
            if name in self._grown:
                before, at = self._grown[name]
                at = now if moves > before else at
            grown[name] = moves, at
            alive[place] = now - at < _ALIVE
        self._grown = grown
        return alive


def _count_idle(table: RunTable) -> NDArray[np.int64]:
    """(m,) array: how many moves up to each one, and this one, brought the run nothing."""
    index, run = np.arange(table.total), table.run_of_move
    idle = classify_steps(table) <= StepProgress.FAILED
    if table.facts is not None:
        idle &= ~table.facts.resumed
    last = np.maximum.accumulate(np.where(idle, -1, index))
    return np.asarray(index - np.maximum(last, table.offsets[:-1][run] - 1))


def _describe_stuck(
    table: RunTable,
    own: NDArray[np.int64],
    steps: NDArray[np.int64],
    root: NDArray[np.int64],
    graph: str,
    number: int,
) -> Finding:
    worst = int(own[steps[own].argmax()])
    last = slice(int(table.offsets[worst + 1] - steps[worst]), int(table.offsets[worst + 1]))
    codes = np.unique(np.where(table.target[last] < 0, table.source[last], table.target[last]))
    place = tuple(table.states[code] for code in codes.tolist())
    roots = list(dict.fromkeys(root[own[np.argsort(-steps[own], kind="stable")]].tolist()))
    names, ids = table.runs.name.tolist(), table.runs.run.tolist()
    keys = (names[place] or ids[place] for place in roots)
    verb = "gets" if len(roots) == 1 else "get"
    where = f" in {' and '.join(shorten_states(place))}" if len(place) <= _STATES_NAMED else ""
    return Finding(
        "repetition",
        "problem",
        f"{len(roots):,} of {count_noun(number, 'open run')} {verb} nowhere now{where}: the last "
        f"{int(steps[worst]):,} steps failed, or were the same call with the same answer",
        place if len(place) <= _STATES_NAMED else (),
        tuple(key for key in keys if key is not None),
        len(roots),
        number,
        graph=graph,
        evidence=STUCK,
    )


def run_key(table: RunTable, place: int) -> RunKey:
    """Return what distinguishes a run from others: its id, or else its key and its beginning."""
    columns = table.runs
    if columns.run[place] is not None:
        return columns.run[place], None, 0
    started = float(columns.started[place])
    known = None if started != started else started
    return columns.name[place], known, int(table.lengths[place])
