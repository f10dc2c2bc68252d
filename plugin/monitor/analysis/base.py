"""`View`, what an analyzer of a monitor sees, and what an analyzer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.monitor.analysis.alerts import Alert, AlertRegistry, Observation
from detailed_balance.monitor.analysis.restarting_tests import (
    RestartingBalanceTest,
    RestartingDriftTest,
)

if TYPE_CHECKING:
    from detailed_balance.analyzers.runs.table import RunTable
    from detailed_balance.sources.baseline import Baseline

__all__ = [
    "EXPECTED",
    "FADED",
    "FEWEST",
    "AlphaSpending",
    "Analyzer",
    "View",
    "has_faded",
]

FEWEST = 100
"""A record with fewer moves is not looked at."""

EXPECTED = 10
"""The window must be long enough to hold so many occurrences at the rate seen before."""

FADED = 0.25
"""It has faded where it is seen less than this share of what is expected."""


class Analyzer(Protocol):
    """What a monitor runs from time to time; see docs/how-to/monitor.md for one of your own.

    Attributes
    ----------
    name : str
        Short, and different from those of the others.
    every : float
        Seconds between two runs, at least.
    """

    name: str
    every: float

    def check(self, view: View) -> Iterable[Observation]:
        """Return what is seen now."""
        ...


@dataclass(frozen=True)
class View:
    """What is known when an analyzer runs; matrices are made where they are asked for.

    Parameters
    ----------
    time : float
        Now, in seconds since 1970.
    alpha : float
        The level.
    total, recent_total : int
        Moves and escapes in all, and in the window.
    evidence : RestartingBalanceTest
        The live test.
    registry : AlertRegistry
        What was raised so far.
    snapshot : callable
        Returns the counts of all and of the window, of one moment.
    baseline : Baseline
        The usual behaviour.
    read_runs : callable
        Returns the last runs, those still open too; None where the source knows none.
    drift : RestartingDriftTest or None
        The live test of the finished runs against those of the baseline.
    news : int
        How many moves and endings were read in all: where it is as before, runs are too.
    command : str
        What a command line calls the source; empty where it has no such name.
    block : str or None
        What tells the task or batch of a run.
    losses : mapping of str to int
        Moves that are known to be missing, by the reason.
    trouble : str
        Why the source cannot be read now; empty if it can.
    results : dict
        Where an analyzer leaves what others show: ``potential``, ``traps``,
        ``verdict``, ``by_runs``, and how many runs did what.
    """

    time: float
    alpha: float
    total: int
    recent_total: int
    evidence: RestartingBalanceTest
    registry: AlertRegistry
    snapshot: Callable[[], tuple[TransitionCounts, TransitionCounts]]
    baseline: Baseline
    read_runs: Callable[[], RunTable | None] = lambda: None
    drift: RestartingDriftTest | None = None
    news: int = 0
    command: str = ""
    block: str | None = None
    losses: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    results: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _both(self) -> tuple[TransitionCounts, TransitionCounts]:
        return self.snapshot()

    @property
    def counts(self) -> TransitionCounts:
        """All that was counted."""
        return self._both[0]

    @property
    def recent(self) -> TransitionCounts:
        """What is in the window."""
        return self._both[1]

    @cached_property
    def runs(self) -> RunTable | None:
        """The last runs, in the order in which they began; None where none are known."""
        return self.read_runs()

    @property
    def by_runs(self) -> bool:
        """Whether runs are known to stop, so that the agent is judged by them."""
        return bool(self.results.get("by_runs"))

    def open_alerts(self, *kinds: str) -> tuple[Alert, ...]:
        """Return the open alerts, the worst first, of some kinds or of all."""
        found = (alert for alert in self.registry.alerts() if alert.is_open)
        return tuple(alert for alert in found if not kinds or alert.finding.kind in kinds)


class AlphaSpending:
    """When to look at a growing record, and at which level, so that all looks together keep alpha.

    A p-value that is computed again and again falls under any level sooner or later. Look number k
    is therefore held to alpha / (k (k + 1)); over all k these add up to alpha. So that the levels
    do not fall fast, a look is due only after half as many new moves, or runs, as are looked at.

    Parameters
    ----------
    fewest : int
        A record with fewer is not looked at.

    Examples
    --------
    >>> spending = AlphaSpending()
    >>> [spending.due(total, held=total) for total in (50, 100, 120, 150)]
    [False, True, False, True]
    >>> spending.level(0.05)  # that of the second look
    0.008333333333333333
    """

    def __init__(self, fewest: int = FEWEST) -> None:
        self._fewest = fewest
        self.number = self.seen = 0
        self._held = 0

    def due(self, total: int, held: int) -> bool:
        """Say whether to look now, at `held` of `total` moves."""
        if held < self._fewest or total - self.seen < max(1, self._held // 2):
            return False
        self.number, self.seen, self._held = self.number + 1, total, held
        return True

    def level(self, alpha: float) -> float:
        """Return the level of the look that is on, before the first one that of the first."""
        number = max(self.number, 1)
        return alpha / (number * (number + 1))

    def to_list(self) -> list[int]:
        """Return the state."""
        return [self.number, self.seen, self._held]

    def restore(self, state: Sequence[int]) -> None:
        """Go on from what `to_list` gave."""
        self.number, self.seen, self._held = (int(number) for number in state)


def has_faded(rate: float, seen: int, moves: int) -> bool:
    """Say whether what was found `rate` times per move is seen far less in a window of `moves`.

    Under a Poisson distribution of mean 10, 2 or fewer have probability 0.3%: so seldom does
    something that goes on as before count as faded.

    Examples
    --------
    >>> has_faded(0.1, seen=1, moves=200), has_faded(0.1, seen=18, moves=200)
    (True, False)
    >>> has_faded(0.01, seen=0, moves=200)  # too few moves to say
    False
    """
    expected = rate * moves
    return expected >= EXPECTED and seen < FADED * expected
