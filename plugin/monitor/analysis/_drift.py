"""The analyzer of drift: whether the agent still is what the baseline was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from detailed_balance.analyzers import PotentialComparison, TransitionCounts, compare_potentials
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.monitor.analysis.alerts import Observation
from detailed_balance.monitor.analysis.base import AlphaSpending, View
from detailed_balance.render.formatting import format_pvalue, shorten_states

MOST_STATES = 100
"""The potential is compared on the states visited most, so many at most: it takes their cube."""

_MOVED_SHOWN = 5
_POTENTIAL, _RUNS = ("potential",), ("runs",)


class DriftAnalyzer:
    """Compare with the baseline: finished runs one by one, and the potential of the window.

    The runs by a test that holds at any time (`DriftMartingale`), the potential by Wald's test
    at a level of its own for each look (`AlphaSpending`). Does nothing without a baseline.
    """

    name = "drift"
    every = 10.0

    def __init__(self) -> None:
        self._spending = AlphaSpending()

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the drifts that there are, and those that are over."""
        yield from _check_runs(view)
        if view.baseline.counts is not None and self._spending.due(view.total, view.recent_total):
            yield from self._check_potential(view.baseline.counts, view)

    def _check_potential(self, baseline: TransitionCounts, view: View) -> Iterator[Observation]:
        states = _busiest(view.recent, baseline)
        try:
            found = compare_potentials(
                {
                    "the baseline": baseline.restrict(states),
                    "the window": view.recent.restrict(states),
                }
            )
        except InsufficientDataError:
            return
        known = view.registry.find(Observation(seen := _describe(found), about=_POTENTIAL))
        level = self._spending.level(view.alpha)
        if found.pvalue <= (view.alpha if known is not None and known.is_open else level):
            yield Observation(seen, about=_POTENTIAL)
        elif found.pvalue > view.alpha:
            end = "the potential of the window no longer differs from the baseline"
            yield Observation(seen, end, _POTENTIAL)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"looks": self._spending.to_list()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self._spending.restore(state["looks"])


def _check_runs(view: View) -> Iterator[Observation]:
    drift = view.drift
    if drift is None or not drift.alarm:
        return
    names = tuple(one.run for one in drift.main.evidence if one.run is not None)
    found = Finding("drift", "problem", drift.main.describe(), runs=names)
    if drift.quiet:
        runs = drift.second.runs if drift.second is not None else 0
        drift.take_over()
        end = f"a new test against the baseline found nothing in {runs:,} runs"
        yield Observation(found, end, _RUNS)
    else:
        yield Observation(found, about=_RUNS)


def _busiest(recent: TransitionCounts, baseline: TransitionCounts) -> list[str]:
    """Return the states that both know and the window holds most of."""
    inner = recent.without_boundaries()
    order = np.argsort(-inner.attempts, kind="stable").tolist()
    return [inner.states[i] for i in order if inner.states[i] in baseline][:MOST_STATES]


def _describe(found: PotentialComparison) -> Finding:
    moved = found.moved[:_MOVED_SHOWN]
    which = f", above all of {', '.join(shorten_states(moved))}" if moved else ""
    return Finding(
        "drift",
        "watch",
        f"the potential of the window differs from that of the baseline{which}",
        moved,
        evidence=f"Wald's test on {len(found.states)} states in common: "
        f"p = {format_pvalue(found.pvalue)}",
        pvalue=found.pvalue,
    )
