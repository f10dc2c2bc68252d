"""`study_runs`: what single runs did, which of them matter, and how good and failed ones differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from detailed_balance.analyzers import (
    END,
    BalanceReport,
    ClassifiedRun,
    LoopOccurrences,
    Potential,
    RepetitionReport,
    RepetitionRules,
    RunClassification,
    RunComparison,
    StepLimit,
    Trajectory,
    TrapReport,
    locate_loops,
    suggest_step_limit,
)
from detailed_balance.analyzers.comparison.result import FEWEST_RUNS, Question
from detailed_balance.analyzers.comparison.runs import contrast_runs
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.repetition.classify import RunKinds
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.roots import name_graphs, root_places
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.diagnosis.onsets import measure_repetition
from detailed_balance.render.document import ChosenRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RunStudy", "study_runs"]

DRAWN = 3
"""How many of the runs that matter are drawn, besides one that succeeded."""

NAMED = 6
"""How many states are named in the picture of a run, at most."""

LOOPS_LOCATED = 50
"""How many violations are searched for in the runs, findings first."""

_CONTRASTED: tuple[Question, ...] = ("moves", "loops", "stays", "length")


@dataclass(frozen=True, slots=True, eq=False)
class RunStudy(Result):
    """What single runs did.

    Parameters
    ----------
    measured : MeasuredRuns
        The runs, and what each repeats.
    root : (r,) array of int64
        The place of the root run of each run (`root_places`).
    repetition : RepetitionReport
        Which runs repeat themselves too much, and which were stopped by the recursion limit.
    longest : int
        The most moves of a root run that succeeded.
    report : RunClassification
        What each of them did. It counts root runs, and its rows are of all.
    children : mapping of str to RunClassification
        What the runs of subgraphs did, without rows, by the name of the graph; those with the most
        moves after they started repeating first.
    inside : mapping of str to (k,) array of int64
        The places of the runs of subgraphs, by the name of the graph.
    loops : tuple of LoopOccurrences
        Where the driven loops were taken.
    limit : StepLimit or None
        How many steps to allow a root run; None where none is known to have succeeded.
    limit_unit : {"supersteps", "moves"}
        What it counts.
    chosen : tuple of ChosenRun
        Runs to be drawn.
    contrast : RunComparison or None
        Root runs that succeeded against those that failed, each with all that ran inside it, those
        at the recursion limit left out; None where one kind has fewer than 5.
    """

    measured: MeasuredRuns
    root: NDArray[np.int64]
    repetition: RepetitionReport
    longest: int
    report: RunClassification
    children: Mapping[str, RunClassification]
    inside: Mapping[str, NDArray[np.int64]]
    loops: tuple[LoopOccurrences, ...]
    limit: StepLimit | None
    limit_unit: Literal["supersteps", "moves"]
    chosen: tuple[ChosenRun, ...]
    contrast: RunComparison | None

    @property
    def table(self) -> RunTable:
        """The runs."""
        return self.measured.table

    def _content(self) -> dict[str, Any]:
        return {
            **self.report.to_dict(),
            **self._values("repetition", "longest"),
            "children": {name: report.to_dict() for name, report in self.children.items()},
            "loops": self.loops,
            "limit": self.limit and {**self.limit.to_dict(), "unit": self.limit_unit},
            "successful_against_failed": self.contrast,
        }


def study_runs(
    measured: MeasuredRuns,
    potential: Potential | None,
    balance: BalanceReport | None,
    traps: TrapReport,
    *,
    alpha: float,
    keep: int,
) -> RunStudy | None:
    """Study the runs of a report; None where there are none."""
    table = measured.table
    root = root_places(table)
    moves = np.bincount(root, table.lengths, minlength=len(table))
    roots = np.flatnonzero(moves)
    if not roots.size:
        return None
    rules = RepetitionRules(visits=traps.min_visits)
    sets = [trap.states for trap in traps.traps]
    kinds = RunKinds.find(measured, potential=potential, traps=sets, rules=rules)
    report = kinds.report(np.flatnonzero(table.lengths), keep=keep)
    inside = name_graphs(table, np.where(moves[root] > 0, root, np.arange(len(table))))
    children = {name: kinds.report(places, keep=0) for name, places in inside.items()}
    chosen = _choose(table, report, potential)
    if children:
        of_roots = kinds.report(roots, keep=0)
        rows = {name: getattr(report, name) for name in ("rows", "left_out", "typical")}
        report = replace(of_roots, **rows)
    violations = () if balance is None else balance.violations
    worst = sorted(violations, key=lambda v: v.kind in ("structural", "work-flow"))
    good = roots[table.runs.success[roots] == 1]
    repetition = measure_repetition(measured, alpha=alpha, rules=rules)
    going = np.array(
        [run.place for finding in repetition.findings for run in finding.runs], dtype=np.int64
    )
    limit, unit = _suggest_limit(table, np.setdiff1d(good, root[going]))
    return RunStudy(
        measured,
        root,
        repetition,
        int(table.lengths[good].max(initial=0)),
        report,
        dict(sorted(children.items(), key=_count_after)),
        inside,
        locate_loops(measured, [violation.loop for violation in worst[:LOOPS_LOCATED]]),
        limit,
        unit,
        chosen,
        _contrast(measured, root, roots, rules.visits, alpha),
    )


def _contrast(
    measured: MeasuredRuns,
    root: NDArray[np.int64],
    roots: NDArray[np.int64],
    min_visits: float,
    alpha: float,
) -> RunComparison | None:
    """Compare root runs that succeeded with those that failed; None where there are too few."""
    table = measured.table
    success, limited = table.runs.success[roots], _at_limit(table)[roots]
    good, bad = roots[success == 1], roots[(success == 0) & ~limited]
    if min(len(good), len(bad)) < FEWEST_RUNS:
        return None
    # An error cuts a run short: its length, and what follows from that, says nothing new.
    cut = bool((table.target[table.offsets[bad + 1] - 1] < 0).any())
    found = contrast_runs(
        *(_without_endings(measured) if cut else measured, root, good, bad),
        whole_blocks=False,
        questions=_CONTRASTED[:1] if cut else _CONTRASTED,
        min_visits=min_visits,
        alpha=alpha,
    )
    return found if found.tests else None


def _without_endings(measured: MeasuredRuns) -> MeasuredRuns:
    """Return the runs without a last move that says their outcome: to END, or an escape."""
    table = measured.table
    last = table.offsets[1:][table.lengths > 0] - 1
    telling = (table.target[last] < 0) | (table.target[last] == table.code(END))
    kept = np.ones(table.total, dtype=bool)
    kept[last[telling]] = False
    return MeasuredRuns.of(table.keep_moves(kept))


def _at_limit(table: RunTable) -> NDArray[np.bool_]:
    """(r,) array: whether each run was stopped by the recursion limit.

    What failed runs do is told without these: their outcome is a function of their length.
    """
    return np.asarray(table.runs.outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT))


def _count_after(child: tuple[str, RunClassification]) -> tuple[int, str]:
    return -sum(kind.after for kind in child[1].kinds), child[0]


def _suggest_limit(
    table: RunTable, good: NDArray[np.int64]
) -> tuple[StepLimit | None, Literal["supersteps", "moves"]]:
    good = good[table.lengths[good] > 0]
    steps = table.runs.limit_steps[good]
    if good.size and (steps >= 0).all():
        return suggest_step_limit(steps.tolist()), "supersteps"
    with suppress(InsufficientDataError):
        return suggest_step_limit(table.lengths[good].tolist()), "moves"
    return None, "moves"


def _choose(
    table: RunTable, report: RunClassification, potential: Potential | None
) -> tuple[ChosenRun, ...]:
    if potential is None:
        return ()
    levels = dict(zip(potential.states, potential.relative_to().tolist(), strict=True))
    first = {(row.kind, row.states): row for row in reversed(report.rows)}  # of each sort
    rows = [row for row in report.rows if row is first[row.kind, row.states]][:DRAWN]
    if report.typical is not None and report.typical not in rows:
        rows.append(report.typical)
    return tuple(_trace(row, table[row.place], levels) for row in rows)


def _trace(row: ClassifiedRun, run: Trajectory, levels: Mapping[str, float]) -> ChosenRun:
    here, drawn = "", []
    for source, target in run.moves:
        here = source if target is None else target
        value = levels.get(here, nan)
        drawn.append(value if isfinite(value) else nan)
    visits = Counter(state for state in run.states if isfinite(levels.get(state, nan)))
    places = tuple((state, levels[state]) for state, _ in visits.most_common(NAMED))
    return ChosenRun(row, tuple(drawn), places)
