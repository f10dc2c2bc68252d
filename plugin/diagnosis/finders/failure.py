"""Findings of runs that failed, and of runs that wait for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import hypergeom

from detailed_balance.analyzers import END, START, Change, Outcome
from detailed_balance.analyzers.comparison.result import FEWEST_RUNS
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.diagnosis.finders._advice import gate, try_guard
from detailed_balance.diagnosis.finders._contrast import labels_differ
from detailed_balance.diagnosis.finders._onset import find_onset
from detailed_balance.diagnosis.finding import Advice, Finding, Onset, Severity
from detailed_balance.diagnosis.words import count_of
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    safe_text,
)

if TYPE_CHECKING:
    from collections.abc import Set

    from numpy.typing import NDArray

    from detailed_balance.analyzers import RunTable
    from detailed_balance.diagnosis.case import Case, Roots

__all__ = [
    "BrokenStep",
    "find_abandoned",
    "find_broken_step",
    "find_failures",
    "find_waiting",
]

_FEWEST_WAITING = 5
_MOST_FAILED = 0.5
_FEWEST_BROKEN = 3
_FEWEST_ALL = 10
"""Where so many runs failed and none succeeded, that needs no comparison."""

_OFTEN = 0.2
"""Of the attempts to leave a state so many must fail to call that a fault of the step."""

_MANY = 0.05
"""Such a share of runs is many."""

_CHANGES_NAMED = 2


@dataclass(frozen=True, slots=True)
class BrokenStep:
    """The state after which runs stop with an error, more often than elsewhere.

    Parameters
    ----------
    state : str
        The last state that they reached.
    stopped, left : int
        How many root runs stopped there, and how often the state was left in all.
    pvalue : float
        Of "an error is as probable at each step", times the number of states.
    """

    state: str
    stopped: int
    left: int
    pvalue: float


def find_broken_step(case: Case) -> BrokenStep | None:
    """Find the state after which root runs raise or are cancelled most; None where none does.

    The number that stop after a state is hypergeometric where each step is as probable to fail as
    any other.
    """
    if case.study is None:
        return None
    stopped, left = _count_stops(case.roots, case.roots.places)
    if not stopped.any():
        return None
    states, table = np.flatnonzero(left), case.roots.table
    most = int(states[stopped[states].argmax()])
    numbers = (int(n) for n in (stopped[most] - 1, left.sum(), left[most], stopped.sum()))
    pvalue = min(1.0, float(hypergeom.sf(*numbers)) * len(states))
    return BrokenStep(table.states[most], int(stopped[most]), int(left[most]), pvalue)


def _count_stops(
    roots: Roots, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, by state, how many root runs raised or were cancelled there, and the attempts."""
    table = roots.table
    last = table.offsets[places + 1] - 1
    cancelled = roots.stopped(Outcome.CANCELLED)[places]
    broken = cancelled | (roots.stopped(Outcome.FAILED)[places] & (table.target[last] < 0))
    stands, own = _stands(table, places), np.isin(table.run_of_move, places)
    stopped = np.bincount(stands[broken], minlength=len(table.states))
    left = np.bincount(table.source[own], minlength=len(table.states))
    left += np.bincount(stands[cancelled & (table.target[last] >= 0)], minlength=len(left))
    return stopped, left


def _is_often(case: Case, broken: BrokenStep, onset: Onset | None) -> bool:
    """Say whether many attempts to leave the state stop a run, in all runs or since the change."""
    if broken.stopped >= _OFTEN * broken.left:
        return True
    if onset is None:
        return False
    roots = case.roots
    late = roots.places[roots.table.runs.started[roots.places] >= onset.time]
    stopped, left = _count_stops(roots, late)
    code = roots.table.code(broken.state)
    return bool(stopped[code] >= _OFTEN * left[code] > 0)


def find_failures(case: Case, explained: Set[int], broken: BrokenStep | None) -> Iterator[Finding]:
    """Yield the finding of root runs that failed and that no other finding explains."""
    if case.study is None:
        return
    roots = case.roots
    failed = roots.places[roots.failed[roots.places]]
    left = [place for place in failed.tolist() if place not in explained]
    if not left:
        return
    marked = roots.mark(left)
    onset, since = find_onset(case, marked)
    severity, evidence, pvalue = _judge(case, left, len(failed), broken, onset)
    place, where = _where(case, left, broken)
    changes = _changes(case, place) if severity == "problem" else []
    differs = tuple(map(_describe_change, changes[: _CHANGES_NAMED + 1]))
    said = f"{count_of(len(left), len(roots))} {_word(roots, left)}{where}"
    if changes and not where:
        first = changes[0]
        place = tuple(
            s for s in first.what if s and s not in BOUNDARIES and first.question == "moves"
        )
        said = f"{said}; {differs[0]}"
        differs = differs[1:]
    more = "else " if where else ""
    advice: list[Advice] = [*try_guard(case), *gate(case, "failure")]
    yield Finding(
        "failure",
        severity,
        said if severity == "problem" else f"{said}; {_no_difference(case, more)}",
        place,
        roots.names(_longest_first(roots, left)),
        len(left),
        len(roots),
        (),
        case.graph,
        onset,
        since,
        None,
        (*labels_differ(case, marked), *differs[:_CHANGES_NAMED]),
        evidence,
        pvalue,
        advice=tuple(advice),
    )


