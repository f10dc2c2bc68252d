"""`MonitorPool`, one monitor for each choice of labels, and `Snapshot`, what it shows."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np

from detailed_balance.analyzers import Potential, TransitionCounts, estimate_potential
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    DetailedBalanceError,
    InsufficientDataError,
    UnknownStateError,
)
from detailed_balance.analyzers.potential.ordering import StateOrder, order_states
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._ids import state_id
from detailed_balance.dashboard._records import Records
from detailed_balance.monitor import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_MONITORS = 8
"""Choices of labels that are watched at the same time; the one asked for longest ago makes room."""

MOST_BYTES = 256_000_000
"""What the counts of ranges of time that are kept may take, about."""

_RANGE_KEPT = 15.0
_BYTES_OF_A_STATE = 500
_IN_USE = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Counts and potential of one moment, or of one range of time.

    Parameters
    ----------
    counts : TransitionCounts
        START and END included.
    potential : Potential or None
        None where there is too little to estimate one.
    ids : dict of str to str
        The states by their ids.
    flows : (n,) array of int
        Moves into and out of each state of `counts`, those to itself left out.
    order : StateOrder or None
        Where each state of the potential stands.

    Examples
    --------
    >>> snapshot = take_snapshot(TransitionCounts.from_edges([("a", "b", 3), ("b", "a", 1)]))
    >>> snapshot.flows.tolist(), snapshot.state(state_id("b"))
    ([4, 4], 'b')
    """

    counts: TransitionCounts
    potential: Potential | None
    ids: dict[str, str]
    flows: NDArray[np.int64]
    order: StateOrder | None

    def state(self, number: str) -> str:
        """Return the state with this id; raises `UnknownStateError` where there is none."""
        try:
            return self.ids[number]
        except KeyError:
            raise UnknownStateError(
                "no state with this address was recorded here; other labels or another range of "
                "time may have it"
            ) from None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        matrix = self.counts.counts
        arrays = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        names = sum(map(len, self.counts.states))
        return 2 * arrays + 4 * names + _BYTES_OF_A_STATE * len(self.counts.states)

    def flow(self, state: str) -> int:
        """Return the moves into and out of a state."""
        return int(self.flows[self.counts.index(state)])


def take_snapshot(counts: TransitionCounts, potential: Potential | None = None) -> Snapshot:
    """Prepare counts to be shown; the potential is estimated where none is given."""
    if potential is None:
        potential = _estimate(counts)
    ids = {state_id(state): state for state in counts.states if state not in BOUNDARIES}
    order = None if potential is None else order_states(potential)
    return Snapshot(counts, potential, ids, _flows(counts.counts), order)


def _estimate(counts: TransitionCounts) -> Potential | None:
    try:
        return estimate_potential(counts)
    except ConvergenceError as error:
        return cast("Potential | None", error.estimate)
    except InsufficientDataError:
        return None


def _flows(matrix: Any) -> NDArray[np.int64]:
    both = np.asarray(matrix.sum(axis=0) + matrix.sum(axis=1)).ravel()
    return np.asarray(both - 2 * matrix.diagonal(), dtype=np.int64)


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
        """Return counts and potential, made again where the monitor has read more since."""
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
    most_bytes : int
        What the counts of ranges of time that are kept may take.
    """

    def __init__(
        self,
        records: Records,
        make_monitor: MakeMonitor,
        *,
        most: int = MOST_MONITORS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.records = records
        self._make, self._most, self._most_bytes = make_monitor, most, most_bytes
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
            self._forget_ranges()
            return found

    def _forget_ranges(self) -> None:
        """Keep what was asked for last, as far as there is room; what is old is of no use."""
        now, room, kept = time.monotonic(), self._most_bytes, list(reversed(self._ranges.items()))
        self._ranges.clear()
        for key, (made, found) in kept:
            room -= found.size
            if room >= 0 and now - made <= _RANGE_KEPT:
                self._ranges[key] = made, found
                self._ranges.move_to_end(key, last=False)

    def close(self) -> None:
        """Stop all monitors."""
        with self._lock:
            monitors = list(self._monitors.values())
            self._monitors.clear()
        for found in monitors:
            found.monitor.stop()
