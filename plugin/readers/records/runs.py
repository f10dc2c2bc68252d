"""From the records of a trace to its runs: which moves belong together, and how each run ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain, repeat
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import END, START, Outcome, Trajectory
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.readers.records.facts import number_facts
from detailed_balance.readers.records.values import TableMove, merge_endings

if TYPE_CHECKING:
    from detailed_balance.analyzers.runs.trajectory import StepFacts
    from detailed_balance.callbacks import Transition

__all__ = ["MOST_COUNTED", "RunParts", "split_runs", "split_table"]

MOST_COUNTED = 100_000_000
"""Where counts stand for more moves than this beyond the records themselves, no runs are made."""

_LARGEST_LIMIT = 2**53
_MOST_SILENT = 3  # steps before the first move of a fresh thread


def split_runs(
    records: Iterable[Transition | Ending], beginnings: Iterable[Beginning] = ()
) -> list[RunParts]:
    """Return the transitions of each run, with the endings that stand behind them."""
    known = {beginning.run: RunParts(beginning.run, beginning) for beginning in beginnings}
    runs = list(known.values())
    open_runs: dict[str, RunParts] = {}
    for record in records:
        if record.run is not None:
            run = known.get(record.run)
            if run is None:
                run = known[record.run] = RunParts(record.run)
                runs.append(run)
        elif record.trajectory is None:
            continue
        else:
            run = open_runs.get(record.trajectory)
        if isinstance(record, Ending):
            if run is not None:
                run.endings.append(record)
            continue
        if run is None or (record.run is None and _is_new(run.moves, record)):
            run = open_runs[record.trajectory or ""] = RunParts()
            runs.append(run)
        run.moves.append(record)
    return runs


def split_table(records: Iterable[Transition | Ending]) -> list[RunParts]:
    """Return the runs of a table of moves, which may stand in any order.

    The moves of a trajectory are sorted by their step, then by their time, then by their place in
    the table. Where it holds several runs, in each of which the steps may start again, their time
    decides, if it is known of all moves, and else their place. What the last record of a run says
    of its end counts.

    Parameters
    ----------
    records : iterable of Transition or Ending
        Each ending behind the move whose record told it.

    Examples
    --------
    >>> from detailed_balance.callbacks import Transition
    >>> moves = [Transition("b", "c", "T", step=2), Transition("a", "b", "T", step=1)]
    >>> [move.target for move in split_table(moves)[0].moves]
    ['b', 'c']
    """
    trajectories: dict[str | None, list[tuple[Transition, list[Ending]]]] = {}
    for record in records:
        told = trajectories.setdefault(record.trajectory, [])
        if isinstance(record, Ending):
            told[-1][1].append(record)
        else:
            told.append((record, []))
    runs: list[RunParts] = []
    for told in sorted(trajectories.values(), key=_began):
        moves = [move for move, _ in told]
        key = _by_time if sum(move.source == START for move in moves) > 1 else _by_step
        if key is _by_step or all(move.time is not None for move in moves):
            told.sort(key=lambda pair: key(pair[0]))
        ordered: Iterable[Iterable[Transition | Ending]] = ((m, *ends) for m, ends in told)
        runs += split_runs(chain.from_iterable(ordered))
    for run in runs:
        if run.endings:
            last = reduce(merge_endings, run.endings)
            run.endings = [replace(last, time=run.moves[-1].time)]
    return runs


def _began(told: Sequence[tuple[Transition, object]]) -> float:
    return min((move.time for move, _ in told if move.time is not None), default=-inf)


def _by_step(move: Transition) -> tuple[bool, int, bool, float]:
    return move.step is None, move.step or 0, *_by_time(move)


def _by_time(move: Transition) -> tuple[bool, float]:
    return move.time is None, move.time or 0.0


def _is_new(run: Sequence[Transition], move: Transition) -> bool:
    """Say whether a move begins another run; so far there may have been only attempts to start."""
    return move.source == START and any(before.target is not None for before in run)


def _in_order(moves: list[Transition]) -> list[Transition]:
    """Return the moves of a run as they were made; a part of it may have been written later."""
    if _is_path(moves):
        return moves
    by_step = sorted(moves, key=lambda move: (move.target == END, move.step or 0))
    return by_step if _is_path(by_step) else moves


def _is_path(moves: Sequence[Transition]) -> bool:
    here = moves[0].source if moves else ""
    for move in moves:
        if move.source != here:
            return False
        here = here if move.target is None else move.target
    return True


@dataclass(slots=True)
class RunParts:
    """A run that is being put together."""

    name: str | None = None
    beginning: Beginning | None = None
    moves: list[Transition] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    @property
    def trajectory(self) -> str | None:
        """The trajectory that it belongs to."""
        if self.beginning is not None:
            return self.beginning.trajectory
        return self.moves[0].trajectory if self.moves else self.endings[0].trajectory

    @property
    def began(self) -> float | None:
        """When it began."""
        if self.beginning is not None and self.beginning.time is not None:
            return self.beginning.time
        return self.moves[0].time if self.moves else None

    def end(self, cost_field: str | None = None, *, langgraph: bool = False) -> Trajectory:
        """Return the run with its outcome; its steps are a recursion limit's, if `langgraph`."""
        if self.name is not None:
            self.moves = _in_order(self.moves)
            self.endings.sort(key=lambda ending: inf if ending.time is None else ending.time)
        moves = tuple((move.source, move.target) for move in self.moves for _ in range(move.count))
        stops = [ending for ending in self.endings if ending.outcome is not None]
        judged = next((e.success for e in reversed(self.endings) if e.success is not None), None)
        outcome = stops[-1].outcome if stops else None
        success = judged if judged is not None or outcome is None else outcome.success
        if outcome is None and moves and moves[-1][1] == END:
            outcome = Outcome.ENDED  # without a word of success: a trace may end where it was cut
        began = self.beginning
        labels = (self.moves or self.endings)[-1].context
        starts = not moves or moves[0][0] == START
        return Trajectory(
            moves,
            self.trajectory,
            outcome,
            success,
            stops[-1].error if stops else None,
            tuple(label for label in labels if label[0] != cost_field),
            tuple(self._costs(cost_field)),
            self._limit_steps() if langgraph or self._counted else None,
            run=self.name,
            thread=began.thread if began else None,
            parent=began.parent if began else None,
            origin=began.origin if began else None,
            attempts=sum(stop.outcome != Outcome.INTERRUPTED for stop in stops),
            judged=judged is not None,
            past_unknown=bool(self.name and (not starts or (began and began.past_unknown))),
            started=self.began,
            ended=self._ended(stops),
            facts=self._facts(),
        )

    def _ended(self, stops: Sequence[Ending]) -> float | None:
        """Return when it stopped; in a trace that may be told before its last move."""
        ended = stops[-1].time if stops else None
        last = self.moves[-1].time if self.moves and self.name is None else None
        return ended if ended is None or last is None else max(ended, last)

    def _facts(self) -> tuple[StepFacts | None, ...]:
        facts = tuple(number_facts(self.moves))
        return facts if any(each is not None for each in facts) else ()

    def _costs(self, field: str | None) -> Iterator[float]:
        for move in self.moves:
            if isinstance(move, TableMove) and move.cost is not None:
                yield from repeat(move.cost / move.count, move.count)
            if field is None:
                continue
            value = dict(move.context).get(field, "").strip() or "0"
            try:
                cost = float(value)
            except ValueError:
                cost = nan
            if not isfinite(cost):
                raise ReadError(
                    f"{field!r} of run {move.trajectory!r} is {value!r}; a cost is a number"
                )
            yield from repeat(cost / move.count, move.count)

    @property
    def _counted(self) -> list[int]:
        return [ending.supersteps for ending in self.endings if ending.supersteps is not None]

    def _limit_steps(self) -> int | None:
        """Return the least recursion limit that would have let each invocation through.

        LangGraph wants one more than the steps taken. The steps of a thread that is used again go
        on from those before; there may be one before the first move (a model that only asks for
        tools).
        """
        if counted := self._counted:
            return max(counted) + 1
        if not any(ending.outcome is not None for ending in self.endings):
            return None  # what is not a record of ours may count other steps
        steps = [m.step for m in self.moves if m.step is not None and m.target != END]
        if not steps:
            return None
        fresh = self.moves[0].source == START and steps[0] <= _MOST_SILENT + 1
        limit = max(steps) + 1 - (0 if fresh else steps[0] - 2)
        return limit if 0 < limit < _LARGEST_LIMIT else None
