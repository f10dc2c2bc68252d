"""`MonitorPool`: one monitor for each choice of labels, a bounded number of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Protocol, TypeAlias

from detailed_balance.analyzers import Potential, TransitionCounts
from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._records import Records
from detailed_balance.dashboard._snapshot import Snapshot, take_snapshot
from detailed_balance.monitor import Status

MOST_MONITORS = 8
"""Choices of labels that are watched at the same time; the one asked for longest ago makes room."""

MOST_RANGES = 8
"""Ranges of time whose counts are kept."""

_RANGE_KEPT = 15.0
_IN_USE = 30.0


class BusyError(DetailedBalanceError):
    """More monitors, or open pages, are asked for than there may be at the same time."""


class MonitorLike(Protocol):
    """What the dashboard asks of a monitor."""

    def status(self) -> Status:
        """Return what is known now."""
        ...

    def counts(self) -> TransitionCounts:
        """Return what was counted."""
        ...

    def potential(self) -> Potential | None:
        """Return the last estimate."""
        ...

    def start(self) -> Any:
        """Begin to read."""
        ...

    def stop(self) -> Any:
        """End."""
        ...


MakeMonitor: TypeAlias = Callable[[Any, Context], MonitorLike]
"""Makes the monitor of a source and a context."""


class ContextMonitor:
    """One monitor, and the last snapshot of its counts.

    Parameters
    ----------
    monitor : MonitorLike
        It is started here.
    """

    def __init__(self, monitor: MonitorLike) -> None:
        self.monitor = monitor
        self.asked = time.monotonic()
        self.places: dict[str, float] = {}
        self._lock = Lock()
        self._made: tuple[object, Snapshot] | None = None
        monitor.start()

    def snapshot(self) -> Snapshot:
        """Return counts and potential, made anew where the monitor has read more since."""
        with self._lock:
            seen = self.monitor.status().transitions, self.monitor.potential()
            if self._made is None or self._made[0] != seen:
                self._made = seen, take_snapshot(self.monitor.counts(), seen[1])
            return self._made[1]


class MonitorPool:
    """Keep the monitors that pages look at, and the ranges of time that they ask for.

    Parameters
    ----------
    records : Records
        What is watched.
    make_monitor : MakeMonitor
        How.
    most : int
        How many at the same time.
    """

    def __init__(
        self, records: Records, make_monitor: MakeMonitor, *, most: int = MOST_MONITORS
    ) -> None:
        self.records = records
        self._make, self._most = make_monitor, most
        self._monitors: OrderedDict[Context, ContextMonitor] = OrderedDict()
        self._ranges: OrderedDict[tuple[Any, ...], tuple[float, Snapshot]] = OrderedDict()
        self._lock, self._range_lock = Lock(), Lock()

    def get(self, context: Context) -> ContextMonitor:
        """Return the monitor of the moves with these labels, started where there is none.

        Raises
        ------
        BusyError
            Where as many others as there may be are in use.
        """
        with self._lock:
            found = self._monitors.get(context)
            if found is None:
                self._make_room()
                monitor = self._make(self.records.watched, context)
                found = self._monitors[context] = ContextMonitor(monitor)
            self._monitors.move_to_end(context)
            found.asked = time.monotonic()
            return found

    def _make_room(self) -> None:
        if len(self._monitors) < self._most:
            return
        oldest = next(iter(self._monitors))
        if time.monotonic() - self._monitors[oldest].asked < _IN_USE:
            raise BusyError(
                f"{self._most} choices of labels are being watched already; close one of the pages"
            )
        monitor = self._monitors.pop(oldest).monitor
        Thread(target=monitor.stop, daemon=True).start()  # it reads a last time, which may be long

    def snapshot(
        self, context: Context, since: float | None = None, until: float | None = None
    ) -> Snapshot:
        """Return counts and potential now, or of a range of time, which may be 15 s old."""
        if since is None and until is None:
            return self.get(context).snapshot()
        return self.count(context, since, until)

    def count(
        self, context: Context, since: float | None = None, until: float | None = None
    ) -> Snapshot:
        """Return counts and potential as the source counts them, without a monitor."""
        key = (context, since, until)
        with self._range_lock:
            made, found = self._ranges.pop(key, (0.0, None))
            if found is None or time.monotonic() - made > _RANGE_KEPT:
                counts = self.records.counts(context, since, until)
                made, found = time.monotonic(), take_snapshot(counts)
            self._ranges[key] = made, found
            if len(self._ranges) > MOST_RANGES:
                self._ranges.popitem(last=False)
            return found

    def close(self) -> None:
        """Stop all monitors."""
        with self._lock:
            monitors = list(self._monitors.values())
            self._monitors.clear()
        for found in monitors:
            found.monitor.stop()
