"""The verdict of a comparison in words, before any number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, sqrt

from scipy.stats import norm

from detailed_balance.analyzers import Change, RunComparison, Violation
from detailed_balance.analyzers.balance.power import POWER
from detailed_balance.analyzers.comparison.result import REPEAT, Question
from detailed_balance.comparison._figures import Figure
from detailed_balance.diagnosis.finding import Advice
from detailed_balance.render.document import Statement, Verdict, VerdictOutcome
from detailed_balance.render.formatting import count_noun, format_pvalue, join_states
from detailed_balance.report.run_sections import show_change

ANSWERS: dict[Question, str] = {
    "moves": "moves",
    "potential": "potential",
    "loops": "loops",
    "stays": "stays",
    "success": "success rate",
    "limit": "runs at the limit",
    "length": "length",
}
"""What each question is about, in words."""

ENOUGH = 20
"""With fewer runs on a side than this, a difference may well go unseen."""

_TOLD: tuple[Question, ...] = ("stays", "loops", "moves", "potential")
"""What moved is told by these, as far as no figure says it."""


def find_outcome(found: RunComparison, figures: Sequence[Figure]) -> VerdictOutcome:
    """Return the word of the verdict; the rule stands in docs/how-to/compare.md."""
    if not found.rejected:
        if found.unit == "moves":
            return "same" if found.tests else "unknown"
        return "unknown" if found.too_few or min(found.runs) < ENOUGH else "same"
    success = sum(figure.worse for figure in figures if figure.name == "success")
    others = {figure.worse for figure in figures} | {_stays_longer(found, figures)}
    signs = {success} if success else others - {0}
    if signs == {1}:
        return "worse"
    return "better" if signs == {-1} else "different"


def _stays_longer(found: RunComparison, figures: Sequence[Figure]) -> int:
    """Return 1 where runs are seen to stay longer in one place, -1 where less long, else 0."""
    if any(figure.name == REPEAT and figure.changed for figure in figures):
        return 0  # which says it
    signs = {1 if change.difference > 0 else -1 for change in _changes(found, "stays")}
    return signs.pop() if len(signs) == 1 else 0


def judge_comparison(
    found: RunComparison,
    figures: Sequence[Figure],
    walked_more: Sequence[Violation],
    advice: Sequence[Advice],
    warnings: Sequence[str],
    *,
    alone: str = "",
    unsure: str = "",
) -> Verdict:
    """Put into words what a comparison found.

    Parameters
    ----------
    found : RunComparison
        What was tested.
    figures : sequence of Figure
        What people ask first.
    walked_more : sequence of Violation
        The loops that drive B, and that its runs walk more than those of A.
    advice : sequence of Advice
        What to do where something changed.
    warnings : sequence of str
        Sentences to add.
    alone : str
        What is wrong in B by itself, and not in A.
    unsure : str
        What success means, where nobody judged the runs.
    """
    outcome = find_outcome(found, figures)
    if found.rejected:
        text = _say_changes(found, figures)
        rows = [("in B", alone), *_changed_rows(found, figures, advice, unsure)]
    elif outcome == "same":
        text = "no difference between A and B was found"
        rows = [("seen", _join_figures(figures)), ("enough?", _say_power(found, figures))]
    else:
        text = f"{_say_size(found)} are too few to compare A and B"
        rows = [("seen", _join_figures(figures)), ("needed", _say_enough(found))]
    shown = tuple((label, text) for label, text in rows if text)
    sentences = [*_about_violations(walked_more), _about_promise(found), *warnings]
    statement = Statement(outcome.upper(), text, shown)
    return Verdict(outcome, (statement,), tuple(dict.fromkeys(sentences)))


def _changes(found: RunComparison, question: Question) -> list[Change]:
    test = found.test(question)
    return [] if test is None else [change for change in test.changes if change.changed]


def _say_changes(found: RunComparison, figures: Sequence[Figure]) -> str:
    told = [figure.describe() for figure in figures if figure.changed]
    if told:
        return ", ".join(told)
    changed = [ANSWERS[test.question] for test in found.tests if test.changed]
    return f"B differs from A in {_join(changed)} of its runs"


def _join(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _join_figures(figures: Sequence[Figure]) -> str:
    return ", ".join(figure.describe() for figure in figures)


def _changed_rows(
    found: RunComparison, figures: Sequence[Figure], advice: Sequence[Advice], unsure: str
) -> Iterator[tuple[str, str]]:
    """Yield what moved, what did not, what to do, and how sure that is."""
    for place, text in enumerate(_say_moved(found)):
        yield "" if place else "moved", text
    if unseen := [figure for figure in figures if not figure.changed]:
        yield "same?", f"{_join_figures(unseen)}: no change found"
    for place, each in enumerate(advice):
        yield "" if place else "do", each.describe()
    tested = (
        f"{ANSWERS[test.question]} (p {format_pvalue(test.adjusted)})"
        for test in found.tests
        if test.changed
    )
    sure = f"{', '.join(tested)}; adjusted for {count_noun(len(found.tests), 'question')}"
    yield "sure?", "; ".join(filter(None, [sure, unsure]))


def _say_moved(found: RunComparison) -> Iterator[str]:
    """Yield what changed most of each question that no figure speaks about."""
    for question in _TOLD:
        listed = _changes(found, question)
        told = [change for change in listed if change.what != (REPEAT,)]
        if told:
            what = "potential V of " * (question == "potential")
            more = f", and {len(told) - 1:,} more" if len(told) > 1 else ""
            yield f"{what}{show_change(told[0])}{more}"
        elif not listed and any(t.changed and t.question == question for t in found.tests):
            yield f"{ANSWERS[question]}, as a whole: no single change stands out"


def _say_size(found: RunComparison) -> str:
    if found.unit == "moves":
        return "these data"
    before, after = found.runs
    return f"{before:,} and {after:,} runs"


def _say_enough(found: RunComparison) -> str:
    """Say how much would be enough to tell."""
    if found.unit == "moves":
        return "moves between two states or more on both sides; better, their runs"
    if found.blocks is not None and found.too_few:
        return f"more blocks (tasks): {found.describe()}"
    return f"{ENOUGH} runs on each side"


def _about_violations(walked_more: Sequence[Violation]) -> Iterator[str]:
    if walked_more:
        loops = "; ".join(join_states((*v.loop, v.loop[0])) for v in walked_more[:2])
        count = count_noun(len(walked_more), "loop")
        yield f"Driven in B, and taken more than in A: {count} ({loops})."


def _say_power(found: RunComparison, figures: Sequence[Figure]) -> str:
    """Say what size of a change of success or of steps would have been seen by itself."""
    if not found.tests:
        return found.describe()
    # Each question is held to about alpha over their number.
    factor = norm.isf(found.alpha / 2 / len(found.tests)) + norm.ppf(POWER)
    said = []
    for figure in figures:
        error = _error(figure, found)
        if figure.name == "success" and error:
            said.append(f"of success by {min(100 * factor * error, 100):.0f} points")
        elif figure.name == "steps" and error:
            said.append(f"of steps by {factor * error:.1f}")
    found_with = f"would have been found with {POWER:.0%} probability"
    return f"a change {', or '.join(said)}, {found_with}" if said else ""


def _error(figure: Figure, found: RunComparison) -> float:
    """Return the standard error of the difference of a figure; 0 where it is not known."""
    change = figure.change
    if change is None:
        return 0.0
    if figure.name == "success" and found.blocks is None:
        pooled = (change.before + change.after) / 2
        return sqrt(pooled * (1 - pooled) * sum(1 / max(n, 1) for n in change.runs))
    return change.error if isfinite(change.error) else 0.0


def _about_promise(found: RunComparison) -> str:
    promise = found.describe()
    promise = promise[0].upper() + promise[1:]
    if not found.tests:
        return f"{promise}."
    if found.unit != "moves":
        before, after = found.runs
        compared = f"{promise}. {before:,} and {after:,} whole runs were compared."
        return (
            compared if found.blocks is None else f"{compared} By blocks: {found.describe_unit()}."
        )
    return (
        f"{promise}, if the moves of a run are independent, which they seldom are: these are "
        "counts without runs. Give runs (a store, or a file with a field of the run)."
    )
