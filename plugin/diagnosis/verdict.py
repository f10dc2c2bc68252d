"""The verdict of a report in words, before any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite, isnan, nan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import BalanceReport, TrapReport, Violation
from detailed_balance.analyzers.balance.outcomes import BASELINE_GROUPS
from detailed_balance.analyzers.comparison.result import FEWEST_RUNS
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
from detailed_balance.report._repetition_section import (
    about_repetition,
    count_repeating,
    describe_stopped,
)
from detailed_balance.report.run_sections import show_change

if TYPE_CHECKING:
    from detailed_balance.analyzers import RunComparison
    from detailed_balance.diagnosis.study import RunStudy

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
    studied : RunStudy or None
        What single runs did; None where only counts are known.
    compared : bool
        Whether there was a baseline.
    """

    balance: BalanceReport
    traps: TrapReport
    transitions: int
    studied: RunStudy | None = None
    compared: bool = False

    def pvalues(self) -> dict[str, float]:
        """Return the p-value of each kind of finding that was tested."""
        found = {"driven": self.balance.suspect_pvalue}
        if self.compared and not any(c.groups == BASELINE_GROUPS for c in self.balance.contrasts):
            by_counts = (v.odds_pvalue for v in self.balance.violations if _by_baseline(v))
            found["driven, by counts"] = min(by_counts, default=nan)
        if self.studied is not None:
            repetition = self.studied.repetition
            if repetition.good and repetition.failed:
                found["repetition"] = min(test.pvalue for test in repetition.tests)
            if self.studied.contrast is not None:
                found["failure"] = self.studied.contrast.pvalue
        return {kind: p for kind, p in found.items() if not isnan(p)}

    def tested(self) -> tuple[str, ...]:
        """Return the kinds of findings that the tests support, which share alpha (Holm)."""
        adjusted = adjust_holm(self.pvalues())
        return tuple(kind for kind, p in adjusted.items() if p <= self.balance.alpha)

    def suspect(self) -> tuple[Violation, ...]:
        """Return the violations that are a finding by themselves."""
        if not any(kind.startswith("driven") for kind in self.tested()):
            return ()
        return tuple(v for v in self.balance.violations if v.kind == "suspect")


def judge(evidence: VerdictEvidence, warnings: Sequence[str] = ()) -> Verdict:
    """Put into words what was found; the rule for each word stands in docs/report.md."""
    problems = list(dict.fromkeys(_problems(evidence)))
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
        places = [
            count_repeating(studied.repetition, finding)
            for finding in studied.repetition.findings
            if finding.evidence == "fact"
            or (finding.evidence == "contrast" and "repetition" in tested)
        ]
        if places:
            more = f"; and {count_noun(len(places) - _NAMED, 'more place')}"
            yield f"{'; '.join(places[:_NAMED])}{more if len(places) > _NAMED else ''}"
    yield from map(_describe_suspect, evidence.suspect()[:_NAMED])
    if studied is not None and studied.contrast is not None and "failure" in tested:
        yield _describe_contrast(studied.contrast)


def _describe_suspect(violation: Violation) -> str:
    loop = join_states((*violation.loop, violation.loop[0]))
    ratio, (low, high) = violation.odds_ratio, map(format_number, violation.odds_interval)
    interval = "" if isnan(violation.odds_interval[0]) else f" ({low} to {high})"
    odds = f"{format_number(ratio)} times the odds of a step along it{interval}"
    if _by_baseline(violation):
        more = odds if isfinite(ratio) else "there no step was made along it"
        return f"{loop} is walked more than in the baseline: {more}"
    return f"failed runs go round {loop} more than their visits explain: {odds}"


def _by_baseline(violation: Violation) -> bool:
    return "baseline" in violation.evidence


def _describe_contrast(contrast: RunComparison) -> str:
    which = ", ".join(test.question for test in contrast.tests if test.changed)
    changes = [c for test in contrast.tests for c in test.changes if c.changed]
    sides = ("successful runs", "failed ones")
    shown = "; ".join(show_change(change, sides) for change in changes[:_CHANGES_NAMED])
    told = shown or f"p {format_pvalue(contrast.pvalue)}"
    return f"failed runs differ from successful ones in their {which}: {told}"


def _limits(studied: RunStudy) -> Iterator[str]:
    if studied.stopped.stopped:
        yield describe_stopped(studied.stopped)
    for name, inside in studied.limited.items():
        yield f"inside {safe_text(name, 40)}, {describe_stopped(inside)}"


