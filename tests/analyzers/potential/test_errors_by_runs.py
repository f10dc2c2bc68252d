"""Errors of V by runs: the jackknife over runs, blocks, too few, sketches, and coverage."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from detailed_balance.analyzers import (
    END,
    START,
    RunTable,
    Trajectory,
    estimate_potential,
)

STATES = ("a", "b", "c", "d")


def draw_runs(rng: np.random.Generator, runs: int, spread: float = 0.8) -> list[Trajectory]:
    """Runs, each with a kernel of its own, that begin at a and may end anywhere."""
    found = []
    for i in range(runs):
        weight = np.triu(np.exp(spread * rng.normal(size=(4, 4))), 1)
        height = np.array([0.5, 0.0, 0.3, -0.3]) + spread * rng.normal(size=4) / 2
        kernel = (weight + weight.T) * np.exp((height[:, None] - height) / 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        path = [0]
        for u in rng.random(rng.integers(5, 20)):
            path.append(min(int(np.searchsorted(kernel[path[-1]].cumsum(), u)), 3))
        names = [START, *(STATES[place] for place in path), END]
        moves = tuple(pairwise(names))
        found.append(Trajectory(moves, name=f"run {i:03d}", context=(("task", str(i // 2)),)))
    return found


@pytest.mark.parametrize("attempts", ["observed", "transitions"])
def test_errors_are_those_of_leaving_out_one_run_at_a_time(attempts: str) -> None:
    runs = draw_runs(np.random.default_rng(1), 200)
    potential = estimate_potential(runs, attempts=attempts)
    left = [
        estimate_potential(runs[:i] + runs[i + 1 :], attempts=attempts, initial=potential)
        for i in range(len(runs))
    ]
    values = np.array([each.relative_to("b") for each in left])
    jackknife = np.sqrt((len(runs) - 1) * values.var(axis=0))
    # What is left is that V is not a linear function of the kernel.
    assert potential.standard_errors("b") == pytest.approx(jackknife, rel=0.02)
    assert potential.standard_error("b", "b") == 0.0
    of_counts = estimate_potential(RunTable.of(runs).counts(), attempts=attempts)
    assert of_counts.values == pytest.approx(potential.values)
    assert (
        of_counts.standard_errors("b")[[0, 2, 3]] < potential.standard_errors("b")[[0, 2, 3]]
    ).all()


def test_all_errors_agree_with_each_other() -> None:
    potential = estimate_potential(draw_runs(np.random.default_rng(2), 60))
    exact = potential.standard_errors("b")
    others = ["a", "c", "d"]
    by_covariance = np.sqrt(np.diagonal(potential.covariance(others, "b")))
    assert by_covariance == pytest.approx(exact[[0, 2, 3]], rel=1e-9)
    sketched = potential.standard_errors("b", accuracy=0.03)
    assert sketched == pytest.approx(exact, rel=0.15)
    moves = potential.pair_errors(accuracy=0.03).tocoo()
    for f, g, error in zip(moves.row, moves.col, moves.data, strict=True):
        found = potential.standard_error(STATES[f], STATES[g])
        assert error == pytest.approx(found, rel=0.15)
    low, high = potential.confidence_interval("a", "b", method="bootstrap", replicates=4_000)
    normal = potential.confidence_interval("a", "b")
    assert high - low == pytest.approx(normal[1] - normal[0], rel=0.15)


def test_blocks_are_the_clusters_where_the_table_has_them() -> None:
    table = RunTable.of(draw_runs(np.random.default_rng(3), 60)).with_blocks("task")
    potential = estimate_potential(table)
    assert potential.describe_errors() == "errors are those of 30 blocks"
    joined = [Trajectory(table[i].moves + table[i + 1].moves) for i in range(0, 60, 2)]
    expected = estimate_potential(joined).standard_errors("b")
    assert potential.standard_errors("b") == pytest.approx(expected, rel=1e-9)


def test_too_few_runs_have_no_errors_and_say_so() -> None:
    potential = estimate_potential(draw_runs(np.random.default_rng(4), 9))
    assert potential.describe_errors() == "no errors: 9 runs are too few, 10 are needed"
    assert np.isnan(potential.standard_errors("b")[[0, 2, 3]]).all()
    assert np.isnan(potential.standard_errors("b", accuracy=0.1)[[0, 2, 3]]).all()
    assert np.isnan(potential.pair_errors(accuracy=0.1).data).all()
    for method in ("normal", "bootstrap"):
        assert np.isnan(potential.confidence_interval("a", "b", method=method)).all()
    table = potential.to_table("b")
    assert table["state"][0] == "d"
    assert np.isnan(np.array(table["error"])).sum() == 3
    assert potential.to_dict()["settings"]["errors"] == potential.describe_errors()


def test_attempts_that_are_a_number_have_errors_by_moves() -> None:
    runs = draw_runs(np.random.default_rng(5), 40)
    by_number = estimate_potential(runs, attempts=1_000)
    counts = estimate_potential(RunTable.of(runs).counts(), attempts=1_000)
    assert (by_number.standard_errors("b") == counts.standard_errors("b")).all()
    assert by_number.describe_errors() == counts.describe_errors()


def test_the_order_of_the_runs_changes_no_digit_of_the_errors() -> None:
    runs = draw_runs(np.random.default_rng(6), 40)
    first, again = estimate_potential(runs), estimate_potential(runs[::-1])
    for accuracy in (0.0, 0.1):
        one, two = (p.standard_errors("b", accuracy=accuracy) for p in (first, again))
        assert (one == two).all()
    one, two = (p.confidence_interval("a", "b", method="bootstrap") for p in (first, again))
    assert one == two


def test_intervals_cover_where_runs_differ_and_those_by_moves_do_not() -> None:
    rng = np.random.default_rng(7)
    many = RunTable.of(draw_runs(rng, 10_000))
    true = estimate_potential(many).difference("a", "c")
    trials, by_runs, by_moves = 250, 0, 0
    for i in range(trials):
        table = many.select(np.arange(40 * i, 40 * i + 40))
        for potential in (estimate_potential(table), estimate_potential(table.counts())):
            low, high = potential.confidence_interval("a", "c")
            if potential.runs is None:
                by_moves += low <= true <= high
            else:
                by_runs += low <= true <= high
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert low <= by_runs <= high
    assert by_moves < low
