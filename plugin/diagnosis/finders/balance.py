"""Findings of causes of broken balance, and of traps."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import BalanceReport, Violation
from detailed_balance.analyzers.balance.outcomes import BASELINE_GROUPS
from detailed_balance.diagnosis.finders._advice import gate
from detailed_balance.diagnosis.finding import Advice, Finding
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    shorten_states,
)

if TYPE_CHECKING:
    from detailed_balance.diagnosis.case import Case


__all__ = ["by_baseline", "driven_pvalues", "find_driven", "find_trap_findings"]


def driven_pvalues(case: Case) -> dict[str, float]:
    """Return the p-values of the kinds of test that causes of broken balance have."""
    balance = case.balance
    if balance is None:
        return {}
    found = {"driven": balance.suspect_pvalue}
    if case.compared and not any(c.groups == BASELINE_GROUPS for c in balance.contrasts):
        by_counts = (v.odds_pvalue for v in balance.violations if by_baseline(v))
        found["driven, by counts"] = min(by_counts, default=nan)
    return {kind: p for kind, p in found.items() if not isnan(p)}


def by_baseline(violation: Violation) -> bool:
    """Say whether it was the baseline that told the kind of a cause."""
    return "baseline" in violation.evidence


def find_driven(case: Case) -> Iterator[Finding]:
    """Yield the causes that failed runs walk more than their visits explain, or than a baseline."""
    for one, tests in ((case, ("driven", "driven, by counts")), (case.hidden, ("driven, hidden",))):
        if one is None or one.balance is None:
            continue
        pvalue = min(map(case.adjusted, tests))
        for violation in one.balance.violations:
            if violation.kind == "suspect" and pvalue <= case.alpha:
                yield _driven(one, violation, pvalue)
    if case.balance is not None and not _has_outcomes(case):
        yield from _unclassified(case, case.balance)


def _has_outcomes(case: Case) -> bool:
    return case.study is not None and bool((case.study.table.runs.success >= 0).any())


def _unclassified(case: Case, balance: BalanceReport) -> Iterator[Finding]:
    """Yield the causes whose kind is not known, where no outcome of a run can tell it."""
    found = [violation for violation in balance.violations if violation.kind == "unclassified"]
    if not found:
        return
    causes, first = count_noun(len(found), "cause"), found[0]
    loop = join_states((*first.loop, first.loop[0]))
    lacking = "with such a small baseline" if case.compared else "without outcomes of runs"
    kinds = "its kind is" if len(found) == 1 else "their kinds are"
    yield Finding(
        "driven",
        "watch",
        f"detailed balance is broken by {causes}, most by the loop {loop}; {lacking} {kinds} not "
        f"known",
        tuple(first.loop),
        graph=case.graph,
        evidence=f"adjusted p {format_pvalue(first.pvalue)} over all loops",
        advice=tuple(_advise_on_loop(case)),
    )


def _driven(case: Case, violation: Violation, pvalue: float) -> Finding:
    loop = join_states((*violation.loop, violation.loop[0]))
    ratio, (low, high) = violation.odds_ratio, map(format_number, violation.odds_interval)
    interval = "" if isnan(violation.odds_interval[0]) else f" ({low} to {high})"
    odds = f"{format_number(ratio)} times the odds of a step along it{interval}"
    if by_baseline(violation):
        more = odds if isfinite(ratio) else "no step along it there"
        title = f"{loop} is taken more than in the baseline: {more}"
    else:
        title = f"failed runs go round {loop} more than their visits explain: {odds}"
    names: tuple[str, ...] = ()
    walked = total = 0
    if case.study is not None:
        total = len(case.roots)
        seen = next((s for s in case.study.loops if {*s.loop} == {*violation.loop}), None)
        if seen is not None:
            names, walked = seen.examples, seen.runs
    loops = (
        ""
        if not violation.explains
        else f"; {count_noun(len(violation.explains), 'more loop')} share its moves"
    )
    return Finding(
        "driven",
        "problem",
        title,
        tuple(violation.loop),
        names,
        walked,
        total,
        graph=case.graph,
        evidence=f"adjusted p {format_pvalue(pvalue)}{loops}; null hypothesis: given the "
        "length and block of a run, its outcome does not depend on its path",
        pvalue=pvalue,
        advice=tuple(_advise_on_loop(case)),
    )


def _advise_on_loop(case: Case) -> Iterator[Advice]:
    if case.command:
        yield Advice(
            "tells whether successful runs take it too",
            f"detailed-balance analyze {case.command} --baseline good_runs.jsonl",
        )
    yield from gate(case, "driven")


def find_trap_findings(case: Case) -> Iterator[Finding]:
    """Yield the traps, where no outcome of a run says whether long stays are work."""
    if case.study is not None and case.study.repetition.good:
        return
    for trap in case.traps.traps:
        low, high = map(format_number, trap.interval)
        names = shorten_states(trap.states, 40)
        yield Finding(
            "trap",
            "watch",
            f"the agent stays long in {' ↔ '.join(names)}: {format_number(trap.stay)} moves before "
            f"it leaves ({low} to {high})",
            trap.states,
            graph=case.graph,
            evidence="a trap does not break balance, and long work in one place is not a fault",
        )