def _without_problem(evidence: VerdictEvidence) -> tuple[VerdictOutcome, str]:
    studied = evidence.studied
    if studied is None:
        return _by_counts(evidence)
    rules = [f for f in studied.repetition.findings if f.evidence == "rule"]
    if rules:
        return "watch", f"{count_repeating(studied.repetition, rules[0])}, by a rule"
    runs, good, failed = (getattr(studied.report, n) for n in ("runs", "succeeded", "failed"))
    if failed:
        said = _no_difference(evidence)
        return "watch", f"{failed:,} of {count_noun(runs, 'run')} failed; {said}"
    if not good:
        outcome, said = _by_counts(evidence)
        few = outcome == "ok" and runs < ENOUGH_RUNS
        known = f"; it is not known whether the {count_noun(runs, 'run')} succeeded"
        return "unknown" if few else outcome, said + known * (outcome != "watch")
    all_good = f"all {runs:,} runs succeeded" if runs > 1 else "1 run, which succeeded"
    said = all_good if good == runs else f"none of {runs:,} runs failed, and {good:,} succeeded"
    if good < ENOUGH_RUNS:
        return "unknown", f"{said}; {ENOUGH_RUNS} are needed to say that nothing is wrong"
    return "ok", f"{said}; the longest took {count_noun(studied.longest, 'move')}"


def _no_difference(evidence: VerdictEvidence) -> str:
    """Say that nothing failed runs do differs, with the effect that would have shown."""
    pvalues, alpha = evidence.pvalues(), evidence.balance.alpha
    if min(pvalues.values(), default=1.0) <= alpha:
        least = min(adjust_holm(pvalues).values())
        return (
            f"what they do differs no more than one of {len(pvalues)} tests may show by chance "
            f"(adjusted p {format_pvalue(least)})"
        )
    repetition = None if evidence.studied is None else evidence.studied.repetition
    if repetition is None or min(repetition.good, repetition.failed) < FEWEST_RUNS:
        return (
            "whether they do anything else than successful ones is not known: "
            f"{FEWEST_RUNS} of each are needed"
        )
    known = [contrast.detectable for contrast in evidence.balance.contrasts if not contrast.reason]
    least = min(known, default=inf)
    if not isfinite(least):
        return "nothing they do is seen to differ"
    return (
        f"nothing they do differs (steps along a loop at {format_number(least)} times the odds "
        "would have shown)"
    )


def _by_counts(evidence: VerdictEvidence) -> tuple[VerdictOutcome, str]:
    """Give the verdict where no outcome of a run is known: on balance alone."""
    balance, traps = evidence.balance, evidence.traps
    still_open = sum(v.kind == "unclassified" for v in balance.violations)
    stuck = f"the agent stays long in {count_noun(len(traps), 'trap')}"
    if still_open:
        causes = count_noun(still_open, "cause")
        lacking = "with so small a baseline" if evidence.compared else "without outcomes of runs"
        kinds = "its kind is" if still_open == 1 else "their kinds are"
        trapped = f", and {stuck}" if len(traps) else ""
        return (
            "watch",
            f"detailed balance is broken by {causes}; {lacking} {kinds} not known{trapped}",
        )
    if len(traps):
        return "watch", stuck
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
    headed = evidence.suspect()[:_NAMED]
    for violation in balance.violations[:_NAMED]:
        yield _describe_violation(violation, balance.alpha, headed=violation in headed)
    if len(balance.violations) > _NAMED:
        yield f"And {count_noun(len(balance.violations) - _NAMED, 'more cause')}."
    unsure = [v for v in balance.violations if v.run_pvalue > balance.alpha]
    if unsure and balance.mixture is not None:
        mixture = safe_text(balance.mixture.describe(), 400)
        yield f"{_as_sentence(mixture)[:-1]}{_how_to_split(balance)}."
    unclassified = [v for v in balance.violations if v.kind == "unclassified"]
    if unclassified and evidence.compared and all(map(_by_baseline, unclassified)):
        yield "The baseline is too small to tell more: record more runs that went well."
    elif any(isnan(v.odds_pvalue) and not v.evidence for v in unclassified):
        yield (
            "Whether that is a fault or a work-flow, only a comparison tells: record runs that "
            "went well and give them as the baseline (--baseline good_runs.jsonl), or record runs "
            "that went well and runs that failed in one store (store.judge says which)."
        )


def _describe_violation(violation: Violation, alpha: float, *, headed: bool) -> str:
    loop = join_states((*violation.loop, violation.loop[0]))
    more = f", and {count_noun(len(violation.explains), 'more loop')} with moves in common"
    parts = [
        f"{loop}{more if violation.explains else ''}: affinity {format_number(violation.affinity)} "
        f"± {format_number(violation.error)} nats, adjusted p {format_pvalue(violation.pvalue)}; "
        f"{times(violation.counts[0])} in this direction, "
        f"{times(violation.counts[1])} in reverse",
        *_inside_runs(violation, alpha),
    ]
    because = "" if headed or not violation.evidence else f": {safe_text(violation.evidence, 400)}"
    return f"{'; '.join(parts)} ({violation.kind}{because})."


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
        return ": analyze them separately (--since, --until)"
    return f": analyze them separately (--context {label}=...)"


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
