"""The analyzer of driven loops, where the source has no runs that stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any

from detailed_balance.analyzers import (
    BalanceReport,
    LoopEvidence,
    TransitionCounts,
    Violation,
    check_balance,
)
from detailed_balance.analyzers.balance.violation import (
    compare_counts_with_baseline,
    mark_structural,
    states_before_end,
)
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.monitor.analysis.alerts import Observation
from detailed_balance.monitor.analysis.base import AlphaSpending, View, has_faded
from detailed_balance.render.formatting import format_pvalue, shorten_states

EXPECTED_KINDS = ("structural", "work-flow")
"""A loop of such a kind is not a fault."""


class DrivenLoopAnalyzer:
    """Find loops that the agent is driven round, by single moves.

    The whole record and the window are searched in turn, each time at a level of its own (see
    `AlphaSpending`), and each of the two at half of alpha. A loop that once was found to be over
    comes back by the window alone: the whole record forgets nothing. Where the live test has
    reached its line and no such loop is known, the loop that carries most of the evidence is
    reported. Loops that are structural or part of the work-flow are not findings.

    Where runs stop, the diagnosis says more, and this analyzer does nothing.
    """

    name = "driven"
    every = 5.0

    def __init__(self) -> None:
        self._spending = {"history": AlphaSpending(), "window": AlphaSpending()}
        self._rates: dict[str, float] = {}
        self._checked = 0

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the loops that are driven now, and those that no longer are."""
        if view.by_runs:
            return
        seen: list[Observation] = []
        if view.total > view.recent_total and self._spending["history"].due(view.total, view.total):
            seen += self._search("history", view.counts, view)
        if self._spending["window"].due(view.total, view.recent_total):
            seen += self._search("window", view.recent, view)
        yield from seen
        if view.evidence.alarm and not any(not observation.end for observation in seen):
            yield from self._check_evidence(view)

    def _search(self, scope: str, counts: TransitionCounts, view: View) -> Iterator[Observation]:
        level = self._spending[scope].level(view.alpha / 2)
        found = _find(counts, view)
        for violation in found:
            seen = Observation(_describe(violation, scope, counts))
            known = view.registry.find(seen)
            is_open = known is not None and known.is_open
            rate = net_rounds(counts, violation.loop) / max(1, counts.total)
            over = has_faded(rate, net_rounds(view.recent, violation.loop), view.recent_total)
            new = scope == "window" or (known is None and not over)
            if is_open or (violation.pvalue <= level and new):
                name = seen.id if known is None else known.id
                before = self._rates.get(name, 0.0) if is_open else 0.0
                self._rates[name] = max(rate, before)
                yield seen
        if scope == "window":
            self._checked = view.total
            driven = {violation.loop for violation in found}
            for alert in view.open_alerts("driven"):
                loop = alert.finding.place
                there = len(loop) < 3 or Loop(loop) in driven
                if not there and is_loop_over(loop, self._rates.get(alert.id, 0.0), view):
                    yield Observation(alert.finding, _describe_end(loop, counts))

    def _check_evidence(self, view: View) -> Iterator[Observation]:
        """Yield the loop that the live test has found, where no other one explains it."""
        evidence, known = view.evidence, view.open_alerts("driven")
        if evidence.quiet and not known and self._checked >= evidence.since:
            evidence.take_over()
            return
        if evidence.quiet or known:
            return
        kinds = classify_loops(loops := evidence.loops_with_evidence(), view)
        if loops and not all(kind in EXPECTED_KINDS for kind in kinds):
            place = next(i for i, kind in enumerate(kinds) if kind not in EXPECTED_KINDS)
            yield Observation(_describe_evidence(loops[place], kinds[place], view))

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        looks = {scope: spending.to_list() for scope, spending in self._spending.items()}
        return {**looks, "rates": dict(self._rates), "checked": self._checked}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        for scope, spending in self._spending.items():
            spending.restore(state[scope])
        self._rates = {str(name): float(rate) for name, rate in state["rates"].items()}
        self._checked = int(state["checked"])


