"""`TrajectoryBuilder`: the starts and ends of the nodes of one graph run become its moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.facts import RunFacts, TaskFacts
from detailed_balance.callbacks.names import join_names, order_names
from detailed_balance.callbacks.transition import Beginning, Standing

__all__ = ["Record", "Stop", "TrajectoryBuilder", "TrajectoryStep", "join_names"]


class TrajectoryStep(NamedTuple):
    """One move of a trajectory; the target None is an escape."""

    trajectory: str
    source: str
    target: str | None
    step: int | None
    context: Context = ()
    run: str | None = None
    facts: StepFacts | None = None


class Stop(NamedTuple):
    """The end of a run, for now or for good."""

    trajectory: str
    outcome: Outcome
    error: str | None
    context: Context = ()
    run: str | None = None
    standing: Standing | None = None
    """Where it stands, unless it ended."""
    supersteps: int | None = None
    """Those of this invocation."""
    replaces: tuple[Outcome, Context] | None = None
    """How it had stopped before, if it went on, and its labels then."""


Record: TypeAlias = Beginning | TrajectoryStep | Stop
"""What becomes certain when something starts or ends."""


@dataclass(slots=True)
class TrajectoryBuilder:
    """Build the moves START -> state -> ... -> END of one run of a graph.

    The nodes of one superstep ran side by side, so together they are one state: their distinct
    names, sorted and joined by ``|``. Which superstep is complete shows only when a later one
    starts or the run ends; each method returns the records that have become certain.

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
    run, parent : str or None
        The id of the run, and of the run around it.
    beginning : Beginning or None
        What to record before the first move.
    step : int or None
        The step that is open.
    superstep : int or None
        The superstep of LangGraph that is open; steps without supersteps count by themselves.
    began_at : int or None
        The first superstep of this invocation.
    tasks : dict
        The tasks of the open step: the state keys of each, or None until it has finished.
    container : str
        The task of a functional workflow that its tasks run inside of.
    interrupted : bool
        Whether a task of it, or the graph between two supersteps, was interrupted.
    resumable : bool
        Whether it belongs to a thread, and so may go on after it stopped.
    facts : RunFacts or None
        Knows what the steps of the run were before; None where facts are not asked for.
    stopped : (Outcome, Context) or None
        Its last outcome, and its labels then.
    failure : str
        The type of the last error that a step raised, and what the step was about.

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
    run: str | None = None
    parent: str | None = None
    beginning: Beginning | None = None
    step: int | None = None
    superstep: int | None = None
    began_at: int | None = None
    tasks: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    container: str = ""
    interrupted: bool = False
    resumable: bool = False
    facts: RunFacts | None = None
    stopped: tuple[Outcome, Context] | None = None
    failure: str = ""
    _of_tasks: dict[str, TaskFacts] = field(default_factory=dict)

    def start_task(self, task: str, superstep: int) -> Sequence[Record]:
        """Start a task of a superstep; one in another superstep than the open one closes that.

        The same task again is a retry or a resume: its end replaces the earlier one. Where a
        superstep was skipped (a cached node sends no event), the state before is not known.
        """
        records: Sequence[Record] = () if self.beginning is None else self._begin()
        if superstep != self.superstep:
            moves = self._close()
            records = (*records, *moves) if records else moves
            if self.superstep is not None and superstep > self.superstep + 1:
                self.source = None
            self.step = self.superstep = superstep
        if self.began_at is None:
            self.began_at = superstep
        self.tasks[task] = None
        return records

    def start_next(self, task: str, container: str = "") -> Sequence[Record]:
        """Start a task where there are no supersteps: what overlaps in time is one state.

        It replaces the task `container` that it runs inside of.
        """
        self.tasks.pop(container, None)
        self.container = container
        records: Sequence[Record] = self._begin()
        if None not in self.tasks.values():
            records = (*records, *self._close())
            self.step = (self.step or 0) + 1
        self.tasks[task] = None
        return records

    def end_task(
        self,
        task: str,
        outcome: Outcome,
        names: tuple[str, ...] = (),
        facts: TaskFacts | None = None,
    ) -> Sequence[TrajectoryStep]:
        """End a task with the state keys `names`, none for a transparent one.

        A failed attempt is an escape from the state before the superstep.
        """
        if outcome is Outcome.ENDED:
            self.tasks[task] = names
            if facts is not None:
                self._of_tasks[task] = facts
        elif outcome is Outcome.INTERRUPTED:
            self.interrupted = True
        else:
            failed = outcome is Outcome.FAILED
            if self.superstep is None or (failed and self.container):
                self.tasks.pop(task, None)  # nobody tries it again under this id
            if failed and self.source is not None:
                known = self._put_together(() if facts is None else (facts,))
                return (self._move(self.source, None, self.step, known),)
        return ()

    def resume(self) -> None:
        """Go on in another invocation; the facts of the next step say so after an interrupt."""
        if self.interrupted and self.facts is not None:
            self.facts.resumed = True
        self.interrupted = False
        self.began_at = None

    def fits(self, task: str) -> bool:
        """Say whether a run that was stopped goes on with this task, which did not finish."""
        return self.tasks.get(task, ()) is None or task == self.container != ""

    def expects(self, superstep: int | None) -> bool:
        """Say whether a run that was stopped may go on with this superstep.

        That is the open one, or the next; or the one behind it, where a person updated the state
        meanwhile, which LangGraph counts as a superstep: perhaps in place of a node, so the state
        before is not known.
        """
        if self.superstep is None or superstep is None:
            return False
        due = self.superstep if self.tasks else self.superstep + 1
        return due <= superstep <= due + 1

    def finish(self) -> Sequence[TrajectoryStep]:
        """Close the trajectory with END, one step after the last: its graph returned."""
        moves = self._close()
        if self.source is None:
            return moves
        last = None if self.step is None else self.step + 1
        return (*moves, self._move(self.source, END, last))

    def stop(self) -> Sequence[TrajectoryStep]:
        """Leave it without END; a superstep counts only where all its tasks finished."""
        return () if None in self.tasks.values() else self._close()

    @property
    def standing(self) -> Standing:
        """Where it stands after `stop`."""
        open_tasks = [task for task, names in self.tasks.items() if names is None]
        if self.container:
            open_tasks.append(self.container)
        finished = sorted({name for names in self.tasks.values() for name in names or ()})
        return Standing(self.source, self.superstep, tuple(open_tasks), tuple(finished))

    @property
    def supersteps(self) -> int | None:
        """How many supersteps this invocation took so far."""
        if self.superstep is None or self.began_at is None:
            return None
        return self.superstep - self.began_at + 1

    def _begin(self) -> Sequence[Beginning]:
        beginning, self.beginning = self.beginning, None
        return () if beginning is None else (beginning,)

    def _move(
        self, source: str, target: str | None, step: int | None, facts: StepFacts | None = None
    ) -> TrajectoryStep:
        return TrajectoryStep(self.trajectory, source, target, step, self.context, self.run, facts)

    def _close(self) -> Sequence[TrajectoryStep]:
        names: list[str] = []
        for keys in self.tasks.values():
            names += keys or ()
        self.tasks.clear()
        known = None
        if self._of_tasks:
            known = self._put_together(self._of_tasks.values(), is_state=bool(names))
            self._of_tasks = {}
        if not names:
            return ()
        moves: list[TrajectoryStep] = []
        for state in names if len(names) == 1 else order_names(names):
            source, self.source = self.source, state
            if source is not None:
                moves.append(self._move(source, state, self.step, known))
                known = None  # of the step as a whole, so not twice
        return moves

    def _put_together(
        self, of_tasks: Iterable[TaskFacts], *, is_state: bool = True
    ) -> StepFacts | None:
        if self.facts is None:
            return None
        if is_state:
            return self.facts.step(self.step or 0, of_tasks)
        for facts in of_tasks:
            self.facts.carry(facts)
        return None
