"""`RecentRuns`, the records of the runs that stopped last, where there is no store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeAlias

from detailed_balance.callbacks.isolation import renew_after_fork
from detailed_balance.callbacks.recorder.trajectory_builder import TrajectoryStep
from detailed_balance.callbacks.transition import Beginning, Ending, Record, Transition

__all__ = ["RecentRuns"]


_Kept: TypeAlias = Beginning | Ending | tuple[TrajectoryStep, float]


class RecentRuns:
    """Keep the records of open runs, and of those that stopped last; thread-safe.

    Parameters
    ----------
    most_runs : int
        How many runs that stopped to keep.
    most_records : int
        How many records of them to keep in all.

    Examples
    --------
    >>> recent = RecentRuns()
    >>> recent.record_move(TrajectoryStep("thread-1", "plan", "search", 1, run="7"), 0.5)
    >>> [record.target for record in recent.records()]
    ['search']
    """

    def __init__(self, most_runs: int = 10_000, most_records: int = 200_000) -> None:
        self._most_runs = most_runs
        self._most_records = most_records
        self._open: dict[str | None, list[_Kept]] = {}
        self._stopped: OrderedDict[str | None, list[_Kept]] = OrderedDict()
        self._kept = 0  # records of runs that stopped
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # re-entrant: the garbage collector may close a stream

    def record_move(self, move: TrajectoryStep, time: float) -> None:
        """Keep a move; it becomes a `Transition` when it is asked for."""
        records = self._open.get(move.run)
        if records is None:
            with self._lock:
                records = self._reopen(move.run)
        records.append((move, time))

    def record(self, record: Beginning | Ending) -> None:
        """Keep the beginning or the end of a run; the run that stopped first may be forgotten."""
        with self._lock:
            self._reopen(record.run).append(record)
            if isinstance(record, Ending):
                self._stop(record.run)

    def records(self) -> Iterator[Record]:
        """Return what is kept, run after run; those that stopped come first."""
        with self._lock:
            kept = [*self._stopped.values(), *self._open.values()]
            return map(_to_record, [record for records in kept for record in records])

    def _reopen(self, run: str | None) -> list[_Kept]:
        """Return the records of a run, which goes on if it had stopped."""
        if run not in self._open:
            records = self._open[run] = self._stopped.pop(run, [])
            self._kept -= len(records)
        return self._open[run]

    def _stop(self, run: str | None) -> None:
        records = self._stopped[run] = self._open.pop(run)
        self._kept += len(records)
        while self._stopped and (
            len(self._stopped) > self._most_runs or self._kept > self._most_records
        ):
            _, forgotten = self._stopped.popitem(last=False)
            self._kept -= len(forgotten)


def _to_record(kept: _Kept) -> Record:
    if not isinstance(kept, tuple):
        return kept
    (trajectory, source, target, step, context, run, facts), time = kept
    return Transition(source, target, trajectory, context, step, time, 1, run, facts)
