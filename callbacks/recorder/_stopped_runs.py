"""`StoppedRuns`, the runs that may go on in a later invocation."""

from __future__ import annotations

from collections import OrderedDict

from detailed_balance.callbacks.recorder.trajectory_builder import TrajectoryBuilder
from detailed_balance.callbacks.transition import Resumption

_KEPT = 8
"""Of one trajectory; several invocations of a thread at once may stop beside each other."""


class StoppedRuns:
    """Keep the runs of each trajectory that did not end, and know which run of it is the newest.

    Parameters
    ----------
    most : int
        How many trajectories to remember.

    Examples
    --------
    >>> runs = StoppedRuns(10)
    >>> runs.keep(TrajectoryBuilder("thread-1", run="r", superstep=1, tasks={"plan:7": None}))
    >>> runs.pop("thread-1", Resumption("plan:7", 1)).run
    'r'
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._stopped: OrderedDict[str, list[TrajectoryBuilder]] = OrderedDict()
        self._latest: OrderedDict[str, str | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stopped)

    def latest(self, trajectory: str) -> str | None:
        """Return the run of a trajectory that began last."""
        return self._latest.get(trajectory)

    def record_latest(self, builder: TrajectoryBuilder) -> None:
        """Remember a run that begins on a thread."""
        if builder.resumable:
            self._latest[builder.trajectory] = builder.run
            self._latest.move_to_end(builder.trajectory)
            if len(self._latest) > self._most:
                self._latest.popitem(last=False)

    def keep(self, builder: TrajectoryBuilder) -> None:
        """Keep a run that stopped."""
        stopped = self._stopped.setdefault(builder.trajectory, [])
        stopped.append(builder)
        del stopped[:-_KEPT]
        self._stopped.move_to_end(builder.trajectory)
        if len(self._stopped) > self._most:
            self._stopped.popitem(last=False)

    def pop(
        self, trajectory: str, begins: Resumption, within: str | None = None
    ) -> TrajectoryBuilder | None:
        """Return the run that an invocation goes on with, `within` this run; None if it is new."""
        stopped = self._stopped.get(trajectory, [])
        for builder in reversed(stopped):
            if within in (None, builder.parent) and self._goes_on(builder, begins):
                stopped.remove(builder)
                if not stopped:
                    del self._stopped[trajectory]
                return builder
        return None

    def _goes_on(self, builder: TrajectoryBuilder, begins: Resumption) -> bool:
        if builder.fits(begins.task):
            return builder.interrupted or not begins.replays
        newest = self._latest.get(builder.trajectory, builder.run) == builder.run
        return newest and not begins.replays and builder.expects(begins.superstep)
