"""The verdict of a report in words, before any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, exp, isfinite, isnan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import BalanceReport, Outcome, TrapReport, Violation
from detailed_balance.analyzers.results import times
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.diagnosis.finders.balance import by_baseline
from detailed_balance.diagnosis.words import UNJUDGED, count_of, say_place, say_times
from detailed_balance.render.document import Statement, Verdict, VerdictOutcome
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    safe_run,
    safe_text,
    shorten_states,
)

if TYPE_CHECKING:
    from detailed_balance.diagnosis.case import Case
    from detailed_balance.diagnosis.finding import Finding

__all__ = ["ENOUGH_RUNS", "about_balance", "judge"]

ENOUGH = 1.0
"""The affinity, in nats, that the data must be able to show for a verdict without runs."""

ENOUGH_RUNS = 10
"""With fewer runs nothing is called in order."""

_NAMED = 3
_FINDINGS_TOLD = 6
_SHORT = ("runs", "since")
_STOPPED = {
    Outcome.ENDED: "ended",
    Outcome.INTERRUPTED: "waits for a person",
    Outcome.FAILED: "failed",
    Outcome.RECURSION_LIMIT: "hit the recursion limit",
    Outcome.CANCELLED: "was cancelled",
    Outcome.ABANDONED: "was abandoned",
}


def judge(
    cases: Sequence[Case], findings: Sequence[Finding], warnings: Sequence[str] = ()
) -> Verdict:
    """Put into words what was found; the rule for each word stands in docs/reference/report.md.

    Parameters
    ----------
    cases : sequence of Case
        What was looked at: one for each agent of the record.
    findings : sequence of Finding
        What was found in all of them, the worst first.
    warnings : sequence of str
        Sentences to add.
    """
    outcome: VerdictOutcome
    if findings:
        outcome = "problem" if findings[0].severity == "problem" else "watch"
        statements = list(_tell(findings))
    else:
        words = [_without_finding(case) for case in cases]
        outcome = "unknown" if any(word == "unknown" for word, _, _ in words) else "ok"
        statements = [
            Statement(word.upper(), _named(case, text), rows)
            for case, (word, text, rows) in zip(cases, words, strict=True)
        ]
        statements.sort(key=lambda statement: statement.word != "UNKNOWN")
    statements += [Statement("BALANCE", _named(case, about_balance(case))) for case in cases]
    sentences = [sentence for case in cases for sentence in _details(case)]
    return Verdict(outcome, tuple(statements), (*dict.fromkeys(sentences), *warnings))


def _named(case: Case, text: str) -> str:
    return f"{safe_text(case.graph, 40)}: {text}" if case.graph else text


def _tell(findings: Sequence[Finding]) -> Iterator[Statement]:
    """Yield the worst finding whole, and of the others the first lines."""
    for place, finding in enumerate(findings[:_FINDINGS_TOLD]):
        told = finding.statement
        short = tuple(row for row in told.rows if row[0] in _SHORT)
        yield replace(told, rows=short) if place else told
    if len(findings) > _FINDINGS_TOLD:
        yield Statement("", f"and {count_noun(len(findings) - _FINDINGS_TOLD, 'more finding')}")


_Answer = tuple[VerdictOutcome, str, tuple[tuple[str, str], ...]]


def _without_finding(case: Case) -> _Answer:
    """Say that nothing is wrong, or that too little is known, and what would be enough."""
    study = case.study
    if study is None:
        outcome, text = _by_counts(case)
        return outcome, text, ()
    roots = case.roots
    runs, good = len(roots), int(roots.succeeded[roots.places].sum())
    if not good:
        outcome, text = _by_counts(case)
        if runs < ENOUGH_RUNS:
            return "unknown", f"{_stopped(case)}; {_needed(runs)}", _longest(case)
        if outcome == "unknown":
            text = f"{_stopped(case)}; judge whether they succeeded (store.judge) to say more"
            return outcome, text, _longest(case)
        return outcome, f"{text}; it is not known whether the {runs:,} runs succeeded", ()
    judged = bool(roots.judged[roots.places].all())
    said = f"{count_of(good, runs)} {'succeeded' if judged else 'ended'}"
    if good < ENOUGH_RUNS:
        return "unknown", f"{_stopped(case)}; {_needed(runs)}", _longest(case)
    none = "none repeats itself more than successful runs do"
    longest = f"the longest took {count_noun(study.longest, 'move')}"
    still, sure = _open(case), _sure(case)
    if still:
        none, sure = "none of them repeats itself too much", (("open", still), *sure)
    return "ok", f"{said}; {none}; {longest}", sure


def _open(case: Case) -> str:
    """Say which runs without an outcome have gone on for longer than any successful run took."""
    roots = case.roots
    going = roots.places[roots.table.runs.success[roots.places] < 0]
    most = int(roots.moves[roots.places[roots.succeeded[roots.places]]].max(initial=0))
    going = going[roots.moves[going] > most]
    if not len(going):
        return ""
    worst = int(going[roots.moves[going].argmax()])
    runs = f"{count_noun(len(going), 'run')} with no end took more moves than any successful run"
    name = safe_run(roots.name(worst) or "one of them")
    return f"{runs}; {name} took {int(roots.moves[worst]):,}"


def _needed(runs: int) -> str:
    return f"{ENOUGH_RUNS - runs:,} more that succeed would be enough to say that nothing is wrong"


def _stopped(case: Case) -> str:
    """Say how few runs stopped."""
    roots = case.roots
    outcomes = roots.table.runs.outcome[roots.places].tolist()
    if len(outcomes) == 1:
        known = outcomes[0] >= 0
        return f"1 run, which {_STOPPED[OUTCOMES[outcomes[0]]]}" if known else "1 run"
    runs = count_noun(len(outcomes), "run")
    if max(outcomes, default=0) < 0:
        return f"{runs}, outcome unknown"
    ended = sum(outcome == OUTCOMES.index(Outcome.ENDED) for outcome in outcomes)
    if not ended and len(set(outcomes)) == 1 and outcomes[0] >= 0:
        return f"{runs}, each of which {_STOPPED[OUTCOMES[outcomes[0]]]}"
    return f"{runs}, of which {ended:,} ended"


def _longest(case: Case) -> tuple[tuple[str, str], ...]:
    """Say what the run that repeats itself most does, where it is enough to be seen."""
    study = case.study
    rows = [] if study is None else [row for row in study.report.rows if row.onset is not None]
    if not rows:
        return ()
    row = rows[0]
    where = say_place(row.kind, row.states, one=True)
    return (("seen", f"{safe_run(row.name or 'it')} {where}, {say_times(row.kind, row.times)}"),)


def _sure(case: Case) -> tuple[tuple[str, str], ...]:
    if case.roots.judged[case.roots.places].any():
        return ()
    return (("sure?", UNJUDGED),)


def _by_counts(case: Case) -> tuple[VerdictOutcome, str]:
    """Give the verdict where no outcome of a run is known: on balance alone."""
    balance = case.balance
    if balance is None:
        return "unknown", case.reason
    if balance.violations:
        causes = count_noun(len(balance.violations), "cause")
        return "ok", f"detailed balance is broken by {causes}, as designed or as in the baseline"
    if not len(balance.loops):
        if balance.loops.untested:
            return "unknown", "no loop was taken often enough to test detailed balance"
        return "unknown", "detailed balance cannot be tested: there is no loop of three states"
    if balance.detectable_affinity() > ENOUGH:
        return "unknown", "too little data: only a strongly driven loop would have been found"
    return "ok", "no violation of detailed balance and no trap was found"


def about_balance(case: Case) -> str:
    """Say in one or two sentences whether detailed balance holds."""
    balance = case.balance
    if balance is None:
        return f"not testable: {case.reason}"
    hub = ""
    if case.hub:
        hub = (
            f" {safe_text(case.hub, 40)} lies between all other states, so loops are also searched "
            "with it hidden (--hide)."
        )
    potential = " ".join(_about_potential(balance))
    return f"{_about_causes(balance)}.{potential and f' {potential}'}{hub}"


def _about_causes(balance: BalanceReport) -> str:
    if balance.violations:
        first = balance.violations[0]
        kinds = Counter(violation.kind for violation in balance.violations)
        how = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
        return (
            f"broken by {count_noun(len(balance.violations), 'cause')} ({how}), most by "
            f"{join_states((*first.loop, first.loop[0]))}"
        )
    if not len(balance.loops):
        if balance.loops.untested:
            return "not testable: no loop was taken often enough"
        return (
            "not testable: no loop of three states was taken. A state function that distinguishes "
            "more states may show one"
        )
    seen = balance.detectable_affinity()
    if seen > ENOUGH:
        return f"not testable: only {_show_push(seen)} would have been found"
    return f"holds: {_show_push(seen)} would have been found"


def _show_push(affinity: float) -> str:
    factor = format_number(exp(min(affinity, 700)))
    return f"a loop taken {factor} times as often in one direction as in reverse"


def _details(case: Case) -> Iterator[str]:
    """Yield what is behind it, sentence by sentence."""
    if case.balance is None:
        return
    yield from _about_violations(case, case.balance)
    yield from _about_traps(case.traps)
    yield from _about_power(case, case.balance)


def _about_violations(case: Case, balance: BalanceReport) -> Iterator[str]:
    for violation in balance.violations[:_NAMED]:
        yield _describe_violation(violation, balance.alpha)
    if len(balance.violations) > _NAMED:
        yield f"And {count_noun(len(balance.violations) - _NAMED, 'more cause')}."
    unsure = [v for v in balance.violations if v.run_pvalue > balance.alpha]
    if unsure and balance.mixture is not None:
        mixture = safe_text(balance.mixture.describe(), 400)
        yield f"{mixture[0].upper()}{mixture[1:]}{_how_to_split(balance)}."
    unclassified = [v for v in balance.violations if v.kind == "unclassified"]
    if unclassified and case.compared and all(map(by_baseline, unclassified)):
        yield "The baseline is too small to say more: record more successful runs."
    elif any(isnan(v.odds_pvalue) and not v.evidence for v in unclassified):
        yield (
            "To see whether that is a fault or the normal work-flow, compare with successful runs: "
            "give them as the baseline (--baseline good_runs.jsonl), or record successful and "
            "failed runs in one store and judge them (store.judge)."
        )


def _describe_violation(violation: Violation, alpha: float) -> str:
    loop = join_states((*violation.loop, violation.loop[0]))
    more = f", and {count_noun(len(violation.explains), 'more loop')} with moves in common"
    parts = [
        f"{loop}{more if violation.explains else ''}: affinity {format_number(violation.affinity)} "
        f"± {format_number(violation.error)} nats, adjusted p {format_pvalue(violation.pvalue)}; "
        f"{times(violation.counts[0])} in this direction, "
        f"{times(violation.counts[1])} in reverse",
        *_inside_runs(violation, alpha),
    ]
    because = f": {safe_text(violation.evidence, 400)}" if violation.evidence else ""
    return f"{'; '.join(parts)} ({violation.kind}{because})."


def _inside_runs(violation: Violation, alpha: float) -> Iterator[str]:
    if isnan(violation.run_pvalue):
        return
    there, back = map(times, violation.closed)
    pvalue = format_pvalue(violation.run_pvalue)
    closed = f"single runs went round it {there} in this direction, {back} in reverse, p {pvalue}"
    if violation.run_pvalue <= alpha:
        yield f"driven inside runs, or runs change as they go on ({closed})"
    else:
        yield f"driven, or a mixture of different runs ({closed})"


def _how_to_split(balance: BalanceReport) -> str:
    if balance.mixture is None or not balance.mixture.labels:
        return ""
    label = safe_text(balance.mixture.labels[0], 40)
    if label == "first and second half":
        return ": analyze them separately (--since, --until)"
    return f": analyze them separately (--context {label}=...)"


def _about_traps(traps: TrapReport) -> Iterator[str]:
    for trap in traps.traps[:_NAMED]:
        safe = replace(trap, states=shorten_states(trap.states))
        yield f"Trap: {safe.describe()}."
    if len(traps) > _NAMED:
        yield f"And {count_noun(len(traps) - _NAMED, 'more trap')}."
    if len(traps):
        yield "A trap does not break balance, and long work in one place is not a fault."


def _about_power(case: Case, balance: BalanceReport) -> Iterator[str]:
    transitions = case.counts.without_boundaries().total
    if balance.violations:
        return
    seen = balance.detectable_affinity()
    if isfinite(seen):
        yield (
            f"With 80% probability {_show_push(seen)} would have been found "
            f"({count_noun(len(balance.loops), 'loop')} tested)."
        )
        if seen > ENOUGH:
            # Errors fall with the square root of the number of transitions.
            factor = ceil(seen**2)
            yield (
                f"About {factor} times as many transitions ({factor * transitions:,}) would find "
                f"{_show_push(ENOUGH)}."
            )
    elif balance.loops.untested:
        yield (
            f"Too rare for a test: {count_noun(balance.loops.untested, 'loop')}. Each pair of "
            f"states in a loop must be seen 5 times, and {balance.needed_attempts():,} times to "
            f"find {_show_push(ENOUGH)} with 80% probability."
        )


def _about_potential(balance: BalanceReport) -> Iterator[str]:
    if balance.independent_loops < 1 or isnan(balance.explained):
        return  # on a tree any counts agree with some potential
    resolved = int(balance.pairs.resolved.sum())
    share = max(balance.explained, 0.0)
    correlation = "" if isnan(balance.correlation) else f" (r = {balance.correlation:.2f})"
    yield (
        f"One potential explains {share:.0%} of the drift{correlation}, over "
        f"{count_noun(resolved, 'pair')} of states seen in both directions."
    )
