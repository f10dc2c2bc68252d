"""Errors by runs: the jackknife by hand, blocks, too few runs, and coverage where runs differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from detailed_balance.analyzers import RunTable, Trajectory
from detailed_balance.analyzers.runs.clusters import (
    FEWEST_CLUSTERS,
    MoveClusters,
    cluster_errors,
)


def draw_runs(rng: np.random.Generator, runs: int, spread: float = 2.0) -> list[Trajectory]:
    """Runs that leave x for a or b, each with a chance of its own, and come back or end."""
    found = []
    for i in range(runs):
        chance = 1 / (1 + np.exp(-spread * rng.normal()))
        moves: list[tuple[str, str | None]] = []
        for to_a in rng.random(5 + rng.poisson(5)) < chance:
            goal = "a" if to_a else "b"
            moves += [("x", goal), (goal, "x")]
        tasks = (("task", str(i // 3)),)
        found.append(Trajectory(tuple(moves), name=f"run {i:03d}", context=tasks))
    return found


def slopes_of(table: RunTable) -> np.ndarray:
    """Those of the chance of x to a, of its logit, and of 3 times the first."""
    made, counts = table.distinct_moves(), table.counts()
    x, a, b = (table.code(state) for state in "xab")
    to_a, to_b = (made.source == x) & (made.target == a), (made.source == x) & (made.target == b)
    row = counts.counts.toarray()[x] / counts.attempts[x]
    return np.stack([1.0 * to_a, to_a / row[a] - to_b / row[b], 3.0 * to_a], axis=1)


def test_the_error_is_that_of_leaving_out_one_run_at_a_time() -> None:
    runs = draw_runs(np.random.default_rng(1), 40)
    table = RunTable.of(runs)
    found = cluster_errors(table, slopes_of(table))
    moves = [[move for move in run.moves if move[0] == "x"] for run in runs]
    left = []
    for i in range(len(runs)):
        others = [move for k, made in enumerate(moves) if k != i for move in made]
        left.append(np.mean([target == "a" for _, target in others]))
    jackknife = np.sqrt((len(runs) - 1) * np.var(left))
    assert found.errors[0] == pytest.approx(jackknife, rel=1e-12)
    assert found.errors[2] == pytest.approx(3 * jackknife, rel=1e-12)
    assert found.covariance[0, 2] == pytest.approx(3 * jackknife**2, rel=1e-12)
    assert found.clusters.tolist() == [40] * 3
    assert 10 < found.degrees_of_freedom[0] <= 39


def test_runs_of_a_block_are_left_out_together() -> None:
    runs = draw_runs(np.random.default_rng(2), 60)
    table = RunTable.of(runs)
    joined = [Trajectory(sum((run.moves for run in runs[i : i + 3]), ())) for i in range(0, 60, 3)]
    by_block = cluster_errors(table.with_blocks("task"), slopes_of(table))
    by_run = cluster_errors(RunTable.of(joined), slopes_of(table))
    assert by_block.errors.tolist() == pytest.approx(by_run.errors.tolist(), rel=1e-12)
    assert by_block.clusters.tolist() == [20] * 3
    assert MoveClusters.from_runs(table.with_blocks("task")).unit == "block"


def test_fewer_clusters_than_ten_have_no_error() -> None:
    table = RunTable.of(draw_runs(np.random.default_rng(3), 9))
    assert np.isnan(cluster_errors(table, slopes_of(table)).errors).all()
    table = RunTable.of(draw_runs(np.random.default_rng(3), FEWEST_CLUSTERS))
    assert np.isfinite(cluster_errors(table, slopes_of(table)).errors).all()


def test_runs_that_never_come_near_a_quantity_do_not_count() -> None:
    far = [Trajectory((("p", "q"), ("q", "p"), ("p", "r")), name=f"far {i:02d}") for i in range(30)]
    table = RunTable.of([*draw_runs(np.random.default_rng(4), 9), *far])
    found = cluster_errors(table, slopes_of(table))
    assert found.clusters.tolist() == [9] * 3
    assert np.isnan(found.errors).all()


def test_a_state_that_one_run_alone_has_left_has_the_error_of_its_moves() -> None:
    runs = draw_runs(np.random.default_rng(5), 20)
    alone = Trajectory((("y", "c"), ("c", "y"), ("y", "c"), ("c", "y"), ("y", "d")), name="alone")
    table = RunTable.of([*runs, alone])
    made = table.distinct_moves()
    slopes = slopes_of(table)[:, :1]
    both = slopes + ((made.source == table.code("y")) & (made.target == table.code("c")))[:, None]
    one, two = (cluster_errors(table, weights).errors[0] for weights in (slopes, both))
    # Binomial: 2 of 3 moves.
    assert two**2 - one**2 == pytest.approx((2 / 3) * (1 / 3) / 3, rel=1e-9)


@pytest.mark.parametrize("named", [True, False])
def test_the_order_of_the_runs_changes_no_digit(named: bool) -> None:
    rng = np.random.default_rng(6)
    runs = draw_runs(rng, 50)
    if not named:
        runs = [Trajectory(run.moves, context=run.context) for run in runs]
    table = RunTable.of(runs)
    first = cluster_errors(table, slopes_of(table))
    blocks = cluster_errors(table.with_blocks("task"), slopes_of(table))
    for _ in range(5):
        again = RunTable.of([runs[i] for i in rng.permutation(len(runs))])
        assert (cluster_errors(again, slopes_of(again)).covariance == first.covariance).all()
        other = cluster_errors(again.with_blocks("task"), slopes_of(again))
        assert (other.covariance == blocks.covariance).all()
        drawn = (x.bootstrap_counts(np.random.default_rng(0), 5) for x in (table, again))
        assert np.array_equal(*drawn)


def test_noise_has_the_covariance_of_the_errors() -> None:
    table = RunTable.of(draw_runs(np.random.default_rng(7), 40))
    clusters, slopes = MoveClusters.from_runs(table), slopes_of(table)
    rng = np.random.default_rng(8)
    drawn = np.array([clusters.noise(rng) @ slopes for _ in range(4000)])
    assert drawn.std(axis=0) == pytest.approx(clusters.errors(slopes).errors, rel=0.06)


def test_intervals_by_runs_cover_what_they_should_where_runs_differ() -> None:
    rng, trials, by_runs, by_moves = np.random.default_rng(9), 400, 0, 0
    for _ in range(trials):
        table = RunTable.of(draw_runs(rng, 30))
        slopes = slopes_of(table)[:, :1]
        x, a = table.code("x"), table.code("a")
        counts = table.counts()
        share = counts.counts[[x], :].toarray()[0, a] / counts.attempts[x]
        off = abs(share - 0.5)  # by symmetry
        by_runs += off <= cluster_errors(table, slopes).half_widths()[0]
        by_moves += off <= 1.96 * np.sqrt(share * (1 - share) / counts.attempts[x])
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert low <= by_runs <= high
    assert by_moves < 0.75 * trials
