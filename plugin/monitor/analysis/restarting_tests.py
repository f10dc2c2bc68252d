"""The live tests of a monitor, and for each the second one that says when an alarm is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from math import log
from typing import Any, TypeAlias

from detailed_balance.analyzers import (
    BalanceMartingale,
    DriftMartingale,
    LoopEvidence,
    Trajectory,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.sequential.thinned_series import ThinnedSeries

__all__ = ["RestartingBalanceTest", "RestartingDriftTest"]

Step: TypeAlias = tuple[str, str, str | None]
"""Trajectory, source and target (None for an escape)."""

POINTS = 1_000
"""The most points of the evidence that are kept for plots."""

LEAST_QUIET = 100
"""A test is quiet only after so many transitions, however fast the alarm came."""

LEAST_QUIET_RUNS = 20
"""A test is quiet only after so many runs, or blocks of runs, however fast the alarm came."""

_SHOWN = 5


class RestartingBalanceTest:
    """The live test of one agent, and how its alarm ends.

    The e-value of a `BalanceMartingale` is kept as evidence for ever, so an alarm could never end.
    When it is reached, a second test therefore begins with nothing. If that one alarms too, the
    agent is driven still, and another begins. An agent counts as quiet where such a test stays
    under its line for twice as many transitions as the alarm took to build up, from the lowest
    point of the evidence to the line: driven as before, it would have alarmed by then. The quiet
    test then takes the place of the first one.

    Each test falsely alarms with probability alpha at most, whatever went before it, and the next
    one begins only where one has alarmed: under detailed balance the probability of any alarm
    stays alpha, and that of k of them is alpha^k at most.

    Parameters
    ----------
    alpha : float
        The level of each test.

    Examples
    --------
    >>> evidence = RestartingBalanceTest(0.05)
    >>> evidence.update([("run", *move) for move in ("ab", "bc", "ca")] * 10)
    >>> evidence.check(now=1.0, total=30)
    >>> evidence.alarm, evidence.quiet
    (True, False)
    """

    def __init__(self, alpha: float) -> None:
        self.main = BalanceMartingale(alpha)
        self.second: BalanceMartingale | None = None
        self.took = self.renewed = self.since = 0
        self._series = ThinnedSeries[tuple[float, int, float]](POINTS)
        self._lock = threading.RLock()

    def update(self, steps: Iterable[Step]) -> None:
        """Add moves, in order for each trajectory."""
        with self._lock:
            for step in steps:
                self.main.update(*step)
                if self.second is not None:
                    self.second.update(*step)

    def record(self, moment: float | None, total: int) -> None:
        """Record the evidence for the plot, as of a moment in the past, unless that is unknown."""
        with self._lock:
            last = self._series.points[-1][0] if self._series.points else 0.0
            if moment is not None and last <= moment <= time.time():
                self._series.append((moment, total, self.log_e_value))

    def check(self, now: float, total: int) -> None:
        """Record the evidence for the plot, at `total` moves; begin a second test where due."""
        with self._lock:
            self._series.append((now, total, self.log_e_value))
            if self.second is None:
                if self.main.alarm:
                    self.took, self.since = _build_up(self.main), total
                    self.second = BalanceMartingale(self.main.alpha)
            elif self.second.alarm:
                self.renewed += 1
                self.took, self.since = min(self.took, _build_up(self.second)), total
                self.second = BalanceMartingale(self.main.alpha)

    @property
    def alarm(self) -> bool:
        """Whether the test has reached its line, and was not taken over since."""
        return self.main.alarm

    @property
    def log_e_value(self) -> float:
        """The evidence now, in nats."""
        return self.main.log_e_value

    @property
    def needed(self) -> int:
        """For how many transitions the second test must be under its line."""
        return max(LEAST_QUIET, 2 * self.took)

    @property
    def quiet(self) -> bool:
        """Whether the second test was under its line for as long as it takes."""
        with self._lock:
            second = self.second
            return second is not None and not second.alarm and second.transitions >= self.needed

    def take_over(self) -> None:
        """Let the second test take the place of the first."""
        with self._lock:
            if self.second is not None:
                self.main, self.second = self.second, None
            self.took = self.renewed = self.since = 0

    def loops_with_evidence(self) -> tuple[LoopEvidence, ...]:
        """Return the loops that carry the evidence, strongest first, at most 5.

        Those whose own evidence is enough, each as one of many; or else those that added most.
        """
        with self._lock:
            loops = self.main.loops
        line = log(max(len(loops), 1) / self.main.alpha)
        strong = [loop for loop in loops if loop.log_evidence >= line]
        shared = sorted((loop for loop in loops if loop.share > 0), key=lambda loop: -loop.share)
        return tuple((strong or shared)[:_SHOWN])

    def points(self) -> tuple[tuple[float, int, float], ...]:
        """Return time, moves and log e-value of what was recorded, thinned to at most 1,000."""
        with self._lock:
            return tuple(self._series.points)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        with self._lock:
            return {
                "main": self.main.to_dict(),
                "second": None if self.second is None else self.second.to_dict(),
                "numbers": [self.took, self.renewed, self.since],
                "points": self._series.to_dict(),
            }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RestartingBalanceTest:
        """Go on from what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        try:
            main = BalanceMartingale.from_dict(state["main"])
            evidence = cls(main.alpha)
            evidence.main = main
            if state["second"] is not None:
                evidence.second = BalanceMartingale.from_dict(state["second"])
            evidence.took, evidence.renewed, evidence.since = map(int, state["numbers"])
            evidence._series.restore(state["points"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"this is not a state of the evidence: {error}") from None
        return evidence


class RestartingDriftTest:
    """Compare finished runs with a baseline, as `RestartingBalanceTest` tests detailed balance.

    Where the test alarms, a second one begins; it takes over where it has stayed under its line
    for twice as many runs, or blocks of runs, as the alarm took to build up.

    Parameters
    ----------
    baseline : RunTable, or iterable of Trajectory
        Usual runs, at least 20, or of 20 blocks.
    alpha : float
        The level of each test.
    block : str, optional
        What tells the block of a run, as for `DriftMartingale`.

    Raises
    ------
    InsufficientDataError
        Where there are fewer.

    Examples
    --------
    >>> usual = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", "__end__")))
    >>> test = RestartingDriftTest([usual] * 40, alpha=0.05)
    >>> test.update(usual)
    >>> test.alarm
    False
    """

    def __init__(self, baseline: Runs, alpha: float, *, block: str | None = None) -> None:
        self._begin = partial(DriftMartingale, RunTable.of(baseline), alpha, block=block)
        self.main = self._begin()
        self.second: DriftMartingale | None = None
        self._lowest = (0.0, 0)  # the least evidence, and after how many runs or blocks
        self.took = 0
        self._lock = threading.RLock()

    def update(self, run: Trajectory) -> None:
        """Add the next finished run."""
        with self._lock:
            self.main.update(run)
            self._lowest = min(self._lowest, (self.main.log_e_value, self.main.units))
            if self.second is not None:
                self.second.update(run)
            if self.second is None and self.main.alarm:
                self.took = self.main.units - self._lowest[1]
            if self.main.alarm and (self.second is None or self.second.alarm):
                self.second = self._begin()

    @property
    def alarm(self) -> bool:
        """Whether the test has reached its line, and was not taken over since."""
        return self.main.alarm

    @property
    def quiet(self) -> bool:
        """Whether the second test was under its line for as long as it takes."""
        with self._lock:
            second, needed = self.second, max(LEAST_QUIET_RUNS, 2 * self.took)
            return second is not None and not second.alarm and second.units >= needed

    def take_over(self) -> None:
        """Let the second test take the place of the first."""
        with self._lock:
            if self.second is not None:
                self.main, self.second = self.second, None
            self._lowest, self.took = (self.main.log_e_value, self.main.units), 0

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
            lowest, units, took = state["numbers"]
            if main.block != self.main.block:
                raise ValueError(f"its block is {main.block!r}, and not {self.main.block!r}")
            self._lowest, self.took = (float(lowest), int(units)), int(took)
            self.second = None if second is None else DriftMartingale.from_dict(second)
            self.main = main
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"this is not a state of a drift test: {error}") from None


def _build_up(test: BalanceMartingale) -> int:
    """Return the transitions from the lowest point of the evidence before the alarm to the line."""
    line = -log(test.alpha)
    before: list[tuple[int, float]] = []
    for moves, value in test.history:
        if value >= line:
            return moves - min(before, key=lambda point: point[1], default=(0, 0.0))[0]
        before.append((moves, value))
    return test.transitions
