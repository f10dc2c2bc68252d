"""`RunAssembler`, which makes whole runs of moves that come one by one."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from detailed_balance.analyzers import END, START, Outcome, Trajectory
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.graph import Move

MAX_OPEN = 10_000
"""Of more unfinished runs the one that moved longest ago is let go."""

MAX_MOVES = 2_000
"""Of a longer run only its beginning is kept."""

_PLACE = re.compile(r"/[^/|:]+:[^/]*$")
"""Of a subgraph: what its key has after that of the thread."""

KEPT = 1_000
"""So many finished runs are remembered."""


@dataclass(slots=True)
class _OpenRun:
    """A run that is being put together."""

    trajectory: str | None
    run: str | None
    context: Context
    moves: list[tuple[str, str | None]] = field(default_factory=list)


class RunAssembler:
    """Put moves together to runs, in bounded memory.

    A run is what bears the id of one, or else what a trajectory does from one start to the next. It
    is finished when it reaches END or when its ending comes; one that goes on after that, as in a
    retry, is not finished a second time. One whose start was not seen is left out, where runs have
    starts.

    Attributes
    ----------
    finished : dict of str to Trajectory
        The last 1,000 runs, by their ids, or else the last of each trajectory, with their outcomes
        as far as known.

    Examples
    --------
    >>> runs = RunAssembler()
    >>> moves = [("__start__", "plan", "thread-1", (), 1, "b7")]
    >>> moves += [("plan", "__end__", "thread-1", (), 1, "b7")]
    >>> [run.states for run in runs.append(moves, [])], list(runs.finished)
    ([('plan',)], ['b7'])
    """

    def __init__(self) -> None:
        self.finished: OrderedDict[str, Trajectory] = OrderedDict()
        self._knows_starts = False
        self._open: OrderedDict[str, _OpenRun] = OrderedDict()

    def append(self, moves: Iterable[Move], endings: Iterable[Ending]) -> list[Trajectory]:
        """Return the runs that these moves and endings finish, in the order in which they do."""
        done: list[Trajectory] = []
        for move in moves:
            source, target, trajectory, _, _, run = move
            key = run or trajectory
            if key is None:
                continue
            if source == START:
                self._knows_starts = True
                if run is None and self._has_moved(key):
                    done += self._finish(key, None)
            self._add(key, move)
            if target == END:
                done += self._finish(key, Outcome.ENDED)
        for ending in endings:
            done += self._append_ending(ending)
        return done

    def _has_moved(self, key: str) -> bool:
        """Say whether a run left its start: before that, a new start is a retry."""
        found = self._open.get(key)
        return found is not None and any(target is not None for _, target in found.moves)

    def _add(self, key: str, move: Move) -> None:
        source, target, trajectory, context, count, run = move
        moves = self._open.setdefault(key, _OpenRun(trajectory, run, context)).moves
        self._open.move_to_end(key)
        moves += [(source, target)] * min(count, max(0, MAX_MOVES - len(moves)))
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _append_ending(self, ending: Ending) -> list[Trajectory]:
        key = ending.run or ending.trajectory
        if key is None:
            return []
        if ending.outcome not in (None, Outcome.INTERRUPTED) and key in self._open:
            return self._finish(key, ending.outcome, ending.error, ending.success)
        self._amend(key, ending)
        return []

    def _amend(self, key: str, ending: Ending) -> None:
        """Add the outcome to a run, or to the last run of a trajectory."""
        if ending.run is None and key not in self.finished:
            last = (k for k, run in reversed(self.finished.items()) if run.name == key)
            key = next(last, key)
        run = self.finished.get(key)
        if run is not None:
            outcome = ending.outcome or run.outcome
            success = ending.success if ending.success is not None else run.success
            self.finished[key] = replace(run, outcome=outcome, success=success)

    def _finish(
        self,
        key: str,
        outcome: Outcome | None,
        error: str | None = None,
        success: bool | None = None,
    ) -> list[Trajectory]:
        found = self._open.pop(key)
        earlier = None if found.run is None else self.finished.get(key)
        if earlier is not None:
            found.moves = [*earlier.moves, *found.moves][:MAX_MOVES]
        if self._knows_starts and found.moves[0][0] != START:
            return []
        if success is None and outcome is not None:
            success = outcome.success
        moves = tuple(found.moves)
        thread = _PLACE.sub("", found.trajectory or "") if found.run else None
        about = (found.trajectory, outcome, success, error, found.context)
        run = Trajectory(moves, *about, run=found.run, thread=thread or None)
        self.finished[key] = run
        self.finished.move_to_end(key)
        if len(self.finished) > KEPT:
            self.finished.popitem(last=False)
        return [] if earlier is not None else [run]
