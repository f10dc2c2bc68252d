"""`TrajectoryBuilder`: the starts and ends of the nodes of one graph run become its moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.callbacks.transition import Context

__all__ = ["Stop", "TrajectoryBuilder", "TrajectoryStep", "join_names"]


class TrajectoryStep(NamedTuple):
    """One move of a trajectory; the target None is an escape."""

    trajectory: str
    source: str
    target: str | None
    step: int | None
    context: Context = ()


class Stop(NamedTuple):
    """The end of a trajectory, for now or for good."""

    trajectory: str
    outcome: Outcome
    error: str | None
    context: Context = ()


def join_names(names: Iterable[str]) -> str:
    """Return one state key for what happened side by side.

    Examples
    --------
    >>> join_names(["search", "worker", "worker"])
    'search|worker'
    """
    return "|".join(sorted(set(names)))


@dataclass(slots=True)
class TrajectoryBuilder:
    """Build the trajectory START -> state -> ... -> END of one graph run.

    The nodes of one superstep ran side by side, so together they are one state: their distinct
    names, sorted and joined by ``|``. Which superstep is complete shows only when a later one
    starts or the run ends; each method returns the moves that have become certain.

    Parameters
    ----------
    trajectory : str
        The key of the trajectory.
    base : str
        The thread, or else the graph run, that it belongs to.
    source : str or None
        The last state reached; None where it is not known, so that no move starts from it.
    context : Context
        The labels of its moves.
    step : int or None
        The step that is open.
    superstep : int or None
        The superstep of LangGraph that is open; steps without supersteps count by themselves.
    tasks : dict
        The tasks of the open step: the state keys of each, or None until it has finished.
    interrupted : bool
        Whether a task of it, or the graph between two supersteps, was interrupted.
    resumable : bool
        Whether it belongs to a thread, and so may go on after it stopped.

    Examples
    --------
    >>> builder = TrajectoryBuilder("thread-1")
    >>> builder.start_task("a:1", 1), builder.end_task("a:1", Outcome.ENDED, ("a",))
    ((), ())
    >>> [(move.source, move.target) for move in builder.finish()]
    [('__start__', 'a'), ('a', '__end__')]
    """

    trajectory: str
    base: str = ""
    source: str | None = START
    context: Context = ()
    step: int | None = None
    superstep: int | None = None
    tasks: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    interrupted: bool = False
    resumable: bool = False

    def start_task(self, task: str, superstep: int) -> Sequence[TrajectoryStep]:
        """Start a task of a superstep; one in another superstep than the open one closes that.

        The same task again is a retry or a resume: its end replaces the earlier one. Where a
        superstep was skipped (a cached node sends no event), the state before is not known.
        """
        moves: Sequence[TrajectoryStep] = ()
        if superstep != self.superstep:
            moves = self._close()
            if self.superstep is not None and superstep > self.superstep + 1:
                self.source = None
            self.step = self.superstep = superstep
        self.tasks[task] = None
        return moves

    def start_next(self, task: str, container: str = "") -> Sequence[TrajectoryStep]:
        """Start a task where there are no supersteps: what overlaps in time is one state.

        It replaces the task `container` that it runs inside of.
        """
        self.tasks.pop(container, None)
        moves: Sequence[TrajectoryStep] = ()
        if None not in self.tasks.values():
            moves = self._close()
            self.step = (self.step or 0) + 1
        self.tasks[task] = None
        return moves

    def end_task(
        self, task: str, outcome: Outcome, names: tuple[str, ...] = ()
    ) -> Sequence[TrajectoryStep]:
        """End a task with the state keys `names`, none for a transparent one.

        A failed attempt is an escape from the state before the superstep.
        """
        if outcome is Outcome.ENDED:
            self.tasks[task] = names
        elif outcome is Outcome.INTERRUPTED:
            self.interrupted = True
        elif outcome is Outcome.FAILED and self.source is not None:
            return (TrajectoryStep(self.trajectory, self.source, None, self.step, self.context),)
        return ()

    def expects(self, superstep: int) -> bool:
        """Say whether a trajectory that was stopped continues with this superstep."""
        if self.superstep is None:
            return False
        return superstep == (self.superstep if self.tasks else self.superstep + 1)

    def finish(self) -> Sequence[TrajectoryStep]:
        """Close the trajectory with END, one step after the last: its graph returned."""
        moves = self._close()
        if self.source is None:
            return moves
        last = None if self.step is None else self.step + 1
        return (*moves, TrajectoryStep(self.trajectory, self.source, END, last, self.context))

    def stop(self) -> Sequence[TrajectoryStep]:
        """Leave it without END; a superstep counts only where all its tasks finished."""
        return () if None in self.tasks.values() else self._close()

    def _close(self) -> Sequence[TrajectoryStep]:
        names: list[str] = []
        for keys in self.tasks.values():
            names += keys or ()
        self.tasks.clear()
        if not names:
            return ()
        source, self.source = self.source, names[0] if len(names) == 1 else join_names(names)
        if source is None:
            return ()
        return (TrajectoryStep(self.trajectory, source, self.source, self.step, self.context),)
