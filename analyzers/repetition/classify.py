"""`classify_runs`: what each run did, by stated rules: a stay, a shuttle, a cycle, the limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.repetition.measure import Evidence, MeasuredRuns
from detailed_balance.analyzers.results import Result, Table, TableResult
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.potential.estimate import Potential

__all__ = [
    "KINDS",
    "REPEATING",
    "ClassifiedRun",
    "KindSummary",
    "RepetitionRules",
    "RunClassification",
    "RunKinds",
    "classify_runs",
    "sum_costs",
]

RunKind: TypeAlias = Literal["shuttle", "stay", "cycle", "limit", "progressing", "other"]
"""What a run did; see `KINDS`."""

KINDS: Mapping[RunKind, str] = {
    "shuttle": "changed between two states {visits:g} times or more in a row",
    "stay": "visited one state {visits:g} times or more in a row, or each state of a trap",
    "cycle": "went round one loop of two states or more {rounds} times or more, detours left out",
    "limit": "none of these, and stopped at the recursion limit",
    "progressing": "none of these, and ended at a potential no higher than at its start",
    "other": "none of these",
}
"""The rules, in words; where several of the first three hold, the one with the most visits."""

REPEATING: tuple[RunKind, ...] = ("shuttle", "stay", "cycle")
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
        Of "stay" and "shuttle", above 1.
    rounds : int
        Of "cycle", 1 or more.

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
class ClassifiedRun(Result):
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
        Where it did so: one state, two, a trap, or a loop in the order visited.
    times : int
        Visits (stay), changes (shuttle), rounds (cycle), else 0.
    onset : int or None
        The moves before that began.
    steps : int
        Its moves.
    after : int or None
        The moves from the onset on.
    cost, cost_after : float or None
        Of all moves, and of those while repeating, where costs are known.
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
        All their moves after they started repeating.
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
        limit, then those that failed; inside, by the moves after they started repeating, and of
        equal ones by name.
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
    runs: Runs | MeasuredRuns,
    *,
    potential: Potential | None = None,
    traps: Iterable[Sequence[str]] = (),
    rules: RepetitionRules | None = None,
    keep: int = 50,
) -> RunClassification:
    """Say of each run what it did, from which move on, and what came after.

    Counting starts again where a person has answered an interrupted run, as the facts of steps say.

    Parameters
    ----------
    runs : RunTable, iterable of Trajectory, or MeasuredRuns
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
    >>> from detailed_balance.analyzers import Trajectory
    >>> back_and_forth = [("a", "b"), ("b", "a")] * 10
    >>> runs = [Trajectory((("__start__", "x"), ("x", "a"), *back_and_forth), "run-1")]
    >>> row = classify_runs(runs).rows[0]
    >>> row.kind, row.states, row.times, row.onset, row.after
    ('shuttle', ('a', 'b'), 20, 2, 20)
    """
    kinds = RunKinds.find(runs, potential=potential, traps=traps, rules=rules)
    return kinds.report(np.arange(len(kinds.kind)), keep=keep)


@dataclass(frozen=True, slots=True, eq=False)
class RunKinds:
    """What each of r runs did, as columns.

    Parameters
    ----------
    measured : MeasuredRuns
        The runs.
    traps : tuple of tuple of str
        The sets of states that hold runs.
    rules : RepetitionRules
        When a run counts as what.
    evidence : tuple of Evidence
        For each kind of `REPEATING`.
    kind : (r,) array of int
        The kind of each run, its place in `KINDS`: below 3 it is one of `REPEATING`.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> RunKinds.find([Trajectory((("a", "a"),) * n) for n in (3, 30)]).kind.tolist()
    [5, 1]
    """

    measured: MeasuredRuns
    traps: tuple[tuple[str, ...], ...]
    rules: RepetitionRules
    evidence: tuple[Evidence, ...]
    kind: NDArray[np.int64]

    @classmethod
    def find(
        cls,
        runs: Runs | MeasuredRuns,
        *,
        potential: Potential | None = None,
        traps: Iterable[Sequence[str]] = (),
        rules: RepetitionRules | None = None,
    ) -> RunKinds:
        """Say of each run of what kind it is; the parameters are those of `classify_runs`."""
        measured, rules = MeasuredRuns.of(runs), rules or RepetitionRules()
        sets = tuple(tuple(sorted(set(trap))) for trap in traps)
        evidence = (measured.shuttles(), measured.stays(sets), measured.cycles(rules.rounds))
        limits = np.array([[rules.visits], [rules.visits], [rules.rounds]])
        holds = np.stack([each.times for each in evidence]) >= limits
        visits = np.where(holds, np.stack([each.visits for each in evidence]), -1)
        others = _unremarkable_kinds(measured.table, potential)
        kind = np.where(holds.any(axis=0), visits.argmax(axis=0), others)
        return cls(measured, sets, rules, evidence, kind)

    def report(self, places: NDArray[np.int64], *, keep: int = 50) -> RunClassification:
        """Report on some of the runs, by their places, as `classify_runs` does."""
        table = self.measured.table
        kind, success = self.kind[places], table.runs.success[places]
        steps, after = table.lengths[places], self._after()[places]
        alarming = kind < len(_ALARMING)
        names = self.measured.names[places]
        order = np.lexsort((names, -steps, -after, success == 1, ~alarming))
        listed = order[(alarming | (success == 0))[order]]
        only_failed = int((~alarming[listed]).sum())
        shown = listed[: min(len(listed) - only_failed + FAILED_LISTED, keep)]
        good = np.flatnonzero(success == 1)
        good = good[np.lexsort((names[good], steps[good]))]
        typical = good[len(good) // 2 : len(good) // 2 + 1]
        rows = self._rows(places[np.concatenate([shown, typical])], places[good])
        return RunClassification(
            tuple(self._summarise(places[kind == i], i) for i in np.unique(kind).tolist()),
            tuple(rows[: len(shown)]),
            len(listed) - len(shown),
            rows[-1] if typical.size else None,
            len(places),
            len(good),
            int((success == 0).sum()),
            self.rules,
        )

    def _of_kind(self, name: Literal["place", "onset", "times"]) -> NDArray[np.int64]:
        """Return a number of the evidence for the kind of each run; -1 where there is none."""
        columns = [getattr(each, name) for each in self.evidence]
        return np.choose(np.minimum(self.kind, len(columns)), [*columns, -1])

    def _after(self) -> NDArray[np.int64]:
        """Return the moves of each run from its onset on, 0 where there is none."""
        onset = self._of_kind("onset")
        return np.where(onset < 0, 0, self.measured.table.lengths - onset)

    def _summarise(self, runs: NDArray[np.int64], kind: int) -> KindSummary:
        table, after = self.measured.table, self._after()[runs]
        success = table.runs.success[runs]
        costs = sum_costs(table, runs, after) if kind < len(REPEATING) else np.zeros(0)
        costs = costs[~np.isnan(costs)]
        return KindSummary(
            tuple(KINDS)[kind],
            len(runs),
            int((success == 1).sum()),
            int((success == 0).sum()),
            float(np.median(table.lengths[runs])),
            int(after.sum()),
            fsum(costs.tolist()) if costs.size else None,
        )

    def _rows(self, runs: NDArray[np.int64], good: NDArray[np.int64]) -> list[ClassifiedRun]:
        """Return some runs; `good` are those that succeeded among all that are reported on."""
        table, success = self.measured.table, self.measured.table.runs.success
        onsets, times, after = self._of_kind("onset"), self._of_kind("times"), self._after()
        all_costs = sum_costs(table, runs, table.lengths[runs])
        costs_after = sum_costs(table, runs, after[runs])
        rows = []
        names = table.runs.name[runs].tolist()
        for run, name, cost, late in zip(runs.tolist(), names, all_costs, costs_after, strict=True):
            repeats, similar = self.kind[run] < len(REPEATING), 0
            if repeats:
                others = self.evidence[self.kind[run]].times[good]
                similar = int((others >= times[run]).sum()) - int(success[run] == 1)
            row = ClassifiedRun(
                run,
                name,
                tuple(KINDS)[self.kind[run]],
                self._states(run),
                int(times[run]) if repeats else 0,
                int(onsets[run]) if repeats else None,
                int(table.lengths[run]),
                int(after[run]) if repeats else None,
                None if np.isnan(cost) else float(cost),
                float(late) if repeats and not np.isnan(late) else None,
                None if success[run] < 0 else bool(success[run]),
                None if table.runs.outcome[run] < 0 else OUTCOMES[table.runs.outcome[run]],
                similar,
            )
            rows.append(row)
        return rows

    def _states(self, run: int) -> tuple[str, ...]:
        """Return where a run repeats itself."""
        measured, kind = self.measured, self.kind[run]
        if kind >= len(REPEATING):
            return ()
        place = int(self.evidence[kind].place[run])
        if place >= 0 and REPEATING[kind] == "stay":
            return self.traps[place]
        return measured.where(REPEATING[kind], run, place)


def _unremarkable_kinds(table: RunTable, potential: Potential | None) -> NDArray[np.int64]:
    """Return the kinds of runs that do not repeat themselves, as places in `KINDS`."""
    limit, progressing, other = (list(KINDS).index(k) for k in ("limit", "progressing", "other"))
    kinds = np.full(len(table), other)
    if potential is not None:
        values = dict(zip(potential.states, potential.relative_to().tolist(), strict=True))
        levels = np.array([*(values.get(state, np.nan) for state in table.states), np.nan])
        first, last = _first_and_last(table)
        kinds[levels[last] <= levels[first]] = progressing  # of NaN it is never so
    kinds[table.runs.outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT)] = limit
    return kinds


def _first_and_last(table: RunTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the states that each run was in first and last, boundaries left out; -1 for none."""
    inner = np.array([*(state not in BOUNDARIES for state in table.states), False])
    begins = np.flatnonzero(table.lengths)
    source = table.source[table.offsets[begins]]
    places = np.flatnonzero(inner[table.target])
    run = table.run_of_move[places]
    first, last = np.full((2, len(table)), -1)
    last[begins] = np.where(inner[source], source, -1)
    last[run] = table.target[places]
    first[run[::-1]] = table.target[places[::-1]]
    first[begins] = np.where(inner[source], source, first[begins])
    return first, last


def sum_costs(
    table: RunTable, runs: NDArray[np.int64], moves: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what the last moves of runs cost, NaN for a run of which not all costs are known."""
    if table.costs is None:
        return np.full(len(runs), np.nan)
    costs = np.append(table.costs, 0.0)
    begin, end = table.offsets[runs], table.offsets[runs + 1]

    def add(start: NDArray[np.int64]) -> NDArray[np.float64]:
        bounds = np.column_stack([start, end]).ravel()
        return np.add.reduceat(costs, bounds)[::2] if len(runs) else np.zeros(0)

    return np.where((end == begin) | np.isnan(add(begin)), np.nan, add(end - moves))
