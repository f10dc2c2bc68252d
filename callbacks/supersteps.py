"""One trajectory of one graph run: from the starts and ends of its nodes to moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from detailed_balance.analyzers.counts import END, START

__all__ = ["Ending", "Move", "Path", "join_names"]


class Ending(Enum):
    """How a run ended."""

    FINISHED = "finished"
    """It returned, or handed control to its parent graph."""

    INTERRUPTED = "interrupted"
    """It stopped on purpose and may be resumed."""

    FAILED = "failed"
    """It raised an error of its own."""

    CANCELLED = "cancelled"
    """It was stopped from outside, or nobody listened any more."""


class Move(NamedTuple):
    """One step of a trajectory; the target None is an escape."""

    trajectory: str
    source: str
    target: str | None
    step: int | None


def join_names(names: Iterable[str]) -> str:
    """Return one state key for what happened side by side.

    Examples
    --------
    >>> join_names(["search", "worker", "worker"])
    'search|worker'
    """
    return "|".join(sorted(set(names)))


@dataclass(slots=True)
class Path:
    """The path START -> state -> ... -> END of one graph run.

    The nodes of one superstep ran side by side, so together they are one state: their distinct
    names, sorted and joined by ``|``. Which superstep is complete shows only when a later one
    starts or the run ends; each method returns the moves that have become certain.

    Parameters
    ----------
    trajectory : str
        The key of the trajectory.
    source : str
        The last state reached.
    step : int or None
        The superstep that is open.
    tasks : dict
        The tasks of the open superstep: the state keys of each, or None until it has finished.
    interrupted : bool
        Whether a task of it, or the graph between two supersteps, was interrupted.

    Examples
    --------
    >>> path = Path("thread-1")
    >>> path.start_task("a:1", 1), path.end_task("a:1", Ending.FINISHED, ("a",))
    ((), ())
    >>> [(move.source, move.target) for move in path.finish()]
    [('__start__', 'a'), ('a', '__end__')]
    """

    trajectory: str
    source: str = START
    step: int | None = None
    tasks: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    interrupted: bool = False

    def start_task(self, task: str, step: int | None) -> Sequence[Move]:
        """Start a task; a task that starts in another superstep closes the open one.

        The same task again is a retry or a resume: its end replaces the earlier one.
        """
        moves = () if step == self.step else self._close()
        self.step = step
        self.tasks[task] = None
        return moves

    def end_task(self, task: str, ending: Ending, names: tuple[str, ...] = ()) -> Sequence[Move]:
        """End a task with the state keys `names`, none for a transparent one.

        A failed attempt is an escape from the state before the superstep.
        """
        if ending is Ending.FINISHED:
            self.tasks[task] = names
        elif ending is Ending.FAILED:
            return (Move(self.trajectory, self.source, None, self.step),)
        elif ending is Ending.INTERRUPTED:
            self.interrupted = True
        return ()

    def finish(self) -> Sequence[Move]:
        """Close the path with END, one step after the last: its graph returned."""
        moves = self._close()
        last = None if self.step is None else self.step + 1
        return (*moves, Move(self.trajectory, self.source, END, last))

    def stop(self) -> Sequence[Move]:
        """Leave the path without END; a superstep counts only where all its tasks finished."""
        return () if None in self.tasks.values() else self._close()

    def _close(self) -> Sequence[Move]:
        names: set[str] = set()
        for keys in self.tasks.values():
            names.update(keys or ())
        self.tasks.clear()
        if not names:
            return ()
        source, self.source = self.source, join_names(names)
        return (Move(self.trajectory, source, self.source, self.step),)
