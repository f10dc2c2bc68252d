"""Whatever takes runs takes a table, and gives the same as for a list of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from detailed_balance.analyzers import (
    END,
    START,
    BalanceMartingale,
    DriftMartingale,
    OutcomeScore,
    RepetitionLimits,
    RunGuard,
    Trajectory,
    check_balance,
    classify_runs,
    compare_kernels,
    compare_potentials,
    compare_runs,
    entropy_production,
    forecast_outcome,
    locate_loops,
    markov_order_test,
)
from detailed_balance.analyzers.runs.table import RunTable

Runs = Any


def draw_runs(seed: int, number: int = 60) -> list[Trajectory]:
    """Return runs among three states, of which those that stay in "a" for long fail."""
    rng, runs = np.random.default_rng(seed), []
    for i in range(number):
        here, moves = START, []
        for _ in range(int(rng.geometric(0.1))):
            there = str(rng.choice(list("aabc")))
            moves.append((here, None if rng.random() < 0.05 and here != START else there))
            here = there if moves[-1][1] else here
        success = bool(rng.random() < 0.6) if i % 9 else None
        moves += [(here, END)] if success and here != START else []
        runs.append(Trajectory(tuple(moves), f"run-{i}", success=success))
    return [*runs, Trajectory((), "empty", success=True)]


OTHERS = draw_runs(1)


def balance(runs: Runs) -> object:
    counts = RunTable.of(OTHERS).counts()
    return check_balance(counts, runs=runs).to_dict()


def drift(runs: Runs) -> object:
    martingale = DriftMartingale(runs)
    martingale.update_runs(OTHERS)
    return martingale.to_dict()


def live(runs: Runs) -> object:
    martingale = DriftMartingale(OTHERS)
    for run in runs:
        martingale.update(run)
    other = DriftMartingale(OTHERS)
    other.update_runs(runs)
    assert martingale.to_dict() == other.to_dict()
    return other.to_dict()


def martingale(runs: Runs) -> object:
    found = BalanceMartingale()
    for run in runs:
        for move in run.moves:
            found.update(run.name, *move)
    return found.to_dict()


CALLS: dict[str, Callable[[Runs], Any]] = {
    "balance": balance,
    "classify": lambda runs: classify_runs(runs).to_dict(),
    "kernels": lambda runs: compare_kernels(runs, OTHERS, replicates=19).to_dict(),
    "potentials": lambda runs: compare_potentials(OTHERS, runs).to_dict(),
    "permuted": lambda runs: compare_potentials(OTHERS, runs, replicates=2).to_dict(),
    "runs": lambda runs: compare_runs(runs, OTHERS, replicates=39).to_dict(),
    "drift": drift,
    "live": live,
    "martingale": martingale,
    "entropy": lambda runs: entropy_production(runs, replicates=20).to_dict(),
    "forecast": lambda runs: forecast_outcome(
        runs, held_out=OTHERS, replicates=5, fit_replicates=19
    ).to_dict(),
    "bootstrap": lambda runs: forecast_outcome(
        runs, intervals="bootstrap", replicates=5, fit_replicates=0
    ).to_dict(),
    "guard": lambda runs: RunGuard.fit(runs).to_dict(),
    "rules": lambda runs: RunGuard.fit(runs, score=RepetitionLimits(max_stay=4)).to_dict(),
    "score": lambda runs: OutcomeScore().fit(runs).to_dict(),
    "loops": lambda runs: list(map(repr, locate_loops(runs, ["ab", "abc"]))),
    "order": lambda runs: markov_order_test(runs, replicates=19).to_dict(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_table_of_runs_gives_the_same_as_the_list(name: str) -> None:
    runs: Sequence[Trajectory] = draw_runs(2)
    call = CALLS[name]
    one, other = (json.dumps(call(each), default=repr) for each in (runs, RunTable.of(runs)))
    assert other == one
