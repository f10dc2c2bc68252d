import json

import numpy as np
import pytest

from detailed_balance.analyzers import END, START, TransitionCounts, find_traps
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
    assert trap.dwell == pytest.approx(1 / (1 - np.sqrt(390 / 400)))
    assert trap.interval[0] < 80 < trap.interval[1]


def test_a_state_that_repeats_itself_stays_for_one_over_its_escape_probability():
    (trap,) = traps_of(("a", "b", 5), ("b", "b", 475), ("b", "a", 25))
    assert trap.states == ("b",)
    assert trap.dwell == pytest.approx(500 / 25)
    assert trap.visits == trap.interval[0]


def test_the_dwell_time_is_the_mean_of_simulated_stays():
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
    assert trap.dwell == pytest.approx(np.mean(stays), rel=0.03)


def test_a_trap_that_was_never_left_has_a_lower_bound_only():
    (trap,) = traps_of((START, "a", 5), ("a", "b", 5), ("b", "c", 300), ("c", "b", 298))
    assert trap.states == ("b", "c")
    assert trap.dwell == float("inf")
    low, high = trap.interval
    assert low == pytest.approx(1 / (1 - 0.025 ** (1 / 598)))
    assert high == float("inf")
    assert trap.describe() == "b <-> c was never left in 598 moves"


def test_runs_that_never_end_are_trapped_as_a_whole_only_where_runs_are_known():
    spin = [("a", "b", 500), ("b", "a", 499)]
    assert traps_of((START, "a", 1), *spin)[0].states == ("a", "b")
    assert traps_of(*spin) == ()


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
    counts = TransitionCounts.from_edges([(START, "a", 1), ("a", "b", 500), ("b", "a", 500)])
    report = find_traps(counts)
    result = json.loads(json.dumps(report.to_dict()))
    assert result["traps"]["states"] == [["a", "b"]]
    assert result["traps"]["dwell"] == ["inf"]
    assert result["settings"] == {"min_visits": 10.0}
