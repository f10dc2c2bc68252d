"""The verdict of a comparison in words, before any number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, sqrt

from scipy.stats import norm

from detailed_balance.analyzers import Change, RunComparison, Violation
from detailed_balance.analyzers.balance.power import POWER
from detailed_balance.analyzers.comparison.result import Question
from detailed_balance.render.document import Statement, Verdict, VerdictOutcome
from detailed_balance.render.formatting import count_noun, format_pvalue, join_states
from detailed_balance.report.run_sections import show_change

ANSWERS: dict[Question, str] = {
    "moves": "moves",
    "potential": "potential",
    "loops": "loops",
    "stays": "stays",
    "success": "success rate",
    "length": "length",
}
"""What each question is about, in words."""

ENOUGH = 20
"""With fewer runs on a side than this, a difference may well go unseen."""


def judge_comparison(
    found: RunComparison, walked_more: Sequence[Violation], warnings: Sequence[str]
) -> Verdict:
    """Put into words what a comparison found.

    Parameters
    ----------
    found : RunComparison
        What was tested.
    walked_more : sequence of Violation
        The loops that drive B, and that its runs walk more than those of A.
    warnings : sequence of str
        Sentences to add.
    """
    outcome, headline = _headline(found)
    sentences = [
        *_about_changes(found),
        *_about_violations(walked_more),
        *_about_power(found),
        _about_promise(found),
        *warnings,
    ]
    statement = Statement(outcome.upper(), headline)
    return Verdict(outcome, (statement,), tuple(dict.fromkeys(sentences)))


def _headline(found: RunComparison) -> tuple[VerdictOutcome, str]:
    if found.rejected:
        changed = [ANSWERS[test.question] for test in found.tests if test.changed]
        return "different", f"B differs from A in {_join(changed)} of its runs"
    if found.unit != "moves" and (found.too_few or min(found.runs) < ENOUGH):
        return "unknown", "Not enough runs to tell B from A"
    return "same", "No difference between A and B was found"


def _join(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _about_changes(found: RunComparison) -> Iterator[str]:
    for test in found.tests:
        if not test.changed:
            continue
        listed = [change for change in test.changes if change.changed]
        about = f"{ANSWERS[test.question].capitalize()} (adjusted p {format_pvalue(test.adjusted)})"
        if listed:
            more = f", and {len(listed) - 1} more" if len(listed) > 1 else ""
            yield f"{about}: {show_change(listed[0])}{more}."
        else:
            yield f"{about}: changed as a whole, and nothing single stands out."


def _about_violations(walked_more: Sequence[Violation]) -> Iterator[str]:
    if walked_more:
        loops = "; ".join(join_states((*v.loop, v.loop[0])) for v in walked_more[:2])
        count = count_noun(len(walked_more), "loop")
        yield f"Driven in B, and walked more than in A: {count} ({loops})."


def _about_power(found: RunComparison) -> Iterator[str]:
    """Say what size of a change of the success rate would have been seen by itself."""
    success = found.test("success")
    if found.rejected or success is None:
        return
    change: Change = success.changes[0]
    pooled = (change.before + change.after) / 2
    error = sqrt(pooled * (1 - pooled) * sum(1 / max(n, 1) for n in change.runs))
    if found.blocks is not None and isfinite(change.error):
        error = change.error
    # Each question is held to about alpha over their number.
    factor = norm.isf(found.alpha / 2 / len(found.tests)) + norm.ppf(POWER)
    yield (
        f"A change of the success rate by {min(100 * factor * error, 100):.0f} points would have "
        f"been found with {POWER:.0%} probability."
    )


def _about_promise(found: RunComparison) -> str:
    promise = found.describe()
    promise = promise[0].upper() + promise[1:]
    if found.unit != "moves":
        before, after = found.runs
        compared = f"{promise}. Compared were {before:,} and {after:,} runs as wholes."
        return (
            compared if found.blocks is None else f"{compared} By blocks: {found.describe_unit()}."
        )
    return (
        f"{promise}, if the moves of a run are independent, which they seldom are: only "
        "counts were given. Give runs (a store, or a file with a field of the run)."
    )
