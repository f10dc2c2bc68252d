"""The analyzer of traps, where the source has no runs that stop: where the agent is stuck now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from detailed_balance.analyzers import END, TransitionCounts, Trap, find_traps
from detailed_balance.analyzers.results import plain
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.monitor.analysis.alerts import Alert, Observation
from detailed_balance.monitor.analysis.base import EXPECTED, FADED, FEWEST, View, has_faded
from detailed_balance.render.formatting import shorten_states


class TrapAnalyzer:
    """Find sets of states that keep the agent in the window.

    A trap is recognised by the lower end of the interval of its stay, and is there until the window
    holds enough moves to say that the agent is kept there no more. Where runs stop, the diagnosis
    says more, and this analyzer does nothing.
    """

    name = "traps"
    every = 5.0

    def __init__(self) -> None:
        self._seen = -1
        self._stays: dict[str, tuple[float, float]] = {}  # moves inside of all, shortest stay

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the traps that there are now, and those that are over."""
        if view.by_runs or view.total == self._seen or view.recent_total < FEWEST:
            return
        self._seen = view.total
        traps = find_traps(_with_known_ends(view)).traps
        view.results["traps"] = tuple(dict(plain(asdict(trap))) for trap in traps)
        for trap in traps:
            seen = Observation(_describe(trap, view.recent))
            rate = trap.moves / max(1, view.recent.total)
            self._stays[seen.finding.id] = rate, float(trap.interval[0])
            yield seen
        there = {trap.states for trap in traps}
        for alert in view.open_alerts("trap"):
            if alert.finding.place not in there and self._is_over(alert, view.recent):
                path = " <-> ".join(shorten_states(alert.finding.place))
                yield Observation(alert.finding, f"{path} no longer keeps the agent")

    def _is_over(self, alert: Alert, counts: TransitionCounts) -> bool:
        """Say whether the states hold the agent no more: they are left soon, or hardly visited."""
        rate, stay = self._stays.get(alert.id, (0.0, 0.0))
        inside = counts.restrict([state for state in alert.finding.place if state in counts])
        moves = int(counts.counts[[counts.index(state) for state in inside.states], :].sum())
        if has_faded(rate, moves, counts.total):
            return True
        exits = moves - inside.total
        return exits >= EXPECTED and moves / exits < FADED * stay

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {name: list(stay) for name, stay in self._stays.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self._stays = {str(name): (float(r), float(s)) for name, (r, s) in state.items()}


def _with_known_ends(view: View) -> TransitionCounts:
    """Return the window; where no run ever ended, those under way are not stuck by that."""
    ended = END in view.counts
    return view.recent if ended else view.recent.without_boundaries()


def _describe(trap: Trap, counts: TransitionCounts) -> Finding:
    shown = replace(trap, states=shorten_states(trap.states))
    low, high = trap.interval
    return Finding(
        "trap",
        "watch",
        f"{shown.describe()}, in the last {counts.total:,} moves",
        trap.states,
        evidence=f"a stay takes {low:.0f} to {high:.0f} moves",
    )
