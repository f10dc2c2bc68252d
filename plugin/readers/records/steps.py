"""From steps, the states of a trace one after another, to transitions with START and END."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.callbacks.facts import TaskFacts
from detailed_balance.callbacks.names import join_names
from detailed_balance.readers.records._external_sort import sort_steps
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.records.values import Step, TableMove, merge_endings

__all__ = ["connect_sorted_steps", "connect_steps"]


def connect_steps(steps: Iterable[Step | Ending], bad: BadLines) -> Iterator[Transition | Ending]:
    """Turn the steps of any number of trajectories into transitions.

    Parameters
    ----------
    steps : iterable of Step or Ending
        In any order, trajectories interleaved; see `sort_steps`. It is used up before the first
        transition comes, and kept in a temporary file where it is large.
    bad : BadLines
        Keeps account of duplicates, and of steps that stood in the wrong place.

    Yields
    ------
    Transition or Ending
        Trajectory by trajectory, in the order in which they began, each from START; an `Ending`
        comes after the moves that it ends.

    Notes
    -----
    Steps of one number are one state, their names joined by ``|``, as the nodes of a superstep
    are. A state that its step has already is a duplicate, and so is a step whose `event` its
    trajectory has had. A trajectory ends with END, unless its outcome says that the run stopped
    otherwise.

    Examples
    --------
    >>> bad = BadLines("events.csv", skip=False)
    >>> found = connect_steps([Step("T", "b", 2), Step("T", "a", 1), Step("T", "b", 2)], bad)
    >>> [(move.source, move.target) for move in found], bad.duplicates, bad.reordered
    ([('__start__', 'a'), ('a', 'b'), ('b', '__end__')], 1, 1)
    """
    return connect_sorted_steps(sort_steps(steps, bad), bad)


def connect_sorted_steps(
    steps: Iterable[Step | Ending], bad: BadLines
) -> Iterator[Transition | Ending]:
    """Do the same with steps of which each trajectory comes whole, in order.

    Nothing is kept but the step that is open.
    """
    for trajectory, group in groupby(steps, lambda step: step.trajectory):
        yield from _Run(trajectory, bad).follow(group)


@dataclass(slots=True)
class _Run:
    """The way through one trajectory."""

    trajectory: str | None
    bad: BadLines
    source: str = START
    names: set[str] = field(default_factory=set)
    step: int | None = None
    time: float | None = None
    context: Context = ()
    events: set[int] = field(default_factory=set)
    facts: StepFacts | None = None
    told: list[TaskFacts] = field(default_factory=list)
    cost: float | None = None

    def follow(self, steps: Iterable[Step | Ending]) -> Iterator[Transition | Ending]:
        last = Ending(self.trajectory)
        for step in steps:
            if isinstance(step, Ending):
                last = merge_endings(last, step)
                continue
            if step.outcome is not None or step.success is not None:
                last = merge_endings(last, Ending(None, step.outcome, None, step.success))
            if self._is_duplicate(step):
                self.bad.duplicates += 1
            else:
                yield from self._add(step)
        yield from self._close()
        if self.source != START and last.outcome in (None, Outcome.ENDED):
            self.cost = None if self.cost is None else 0.0
            place = None if self.step is None else self.step + 1
            yield self._move(END, place)
        if last.outcome is not None or last.success is not None:
            told = (last.context or self.context, last.time or self.time)
            yield Ending(self.trajectory, last.outcome, last.error, last.success, *told)

    def _is_duplicate(self, step: Step) -> bool:
        if step.event is not None:
            known = len(self.events)
            self.events.add(hash(step.event))
            if len(self.events) == known:
                return True
        same = step.step is not None and step.step == self.step
        if step.state is None:
            # Attempts that failed at one step are retries; at one moment, one recorded twice.
            return same and step.time is not None and step.time == self.time
        return same and step.state in self.names

    def _add(self, step: Step) -> Iterator[Transition]:
        """Open a step, or add to the one that is open."""
        if step.step is None or step.step != self.step or step.state in BOUNDARIES:
            yield from self._close()
        self.step, self.time, self.context = step.step, step.time, step.context
        self.facts = step.facts
        told = [] if step.told is None else [step.told]
        if step.cost is not None:
            self.cost = step.cost + (self.cost or 0.0 if self.names else 0.0)
        if step.state is None:
            yield self._move(None, step.step, told, step.facts)
        elif step.state == START:
            self.source = START
        elif step.state == END:
            yield self._move(END, step.step, told)
            self.source = START
        else:
            self.told += told
            self.names.add(step.state)

    def _close(self) -> Iterator[Transition]:
        if self.names:
            target = join_names(self.names)
            yield self._move(target, self.step, self.told, self.facts)
            self.source = target
            self.told = []
            self.names.clear()

    def _move(
        self,
        target: str | None,
        step: int | None,
        told: Sequence[TaskFacts] = (),
        facts: StepFacts | None = None,
    ) -> Transition:
        move = (self.source, target, self.trajectory, self.context, step, self.time)
        if self.cost is None and not told:
            return Transition(*move, facts=facts)
        return TableMove(*move, facts=facts, cost=self.cost, told=tuple(told))
