import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from detailed_balance.analyzers import (
    END,
    START,
    RunTable,
    Trajectory,
    TransitionCounts,
    find_traps,
)
from detailed_balance.analyzers.errors import InvalidInputError
from tests.support.chains import reversible_kernel, walk_counts


def traps_of(*edges, **options):
    return find_traps(TransitionCounts.from_edges(edges), **options).traps


def test_a_two_state_oscillation_is_a_trap():
    (trap,) = traps_of(
        (START, "plan", 10),
        ("plan", "search", 10),
        ("search", "critic", 400),
        ("critic", "search", 390),
        ("critic", "write", 10),
        ("write", END, 10),
    )
    assert trap.states == ("critic", "search")
    assert (trap.moves, trap.exits) == (800, 10)
    # One cycle of two moves in 40 ends: leading eigenvalue sqrt(39/40).
    assert trap.stay == pytest.approx(1 / (1 - np.sqrt(390 / 400)))
    assert trap.interval[0] < 80 < trap.interval[1]


def test_a_state_that_repeats_itself_stays_for_one_over_its_escape_probability():
    (trap,) = traps_of(("a", "b", 5), ("b", "b", 475), ("b", "a", 25))
    assert trap.states == ("b",)
    assert trap.stay == pytest.approx(500 / 25)
    assert trap.visits == trap.interval[0]


def test_the_stay_is_the_mean_of_simulated_stays():
    rng = np.random.default_rng(3)
    kernel = np.array([[0.0, 0.97, 0.03], [0.98, 0.0, 0.02], [0.5, 0.5, 0.0]])
    stays, state, length = [], 0, 0
    for _ in range(200_000):
        after = rng.choice(3, p=kernel[state]) if state == 2 else None
        if after is None:
            after = 2 if rng.random() < kernel[state, 2] else 1 - state
            length += 1
            if after == 2:
                stays.append(length)
                length = 0
        state = after
    exact = TransitionCounts.from_dense((kernel * 10_000).astype(int))
    ended = TransitionCounts.from_edges([(START, "2", 90_000), ("2", END, 90_000)])
    (trap,) = find_traps(exact + ended).traps
    assert trap.states == ("0", "1")
    assert trap.stay == pytest.approx(np.mean(stays), rel=0.03)


def test_a_trap_that_was_never_left_has_a_lower_bound_only():
    (trap,) = traps_of((START, "a", 5), ("a", "b", 5), ("b", "c", 300), ("c", "b", 298))
    assert trap.states == ("b", "c")
    assert trap.stay == float("inf")
    low, high = trap.interval
    assert low == pytest.approx(1 / (1 - 0.025 ** (1 / 598)))
    assert high == float("inf")
    assert trap.describe() == "b <-> c was never left in 598 moves"


def test_all_states_that_runs_can_be_in_are_never_a_trap():
    spin = [("a", "b", 500), ("b", "a", 499)]
    assert traps_of((START, "a", 1), *spin) == ()
    assert traps_of((START, "a", 1), *spin, ("b", END, 1)) == ()
    assert traps_of(*spin) == ()
    assert traps_of((START, "c", 1), ("c", "a", 1), *spin)[0].states == ("a", "b")
    # A state that no run visits is nowhere else to be.
    counts = TransitionCounts.from_edges([(START, "a", 1), *spin, ("idle", "a", 0)])
    assert find_traps(counts).traps == ()


def test_most_of_a_graph_is_no_trap_of_the_rest():
    rng = np.random.default_rng(1)
    kernel, _ = reversible_kernel(rng, 12)
    kernel /= kernel.sum(axis=1, keepdims=True)
    world = walk_counts(rng, kernel, 20_000) + TransitionCounts.from_edges([("lost", "0", 1)])
    assert len(find_traps(world)) == 0


def test_a_long_run_that_moves_on_is_no_trap():
    pipeline = [(f"s{i}", f"s{i + 1}", 100) for i in range(40)]
    assert traps_of((START, "s0", 100), *pipeline, ("s40", END, 100)) == ()


def test_a_well_mixed_chain_has_no_trap():
    rng = np.random.default_rng(1)
    kernel, _ = reversible_kernel(rng, 12)
    kernel /= kernel.sum(axis=1, keepdims=True)
    assert len(find_traps(walk_counts(rng, kernel, 20_000))) == 0


def test_a_set_with_a_state_that_is_hardly_visited_is_no_trap():
    # The run never ends, yet what it is stuck in is the oscillation and not the whole graph.
    (trap,) = traps_of(
        (START, "plan", 9), ("plan", "a", 10), ("a", "b", 900), ("b", "a", 895), ("b", "plan", 1)
    )
    assert trap.states == ("a", "b")
    assert trap.visits == pytest.approx(trap.interval[0] * 896 / 1796)


