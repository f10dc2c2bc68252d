"""The root runs of a record that grows: which have stopped, each once, and how."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.repetition.classify import REPEATING, RunKinds
from detailed_balance.analyzers.repetition.progress import StepProgress, classify_steps
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.diagnosis.words import UNNAMED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

_INTERRUPTED, _LIMIT = (OUTCOMES.index(o) for o in (Outcome.INTERRUPTED, Outcome.RECURSION_LIMIT))

_WAITED_FOR = 20
"""A run that is open does not hold up later ones where so many of them have stopped."""

_REMEMBERED = 100_000

RunKey: TypeAlias = tuple[str | None, float | None, int]


@dataclass(frozen=True, slots=True, eq=False)
class RootRuns:
    """What became of the root runs of a table.

    Parameters
    ----------
    table : RunTable
        The r runs.
    places : (k,) array of int64
        The root runs, in the order in which they began.
    stopped, failed, limited, repeating : (r,) arrays of bool
        Whether each run has stopped; did not do its work; was stopped at the recursion limit; and
        repeated itself, with the runs inside it, by the rules of `classify_runs`, without getting
        anywhere as far as the facts of its steps tell.
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
        names = [dict(context).get("graph") or UNNAMED for context in table.contexts]
        graphs = np.array([*names, ""], dtype=object)[table.runs.context]
        if len(set(graphs[places].tolist())) < 2:
            graphs[:] = ""
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

    They come in the order in which they began, because those that fail may end first.

    Examples
    --------
    >>> from detailed_balance.analyzers import RunTable, Trajectory
    >>> runs = [Trajectory((("a", "b"),), name, Outcome.FAILED) for name in "xy"]
    >>> stopped, found = RunFollower(), RootRuns.of(RunTable.of(runs))
    >>> stopped.update(found).tolist(), stopped.update(found).tolist()
    ([0, 1], [])
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[RunKey, None] = OrderedDict()

    def update(self, found: RootRuns) -> NDArray[np.int64]:
        """(k,) array of int64: the places of the root runs that are new."""
        places = found.places[found.stopped[found.places]]
        behind = np.zeros(len(found.table) + 1, dtype=np.int64)
        behind[places] = 1
        behind = behind[::-1].cumsum()[::-1]  # that stopped, from each place on
        new = []
        for place in found.places.tolist():
            if found.stopped[place]:
                key = run_key(found.table, place)
                if key not in self._seen:
                    self._seen[key] = None
                    new.append(place)
            elif behind[place] < _WAITED_FOR:
                break
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return np.array(new, dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        return {"seen": [list(key) for key in self._seen]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self._seen = OrderedDict.fromkeys((name, at, int(n)) for name, at, n in state["seen"])


def run_key(table: RunTable, place: int) -> RunKey:
    """Return what distinguishes a run from others: its id, or else its key and its beginning."""
    columns = table.runs
    if columns.run[place] is not None:
        return columns.run[place], None, 0
    started = float(columns.started[place])
    known = None if started != started else started
    return columns.name[place], known, int(table.lengths[place])
