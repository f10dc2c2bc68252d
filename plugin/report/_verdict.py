"""The verdict of a report in words, before any number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, isfinite, isnan

from detailed_balance.analyzers import (
    BalanceReport,
    RepetitionReport,
    RunClassification,
    TrapReport,
    Violation,
)
from detailed_balance.analyzers.repetition.classify import REPEATING
from detailed_balance.analyzers.results import times
from detailed_balance.render.document import Verdict, VerdictOutcome
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    safe_text,
    shorten_states,
)
from detailed_balance.report._repetition import about_repetition, head_repetition

ENOUGH = 1.0
"""The affinity, in nats, that the data must be able to show for a verdict."""

_TRAPS_NAMED = 3
_CHILDREN_NAMED = 3


def findings(balance: BalanceReport) -> tuple[Violation, ...]:
    """Return the violations that the verdict goes by: suspect ones first, then unclassified."""
    suspect = [v for v in balance.violations if v.kind == "suspect"]
    return (*suspect, *(v for v in balance.violations if v.kind == "unclassified"))


def expected_violations(balance: BalanceReport) -> tuple[Violation, ...]:
    """Return the violations that are no fault: structural and work-flow ones."""
    return tuple(v for v in balance.violations if v.kind in ("structural", "work-flow"))


def judge(
    balance: BalanceReport,
    traps: TrapReport,
    *,
    transitions: int,
    compared: bool = False,
    runs: RunClassification | None = None,
    children: Mapping[str, RunClassification] | None = None,
    repetition: RepetitionReport | None = None,
    warnings: Sequence[str] = (),
) -> Verdict:
    """Put into words what was found.

    Parameters
    ----------
    balance, traps
        What was found.
    transitions : int
        How many there were, to say how many more are needed.
    compared : bool
        Whether there was a baseline.
    runs : RunClassification, optional
        What single runs did.
    children : mapping of str to RunClassification, optional
        What the runs of subgraphs did, by the name of the graph.
    repetition : RepetitionReport, optional
        Which runs repeat themselves too much.
    warnings : sequence of str
        Sentences to add.
    """
    children = children or {}
    outcome, headline = _headline(balance, traps, repetition)
    sentences = [
        *_about_findings(balance, compared),
        *_about_expected(balance),
        *_about_traps(balance, traps),
        *(() if repetition is None else about_repetition(repetition)),
        *_about_runs(runs),
        *_about_children(children),
        *_about_power(balance, transitions),
        *_about_potential(balance),
        *warnings,
    ]
    return Verdict(outcome, headline, tuple(sentences))


def _headline(
    balance: BalanceReport,
    traps: TrapReport,
    repetition: RepetitionReport | None,
) -> tuple[VerdictOutcome, str]:
    broken = findings(balance)
    stuck = count_noun(len(traps), "trap")
    if broken:
        headline = f"Detailed balance is broken: {_count_kinds(broken)}"
        return "finding", f"{headline}, and {stuck}" if len(traps) else headline
    if len(traps):
        return "finding", f"The agent gets stuck: {stuck}"
    if repetition is not None and (head := head_repetition(repetition)):
        return head
    if balance.violations:
        loops = count_noun(len(balance.violations), "driven loop")
        return "clear", f"Nothing suspect and no trap found: {loops}, as expected"
    if not len(balance.loops):
        if balance.loops.untested:
            return "unknown", "Not enough data: no loop was walked often enough to be tested"
        return "unknown", "Detailed balance cannot be tested: no loop of three states"
    if balance.detectable_affinity() > ENOUGH:
        return "unknown", "Not enough data: only a strongly driven loop would have shown"
    return "clear", "No violation of detailed balance and no trap found"


def _count_kinds(broken: Sequence[Violation]) -> str:
    suspect = sum(violation.kind == "suspect" for violation in broken)
    if not suspect:
        return count_noun(len(broken), "driven loop")
    rest = f" and {len(broken) - suspect} unclassified" if len(broken) > suspect else ""
    return count_noun(suspect, "suspect loop") + rest


def _about_findings(balance: BalanceReport, compared: bool) -> Iterator[str]:
    broken = findings(balance)
    if not broken:
        return
    worst = broken[0]
    yield (
        f"Strongest: {join_states((*worst.loop, worst.loop[0]))}. Affinity "
        f"{format_number(worst.affinity)} ± {format_number(worst.error)} nats, adjusted p "
        f"{format_pvalue(worst.pvalue)}; walked at most {times(worst.counts[0])} this way round, "
        f"{times(worst.counts[1])} the other."
    )
    if worst.kind == "suspect":
        odds = f", with {format_number(worst.odds_ratio)} times the odds"
        never = ", which does not hold it at all" if "baseline" in worst.evidence else ""
        yield f"It is suspect: {worst.evidence}{odds if isfinite(worst.odds_ratio) else never}."
    unclassified = [violation for violation in broken if violation.kind == "unclassified"]
    if unclassified and compared:
        yield (
            f"The baseline does not hold {count_noun(len(unclassified), 'unclassified loop')}, and "
            "is too small to tell whether that means anything: record more runs that went well."
        )
    elif any(isnan(v.odds_pvalue) for v in unclassified):
        yield (
            "Whether that is a fault or a work-flow, only a comparison tells: record runs that "
            "went well and give them as the baseline (--baseline good_runs.jsonl), or record runs "
            "that went well and runs that failed in one store (store.judge says which)."
        )
    elif unclassified:
        yield (
            f"Outcomes do not explain {count_noun(len(unclassified), 'unclassified loop')}: no "
            "successful run walks it round, and too few failed ones do. Record more runs."
        )


def _about_expected(balance: BalanceReport) -> Iterator[str]:
    expected = expected_violations(balance)
    structural = [v.evidence for v in expected if v.kind == "structural"]
    if structural:
        loops = count_noun(len(structural), "loop")
        yield f"Driven by design: {loops}, in which {structural[0]}."
    usual = [v.evidence for v in expected if v.kind == "work-flow"]
    in_baseline = sum("baseline" in evidence for evidence in usual)
    if in_baseline:
        loops = count_noun(in_baseline, "loop")
        yield f"Driven as in the baseline: {loops}, walked there as often."
    if in_runs := len(usual) - in_baseline:
        yield (
            f"Driven as in successful runs: {count_noun(in_runs, 'loop')}, which failed runs walk "
            "no more than those."
        )


def _about_traps(balance: BalanceReport, traps: TrapReport) -> Iterator[str]:
    for trap in traps.traps[:_TRAPS_NAMED]:
        safe = replace(trap, states=shorten_states(trap.states))
        yield f"Trap: {safe.describe()}."
    if len(traps) > _TRAPS_NAMED:
        yield f"And {count_noun(len(traps) - _TRAPS_NAMED, 'more trap')}."
    if len(traps) and not balance.violations:
        other = "no violation was found" if len(balance.loops) else "that could not be tested"
        yield f"A trap is no violation of detailed balance; {other}."


def _about_runs(report: RunClassification | None) -> Iterator[str]:
    if report is not None and (repetition := _describe_repetition(report)):
        yield f"{repetition}."


def _about_children(children: Mapping[str, RunClassification]) -> Iterator[str]:
    told = {name: words for name in children if (words := _describe_repetition(children[name]))}
    for name, words in list(told.items())[:_CHILDREN_NAMED]:
        yield f"Inside {safe_text(name, 40)}: {words}."
    if len(told) > _CHILDREN_NAMED:
        yield f"And so do runs of {count_noun(len(told) - _CHILDREN_NAMED, 'more subgraph')}."


def _describe_repetition(report: RunClassification) -> str:
    repeating = [kind for kind in report.kinds if kind.kind in REPEATING]
    if not repeating:
        return ""
    runs, failed = sum(kind.runs for kind in repeating), sum(kind.failed for kind in repeating)
    how = ", ".join(f"{kind.runs:,} {kind.kind}" for kind in repeating)
    bad = f", and {failed:,} of them failed" if report.succeeded + report.failed else ""
    return (
        f"{runs:,} of {count_noun(report.runs, 'run')} repeat themselves ({how}){bad}: "
        f"{count_noun(sum(kind.after for kind in repeating), 'move')} after the onset"
    )


def _about_power(balance: BalanceReport, transitions: int) -> Iterator[str]:
    if balance.violations:
        return
    seen = balance.detectable_affinity()
    if isfinite(seen):
        yield (
            f"A loop driven by {format_number(seen)} nats or more would have been found with 80% "
            f"probability, one of {len(balance.loops):,} tested."
        )
        if seen > ENOUGH:
            # Errors fall with the square root of the number of transitions.
            factor = ceil(seen**2)
            yield (
                f"About {factor} times as many transitions ({factor * transitions:,}) would show "
                "1 nat, a loop walked e times as often one way round as the other."
            )
    elif balance.loops.untested:
        yield (
            f"Seen were {count_noun(balance.loops.untested, 'loop')}, not identifiable as driven "
            "or not; for a test, each pair of states in a loop must be walked 5 times. To show a "
            f"push of 1 nat with 80% probability, it takes {balance.needed_attempts():,} times."
        )
    else:
        yield (
            "No loop of three or more states was walked, and only such a loop can be driven. If "
            "the agent does go round, a state function that tells more states apart will show it."
        )


def _about_potential(balance: BalanceReport) -> Iterator[str]:
    if balance.independent_loops < 1 or isnan(balance.explained):
        return  # on a tree any counts agree with some potential
    resolved = int(balance.pairs.resolved.sum())
    share = max(balance.explained, 0.0)
    correlation = "" if isnan(balance.correlation) else f" (r = {balance.correlation:.2f})"
    yield (
        f"One potential accounts for {share:.0%} of the drift{correlation}, over "
        f"{count_noun(resolved, 'pair')} of states walked both ways."
    )
