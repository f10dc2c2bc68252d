"""`RunAssembler`, which makes whole runs of moves that come one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from detailed_balance.analyzers import END, START, Outcome, Trajectory
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.graph import Move
from detailed_balance.callbacks.transition import Context

MAX_OPEN = 10_000
"""Of more unfinished runs the one that moved longest ago is let go."""

MAX_MOVES = 2_000
"""Of a longer run only its beginning is kept."""

KEPT = 1_000
"""So many finished runs are remembered."""


class RunAssembler:
    """Put moves together to runs, in bounded memory.

    A run is finished when it reaches END, when its ending comes, or when its trajectory starts
    again. One whose start was not seen is left out, where runs have starts.

    Attributes
    ----------
    finished : dict of str to Trajectory
        The last run of each trajectory, for the last 1,000 of these, with their outcomes as far
        as known.

    Examples
    --------
    >>> runs = RunAssembler()
    >>> moves = [("__start__", "plan", "run 1", (), 1), ("plan", "__end__", "run 1", (), 1)]
    >>> [run.states for run in runs.append(moves, [])]
    [('plan',)]
    """

    def __init__(self) -> None:
        self.finished: OrderedDict[str, Trajectory] = OrderedDict()
        self._knows_starts = False
        self._open: OrderedDict[str, tuple[list[tuple[str, str | None]], Context]] = OrderedDict()

    def append(self, moves: Iterable[Move], endings: Iterable[Ending]) -> list[Trajectory]:
        """Return the runs that these moves and endings finish, in the order in which they do."""
        done: list[Trajectory] = []
        for source, target, trajectory, context, count in moves:
            if trajectory is None:
                continue
            if source == START:
                self._knows_starts = True
                if self._has_moved(trajectory):
                    done += self._finish(trajectory, None)
            self._add(trajectory, (source, target), context, count)
            if target == END:
                done += self._finish(trajectory, Outcome.ENDED)
        for ending in endings:
            done += self._append_ending(ending)
        return done

    def _has_moved(self, trajectory: str) -> bool:
        """Say whether a run left its start: before that, a new start is a retry."""
        moves, _ = self._open.get(trajectory, ((), ()))
        return any(target is not None for _, target in moves)

    def _add(
        self, trajectory: str, move: tuple[str, str | None], context: Context, count: int
    ) -> None:
        moves, _ = self._open.setdefault(trajectory, ([], context))
        self._open.move_to_end(trajectory)
        moves += [move] * min(count, max(0, MAX_MOVES - len(moves)))
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _append_ending(self, ending: Ending) -> list[Trajectory]:
        if ending.trajectory is None:
            return []
        if ending.outcome not in (None, Outcome.INTERRUPTED) and ending.trajectory in self._open:
            return self._finish(ending.trajectory, ending.outcome, ending.error, ending.success)
        self._amend(ending)
        return []

    def _amend(self, ending: Ending) -> None:
        """Add the outcome to the last run of a trajectory."""
        run = self.finished.get(ending.trajectory or "")
        if run is not None:
            outcome = ending.outcome or run.outcome
            success = ending.success if ending.success is not None else run.success
            self.finished[ending.trajectory or ""] = replace(run, outcome=outcome, success=success)

    def _finish(
        self,
        trajectory: str,
        outcome: Outcome | None,
        error: str | None = None,
        success: bool | None = None,
    ) -> list[Trajectory]:
        moves, context = self._open.pop(trajectory)
        if self._knows_starts and moves[0][0] != START:
            return []
        if success is None and outcome is not None:
            success = outcome.success
        run = Trajectory(tuple(moves), trajectory, outcome, success, error, context)
        self.finished[trajectory] = run
        self.finished.move_to_end(trajectory)
        if len(self.finished) > KEPT:
            self.finished.popitem(last=False)
        return [run]