def _word(roots: Roots, places: list[int]) -> str:
    judged = roots.judged[places]
    if judged.all():
        return "did not succeed"
    if roots.stopped(Outcome.CANCELLED)[places].all():
        return "were cancelled"
    return "failed or did not succeed" if judged.any() else "failed"


def _judge(
    case: Case, left: list[int], failed: int, broken: BrokenStep | None, onset: Onset | None
) -> tuple[Severity, str, float]:
    """Say whether that is a problem, what it rests on, and the p-value."""
    roots = case.roots
    raised = int(roots.stopped(Outcome.FAILED)[left].sum())
    if raised >= _FEWEST_BROKEN and raised > _MOST_FAILED * len(roots):
        return "problem", "more than half of the runs stopped with an error: no test is needed", nan
    if 2 * len(left) < failed:
        return "watch", "", nan  # another finding says what most of them do
    good = int(roots.succeeded[roots.places].sum())
    if not good and failed >= max(_FEWEST_ALL, _MOST_FAILED * len(roots)):
        return "problem", "none is known to have succeeded: no test is needed", nan
    adjusted = case.adjusted("failure")
    if case.supports("failure"):
        sure = broken is not None and broken.pvalue <= case.alpha
        if broken is not None and sure and _is_often(case, broken, onset):
            told = (
                f"{broken.stopped:,} of {broken.left:,} attempts to go on from there stopped the "
                f"run, more than elsewhere (adjusted p {format_pvalue(adjusted)})"
            )
            return "problem", told, adjusted
        if _changes(case):
            told = (
                f"{failed:,} failed against {count_noun(good, 'successful run')} (adjusted p "
                f"{format_pvalue(adjusted)}); it says what goes with failure, not what causes it"
            )
            return "problem", told, adjusted
    return "watch", "", nan


def _where(case: Case, left: list[int], broken: BrokenStep | None) -> tuple[tuple[str, ...], str]:
    """Return the state after which half or more stopped, and the words for it."""
    table = case.roots.table
    errors = [error for error in table.runs.error[left].tolist() if error]
    (error, number) = min(
        Counter(errors).items(), key=lambda item: (-item[1], item[0]), default=("", 0)
    )
    told = safe_text(error, 60) if 2 * number >= len(left) else ""
    if broken is None or 2 * broken.stopped < len(left):
        return (), f" ({told})" if told else ""
    which = "" if broken.stopped >= len(left) else f", {broken.stopped:,} of them"
    if broken.state in BOUNDARIES:
        return (), f"{which} at the first step{told and f' ({told})'}"
    after = f"{which} after {safe_text(broken.state, 40)}{told and f' ({told})'}"
    return (broken.state,), after


def _longest_first(roots: Roots, places: list[int]) -> list[int]:
    return sorted(places, key=lambda place: (-int(roots.moves[place]), roots.order(place)))


def _changes(case: Case, place: tuple[str, ...] = ()) -> list[Change]:
    """Return what failed runs do and good ones do not; not that they stop at a place.

    Where a state stands between all others, from which of them to which is said with it hidden.
    """
    hidden = [] if case.hidden is None else _all_changes(case.hidden)
    changes = [c for c in hidden if c.question == "moves"] or _all_changes(case)
    if not place:
        return changes
    return [c for c in changes if c.question == "moves" and c.what[0] not in place]


def _all_changes(case: Case) -> list[Change]:
    contrast = None if case.study is None else case.study.contrast
    tests = () if contrast is None else contrast.tests
    changes = [change for test in tests for change in test.changes if change.changed]
    return sorted(changes, key=lambda change: change.after < change.before)  # what they do more


def _describe_change(change: Change) -> str:
    """Say what failed runs do, against successful ones; safe to print."""
    before, after = change.before, change.after
    if change.question == "moves":
        source, target = change.what[0] or "", change.what[1]
        shares = f"{after:.0%} of the time, successful ones {before:.0%}"
        if source == START and target is not None:
            return f"failed runs begin with {safe_text(target, 40)} {shares}"
        reached = "reach no state" if target is None else f"go to {safe_text(target, 40)}"
        reached = "end" if target == END else reached
        return f"after {safe_text(source, 40)} failed runs {reached} {shares}"
    numbers = f"{format_number(after)}, successful ones {format_number(before)}"
    what = [safe_text(name or "", 60) for name in change.what]
    if change.question == "loops":
        names = [name or "" for name in change.what]
        loop = join_states([*names, names[0]])
        return (
            f"failed runs go round {loop} {format_number(after)} times each, successful ones "
            f"{format_number(before)} times"
        )
    return f"{' and '.join(what)} of failed runs: {numbers}"


