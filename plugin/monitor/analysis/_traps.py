"""The analyzer of traps: where the agent is stuck now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from detailed_balance.analyzers import END, TransitionCounts, Trap, find_traps
from detailed_balance.analyzers.results import plain
from detailed_balance.monitor.analysis.base import EXPECTED, FADED, FEWEST, View, has_faded
from detailed_balance.monitor.analysis.findings import Finding, Observation
from detailed_balance.render.formatting import shorten_states


class TrapAnalyzer:
    """Find sets of states that keep the agent in the window.

    A trap is recognised by the lower end of the interval of its stay, and is there until the window
    holds enough moves to say that the agent is kept there no more.
    """

    name = "traps"
    every = 5.0

    def __init__(self) -> None:
        self._seen = -1

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the traps that there are now, and those that are over."""
        if view.total == self._seen or view.recent_total < FEWEST:
            return
        self._seen = view.total
        traps = find_traps(_with_known_ends(view)).traps
        view.results["traps"] = tuple(dict(plain(asdict(trap))) for trap in traps)
        for trap in traps:
            yield _observe(trap, view.recent)
        there = {trap.states for trap in traps}
        for finding in view.open_findings("trap"):
            if finding.states not in there and _is_over(finding, view.recent):
                yield Observation("trap", finding.states, _describe_end(finding), gone=True)


def _with_known_ends(view: View) -> TransitionCounts:
    """Return the window; where no run ever ended, those under way are not stuck by that."""
    ended = END in view.counts
    return view.recent if ended else view.recent.without_boundaries()


def _observe(trap: Trap, counts: TransitionCounts) -> Observation:
    shown = replace(trap, states=shorten_states(trap.states))
    details: dict[str, Any] = {
        **asdict(trap),
        "rate": trap.moves / max(1, counts.total),
        "scope": "window",
    }
    sentence = f"{shown.describe()}, in the last {counts.total:,} moves"
    return Observation("trap", trap.states, sentence, "warning", trap.states, details)


def _is_over(finding: Finding, counts: TransitionCounts) -> bool:
    """Say whether the states hold the agent no more: they are left soon, or hardly visited."""
    inside = counts.restrict([state for state in finding.states if state in counts])
    moves = int(counts.counts[[counts.index(state) for state in inside.states], :].sum())
    if has_faded(float(finding.details["rate"]), moves, counts.total):
        return True
    exits = moves - inside.total
    return exits >= EXPECTED and moves / exits < FADED * float(finding.details["interval"][0])


def _describe_end(finding: Finding) -> str:
    return f"{' <-> '.join(shorten_states(finding.states))} no longer keeps the agent"
