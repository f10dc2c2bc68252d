"""`Schedule`, which lets each analyzer run at its own period and none of them take over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from detailed_balance.monitor.analysis.base import Analyzer
from detailed_balance.monitor.analysis.status import Analysis

BUDGET = 0.1
"""An analyzer that takes long runs so seldom that it takes this share of the time."""


@dataclass(slots=True)
class Entry:
    """One analyzer, when it ran and when it runs next."""

    analyzer: Analyzer
    due: float = 0.0  # by the monotonic clock
    ran: float | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def every(self) -> float:
        """Seconds between two runs: the period, or longer where the analysis takes long."""
        return max(self.analyzer.every, self.seconds / BUDGET)

    def record(self, began: float, error: str) -> None:
        """Record that it has run since `began`, by the monotonic clock."""
        now = time.monotonic()
        self.ran, self.seconds, self.error = time.time(), now - began, error
        self.due = now + self.every

    def analysis(self) -> Analysis:
        """Return what a status says of it."""
        name = self.analyzer.name
        return Analysis(name, self.ran, self.seconds, self.every, self.error)


class Schedule:
    """The analyzers in their order."""

    def __init__(self, analyzers: Iterable[Analyzer]) -> None:
        self.entries = [Entry(analyzer) for analyzer in analyzers]

    def due(self, *, everything: bool) -> Iterator[Entry]:
        """Yield the analyzers whose time has come, or all."""
        for entry in self.entries:
            if everything or time.monotonic() >= entry.due:
                yield entry

    def wait(self) -> float:
        """Return how many seconds it is to the next one."""
        return max(0.0, min((e.due for e in self.entries), default=1.0) - time.monotonic())
