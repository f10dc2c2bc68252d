"""`find_onsets`: which runs repeat themselves too much, by the rule that findings use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers import find_repetition
from detailed_balance.analyzers.multiplicity import enough_replicates
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.diagnosis.agents import name_agents

if TYPE_CHECKING:
    from detailed_balance.analyzers import (
        RepeatingRun,
        RepetitionReport,
        RepetitionRules,
        RunTable,
    )

__all__ = ["find_onsets", "measure_repetition"]

MOST_PERMUTED, FEWEST_PERMUTED = 5_000_000, 99
"""So many outcomes are permuted at most, and so many times at least."""


def measure_repetition(
    measured: MeasuredRuns, *, alpha: float = 0.05, rules: RepetitionRules | None = None
) -> RepetitionReport:
    """Find what runs of one agent repeat too much, with as many permutations as there is time for.

    Parameters
    ----------
    measured, alpha, rules
        As for `find_repetition`.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> measure_repetition(MeasuredRuns.of([Trajectory((("a", "b"),))])).findings
    ()
    """
    replicates = min(enough_replicates(alpha), MOST_PERMUTED // max(1, len(measured.table)))
    replicates = max(FEWEST_PERMUTED, replicates)
    return find_repetition(measured, alpha=alpha, replicates=replicates, rules=rules)


def find_onsets(runs: RunTable) -> dict[int, RepeatingRun]:
    """Return the runs that begin to repeat themselves at some move, by their places.

    Those of findings, and those that were stopped at the recursion limit while they repeated
    themselves. Runs are compared with runs of the same agent.

    Examples
    --------
    >>> from detailed_balance.analyzers import Outcome, RunTable, Trajectory
    >>> stuck = Trajectory((("a", "b"), ("b", "a")) * 9, "t1", Outcome.RECURSION_LIMIT)
    >>> found = find_onsets(RunTable.of([Trajectory((("a", "b"),), "t0", Outcome.ENDED), stuck]))
    >>> [(place, run.kind, run.onset) for place, run in found.items()]
    [(1, 'shuttle', 0)]
    """
    onsets: dict[int, RepeatingRun] = {}
    agents = name_agents(runs)
    for agent in dict.fromkeys(agents.tolist()):
        places = np.flatnonzero(agents == agent)
        found = measure_repetition(MeasuredRuns.of(runs.select(places)))
        for run in (*(run for each in found.findings for run in each.runs), *found.limits):
            if run.kind is not None:
                place = int(places[run.place])
                onsets.setdefault(place, replace(run, place=place))
    return onsets
