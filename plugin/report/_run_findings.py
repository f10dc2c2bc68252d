"""What a report says about single runs: which matter, where they loop, how the good ones differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Literal

from detailed_balance.analyzers import (
    BalanceReport,
    ClassifiedRun,
    LoopOccurrences,
    Potential,
    RepetitionRules,
    RunClassification,
    RunComparison,
    StepLimit,
    Trajectory,
    TrapReport,
    classify_runs,
    compare_runs,
    locate_loops,
    suggest_step_limit,
)
from detailed_balance.analyzers.comparison.result import FEWEST_RUNS, Question
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.results import Result
from detailed_balance.render.document import ChosenRun

DRAWN = 3
"""How many of the runs that matter are drawn, besides one that succeeded."""

NAMED = 6
"""How many states are named in the picture of a run, at most."""

LOOPS_LOCATED = 50
"""How many violations are searched for in the runs, findings first."""

_CONTRASTED: tuple[Question, ...] = ("moves", "loops", "stays", "length")


@dataclass(frozen=True, slots=True)
class RunFindings(Result):
    """What a report says about single runs.

    Parameters
    ----------
    report : RunClassification
        What each of them did.
    loops : tuple of LoopOccurrences
        Where the driven loops were walked.
    limit : StepLimit or None
        How many steps to allow; None where no run is known to have succeeded.
    limit_unit : {"supersteps", "moves"}
        What it counts.
    chosen : tuple of ChosenRun
        Runs to be drawn.
    contrast : RunComparison or None
        Runs that succeeded against those that failed; None where one kind has fewer than 5.
    """

    report: RunClassification
    loops: tuple[LoopOccurrences, ...]
    limit: StepLimit | None
    limit_unit: Literal["supersteps", "moves"]
    chosen: tuple[ChosenRun, ...]
    contrast: RunComparison | None

    def _content(self) -> dict[str, Any]:
        return {
            **self.report.to_dict(),
            "loops": self.loops,
            "limit": self.limit and {**self.limit.to_dict(), "unit": self.limit_unit},
            "successful_against_failed": self.contrast,
        }


def study_runs(
    runs: Iterable[Trajectory],
    potential: Potential,
    balance: BalanceReport,
    traps: TrapReport,
    *,
    keep: int,
) -> RunFindings | None:
    """Study the runs of a report; None where there are none."""
    runs = [run for run in runs if len(run)]
    if not runs:
        return None
    rules = RepetitionRules(visits=traps.min_visits)
    sets = [trap.states for trap in traps.traps]
    report = classify_runs(runs, potential=potential, traps=sets, rules=rules, keep=keep)
    worst = sorted(balance.violations, key=lambda v: v.kind in ("structural", "habitual"))
    good = [run for run in runs if run.success]
    limit, unit = _suggest_limit(good)
    return RunFindings(
        report,
        locate_loops(runs, [violation.loop for violation in worst[:LOOPS_LOCATED]]),
        limit,
        unit,
        _choose(runs, report, potential),
        _contrast(good, [run for run in runs if run.success is False], balance.alpha, rules),
    )


def _suggest_limit(
    good: Sequence[Trajectory],
) -> tuple[StepLimit | None, Literal["supersteps", "moves"]]:
    known = [run.limit_steps for run in good if run.limit_steps is not None]
    if good and len(known) == len(good):
        return suggest_step_limit(known), "supersteps"
    with suppress(InsufficientDataError):
        return suggest_step_limit([len(run) for run in good]), "moves"
    return None, "moves"


def _contrast(
    good: Sequence[Trajectory], bad: Sequence[Trajectory], alpha: float, rules: RepetitionRules
) -> RunComparison | None:
    if min(len(good), len(bad)) < FEWEST_RUNS:
        return None
    found = compare_runs(good, bad, questions=_CONTRASTED, min_visits=rules.visits, alpha=alpha)
    return found if found.tests else None


def _choose(
    runs: Sequence[Trajectory], report: RunClassification, potential: Potential
) -> tuple[ChosenRun, ...]:
    levels = dict(zip(potential.states, potential.relative_to().tolist(), strict=True))
    first = {(row.kind, row.states): row for row in reversed(report.rows)}  # of each sort
    rows = [row for row in report.rows if row is first[row.kind, row.states]][:DRAWN]
    if report.typical is not None and report.typical not in rows:
        rows.append(report.typical)
    return tuple(_trace(row, runs[row.place], levels) for row in rows)


def _trace(row: ClassifiedRun, run: Trajectory, levels: Mapping[str, float]) -> ChosenRun:
    here, drawn = "", []
    for source, target in run.moves:
        here = source if target is None else target
        value = levels.get(here, nan)
        drawn.append(value if isfinite(value) else nan)
    visits = Counter(state for state in run.states if isfinite(levels.get(state, nan)))
    places = tuple((state, levels[state]) for state, _ in visits.most_common(NAMED))
    return ChosenRun(row, tuple(drawn), places)