def _no_difference(case: Case, more: str) -> str:
    """Say that nothing (`more`) differs, with the effect that would have been found."""
    study, balance = case.study, case.balance
    if case.pvalues and min(case.pvalues.values()) <= case.alpha:
        kind = min(case.pvalues, key=lambda name: case.pvalues[name])
        if not case.supports(kind):
            return (
                f"what they do differs no more than chance allows in {len(case.pvalues)} tests "
                f"(adjusted p {format_pvalue(case.adjusted(kind))})"
            )
    repetition = None if study is None else study.repetition
    if repetition is None or min(repetition.good, repetition.failed) < FEWEST_RUNS:
        return (
            f"to compare what {more}they do, {FEWEST_RUNS} failed and {FEWEST_RUNS} successful "
            "runs are needed"
        )
    known = [c.detectable for c in (balance.contrasts if balance else ()) if not c.reason]
    least = min(known, default=inf)
    if not isfinite(least):
        return f"no difference was found in what {more}they do"
    return (
        f"nothing {more}they do differs (steps along a loop at {format_number(least)} times the "
        "odds would have been found)"
    )


def find_waiting(case: Case) -> Iterator[Finding]:
    """Yield the place where runs wait for a person who does not come.

    In a conversation the last answer is always waited for; there, runs that left the place wait at
    it again. Where others left it, only those count that wait longer than any of these took.
    """
    if case.study is None:
        return
    roots, table = case.roots, case.roots.table
    waits = roots.stopped(Outcome.INTERRUPTED)[roots.places]
    stands = _stands(table, roots.places)
    began, ended = table.runs.started[roots.places], table.runs.ended[roots.places]
    for code in np.unique(stands[waits]).tolist():
        left = np.isin(
            roots.places, table.run_of_move[(table.source == code) & (table.target >= 0)]
        )
        own, state = waits & (stands == code) & ~left, table.states[code]
        if (waits & (stands == code) & left).any():
            continue
        if left.any():
            longest = (ended - began)[left].max()
            own &= np.fmax.reduce(np.append(began, ended)) - ended > longest
        count = int(own.sum())
        if count < _FEWEST_WAITING:
            continue
        others = ", longer than any other took" if left.any() else ", and nobody has answered one"
        yield Finding(
            "waiting",
            "watch",
            f"{count_of(count, len(roots))} wait for a person after {safe_text(state, 40)}{others}",
            () if state in BOUNDARIES else (state,),
            roots.names(roots.places[own][np.argsort(began[own], kind="stable")].tolist()),
            count,
            len(roots),
            graph=case.graph,
            evidence=f"by a rule: {_FEWEST_WAITING} or more are interrupted there, none went on",
            advice=(
                Advice(
                    "answer them, or let them end after some time",
                    "graph.invoke(Command(resume=...), config)",
                ),
            ),
        )


def find_abandoned(case: Case) -> Iterator[Finding]:
    """Yield the runs of which the end was not seen, where these are many."""
    if case.study is None:
        return
    roots, table = case.roots, case.roots.table
    places = roots.places[roots.stopped(Outcome.ABANDONED)[roots.places]]
    if len(places) < max(_FEWEST_WAITING, _MANY * len(roots)):
        return
    number = np.bincount(_stands(table, places), minlength=len(table.states))
    state, most = table.states[int(number.argmax())], int(number.max())
    known = 2 * most >= len(places) and state not in BOUNDARIES
    which = "" if most == len(places) else f", {most:,} of them"
    after = f"{which} after {safe_text(state, 40)}" if known else ""
    affected = roots.mark(places.tolist())
    onset, since = find_onset(case, affected)
    yield Finding(
        "failure",
        "watch",
        f"{count_of(len(places), len(roots))} were abandoned{after}: a stream was dropped, or "
        "their end was not seen",
        (state,) if known else (),
        roots.names(_longest_first(roots, places.tolist())),
        len(places),
        len(roots),
        graph=case.graph,
        onset=onset,
        since=since,
        differs=tuple(labels_differ(case, affected)),
        evidence=f"by a rule: {_FEWEST_WAITING} runs or more, and {_MANY:.0%} or more of all",
    )


def _stands(table: RunTable, places: NDArray[np.int64]) -> NDArray[np.int32]:
    """(k,) array: the states in which k runs stopped; an escape leaves a run where it was."""
    last = table.offsets[places + 1] - 1
    return np.where(table.target[last] >= 0, table.target[last], table.source[last])
