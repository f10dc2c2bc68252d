"""The analyzer of driven loops, in all that was recorded and in the window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from detailed_balance.analyzers import (
    BalanceReport,
    TransitionCounts,
    Violation,
    check_balance,
)
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import plain
from detailed_balance.monitor.analysis.base import AlphaSpending, View, has_faded
from detailed_balance.monitor.analysis.findings import Finding, Observation, Severity
from detailed_balance.render.formatting import shorten_states

SEVERITIES: Mapping[str, Severity] = {
    "structural": "info",
    "work-flow": "info",
    "unclassified": "warning",
    "suspect": "alarm",
}
"""How much a violation of each kind should worry."""


class ViolationAnalyzer:
    """Find loops that the agent is driven round.

    The whole record and the window are searched in turn, each time at a level of its own (see
    `AlphaSpending`), and each of the two at half of alpha. A loop that once was found to be over
    comes back by the window alone: the whole record forgets nothing.
    """

    name = "violations"
    every = 5.0

    def __init__(self) -> None:
        self._spending = {"history": AlphaSpending(), "window": AlphaSpending()}

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the loops that are driven now, and those that no longer are."""
        if view.total > view.recent_total and self._spending["history"].due(view.total, view.total):
            yield from self._search("history", view.counts, view)
        if self._spending["window"].due(view.total, view.recent_total):
            yield from self._search("window", view.recent, view)

    def _search(self, scope: str, counts: TransitionCounts, view: View) -> Iterator[Observation]:
        level = self._spending[scope].level(view.alpha / 2)
        found = _find(counts, view)
        for violation in found:
            seen = _observe(violation, scope, counts, level, view)
            if _is_open(view, seen) or _is_new(violation, seen, scope, level, view):
                yield seen
        if scope == "window":
            view.results["checked"] = view.total
            driven = {violation.loop for violation in found}
            for finding in view.open_findings("violation"):
                if finding.states not in driven and _is_over(finding.states, finding.details, view):
                    yield _end(finding, counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {scope: spending.to_list() for scope, spending in self._spending.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        for scope, spending in self._spending.items():
            spending.restore(state[scope])


def count_walks(counts: TransitionCounts, loop: Sequence[str]) -> tuple[int, int]:
    """Return how often a loop was walked, at most, in its direction and in reverse.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 9), ("b", "c", 7), ("c", "a", 8)])
    >>> count_walks(counts, ("a", "b", "c")), count_walks(counts, ("a", "x", "c"))
    ((7, 0), (0, 0))
    """
    edges = Loop(loop).edges()
    return min(_walked(counts, f, g) for f, g in edges), min(
        _walked(counts, g, f) for f, g in edges
    )


def net_rounds(counts: TransitionCounts, loop: Sequence[str]) -> int:
    """Return how often a loop was walked round and not back, at most: its smallest net count.

    Examples
    --------
    >>> edges = [("a", "b", 9), ("b", "c", 7), ("c", "a", 8), ("b", "a", 5)]
    >>> net_rounds(TransitionCounts.from_edges(edges), ("a", "b", "c"))
    4
    """
    return max(0, min(_walked(counts, f, g) - _walked(counts, g, f) for f, g in Loop(loop).edges()))


def _walked(counts: TransitionCounts, source: str, target: str) -> int:
    if source not in counts or target not in counts:
        return 0
    return int(counts.counts[counts.index(source), counts.index(target)])


def _find(counts: TransitionCounts, view: View) -> tuple[Violation, ...]:
    """Return the loops that go round at level alpha, whatever the level of this look."""
    try:
        report = check_balance(
            counts,
            alpha=view.alpha,
            baseline=view.baseline.runs or view.baseline.counts,
            runs=view.runs or None,
        )
    except InsufficientDataError as error:
        if not isinstance(error.partial, BalanceReport):
            return ()
        report = error.partial
    return tuple(violation for violation in report.violations if violation.flux_share > 0)


def _name(violation: Violation) -> Observation:
    return Observation("violation", violation.loop)


def _is_open(view: View, seen: Observation) -> bool:
    known = view.registry.get(seen.id)
    return known is not None and known.is_open


def _is_new(violation: Violation, seen: Observation, scope: str, level: float, view: View) -> bool:
    """Say whether to raise a loop; the whole record must not bring back what the window denies."""
    if violation.pvalue > level:
        return False
    return scope == "window" or not (
        view.registry.get(seen.id) or _is_over(seen.states, seen.details, view)
    )


def _is_over(loop: Sequence[str], details: Mapping[str, Any], view: View) -> bool:
    return has_faded(details["rate"], net_rounds(view.recent, loop), view.recent_total)


def _observe(
    violation: Violation, scope: str, counts: TransitionCounts, level: float, view: View
) -> Observation:
    loop = violation.loop
    about = replace(violation, loop=Loop(shorten_states(violation.loop)))
    where = "the last" if scope == "window" else "all"
    known = view.registry.get(_name(violation).id)
    rate = net_rounds(counts, loop) / max(1, counts.total)
    before = known.details.get("rate", 0.0) if known is not None and known.is_open else 0.0
    details = {
        **{name: getattr(violation, name) for name in _SHOWN},
        "interval": violation.interval(),
        "scope": scope,
        "rate": max(rate, before),
        "level": level,
    }
    return Observation(
        "violation",
        loop,
        f"{about.describe()}, in {where} {counts.total:,} moves",
        SEVERITIES[violation.kind],
        loop,
        plain(details),
        news=violation.kind,
    )


_SHOWN = (
    *("affinity", "error", "pvalue", "counts", "kind", "closed", "run_pvalue", "odds_ratio"),
    *("odds_interval", "odds_pvalue", "flux_share", "trajectories", "explains", "evidence"),
)


def _end(finding: Finding, counts: TransitionCounts) -> Observation:
    path = " -> ".join(shorten_states((*finding.states, finding.states[0])))
    now = net_rounds(counts, finding.states)
    return Observation(
        "violation",
        finding.states,
        f"{path} is no longer driven: {now:,} net rounds in the last {counts.total:,} moves",
        gone=True,
        details={"net_rounds_at_the_end": now},
    )
