"""`classify_runs`: what each run did, by stated rules: stuck, oscillating, driven, at the limit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.repetition.walk import (
    RunRepetition,
    measure_repetition,
    reversed_loop,
)
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.trajectory import Outcome, Trajectory

if TYPE_CHECKING:
    from detailed_balance.analyzers.potential.estimate import Potential

__all__ = [
    "KINDS",
    "REPEATING",
    "ClassifiedRun",
    "KindSummary",
    "RepetitionRules",
    "RunClassification",
    "classify_runs",
    "repeating_kind",
]

RunKind: TypeAlias = Literal["oscillating", "stuck", "driven", "limit", "progressing", "other"]
"""What a run did; see `KINDS`."""

KINDS: Mapping[RunKind, str] = {
    "oscillating": "went back and forth between two states, {visits:g} changes or more in a row",
    "stuck": "{visits:g} visits or more in a row to one state, or to each state of a trap",
    "driven": "closed one loop of three states or more {rounds} times more than the other way",
    "limit": "none of these, and stopped at the recursion limit",
    "progressing": "none of these, and ended no higher than it began, by the potential",
    "other": "none of these",
}
"""The rules, in words; where several of the first three hold, the one with the most visits."""

REPEATING: tuple[RunKind, ...] = ("oscillating", "stuck", "driven")
"""The kinds that have an onset."""

FAILED_LISTED = 10
"""So many runs that failed and are of no such kind are listed, the longest first."""

_ALARMING: tuple[RunKind, ...] = (*REPEATING, "limit")


@dataclass(frozen=True, slots=True)
class RepetitionRules:
    """When a run counts as what.

    Parameters
    ----------
    visits : float
        Of "stuck" and "oscillating", above 1.
    rounds : int
        Of "driven", 1 or more.

    Raises
    ------
    InvalidInputError
        Where a number is not allowed.
    """

    visits: float = 10.0
    rounds: int = 5

    def __post_init__(self) -> None:
        if not (self.visits > 1 and self.rounds >= 1):
            raise InvalidInputError(
                f"visits={self.visits!r}, rounds={self.rounds!r}; visits are more than 1, and "
                "rounds 1 or more"
            )

    def describe(self, kind: RunKind) -> str:
        """Return the rule of a kind, in words."""
        return KINDS[kind].format(visits=self.visits, rounds=self.rounds)


@dataclass(frozen=True, slots=True)
class ClassifiedRun:
    """One run.

    Parameters
    ----------
    place : int
        Which of the runs it is, from 0.
    name : str or None
        Its key.
    kind : RunKind
        What it did.
    states : tuple of str
        Where it did so: one state, two, a trap, or a loop in the order walked.
    times : int
        Visits (stuck), changes (oscillating), rounds more than the other way (driven), else 0.
    onset : int or None
        The moves before that began.
    steps : int
        Its moves.
    after : int or None
        The moves from the onset on.
    cost, cost_after : float or None
        Of all moves, and of those after the onset, where costs are known.
    success : bool or None
        Whether it did its work.
    outcome : Outcome or None
        Its outcome.
    similar_successes : int
        How many other runs that succeeded did the same as often or more.
    """

    place: int
    name: str | None
    kind: RunKind
    states: tuple[str, ...]
    times: int
    onset: int | None
    steps: int
    after: int | None
    cost: float | None
    cost_after: float | None
    success: bool | None
    outcome: Outcome | None
    similar_successes: int


@dataclass(frozen=True, slots=True)
class KindSummary:
    """The runs of one kind.

    Parameters
    ----------
    kind : RunKind
        The kind.
    runs, succeeded, failed : int
        How many there are; the rest was not judged.
    steps : float
        Their median number of moves.
    after : int
        All their moves after the onset.
    cost_after : float or None
        What these cost, where that is known.
    """

    kind: RunKind
    runs: int
    succeeded: int
    failed: int
    steps: float
    after: int
    cost_after: float | None


@dataclass(frozen=True, slots=True)
class RunClassification(TableResult):
    """What the runs of a record did.

    Parameters
    ----------
    kinds : tuple of KindSummary
        In the order of `KINDS`, without those that no run is of.
    rows : tuple of ClassifiedRun
        The runs that matter, worst first: those that repeat themselves or were stopped at the
        limit, then those that failed; inside, by the moves after the onset.
    left_out : int
        How many more of them there are.
    typical : ClassifiedRun or None
        Of the runs that succeeded, one of median length.
    runs, succeeded, failed : int
        How many there are.
    rules : RepetitionRules
        The rules.
    """

    kinds: tuple[KindSummary, ...]
    rows: tuple[ClassifiedRun, ...]
    left_out: int
    typical: ClassifiedRun | None
    runs: int
    succeeded: int
    failed: int
    rules: RepetitionRules

    def to_table(self) -> Table:
        """Return the runs that matter as columns."""
        return {
            name: [getattr(row, name) for row in self.rows]
            for name in ClassifiedRun.__dataclass_fields__
        }

    def _content(self) -> dict[str, Any]:
        names = ("runs", "succeeded", "failed", "left_out", "typical", "kinds")
        rules = {kind: self.rules.describe(kind) for kind in KINDS}
        settings = {"visits": self.rules.visits, "rounds": self.rules.rounds, "rules": rules}
        return {**self._values(*names), "rows": self.to_table(), "settings": settings}


def classify_runs(
    runs: Iterable[Trajectory],
    *,
    potential: Potential | None = None,
    traps: Iterable[Sequence[str]] = (),
    rules: RepetitionRules | None = None,
    keep: int = 50,
) -> RunClassification:
    """Say of each run what it did, from which move on, and what came after.

    Parameters
    ----------
    runs : iterable of Trajectory
        The runs.
    potential : Potential, optional
        Tells runs that progress.
    traps : iterable of sequence of str
        Sets of states that hold runs (`find_traps`).
    rules : RepetitionRules, optional
        When a run counts as what.
    keep : int
        How many rows at most; of them at most 10 of runs that only failed.

    Examples
    --------
    >>> back_and_forth = [("a", "b"), ("b", "a")] * 10
    >>> runs = [Trajectory((("__start__", "x"), ("x", "a"), *back_and_forth), "run-1")]
    >>> row = classify_runs(runs).rows[0]
    >>> row.kind, row.states, row.times, row.onset, row.after
    ('oscillating', ('a', 'b'), 20, 2, 20)
    """
    rules = rules or RepetitionRules()
    traps = [tuple(trap) for trap in traps]
    levels = {} if potential is None else _levels(potential)
    found = [
        _classify(i, run, measure_repetition(run, traps), levels, rules)
        for i, run in enumerate(runs)
    ]
    successes: dict[RunKind, list[int]] = {kind: [] for kind in REPEATING}
    for each in found:
        if each.row.success:
            for kind, times in each.times.items():
                successes[kind].append(times)
    for values in successes.values():
        values.sort()
    rows = [each.with_similar_successes(successes) for each in found]
    listed = sorted(filter(_is_listed, rows), key=_severity_key)
    only_failed = sum(row.kind not in _ALARMING for row in listed)
    shown = listed[: min(len(listed) - only_failed + FAILED_LISTED, keep)]
    good = sorted((row for row in rows if row.success), key=lambda row: row.steps)
    return RunClassification(
        tuple(_summarise(kind, [row for row in rows if row.kind == kind]) for kind in _seen(rows)),
        tuple(shown),
        len(listed) - len(shown),
        good[len(good) // 2] if good else None,
        len(rows),
        sum(row.success is True for row in rows),
        sum(row.success is False for row in rows),
        rules,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A run, and how often it did what each repeating kind is about."""

    row: ClassifiedRun
    times: Mapping[RunKind, int]

    def with_similar_successes(self, successes: Mapping[RunKind, Sequence[int]]) -> ClassifiedRun:
        if self.row.kind not in successes:
            return self.row
        values = successes[self.row.kind]
        similar = len(values) - bisect_left(values, self.times[self.row.kind])
        return replace(self.row, similar_successes=similar - (self.row.success is True))


