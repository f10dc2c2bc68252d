"""What changed, as findings: the one type of every surface."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from detailed_balance.analyzers import Change, ComparisonTest, Outcome, RunComparison
from detailed_balance.analyzers.comparison.result import AT_LIMIT, REPEAT, Question
from detailed_balance.analyzers.repetition.classify import REPEATING
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.comparison._figures import Figure
from detailed_balance.comparison._sides import Side
from detailed_balance.diagnosis.finding import FINDING_KINDS, Advice, Finding, FindingKind
from detailed_balance.render.document import VerdictOutcome
from detailed_balance.render.formatting import count_noun, format_pvalue
from detailed_balance.report.run_sections import show_change

_Told: TypeAlias = dict[tuple[Question, tuple[str | None, ...]], Figure]

_NAMED = 3

_WORDS = {
    "moves": "states lead elsewhere than before",
    "potential": "states have a higher or lower potential than before",
    "loops": "loops are taken more or less often than before",
    "stays": "runs stay longer or less long in the same places than before",
    "length": "runs take more or fewer steps than before",
}
"""What changed, where no figure says it."""

_MORE = {
    "loops": "loops are taken more often than before",
    "stays": "runs stay longer in the same places than before",
}
"""The same, where all of it went up."""


def find_changes(
    b: Side, found: RunComparison, figures: Sequence[Figure], advice: tuple[Advice, ...]
) -> tuple[Finding, ...]:
    """Return what changed, problems first.

    Parameters
    ----------
    b : Side
        What came after.
    found : RunComparison
        What was tested.
    figures : sequence of Figure
        What people ask first.
    advice : tuple of Advice
        What to do.
    """
    told: _Told = {(f.change.question, f.change.what): f for f in figures if f.change is not None}
    changes = (
        finding
        for test in found.tests
        if test.changed
        for finding in _find(b, test, told, _say_evidence(found, test), advice)
    )
    return tuple(
        sorted(changes, key=lambda f: (f.severity != "problem", FINDING_KINDS.index(f.kind)))
    )


def advise(a: Side, b: Side, outcome: VerdictOutcome) -> tuple[Advice, ...]:
    """Return what to do: look at B alone, and stop such a change in a pipeline."""
    if outcome not in ("worse", "different") or not b.command:
        return ()
    look = Advice("which runs, since when, and what to do", f"detailed-balance analyze {b.command}")
    if not a.command:
        return (look,)
    words = ["detailed-balance compare", a.source]
    words += [] if a.source == b.source else [shlex.join(shlex.split(b.source)[:1])]
    for side in (a, b):
        for flag, value in side.chosen:
            words += [f"{flag}-{side.name.lower()}", shlex.quote(value)]
    words += ["--fail-on", "problem" if outcome == "worse" else "drift"]
    return (look, Advice("exits with 2 in a pipeline, as on these", " ".join(words)))


def _say_evidence(found: RunComparison, test: ComparisonTest) -> str:
    moves = "moves, taken as independent"
    compared = moves if found.unit == "moves" else f"{found.runs[0]:,} and {found.runs[1]:,} runs"
    questions = count_noun(len(found.tests), "question")
    return f"{compared}: p {format_pvalue(test.adjusted)}, adjusted for {questions}"


def _find(
    b: Side,
    test: ComparisonTest,
    told: _Told,
    evidence: str,
    advice: tuple[Advice, ...],
) -> Iterator[Finding]:
    """Yield a finding for each figure that changed, and one for all else that did."""
    rest = []
    for change in test.changes:
        figure = told.get((test.question, change.what))
        if change.changed and figure is None:
            rest.append(change)
        elif change.changed and figure is not None:
            kind, runs = _kind_of(figure, b)
            yield Finding(
                kind,
                "problem" if figure.worse > 0 else "watch",
                figure.describe(),
                (figure.name,) if kind == "drift" else (),
                runs,
                max(len(runs), _count_repeating(b) if kind == "repetition" else 0),
                len(b.roots),
                evidence=evidence,
                pvalue=test.adjusted,
                advice=advice,
            )
    if rest or not any(change.changed for change in test.changes):
        yield _of_rest(test, rest, evidence, advice)


def _of_rest(
    test: ComparisonTest, rest: Sequence[Change], evidence: str, advice: tuple[Advice, ...]
) -> Finding:
    more = bool(rest) and all(change.difference > 0 for change in rest)
    repeats = more and test.question in _MORE
    words = _MORE[test.question] if repeats else _WORDS.get(test.question, test.question)
    return Finding(
        "repetition" if repeats else "drift",
        "problem" if repeats and test.question == "stays" else "watch",
        f"{words}: {show_change(rest[0])}" if rest else words,
        _place(test, rest),
        differs=tuple(map(show_change, rest[1:_NAMED])),
        evidence=evidence,
        pvalue=test.adjusted,
        advice=advice,
    )


def _place(test: ComparisonTest, rest: Sequence[Change]) -> tuple[str, ...]:
    """Return the states of the first change; of a number of runs, its name."""
    if not rest:
        return (test.question,)
    return tuple("" if state is None else state for state in rest[0].what)


def _kind_of(figure: Figure, b: Side) -> tuple[FindingKind, tuple[str, ...]]:
    """Return the kind of a figure that changed, and the runs of B that it is about."""
    runs = b.roots.runs
    if figure.worse <= 0:
        return "drift", ()
    if figure.name == "success":
        return "failure", _names(b, runs.success == 0)
    if figure.name == AT_LIMIT:
        return "limit", _names(b, runs.outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT))
    if figure.name == REPEAT:
        rows = () if b.report.runs is None else b.report.runs.report.rows
        names = (row.name for row in rows if row.kind in REPEATING)
        return "repetition", tuple(name for name in names if name is not None)
    return "drift", ()


def _count_repeating(b: Side) -> int:
    kinds = () if b.report.runs is None else b.report.runs.report.kinds
    return sum(each.runs for each in kinds if each.kind in REPEATING)


def _names(b: Side, chosen: Iterable[bool]) -> tuple[str, ...]:
    names = b.roots.runs.name[np.asarray(chosen)].tolist()
    return tuple(name for name in names if name is not None)
