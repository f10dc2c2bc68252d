"""`DriftWatch`, the live test of finished runs against a baseline, and how its alarm ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential.drift_martingale import DriftMartingale

__all__ = ["DriftWatch"]

LEAST_QUIET = 20
"""A test is quiet only after so many runs, however fast the alarm came."""


class DriftWatch:
    """Compare finished runs with a baseline, as `Evidence` tests detailed balance.

    Where the test alarms, a second one begins; it takes over where it has stayed under its line
    for twice as many runs as the alarm took to build up.

    Parameters
    ----------
    baseline : sequence of Trajectory
        Usual runs, at least 20.
    alpha : float
        The level of each test.

    Raises
    ------
    InsufficientDataError
        Where there are fewer.

    Examples
    --------
    >>> usual = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", "__end__")))
    >>> watch = DriftWatch([usual] * 40, alpha=0.05)
    >>> watch.update(usual)
    >>> watch.alarm
    False
    """

    def __init__(self, baseline: Sequence[Trajectory], alpha: float) -> None:
        self._baseline, self._alpha = tuple(baseline), alpha
        self.main = DriftMartingale(self._baseline, alpha)
        self.second: DriftMartingale | None = None
        self._lowest = (0.0, 0)  # the least evidence, and after how many runs
        self.took = 0
        self._lock = threading.RLock()

    def update(self, run: Trajectory) -> None:
        """Take the next finished run."""
        with self._lock:
            self.main.update(run)
            self._lowest = min(self._lowest, (self.main.log_e_value, self.main.runs))
            if self.second is not None:
                self.second.update(run)
            if self.second is None and self.main.alarm:
                self.took = self.main.runs - self._lowest[1]
            if self.main.alarm and (self.second is None or self.second.alarm):
                self.second = DriftMartingale(self._baseline, self._alpha)

    @property
    def alarm(self) -> bool:
        """Whether the test has reached its line, and was not taken over since."""
        return self.main.alarm

    @property
    def quiet(self) -> bool:
        """Whether the second test was under its line for as long as it takes."""
        with self._lock:
            second, needed = self.second, max(LEAST_QUIET, 2 * self.took)
            return second is not None and not second.alarm and second.runs >= needed

    def take_over(self) -> None:
        """Let the second test take the place of the first."""
        with self._lock:
            if self.second is not None:
                self.main, self.second = self.second, None
            self._lowest, self.took = (self.main.log_e_value, self.main.runs), 0

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, but for the baseline, in types that JSON has."""
        with self._lock:
            second = None if self.second is None else self.second.to_dict()
            numbers = [*self._lowest, self.took]
            return {"main": self.main.to_dict(), "second": second, "numbers": numbers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        try:
            main, second = DriftMartingale.from_dict(state["main"]), state["second"]
            lowest, runs, took = state["numbers"]
            self._lowest, self.took = (float(lowest), int(runs)), int(took)
            self.second = None if second is None else DriftMartingale.from_dict(second)
            self.main = main
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"this is no state of a drift test: {error}") from None