def _levels(potential: Potential) -> dict[str, float]:
    return dict(zip(potential.states, potential.relative_to().tolist(), strict=True))


def _classify(
    place: int,
    run: Trajectory,
    repetition: RunRepetition,
    levels: Mapping[str, float],
    rules: RepetitionRules,
) -> _Found:
    evidence = _evidence(repetition)
    repeats = repeating_kind(repetition, rules)
    kind = _unremarkable_kind(run, levels) if repeats is None else repeats
    strongest = _Evidence() if repeats is None else evidence[repeats]
    onset = None if repeats is None else strongest.onset
    costs = run.costs
    row = ClassifiedRun(
        place,
        run.name,
        kind,
        strongest.states,
        strongest.times,
        onset,
        len(run),
        None if onset is None else len(run) - onset,
        sum(costs) if costs else None,
        sum(costs[onset:]) if costs and onset is not None else None,
        run.success,
        run.outcome,
        0,
    )
    return _Found(row, {name: found.times for name, found in evidence.items()})


def repeating_kind(repetition: RunRepetition, rules: RepetitionRules) -> RunKind | None:
    """Return what kind of repetition a run shows, None where it shows none.

    Examples
    --------
    >>> stays = measure_repetition(Trajectory((("a", "a"),) * 12))
    >>> repeating_kind(stays, RepetitionRules()), repeating_kind(stays, RepetitionRules(visits=20))
    ('stuck', None)
    """
    evidence = _evidence(repetition)
    limits: dict[RunKind, float] = dict.fromkeys(REPEATING, rules.visits)
    limits["driven"] = rules.rounds
    holding: list[RunKind] = [kind for kind in REPEATING if evidence[kind].times >= limits[kind]]
    return max(holding, key=lambda k: evidence[k].visits, default=None)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The evidence for a kind."""

    states: tuple[str, ...] = ()
    onset: int = 0
    times: int = 0
    visits: int = 0


def _evidence(repetition: RunRepetition) -> dict[RunKind, _Evidence]:
    oscillation, stay = repetition.oscillation, repetition.stay
    stuck = _Evidence(stay.states, stay.onset, stay.visits, stay.visits)
    for part in repetition.trapped:
        if (times := part.visits // len(part.states)) > stuck.times:
            stuck = _Evidence(part.states, part.onset, times, part.visits)
    rounds = {loop.states: loop.rounds for loop in repetition.loops}
    driven = _Evidence()
    for loop in repetition.loops:
        more = loop.rounds - rounds.get(reversed_loop(loop.states), 0)
        if len(loop.states) > 2 and more > driven.times:
            driven = _Evidence(loop.states, loop.onset, more, more * len(loop.states))
    return {
        "oscillating": _Evidence(
            oscillation.states, oscillation.onset, oscillation.switches, oscillation.visits
        ),
        "stuck": stuck,
        "driven": driven,
    }


def _unremarkable_kind(run: Trajectory, levels: Mapping[str, float]) -> RunKind:
    """Return the kind of a run that does not repeat itself."""
    if run.outcome is Outcome.RECURSION_LIMIT:
        return "limit"
    states = run.states
    if not states or states[0] not in levels or states[-1] not in levels:
        return "other"
    return "progressing" if levels[states[-1]] <= levels[states[0]] else "other"


def _is_listed(row: ClassifiedRun) -> bool:
    return row.kind in _ALARMING or row.success is False


def _severity_key(row: ClassifiedRun) -> tuple[bool, bool, int, int]:
    return row.kind not in _ALARMING, row.success is True, -(row.after or 0), -row.steps


def _seen(rows: Sequence[ClassifiedRun]) -> list[RunKind]:
    there = {row.kind for row in rows}
    return [kind for kind in KINDS if kind in there]


def _summarise(kind: RunKind, rows: Sequence[ClassifiedRun]) -> KindSummary:
    costs = [row.cost_after for row in rows if row.cost_after is not None]
    return KindSummary(
        kind,
        len(rows),
        sum(row.success is True for row in rows),
        sum(row.success is False for row in rows),
        float(median(row.steps for row in rows)),
        sum(row.after or 0 for row in rows),
        sum(costs) if costs else None,
    )