def test_few_moves_prove_no_trap():
    assert traps_of((START, "a", 1), ("a", "b", 4), ("b", "a", 4), ("a", "c", 0)) == ()


def test_two_traps_of_one_graph_are_both_found():
    spins = [("a", "b", 900), ("b", "a", 890), ("c", "d", 900), ("d", "c", 890)]
    found = traps_of(*spins, ("b", "c", 10), ("d", "a", 10))
    assert {trap.states for trap in found} == {("a", "b"), ("c", "d")}


@pytest.mark.parametrize("visits", [1, 0, -3, float("nan")])
def test_a_threshold_of_one_visit_or_less_is_refused(visits):
    with pytest.raises(InvalidInputError, match="visited more than once"):
        traps_of(("a", "b", 5), min_visits=visits)


def test_the_result_is_json():
    edges = [(START, "go", 1), ("go", "a", 1), ("a", "b", 500), ("b", "a", 500)]
    counts = TransitionCounts.from_edges(edges)
    report = find_traps(counts)
    result = json.loads(json.dumps(report.to_dict()))
    assert result["traps"]["states"] == [["a", "b"]]
    assert result["traps"]["stay"] == ["inf"]
    assert result["settings"] == {"min_visits": 10.0}


def stays(rng, runs, spread=1.0, leave=0.03):
    """Runs that enter a - b a few times each, and leave it with a chance of their own."""
    found = []
    for i in range(runs):
        chance = min(leave * np.exp(spread * rng.normal() - spread**2 / 2), 1.0)
        moves = [(START, "go")]
        for _ in range(3):
            moves.append(("go", "a"))
            here, other = "a", "b"
            while rng.random() >= chance:
                moves.append((here, other))
                here, other = other, here
            moves.append((here, "go"))
        found.append(Trajectory((*moves, ("go", END)), name=f"run {i:03d}"))
    return found


def test_the_interval_by_runs_is_that_of_leaving_out_one_run_at_a_time():
    runs = stays(np.random.default_rng(1), 60)
    (trap,) = find_traps(runs).traps
    left = [find_traps(runs[:i] + runs[i + 1 :]).traps[0].stay for i in range(60)]
    error = np.sqrt(59 * np.var(np.log(left)))
    low, high = np.log(trap.interval)
    assert trap.clusters == 60
    assert (low + high) / 2 == pytest.approx(np.log(trap.stay))
    # t with 59 degrees of freedom or fewer.
    assert 2.0 * error < (high - low) / 2 < 2.4 * error


def test_intervals_by_runs_cover_the_stay_where_runs_differ_and_those_of_counts_do_not():
    # Of all moves, that is by runs in proportion to their moves, the share that leaves.
    rng, trials, covered = np.random.default_rng(2), 150, np.zeros(2)
    many = [stays(rng, 40, leave=0.06) for _ in range(trials)]
    table = RunTable.of([run for runs in many for run in runs])
    true = find_traps(table, min_visits=1.01).traps[0].stay
    for runs in many:
        for i, source in enumerate((runs, RunTable.of(runs).counts())):
            (trap,) = find_traps(source, min_visits=1.01).traps
            assert trap.states == ("a", "b")
            covered[i] += trap.interval[0] <= true <= trap.interval[1]
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert low <= covered[0] <= high
    assert covered[1] < low


def test_fewer_runs_than_ten_show_no_trap_and_the_report_counts_them():
    runs = stays(np.random.default_rng(3), 9, leave=0.01)
    report = find_traps(runs)
    assert report.traps == ()
    assert report.too_few > 0
    assert len(find_traps(RunTable.of(runs).counts())) == 1  # which takes moves for independent


def test_stays_that_no_run_has_left_are_bounded_by_what_so_many_runs_can_show():
    stuck = ((START, "go"), ("go", "a"), *[("a", "b"), ("b", "a")] * 50)
    (trap,) = find_traps([Trajectory(stuck)] * 20).traps
    assert (trap.stay, trap.interval[1]) == (float("inf"), float("inf"))
    assert trap.interval[0] == pytest.approx(0.025 ** (1 / 20) * 100)
    assert trap.clusters == 20


def test_blocks_are_drawn_together():
    runs = stays(np.random.default_rng(4), 40)
    named = [replace(run, context=(("task", str(i // 2)),)) for i, run in enumerate(runs)]
    by_block = find_traps(RunTable.of(named).with_blocks("task")).traps[0]
    joined = [Trajectory(runs[i].moves + runs[i + 1].moves) for i in range(0, 40, 2)]
    assert by_block.clusters == 20
    assert by_block.interval == pytest.approx(find_traps(joined).traps[0].interval)


def test_the_order_of_the_runs_changes_nothing():
    runs = stays(np.random.default_rng(5), 30)
    assert find_traps(runs) == find_traps(runs[::-1])
