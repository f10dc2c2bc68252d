"""The analyzer of the record itself: moves that are missing, and a source that is away."""

from __future__ import annotations

from collections.abc import Iterator

from detailed_balance.diagnosis.finding import Finding
from detailed_balance.monitor.analysis.alerts import Observation
from detailed_balance.monitor.analysis.base import View

QUIET_SECONDS = 300.0
"""Losses are over where none was added for so long."""


class DataLossAnalyzer:
    """Report losses while they grow, and of a source that cannot be read."""

    name = "loss"
    every = 1.0

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}

    def check(self, view: View) -> Iterator[Observation]:
        """Yield each loss that grows, or is over."""
        if view.trouble:
            sentence = f"the source cannot be read, trying again: {view.trouble}"
            yield _observe("source", sentence)
        else:
            yield _observe("source", end="the source can be read again")
        for reason, lost in view.losses.items():
            before, since = self._last.get(reason, (0, view.time))
            if lost > before:
                self._last[reason] = (lost, view.time)
                said = f"moves are missing: {lost:,} {reason}"
                yield _observe(reason, said, size=lost)
            elif lost and view.time - since >= QUIET_SECONDS:
                yield _observe(reason, end=f"no more {reason}: {lost:,} in all")


def _observe(reason: str, title: str = "", *, end: str = "", size: int = 0) -> Observation:
    return Observation(Finding("loss", "problem", title), end, (reason,), size)