def count_walks(counts: TransitionCounts, loop: Sequence[str]) -> tuple[int, int]:
    """Return how often a loop was taken, at most, in its direction and in reverse.

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
    """Return how often a loop was taken in net, at most: its smallest net count.

    Examples
    --------
    >>> edges = [("a", "b", 9), ("b", "c", 7), ("c", "a", 8), ("b", "a", 5)]
    >>> net_rounds(TransitionCounts.from_edges(edges), ("a", "b", "c"))
    4
    """
    return max(0, min(_walked(counts, f, g) - _walked(counts, g, f) for f, g in Loop(loop).edges()))


def is_loop_over(loop: Sequence[str], rate: float, view: View) -> bool:
    """Say whether a loop is hardly taken in the window, where it was taken at a rate before."""
    if view.evidence.alarm and not view.evidence.quiet:
        return False
    return has_faded(rate, net_rounds(view.recent, loop), view.recent_total)


def _walked(counts: TransitionCounts, source: str, target: str) -> int:
    if source not in counts or target not in counts:
        return 0
    return int(counts.counts[counts.index(source), counts.index(target)])


def _find(counts: TransitionCounts, view: View) -> tuple[Violation, ...]:
    """Return the loops that go round at level alpha, whatever the level of this look."""
    baseline = view.baseline.runs or view.baseline.counts
    try:
        report = check_balance(counts, alpha=view.alpha, baseline=baseline)
    except InsufficientDataError as error:
        if not isinstance(error.partial, BalanceReport):
            return ()
        report = error.partial
    return tuple(v for v in report.violations if v.flux_share > 0 and v.kind not in EXPECTED_KINDS)


def classify_loops(loops: Sequence[LoopEvidence], view: View) -> list[str]:
    """Return the kind of each loop, as of a violation in the window."""
    nan, counts = float("nan"), view.recent
    found = [Violation(Loop(e.loop), nan, nan, nan, count_walks(counts, e.loop)) for e in loops]
    known = [v for v in found if all(state in counts for state in v.loop)]
    known = mark_structural(known, counts, None, states_before_end(counts))
    if known and view.baseline.counts is not None:
        known = compare_counts_with_baseline(known, counts, view.baseline.counts, view.alpha, "bh")
    kinds = {violation.loop: violation.kind for violation in known}
    return [kinds.get(Loop(loop.loop), "unclassified") for loop in loops]


def _describe(violation: Violation, scope: str, counts: TransitionCounts) -> Finding:
    about = replace(violation, loop=Loop(shorten_states(violation.loop)))
    where = "the last" if scope == "window" else "all"
    return Finding(
        "driven",
        "problem" if violation.kind == "suspect" else "watch",
        f"{about.describe()}, in {where} {counts.total:,} moves",
        tuple(violation.loop),
        evidence=f"a test of single moves: p = {format_pvalue(violation.pvalue)}",
        pvalue=violation.pvalue,
        unsure=(_NO_RUNS,),
    )


_NO_RUNS = "no run is known to have stopped, so successful runs and failed ones are not compared"


def _describe_evidence(loop: LoopEvidence, kind: str, view: View) -> Finding:
    shown = LoopEvidence(shorten_states(loop.loop), loop.counts, 0.0, 0.0).describe()
    main = view.evidence.main
    return Finding(
        "driven",
        "problem" if kind == "suspect" else "watch",
        f"detailed balance is broken by {shown}",
        tuple(loop.loop),
        evidence=f"the live test: log e-value {main.max_log_e_value:.1f} at its highest, "
        f"{log(1 / main.alpha):.1f} is the alarm",
        unsure=(_NO_RUNS,),
    )


def _describe_end(loop: Sequence[str], counts: TransitionCounts) -> str:
    path = " -> ".join(shorten_states((*loop, loop[0])))
    now = net_rounds(counts, loop)
    return f"{path} is no longer driven: {now:,} net rounds in the last {counts.total:,} moves"
