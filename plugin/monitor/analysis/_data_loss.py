"""The analyzer of the record itself: moves that are missing, and a source that is away."""

from __future__ import annotations

from collections.abc import Iterator

from detailed_balance.monitor.analysis.base import View
from detailed_balance.monitor.analysis.findings import Observation

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
            yield Observation("loss", ("source",), sentence)
        else:
            yield Observation("loss", ("source",), "the source can be read again", gone=True)
        for reason, lost in view.losses.items():
            before, since = self._last.get(reason, (0, view.time))
            if lost > before:
                self._last[reason] = (lost, view.time)
                yield Observation(
                    "loss",
                    (reason,),
                    f"moves are missing: {lost:,} {reason}",
                    details={"lost": lost},
                    news=str(lost.bit_length()),  # an event again where it has doubled
                )
            elif lost and view.time - since >= QUIET_SECONDS:
                yield Observation(
                    "loss", (reason,), f"no more {reason}: {lost:,} in all", gone=True
                )
