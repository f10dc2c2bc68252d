"""`RecentRuns`, the records of the runs that stopped last, where there is no store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from detailed_balance.callbacks.isolation import renew_after_fork
from detailed_balance.callbacks.transition import Ending, Record

__all__ = ["RecentRuns"]


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
    >>> from detailed_balance.callbacks import Transition
    >>> recent = RecentRuns()
    >>> recent.record(Transition("plan", "search", "thread-1", run="7"))
    >>> [record.target for record in recent.records()]
    ['search']
    """

    def __init__(self, most_runs: int = 10_000, most_records: int = 1_000_000) -> None:
        self._most_runs = most_runs
        self._most_records = most_records
        self._open: OrderedDict[str | None, list[Record]] = OrderedDict()
        self._stopped: OrderedDict[str | None, list[Record]] = OrderedDict()
        self._kept = 0  # records of runs that stopped
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # re-entrant: the garbage collector may close a stream

    def record(self, record: Record) -> None:
        """Keep a record; beyond the limits the run that stopped first is forgotten."""
        with self._lock:
            records = self._open.get(record.run)
            if records is None:
                # A run that stopped may go on.
                records = self._open[record.run] = self._stopped.pop(record.run, [])
                self._kept -= len(records)
            records.append(record)
            if isinstance(record, Ending):
                self._stop(record.run)

    def records(self) -> Iterator[Record]:
        """Return what is kept, run after run; those that stopped come first."""
        with self._lock:
            kept = [*self._stopped.values(), *self._open.values()]
            return iter([record for records in kept for record in records])

    def _stop(self, run: str | None) -> None:
        records = self._stopped[run] = self._open.pop(run)
        self._kept += len(records)
        while self._stopped and (
            len(self._stopped) > self._most_runs or self._kept > self._most_records
        ):
            _, forgotten = self._stopped.popitem(last=False)
            self._kept -= len(forgotten)
