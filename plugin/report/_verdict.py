"""The verdict of a report in words, before any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite, isnan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import BalanceReport, TrapReport, Violation
from detailed_balance.analyzers.multiplicity import adjust_holm
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
from detailed_balance.report._repetition import (
    about_repetition,
    count_repeating,
    describe_limits,
)
from detailed_balance.report.run_sections import show_change

if TYPE_CHECKING:
    from detailed_balance.report._run_findings import RunFindings

ENOUGH = 1.0
"""The affinity, in nats, that the data must be able to show for a verdict without runs."""

ENOUGH_RUNS = 10
"""With fewer runs nothing is called in order."""

_NAMED = 3
_CHANGES_NAMED = 2


@dataclass(frozen=True, slots=True)
class VerdictEvidence:
    """What a verdict goes by.

    Parameters
    ----------
    balance, traps
        What was found.
    transitions : int
        How many there were, to say how many more are needed.
    studied : RunFindings or None
        What single runs did; None where only counts are known.
    compared : bool
        Whether there was a baseline.
    """

    balance: BalanceReport
    traps: TrapReport
    transitions: int
    studied: RunFindings | None = None
    compared: bool = False

    def pvalues(self) -> dict[str, float]:
        """Return the p-value of each kind of finding that was tested, adjusted for their number."""
        found = {"driven": self.balance.suspect_pvalue}
        if self.studied is not None:
            repetition = self.studied.repetition
            if repetition.good and repetition.failed:
                found["repetition"] = min(test.pvalue for test in repetition.tests)
            if self.studied.contrast is not None:
                found["failure"] = self.studied.contrast.pvalue
        return adjust_holm({kind: p for kind, p in found.items() if not isnan(p)})

    def tested(self) -> tuple[str, ...]:
        """Return the kinds of findings that the tests support, worst first."""
        adjusted = self.pvalues()
        return tuple(
            kind
            for kind in ("repetition", "driven", "failure")
            if adjusted.get(kind, 1.0) <= self.balance.alpha
        )

    def suspect(self) -> tuple[Violation, ...]:
        """Return the violations that are a finding by themselves."""
        if self.studied is not None and "driven" not in self.tested():
            return ()
        return tuple(v for v in self.balance.violations if v.kind == "suspect")


def judge(evidence: VerdictEvidence, warnings: Sequence[str] = ()) -> Verdict:
    """Put into words what was found; the rule for each word stands in docs/report.md."""
    problems = list(_problems(evidence))
    outcome: VerdictOutcome
    if problems:
        outcome, first = "problem", problems.pop(0)
    else:
        outcome, first = _without_problem(evidence)
    sentences = [
        *(_as_sentence(problem) for problem in problems),
        *(() if evidence.studied is None else about_repetition(evidence.studied.repetition)),
        *_about_violations(evidence),
        *_about_traps(evidence),
        *_about_power(evidence),
        *_about_potential(evidence.balance),
        *warnings,
    ]
    return Verdict(outcome, f"{outcome.upper()}: {first}", tuple(sentences))


def _as_sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _problems(evidence: VerdictEvidence) -> Iterator[str]:
    """Yield what is wrong: facts, then what tests support."""
    studied, tested = evidence.studied, evidence.tested()
    if studied is not None:
        yield from _limits(studied)
        for finding in studied.repetition.findings:
            if finding.evidence == "fact" or (
                finding.evidence == "contrast" and "repetition" in tested
            ):
                yield count_repeating(studied.repetition, finding)
    for violation in evidence.suspect()[:_NAMED]:
        low, high = map(format_number, violation.odds_interval)
        loop = join_states((*violation.loop, violation.loop[0]))
        who = "these" if "baseline" in violation.evidence else "failed"
        odds = format_number(violation.odds_ratio)
        interval = "" if isnan(violation.odds_interval[0]) else f" ({low} to {high})"
        yield (
            f"{who} runs go round {loop} more than their visits explain: {odds} times the odds of "
            f"a step along it{interval}"
        )
    if studied is not None and studied.contrast is not None and "failure" in tested:
        changes = [c for test in studied.contrast.tests for c in test.changes if c.changed]
        sides = ("successful runs", "failed ones")
        shown = "; ".join(show_change(change, sides) for change in changes[:_CHANGES_NAMED])
        which = ", ".join(test.question for test in studied.contrast.tests if test.changed)
        named = f": {shown}" if shown else ""
        yield f"failed runs differ from successful ones in their {which}{named}"


def _limits(studied: RunFindings) -> Iterator[str]:
    if studied.repetition.limits:
        yield describe_limits(studied.repetition)
    for name, (stopped, runs) in studied.limited.items():
        yield (
            f"inside {safe_text(name, 40)}, {stopped:,} of {count_noun(runs, 'run')} hit the "
            "recursion limit"
        )


def _without_problem(evidence: VerdictEvidence) -> tuple[VerdictOutcome, str]:
    studied = evidence.studied
    if studied is None:
        return _by_counts(evidence)
    rules = [f for f in studied.repetition.findings if f.evidence == "rule"]
    if rules:
        return "watch", f"{count_repeating(studied.repetition, rules[0])}, by a rule"
    runs, failed = studied.report.runs, studied.report.failed
    if failed:
        return (
            "watch",
            f"{failed:,} of {count_noun(runs, 'run')} failed; {_no_difference(evidence)}",
        )
    if runs < ENOUGH_RUNS:
        return "unknown", (
            f"{count_noun(runs, 'run')}, none of them failed; {ENOUGH_RUNS} or more are needed to "
            "say that nothing is wrong"
        )
    good = studied.report.succeeded
    longest = f"; the longest took {count_noun(studied.longest, 'move')}"
    if good == runs:
        return "ok", f"all {runs:,} runs succeeded{longest}"
    return "ok", f"none of {runs:,} runs failed, and {good:,} succeeded{longest}"


def _no_difference(evidence: VerdictEvidence) -> str:
    """Say that nothing failed runs do differs, with the effect that would have shown."""
    known = [c for c in evidence.balance.contrasts if not c.reason]
    if evidence.studied is None or evidence.studied.contrast is None or not known:
        return "whether they do anything else than successful ones is not known yet"
    least = min(contrast.detectable for contrast in known)
    if not isfinite(least):
        return "nothing they do differs, as far as so few runs can show"
    return (
        f"nothing they do differs (steps along a loop at {format_number(least)} times the odds "
        "would have shown)"
    )


def _by_counts(evidence: VerdictEvidence) -> tuple[VerdictOutcome, str]:
    """Give the verdict where no runs are known: on balance alone."""
    balance, traps = evidence.balance, evidence.traps
    open_causes = [v for v in balance.violations if v.kind == "unclassified"]
    if open_causes:
        causes = count_noun(len(open_causes), "cause")
        return (
            "watch",
            f"detailed balance is broken by {causes}; without runs its kind is not known",
        )
    if len(traps):
        return "watch", f"the agent stays long in {count_noun(len(traps), 'trap')}"
    if balance.violations:
        causes = count_noun(len(balance.violations), "cause")
        return "ok", f"detailed balance is broken by {causes}, as designed or as in the baseline"
    if not len(balance.loops):
        if balance.loops.untested:
            return "unknown", "no loop was walked often enough to test detailed balance"
        return "unknown", "detailed balance cannot be tested: there is no loop of three states"
    if balance.detectable_affinity() > ENOUGH:
        return "unknown", "too little data: only a strongly driven loop would have shown"
    return "ok", "no violation of detailed balance and no trap was found"


def _about_violations(evidence: VerdictEvidence) -> Iterator[str]:
    balance = evidence.balance
    if not balance.violations:
        return
    kinds = Counter(violation.kind for violation in balance.violations)
    how = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    yield f"Balance is broken by {count_noun(len(balance.violations), 'cause')}: {how}."
    for violation in balance.violations[:_NAMED]:
        yield _describe_violation(violation, balance.alpha)
    if len(balance.violations) > _NAMED:
        yield f"And {count_noun(len(balance.violations) - _NAMED, 'more cause')}."
    unsure = [v for v in balance.violations if v.run_pvalue > balance.alpha]
    if unsure and balance.mixture is not None:
        yield f"{_as_sentence(balance.mixture.describe())[:-1]}{_how_to_split(balance)}."
    unclassified = [v for v in balance.violations if v.kind == "unclassified"]
    if unclassified and evidence.compared and all("baseline" in v.evidence for v in unclassified):
        yield "The baseline is too small to tell more: record more runs that went well."
    elif any(isnan(v.odds_pvalue) and not v.evidence for v in unclassified):
        yield (
            "Whether that is a fault or a work-flow, only a comparison tells: record runs that "
            "went well and give them as the baseline (--baseline good_runs.jsonl), or record runs "
            "that went well and runs that failed in one store (store.judge says which)."
        )


def _describe_violation(violation: Violation, alpha: float) -> str:
    loop = join_states((*violation.loop, violation.loop[0]))
    more = f", and {count_noun(len(violation.explains), 'more loop')} that share its moves"
    parts = [
        f"{loop}{more if violation.explains else ''}: affinity {format_number(violation.affinity)} "
        f"± {format_number(violation.error)} nats, adjusted p {format_pvalue(violation.pvalue)}; "
        f"walked at most {times(violation.counts[0])} in this direction, "
        f"{times(violation.counts[1])} in reverse",
        *_inside_runs(violation, alpha),
    ]
    evidence = f" ({violation.kind}: {violation.evidence})" if violation.evidence else ""
    return f"{'; '.join(parts)}{evidence}."


def _inside_runs(violation: Violation, alpha: float) -> Iterator[str]:
    if isnan(violation.run_pvalue):
        return
    there, back = map(times, violation.closed)
    closed = f"inside runs closed {there} against {back}, p {format_pvalue(violation.run_pvalue)}"
    if violation.run_pvalue <= alpha:
        yield f"driven inside runs: by a push, or because runs change as they go on ({closed})"
    else:
        yield f"driven, or a mixture of different runs ({closed})"


def _how_to_split(balance: BalanceReport) -> str:
    if balance.mixture is None or not balance.mixture.labels:
        return ""
    label = safe_text(balance.mixture.labels[0], 40)
    if label == "first and second half":
        return ": analyze them apart (--since, --until)"
    return f": analyze them apart (--context {label}=...)"


def _about_traps(evidence: VerdictEvidence) -> Iterator[str]:
    traps = evidence.traps
    for trap in traps.traps[:_NAMED]:
        safe = replace(trap, states=shorten_states(trap.states))
        yield f"Trap: {safe.describe()}."
    if len(traps) > _NAMED:
        yield f"And {count_noun(len(traps) - _NAMED, 'more trap')}."
    if len(traps):
        yield "A trap breaks no balance by itself, and long work in one place is no fault."


def _about_power(evidence: VerdictEvidence) -> Iterator[str]:
    balance, transitions = evidence.balance, evidence.transitions
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
                "1 nat, a loop walked e times as often in one direction as in the other."
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
            "the agent does go round, a state function that distinguishes more states will show it."
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
