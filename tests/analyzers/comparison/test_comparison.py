import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize
from scipy.stats import chi2_contingency, fisher_exact, kstest

from detailed_balance.analyzers import (
    END,
    Trajectory,
    TransitionCounts,
    compare_kernels,
    compare_potentials,
    estimate_potential,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from tests.support.chains import count_matrices, reversible_kernel, sample_counts
from tests.support.walks import random_chain, walk_runs


def counts_of(*edges):
    return TransitionCounts.from_edges(edges)


def path(*states):
    return Trajectory(tuple(pairwise(states)))


# Kernels.


def test_the_statistic_of_a_state_is_g_of_its_table():
    one = counts_of(("a", "a", 30), ("a", "b", 20), ("a", None, 19), ("b", "a", 5))
    two = counts_of(("a", "b", 40), ("a", "c", 22), ("a", "a", 25))
    table = [[30, 20, 19, 0], [25, 40, 0, 22]]
    expected = chi2_contingency(table, correction=False, lambda_="log-likelihood")
    result = compare_kernels(one, two)
    assert result.states == ("a",)
    assert result.statistic[0] == pytest.approx(expected.statistic)
    assert result.degrees_of_freedom[0] == expected.dof
    # The chi-square law serves where counts are large.
    assert not result.permuted[0]
    assert result.pvalue[0] == pytest.approx(expected.pvalue)
    assert result.moves.tolist() == [[69], [87]]


def test_a_sparse_row_has_the_exact_pvalue():
    one, two = counts_of(("a", "b", 8), ("a", "c", 1)), counts_of(("a", "b", 2), ("a", "c", 6))
    exact = fisher_exact([[8, 1], [2, 6]]).pvalue
    result = compare_kernels(one, two, replicates=20_000)
    assert result.permuted[0]
    assert result.pvalue[0] == pytest.approx(exact, abs=0.005)


def test_the_target_that_changed_most_is_named():
    one = counts_of(("a", "b", 50), ("a", "c", 40), ("a", None, 10))
    two = counts_of(("a", "b", 45), ("a", "c", 15), ("a", None, 40))
    result = compare_kernels(one, two)
    assert result.target == (None,)
    assert result.change[0] == pytest.approx(0.3)
    assert result.different == ("a",)


@settings(max_examples=25, deadline=None)
@given(count_matrices(max_count=30), count_matrices(max_count=30))
def test_swapping_the_contexts_turns_the_changes_round(one, two):
    one, two = TransitionCounts.from_dense(one), TransitionCounts.from_dense(two)
    try:
        there = compare_kernels(one, two, replicates=19)
    except InsufficientDataError:
        return
    back = compare_kernels(two, one, replicates=19)
    place = [back.states.index(state) for state in there.states]
    np.testing.assert_allclose(there.statistic, back.statistic[place], atol=1e-9)
    np.testing.assert_allclose(np.abs(there.change), np.abs(back.change[place]), atol=1e-12)
    same = [there.target[i] == back.target[j] for i, j in enumerate(place)]
    np.testing.assert_allclose(there.change[same], -back.change[place][same], atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(count_matrices(max_count=30), count_matrices(max_count=30))
def test_relabelling_permutes_the_comparison(one, two):
    one, two = TransitionCounts.from_dense(one), TransitionCounts.from_dense(two)
    turned = [part.restrict(part.states[::-1]) for part in (one, two)]
    try:
        there = compare_kernels(one, two, replicates=19)
    except InsufficientDataError:
        return
    other = compare_kernels(*turned, replicates=19)
    place = [other.states.index(state) for state in there.states]
    np.testing.assert_allclose(there.statistic, other.statistic[place], atol=1e-9)
    assert there.total_statistic == pytest.approx(other.total_statistic)


def test_one_kernel_is_rejected_as_often_as_it_should_be():
    rng = np.random.default_rng(0)
    kernel, _ = reversible_kernel(rng, 6)
    pvalues, states = [], []
    for trial in range(150):
        # From 4 to 60 attempts: some rows permuted, some by the chi-square law.
        samples = [sample_counts(rng, kernel, int(rng.integers(4, 60))) for _ in range(2)]
        result = compare_kernels(*samples, replicates=79, seed=trial)
        pvalues.append(result.total_pvalue)
        states += result.pvalue.tolist()
    # Permutation p-values are a little large where tables are small, never small.
    assert 0.02 <= np.mean(np.array(pvalues) <= 0.1) <= 0.18
    assert np.mean(np.array(states) <= 0.05) <= 0.08
    assert np.mean(np.array(states) <= 0.2) >= 0.1


def sticky_runs(rng, runs):
    """Runs of two kinds that differ inside, in one mixture."""
    made = []
    for _ in range(runs):
        stay = rng.choice([0.1, 0.9])
        states = ["a"]
        while len(states) < 25:
            states.append("a" if rng.random() < stay else "b")
        made.append(path(*states))
    return made


def test_permuting_runs_is_exact_where_runs_are_of_several_kinds_and_exits_are_not():
    rng = np.random.default_rng(1)
    by_run, by_exit = [], []
    for trial in range(80):
        one, two = sticky_runs(rng, 10), sticky_runs(rng, 10)
        by_run.append(compare_kernels(one, two, replicates=59, seed=trial).total_pvalue)
        by_exit.append(compare_kernels(one, two, unit="exits", replicates=59).total_pvalue)
    assert np.mean(np.array(by_run) <= 0.1) <= 0.21  # 8 of 80 expected
    assert kstest(by_run, "uniform").pvalue > 1e-3
    assert np.mean(np.array(by_exit) <= 0.1) > 0.25


def test_a_clear_change_is_found_and_placed():
    rng = np.random.default_rng(2)
    kernel, ends = random_chain(rng, 4)
    other = kernel.copy()
    other[2] = kernel[2][::-1]
    one, two = walk_runs(rng, kernel, ends, 60), walk_runs(rng, other, ends, 60)
    result = compare_kernels(one, two, replicates=499)
    assert result.rejected
    assert result.different == ("s2",)
    assert result.to_table()["state"][0] == "s2"
    assert not compare_kernels(one, walk_runs(rng, kernel, ends, 60), replicates=499).rejected


def test_many_contexts_give_distances_of_all_pairs():
    rng = np.random.default_rng(3)
    kernel, ends = random_chain(rng, 4)
    other = kernel[:, ::-1]
    runs = {"a": kernel, "b": kernel, "c": other}
    result = compare_kernels(
        {name: walk_runs(rng, matrix, ends, 40) for name, matrix in runs.items()}, replicates=199
    )
    assert result.rejected
    np.testing.assert_array_equal(result.distances, result.distances.T)
    assert result.distances[0, 1] < 0.1 * result.distances[0, 2]
    assert result.distance_pvalues[0, 1] > 0.05
    assert (result.distance_pvalues[:2, 2] <= 0.05).all()
    assert result.distance_table()["first"] == ["a", "a", "b"]
    assert "moves in c" in result.to_table()


def test_the_distance_of_two_contexts_is_what_a_move_tells_of_where_it_was_made():
    # b for sure here and c for sure there: one bit, in nats, of two contexts of the same size.
    one, two = counts_of(("a", "b", 4_000)), counts_of(("a", "c", 4_000))
    assert compare_kernels(one, two).distances[0, 1] == pytest.approx(np.log(2), rel=1e-3)


def test_states_of_one_context_alone_are_not_compared():
    result = compare_kernels(
        {
            "x": counts_of(("a", "b", 9), ("a", "c", 9), ("only x", "a", 4), ("only x", "b", 4)),
            "y": counts_of(("a", "b", 9), ("a", "c", 9)),
            "z": counts_of(("lost", "b", 9), ("lost", "c", 9)),
        },
        replicates=19,
    )
    assert result.states == ("a",)
    assert np.isnan(result.distances[0, 2])
    assert result.distance_pvalues[0, 2] == 1


def test_what_cannot_be_compared_is_refused():
    counts, runs = counts_of(("a", "b", 9)), [path("a", "b", END)]
    with pytest.raises(InsufficientDataError, match="two ways"):
        compare_kernels(counts, counts)
    with pytest.raises(InvalidInputError, match="one kind"):
        compare_kernels(counts, runs)
    with pytest.raises(InvalidInputError, match="read_runs"):
        compare_kernels(counts, counts, unit="runs")
    with pytest.raises(InvalidInputError, match="allowed are"):
        compare_kernels(runs, runs, unit="moves")
    with pytest.raises(InvalidInputError, match="two"):
        compare_kernels({"a": counts})
    with pytest.raises(InvalidInputError, match="19"):
        compare_kernels(counts, counts, replicates=1)


# Potentials.


def test_two_kernels_of_one_potential_are_taken_for_one():
    # T(g<-f) / T(f<-g) = exp(V(f) - V(g)), as large as it is.
    one, two = counts_of(("x", "y", 80), ("x", None, 20), ("y", "x", 20)), None
    two = counts_of(("x", "y", 400), ("x", None, 600), ("y", "x", 100))
    potentials = [estimate_potential(one, attempts=100), estimate_potential(two, attempts=1_000)]
    result = compare_potentials(*potentials)
    np.testing.assert_allclose(result.values, np.array([[1, -1], [1, -1]]) * np.log(4) / 2)
    assert result.statistic == pytest.approx(0, abs=1e-9)
    assert result.pvalue == pytest.approx(1)


def test_two_states_give_the_test_of_two_log_ratios():
    one = counts_of(("x", "y", 80), ("x", None, 20), ("y", "x", 20), ("y", None, 80))
    two = counts_of(("x", "y", 50), ("x", None, 50), ("y", "x", 40), ("y", None, 60))
    result = compare_potentials(one, two)
    shift = np.log(50 / 40) - np.log(80 / 20)
    variance = sum(1 / n - 1 / 100 for n in (80, 20, 50, 40))
    assert result.statistic == pytest.approx(shift**2 / variance)
    assert result.degrees_of_freedom == 1
    assert np.ptp(result.shift) == pytest.approx(abs(shift))
    np.testing.assert_allclose(np.sqrt((result.errors**2).sum(axis=0)), np.sqrt(variance) / 2)


def test_the_covariance_is_that_of_the_standard_errors():
    rng = np.random.default_rng(4)
    kernel, _ = reversible_kernel(rng, 5)
    potential = estimate_potential(sample_counts(rng, kernel, 100))
    found = potential.covariance(potential.states, "0")
    errors = [potential.standard_error(state, "0") for state in potential.states[1:]]
    np.testing.assert_allclose(np.sqrt(np.diag(found)[1:]), errors)
    between = found[1, 1] + found[2, 2] - 2 * found[1, 2]
    assert np.sqrt(between) == pytest.approx(potential.standard_error("1", "2"))


def test_three_contexts_are_tested_against_their_best_common_potential():
    rng = np.random.default_rng(5)
    kernel, _ = reversible_kernel(rng, 4)
    potentials = [estimate_potential(sample_counts(rng, kernel, 80)) for _ in range(3)]
    result = compare_potentials(dict(zip("abc", potentials, strict=True)))
    assert result.degrees_of_freedom == 2 * 3
    rest = potentials[0].states[1:]
    weights = [np.linalg.inv(p.covariance(rest, "0")) for p in potentials]
    values = [[p.difference(state, "0") for state in rest] for p in potentials]

    def misfit(common):
        return sum((v - common) @ w @ (v - common) for v, w in zip(values, weights, strict=True))

    best = minimize(misfit, np.zeros(3), tol=1e-12).fun
    assert result.statistic == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("attempts", [200, 1_000])
def test_one_potential_is_rejected_as_often_as_it_should_be(attempts):
    rng = np.random.default_rng(7)
    one, _ = reversible_kernel(rng, 5)
    assert one[one > 0].min() > 0.03  # moves expected once or less are beyond Wald's test
    # The same potential with other rates: the kernels differ, and that is allowed.
    slower = rng.uniform(0.6, 1.0, size=(5, 5))
    two = one * (slower + slower.T) / 2
    whole, single = [], []
    for _ in range(200):
        result = compare_potentials(
            sample_counts(rng, one, attempts), sample_counts(rng, two, attempts)
        )
        whole.append(result.pvalue)
        single += result.state_pvalue.tolist()
    # Of 200, 10 are expected at 5%, 19 or fewer but once in 200.
    assert np.mean(np.array(whole) <= 0.05) <= 0.095
    assert 0.1 <= np.mean(np.array(whole) <= 0.2) <= 0.3
    assert np.mean(np.array(single) <= 0.05) <= 0.09


def test_runs_of_one_chain_have_the_covariance_of_independent_moves():
    rng = np.random.default_rng(11)
    runs = walk_runs(rng, *random_chain(rng, 4), 4_000)
    counts = TransitionCounts.from_edges((f, g, 1) for run in runs for f, g in run.moves)
    twin = walk_runs(rng, *random_chain(rng, 4), 50)
    by_run = compare_potentials(runs, twin).errors[0]
    by_move = compare_potentials(estimate_potential(counts), estimate_potential(counts)).errors[0]
    np.testing.assert_allclose(by_run, by_move, rtol=0.1)


def test_runs_walked_twice_over_are_no_further_evidence():
    # Each run says all it has to say twice: as moves it seems twice as much.
    rng = np.random.default_rng(12)
    walked = walk_runs(rng, *random_chain(rng, 4), 200)
    runs = [Trajectory(run.moves[1:-1]) for run in walked if len(run) > 2]
    twice = [Trajectory(run.moves * 2) for run in runs]
    once, again = (compare_potentials(some, some).errors[0] for some in (runs, twice))
    np.testing.assert_allclose(once, again)
    counts = [
        TransitionCounts.from_edges((f, g, 1) for run in some for f, g in run.moves)
        for some in (runs, twice)
    ]
    once, again = (compare_potentials(some, some).errors[0] for some in counts)
    np.testing.assert_allclose(once, again * np.sqrt(2))


def test_runs_of_several_kinds_do_not_fool_a_comparison_by_runs():
    rng = np.random.default_rng(13)
    by_run, by_move = [], []
    for _ in range(120):
        samples = [sticky_runs(rng, 20) for _ in range(2)]
        by_run.append(compare_potentials(*samples).pvalue)
        counts = [
            TransitionCounts.from_edges((f, g, 1) for run in some for f, g in run.moves)
            for some in samples
        ]
        by_move.append(compare_potentials(*counts).pvalue)
    # 6 of 120 are expected, 14 or more come once in 1,000.
    assert np.mean(np.array(by_run) <= 0.05) <= 0.11
    assert np.mean(np.array(by_move) <= 0.05) > 0.2


def test_permuting_few_runs_is_exact():
    rng = np.random.default_rng(14)
    pvalues = [
        compare_potentials(
            sticky_runs(rng, 5), sticky_runs(rng, 9), replicates=19, seed=trial
        ).pvalue
        for trial in range(12)
    ]
    # 2.4 of 12 are expected at 20%, 8 or more come once in 1,700.
    assert np.sum(np.array(pvalues) <= 0.2) <= 7
    assert 0.3 < np.mean(pvalues) < 0.75
    both_ways = counts_of(("a", "b", 9), ("b", "a", 9))
    with pytest.raises(InvalidInputError, match="permutes runs"):
        compare_potentials(both_ways, both_ways, replicates=9)


def test_runs_and_counts_are_not_mixed_in_a_comparison_of_potentials():
    runs = [path("a", "b", "a", "b", END)] * 5
    with pytest.raises(InvalidInputError, match="one kind"):
        compare_potentials(runs, counts_of(("a", "b", 9), ("b", "a", 9)))


def test_a_state_that_moved_is_found():
    rng = np.random.default_rng(7)
    one, _ = reversible_kernel(rng, 8)
    two = one.copy()
    two[3] *= 0.3  # it is left more seldom: V falls by log(0.3) and no other difference changes
    result = compare_potentials(sample_counts(rng, one, 2_000), sample_counts(rng, two, 2_000))
    assert result.rejected
    assert result.to_table()["state"][0] == "3"
    shift = dict(zip(result.states, result.shift, strict=True))
    others = np.mean([shift[state] for state in shift if state != "3"])
    assert shift["3"] - others == pytest.approx(np.log(0.3), abs=0.2)


def test_swapping_contexts_turns_shifts_round_and_nothing_else():
    rng = np.random.default_rng(8)
    kernel, _ = reversible_kernel(rng, 5)
    one, two = (sample_counts(rng, kernel, 60) for _ in range(2))
    there, back = compare_potentials(one, two), compare_potentials(two, one)
    np.testing.assert_allclose(there.shift, -back.shift)
    np.testing.assert_allclose(there.state_pvalue, back.state_pvalue)
    assert there.pvalue == pytest.approx(back.pvalue)
    turned = [part.restrict(part.states[::-1]) for part in (one, two)]
    again = compare_potentials(*turned)
    assert again.states == there.states
    np.testing.assert_allclose(again.shift, there.shift, atol=1e-6)


def test_distances_are_what_errors_do_not_explain():
    rng = np.random.default_rng(9)
    kernel, _ = reversible_kernel(rng, 6)
    other, _ = reversible_kernel(rng, 6, spread=2.0)
    samples = {"a": kernel, "b": kernel, "c": other}
    result = compare_potentials(
        {name: sample_counts(rng, matrix, 1_000) for name, matrix in samples.items()}
    )
    assert result.distances[0, 1] < 0.1 < result.distances[0, 2]
    assert result.distance_pvalues[0, 1] > 0.05 > result.distance_pvalues[0, 2]
    raw = np.sqrt(((result.values[0] - result.values[2]) ** 2).mean())
    assert 0.9 * raw < result.distances[0, 2] < raw


def test_only_states_that_all_contexts_join_both_ways_are_compared():
    ring = [("a", "b", 9), ("b", "c", 9), ("c", "a", 9), ("b", "a", 5), ("a", "c", 2)]
    line = [("a", "b", 9), ("b", "a", 9), ("b", "c", 9), ("a", None, 3), ("b", None, 3)]
    assert compare_potentials(counts_of(*ring), counts_of(*line)).states == ("a", "b")
    with pytest.raises(InsufficientDataError, match="finite"):
        compare_potentials(counts_of(*ring), counts_of(("a", "b", 9), ("b", "c", 9)))


def test_the_results_are_json():
    rng = np.random.default_rng(10)
    kernel, _ = reversible_kernel(rng, 4)
    one, two = (sample_counts(rng, kernel, 50) for _ in range(2))
    for result in (compare_kernels(one, two, replicates=39), compare_potentials(one, two)):
        plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert plain["settings"]["alpha"] == 0.05
        assert "differ" in result.describe()
        assert len({len(column) for column in result.to_table().values()}) == 1
