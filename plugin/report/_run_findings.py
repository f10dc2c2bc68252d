"""What a report says about single runs: which matter, where they loop, how the good ones differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
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
from detailed_balance.analyzers.runs.roots import child_runs, whole_runs
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
        What each of them did. It counts root runs, and its rows are of all.
    children : mapping of str to RunClassification
        What the runs of subgraphs did, without rows, by the name of the graph; those with the most
        moves after the onset first.
    loops : tuple of LoopOccurrences
        Where the driven loops were walked.
    limit : StepLimit or None
        How many steps to allow a root run; None where none is known to have succeeded.
    limit_unit : {"supersteps", "moves"}
        What it counts.
    chosen : tuple of ChosenRun
        Runs to be drawn.
    contrast : RunComparison or None
        Root runs that succeeded against those that failed, each with all that ran inside it; None
        where one kind has fewer than 5.
    """

    report: RunClassification
    children: Mapping[str, RunClassification]
    loops: tuple[LoopOccurrences, ...]
    limit: StepLimit | None
    limit_unit: Literal["supersteps", "moves"]
    chosen: tuple[ChosenRun, ...]
    contrast: RunComparison | None

    def _content(self) -> dict[str, Any]:
        return {
            **self.report.to_dict(),
            "children": {name: report.to_dict() for name, report in self.children.items()},
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
    runs = list(runs)
    wholes = [whole for whole in whole_runs(runs) if any(map(len, whole))]
    if not wholes:
        return None
    parts = [run for run in runs if len(run)]
    rules = RepetitionRules(visits=traps.min_visits)
    sets = [trap.states for trap in traps.traps]
    classify = partial(classify_runs, potential=potential, traps=sets, rules=rules)
    report = classify(parts, keep=keep)
    children = {name: classify(inside, keep=0) for name, inside in child_runs(wholes).items()}
    chosen = _choose(parts, report, potential)
    if children:
        roots = classify([root for root, *_ in wholes], keep=0)
        report = replace(roots, rows=report.rows, left_out=report.left_out, typical=report.typical)
    worst = sorted(balance.violations, key=lambda v: v.kind in ("structural", "habitual"))
    good = [whole for whole in wholes if whole[0].success]
    bad = [whole for whole in wholes if whole[0].success is False]
    limit, unit = _suggest_limit([root for root, *_ in good if len(root)])
    return RunFindings(
        report,
        dict(sorted(children.items(), key=_count_after, reverse=True)),
        locate_loops(parts, [violation.loop for violation in worst[:LOOPS_LOCATED]]),
        limit,
        unit,
        chosen,
        _contrast(good, bad, balance.alpha, rules),
    )


def _count_after(child: tuple[str, RunClassification]) -> int:
    return sum(kind.after for kind in child[1].kinds)


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
    good: Sequence[Sequence[Trajectory]],
    bad: Sequence[Sequence[Trajectory]],
    alpha: float,
    rules: RepetitionRules,
) -> RunComparison | None:
    if min(len(good), len(bad)) < FEWEST_RUNS:
        return None
    found = compare_runs(
        chain.from_iterable(good),
        chain.from_iterable(bad),
        questions=_CONTRASTED,
        min_visits=rules.visits,
        alpha=alpha,
    )
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
