"""What differs between two sets of runs, and how often that is said where nothing does."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact, ttest_ind

from detailed_balance import read_runs
from detailed_balance.analyzers import (
    Trajectory,
    TransitionCounts,
    compare_counts,
    compare_kernels,
    compare_potentials,
    compare_runs,
)
from detailed_balance.analyzers.comparison._run_statistics import WholeRuns, compute_run_statistics
from detailed_balance.analyzers.comparison.result import AT_LIMIT, QUESTIONS, REPEAT
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import read_counts
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome, StepFacts
from tests.support.chains import data_file
from tests.support.walks import random_chain, walk_runs


def runs_with(successes, number):
    run = (("a", "b"), ("b", "c"))
    return [Trajectory(run, success=i < successes) for i in range(number)]


def two_kernels(seed, runs):
    rng = np.random.default_rng(seed)
    kernel, ends = random_chain(rng, 4)
    other = kernel.copy()
    other[0] = np.roll(other[0], 1)
    return walk_runs(rng, kernel, ends, runs), walk_runs(rng, other, ends, runs)


# The statistics.


def test_success_has_the_pvalue_of_fisher():
    found = compare_runs(runs_with(30, 40), runs_with(18, 40), replicates=19_999)
    (change,) = found.test("success").changes
    exact = fisher_exact([[30, 10], [18, 22]]).pvalue
    assert change.pvalue == pytest.approx(exact, abs=0.003)
    assert (change.before, change.after, change.runs) == (0.75, 0.45, (40, 40))
    # Standard errors of proportions, with n - 1.
    assert change.error == pytest.approx(np.sqrt((0.75 * 0.25 + 0.45 * 0.55) / 39))


def test_length_is_tested_as_its_mean():
    rng = np.random.default_rng(2)
    sides = [
        [Trajectory((("a", "a"),) * int(n)) for n in rng.poisson(mean, 60)] for mean in (8, 9.2)
    ]
    found = compare_runs(*sides, questions=["length"], replicates=19_999)
    (change,) = found.test("length").changes
    exact = ttest_ind(*[[len(run) for run in side] for side in sides]).pvalue
    assert change.pvalue == pytest.approx(exact, abs=0.01)


def test_a_move_is_told_with_its_shares():
    one, two = two_kernels(0, 150)
    found = compare_runs(one, two, questions=["moves"])
    assert found.rejected
    counts = [read_counts(side) for side in (one, two)]
    for change in found.changes:
        source, target = change.what
        assert source == "s0"
        for value, table in zip((change.before, change.after), counts, strict=True):
            row = table.index(source)
            share = table.counts[row, table.index(target)] / table.attempts[row]
            assert value == pytest.approx(float(share))


def test_scores_sum_to_zero_whoever_the_runs_are_of():
    runs = walk_runs(np.random.default_rng(5), *random_chain(np.random.default_rng(5), 5), 40)
    table = RunTable.of(runs)
    wholes = WholeRuns.of(table, *[np.arange(40)] * 3)
    for statistics in compute_run_statistics(wholes, QUESTIONS):
        scores = statistics.scores()
        assert np.abs(scores.sum(axis=1)).max() < 1e-6 * np.abs(scores).max()
        assert scores.shape == (len(statistics.names), 40)


def test_lists_are_adjusted_inside_their_question():
    found = compare_runs(*two_kernels(1, 60))
    for test in found.tests:
        pvalues = [change.pvalue for change in test.changes]
        expected = false_discovery_control(pvalues)
        np.testing.assert_allclose([change.adjusted for change in test.changes], expected)
        assert test.adjusted >= test.pvalue
        assert pvalues == sorted(pvalues)


def test_swapping_the_sides_turns_the_differences_round():
    one, two = two_kernels(3, 40)
    there, back = compare_runs(one, two), compare_runs(two, one)
    for test in there.tests:
        other = {change.what: change for change in back.test(test.question).changes}
        for change in test.changes:
            assert other[change.what].difference == pytest.approx(
                -change.difference, abs=1e-6, nan_ok=True
            )
            assert other[change.what].pvalue == pytest.approx(change.pvalue, abs=0.03)


def test_runs_that_get_stuck_are_seen():
    calm = [Trajectory((("a", "b"), ("b", "c")))] * 60
    stuck = [Trajectory((("a", "b"), *[("b", "b")] * 30))] * 12
    found = compare_runs(calm, calm[:48] + stuck, questions=["stays", "length"])
    share = next(c for c in found.changes if c.what == (REPEAT,))
    assert (share.before, share.after) == (0.0, 0.2)
    assert found.test("length").changed


def test_costs_are_compared_where_all_runs_have_them():
    rng = np.random.default_rng(0)

    def dear(price):
        return [
            Trajectory((("a", "b"), ("b", "c")), costs=(1.0, price + rng.random()))
            for _ in range(30)
        ]

    found = compare_runs(dear(1), dear(3), questions=["length"])
    assert [change.what for change in found.changes] == [("cost",)]
    assert found.changes[0].difference == pytest.approx(2, abs=0.2)


def test_tokens_of_a_run_are_those_that_its_steps_tell():
    def runs(tokens):
        moves = (("__start__", "a"), ("a", "b"), ("b", "__end__"))
        told = [(None, StepFacts(tokens=tokens + i), None) for i in range(20)]
        return [Trajectory(moves, f"run-{i}", facts=facts) for i, facts in enumerate(told)]

    silent = [Trajectory((("__start__", "a"), ("a", "b"), ("b", "__end__")), "silent")]
    (change,) = compare_runs(runs(10), runs(50), questions=["length"], replicates=99).changes
    assert (change.what, change.before, change.after) == (("tokens",), 19.5, 59.5)
    assert not compare_runs(runs(10), runs(50) + silent, questions=["length"], replicates=99).tests


def test_runs_at_the_limit_are_counted_of_those_whose_outcome_is_known():
    def runs(*outcomes):
        return [Trajectory((("a", "b"),), str(i), outcome=each) for i, each in enumerate(outcomes)]

    ended, limit, unknown = Outcome.ENDED, Outcome.RECURSION_LIMIT, None
    before = runs(*[ended] * 19, limit, *[unknown] * 5)
    after = runs(*[ended] * 10, *[limit] * 10)
    test = compare_runs(before, after, questions=["limit"], replicates=19_999).test("limit")
    (change,) = test.changes
    assert (change.what, change.before, change.after) == ((AT_LIMIT,), 0.05, 0.5)
    assert test.pvalue == pytest.approx(fisher_exact([[19, 1], [10, 10]]).pvalue, abs=0.003)
    assert not compare_runs(before[:9], after[:9], questions=["limit"]).tests  # none is at it


# What is promised.


def test_nothing_is_found_where_nothing_changed_as_seldom_as_promised():
    # Long and short runs, loops and ends: kinds of runs that tests by moves take for a change.
    rng = np.random.default_rng(0)
    kernel, ends = random_chain(rng, 4)
    slow, never = random_chain(rng, 4, ending=0.03)
    runs = walk_runs(rng, kernel, ends, 60) + walk_runs(rng, slow, never, 20, limit=100)
    rejected = by_moves = 0
    splits = 60
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(runs))
        halves = [[runs[i] for i in part] for part in np.array_split(order, 2)]
        rejected += compare_runs(*halves, replicates=199, seed=seed).rejected
        counts = map(read_counts, halves)
        by_moves += compare_kernels(*counts, replicates=39, seed=seed).rejected
    assert rejected <= splits * 0.05 + 3 * np.sqrt(splits * 0.05 * 0.95)
    assert by_moves > rejected


def test_real_models_are_told_apart_and_halves_of_one_are_not():
    # The false alarms over 200 splits and all pairs of models: benchmarks/statistics/compare.py.
    def read(name):
        path = data_file("tau2_airline", f"{name}.jsonl.gz")
        return read_runs(path, success_field="reward", boundaries=("start", "end"))

    one, two = read("gpt-5.4"), read("gpt-oss-120b_langchain")
    found = compare_runs(one, two)
    assert found.pvalue < 0.01
    handed_over = ("get_reservation_details", "transfer_to_human_agents")
    assert handed_over in [change.what for change in found.changes]
    rejected = 0
    for seed in range(12):
        order = np.random.default_rng(seed).permutation(len(two))
        halves = [[two[i] for i in part] for part in np.array_split(order, 2)]
        rejected += compare_runs(*halves, replicates=199, seed=seed).rejected
    assert rejected <= 12 * 0.05 + 3 * np.sqrt(12 * 0.05 * 0.95)


def test_runs_that_are_all_alike_are_not_told_apart():
    found = compare_runs(runs_with(30, 30), runs_with(30, 30))
    assert (found.tests, found.pvalue, found.rejected) == ((), 1.0, False)


def test_everything_is_told_as_a_table_and_as_json():
    found = compare_runs(*two_kernels(1, 30))
    table = found.to_table()
    assert {len(column) for column in table.values()} == {sum(len(t.changes) for t in found.tests)}
    assert found.to_dict()["settings"]["replicates"] == 9_999


# What is refused.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": 0}, InvalidInputError, "alpha=0"),
        ({"questions": ["mood"]}, InvalidInputError, "mood"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        compare_runs(runs_with(3, 9), runs_with(5, 9), **options)


def test_an_empty_side_is_refused():
    with pytest.raises(InsufficientDataError, match="got 9 and 0"):
        compare_runs(runs_with(3, 9), [])


# Counts.


def test_counts_are_compared_by_the_known_tests():
    rng = np.random.default_rng(0)
    one = TransitionCounts.from_dense(rng.poisson(60, (4, 4)))
    two = TransitionCounts.from_dense(rng.poisson([60, 60, 20, 90], (4, 4)))
    found = compare_counts(one, two)
    pvalues = {test.question: test.pvalue for test in found.tests}
    assert pvalues["potential"] == pytest.approx(compare_potentials(one, two).pvalue)
    assert pvalues["moves"] == pytest.approx(compare_kernels(one, two).total_pvalue)
    assert (found.unit, found.rejected) == ("moves", True)
    move = next(c for c in found.test("moves").changes if c.what == ("0", "3"))
    table = [[c.counts[0, 3], c.attempts[0] - c.counts[0, 3]] for c in (one, two)]
    assert move.pvalue == pytest.approx(fisher_exact(table).pvalue)


def test_counts_that_share_no_state_cannot_be_compared():
    one = TransitionCounts.from_edges([("a", "b", 9)])
    two = TransitionCounts.from_edges([("c", "d", 9)])
    with pytest.raises(InsufficientDataError, match="nothing to compare"):
        compare_counts(one, two)


def test_a_potential_is_compared_on_the_states_asked_for():
    rng = np.random.default_rng(0)
    one, two = (TransitionCounts.from_dense(rng.poisson(60, (5, 5))) for _ in range(2))
    found = compare_potentials(one, two, states=["0", "3", "4", "unknown"])
    whole = compare_potentials(one, two)
    assert found.states == ("0", "3", "4")
    shift = found.shift[1] - found.shift[0]
    assert shift == pytest.approx(whole.shift[3] - whole.shift[0], abs=1e-6)
