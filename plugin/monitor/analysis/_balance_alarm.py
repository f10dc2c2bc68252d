"""The analyzer of the live evidence: the alarm, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detailed_balance.analyzers import LoopEvidence, Violation
from detailed_balance.analyzers.balance.violation import (
    compare_counts_with_baseline,
    mark_structural,
    states_before_end,
)
from detailed_balance.analyzers.loop import Loop
from detailed_balance.monitor.analysis._violations import count_walks
from detailed_balance.monitor.analysis.base import View
from detailed_balance.monitor.analysis.findings import Observation
from detailed_balance.render.formatting import shorten_states

_EXPECTED = ("structural", "work-flow")


class BalanceAlarmAnalyzer:
    """Raise the alarm where the e-value has reached its line, and say when it is over.

    It is over where the second test was quiet for long enough (see `RestartingBalanceTest`), and
    the window, searched after that test began, holds no violation that is neither structural nor
    work-flow. Where all loops that carry the evidence are one of these, it is no more than
    information.
    """

    name = "evidence"
    every = 1.0

    def check(self, view: View) -> Iterator[Observation]:
        """Yield the alarm, if there is one."""
        evidence = view.evidence
        if not evidence.alarm:
            return
        if evidence.quiet and not _driven(view):
            quiet = evidence.second.transitions if evidence.second is not None else 0
            evidence.take_over()
            yield Observation("alarm", (), _describe_end(quiet), gone=True)
            return
        loops = evidence.loops_with_evidence()
        kinds = _classify(loops, view)
        known = view.open_findings("alarm")
        # Once an alarm, it stays one to its end: later the window may not hold the loops any more.
        expected = all(kind in _EXPECTED for kind in kinds) and not any(
            finding.severity == "alarm" for finding in known
        )
        yield Observation(
            "alarm",
            (),
            _describe(evidence.main.max_log_e_value, loops, expected),
            "info" if expected else "alarm",
            loops[0].loop if loops else (),
            {
                "log_e_value": evidence.log_e_value,
                "max_log_e_value": evidence.main.max_log_e_value,
                "alpha": view.alpha,
                "took": evidence.took,
                "renewed": evidence.renewed,
                "loops": [
                    {"loop": loop.loop, "counts": loop.counts, "kind": kind}
                    for loop, kind in zip(loops, kinds, strict=True)
                ],
            },
        )


def _driven(view: View) -> bool:
    """Say whether a loop may be driven still in an unexpected way: found, or not yet looked for."""
    if view.results.get("checked", view.total) < view.evidence.since:
        return True
    return any(finding.severity != "info" for finding in view.open_findings("violation"))


def _classify(loops: Sequence[LoopEvidence], view: View) -> list[str]:
    """Return the kind of each loop, as of a violation in the window."""
    nan, counts = float("nan"), view.recent
    found = [Violation(Loop(e.loop), nan, nan, nan, count_walks(counts, e.loop)) for e in loops]
    known = [v for v in found if all(state in counts for state in v.loop)]
    known = mark_structural(known, counts, None, states_before_end(counts))
    if known and view.baseline.counts is not None:
        known = compare_counts_with_baseline(known, counts, view.baseline.counts, view.alpha, "bh")
    kinds = {violation.loop: violation.kind for violation in known}
    return [kinds.get(Loop(loop.loop), "unclassified") for loop in loops]


def _describe(log_e_value: float, loops: Sequence[LoopEvidence], expected: bool) -> str:
    if not loops:
        return f"detailed balance is broken (log E = {log_e_value:.1f} at its highest)"
    first = loops[0]
    shown = LoopEvidence(shorten_states(first.loop), first.counts, 0.0, 0.0).describe()
    by = "as expected, " if expected else ""
    return f"detailed balance is broken (log E = {log_e_value:.1f} at its highest), {by}by {shown}"


def _describe_end(quiet: int) -> str:
    return f"a new test of detailed balance has stayed quiet over {quiet:,} transitions"
