"""The analyzers of the record itself: moves that are missing, and states without end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detailed_balance.callbacks.states.cardinality import find_mistake
from detailed_balance.diagnosis.finding import Advice, Finding
from detailed_balance.monitor.analysis.alerts import Observation
from detailed_balance.monitor.analysis.base import View

MOST_NEW = 0.1
"""Of the recent moves at most this share may reach a state never seen before."""

FEWEST_NEW = 100
"""Fewer new states than this are no reason to worry, however short the record is."""

VISITED_ONCE = 0.5
"""The share of states visited once from which on nothing can be measured of them."""

_ADVICE = Advice("give the recorder a state function that leaves out ids, times and free text")

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


class CardinalityAnalyzer:
    """Find out where states are named so finely that each is visited once.

    Nothing can be learnt of a state that does not come again. The usual mistake is an id, a time
    or free text in the key.
    """

    name = "cardinality"
    every = 10.0

    def check(self, view: View) -> Iterator[Observation]:
        """Yield that there are too many, or no longer."""
        counts, recent = view.counts, view.recent
        visits = np.asarray(counts.counts.sum(axis=0)).ravel()
        once = visits <= 1
        new = [state for state in recent.states if visits[counts.index(state)] <= 1]
        share, alone = len(new) / max(1, view.recent_total), float(once.mean()) if len(once) else 0
        if share >= MOST_NEW and len(new) >= FEWEST_NEW and alone >= VISITED_ONCE:
            said = (
                f"{len(new):,} of the last {view.recent_total:,} moves reached a state that never "
                f"came again, as have {alone:.0%} of all {len(counts):,} states: "
                f"{find_mistake(new)}"
            )
            yield Observation(Finding("cardinality", "watch", said, advice=(_ADVICE,)))
        elif share < MOST_NEW / 2:
            yield Observation(Finding("cardinality", "watch", ""), "new states are rare again")
