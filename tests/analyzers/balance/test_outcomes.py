from itertools import combinations, pairwise

import numpy as np
import pytest

from detailed_balance.analyzers import END, START, Trajectory
from detailed_balance.analyzers.balance import outcomes
from detailed_balance.analyzers.balance.outcomes import contrast_loops, contrast_with_baseline
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Outcome
from tests.support.runs import push_round, random_weights, walk_runs

LOOP = ("a", "b", "c")


def run_of(states, success=None, name=None, **known):
    return Trajectory(tuple(pairwise((START, *states, END))), name, success=success, **known)


def runs_of(*groups):
    many = [(states, good) for n, states, good in groups for _ in range(n)]
    return [run_of(states, good, f"run-{i:03}") for i, (states, good) in enumerate(many)]


def test_the_odds_ratio_is_that_of_the_steps_counted_by_hand():
    # From a: 6 of 8 steps of the failed runs go to b, and 4 of 12 of the successful ones.
    runs = runs_of((6, "ab", False), (2, "ax", False), (4, "ab", True), (8, "ax", True))
    found = contrast_loops(runs, [LOOP])[0]
    assert found.odds_ratio == pytest.approx((6 * 8) / (2 * 4))
    assert found.runs == (8, 12)
    assert found.interval[0] < found.odds_ratio < found.interval[1]


def test_the_pvalue_is_the_share_of_all_permutations_of_outcomes():
    runs = runs_of((4, "ab", False), (1, "ax", False), (1, "ab", True), (4, "ax", True))
    found = contrast_loops(runs, [LOOP], replicates=4_999)[0]
    along = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0])
    sums = [along[list(chosen)].sum() for chosen in combinations(range(10), 5)]
    exact = np.mean(np.array(sums) >= 4)
    assert found.pvalue == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 4_999))


def test_moves_to_the_end_and_steps_that_stay_are_no_alternative_to_the_loop():
    runs = runs_of((8, "ab", False), (2, "ax", False), (5, "ab", True), (5, "ax", True))
    ratio = contrast_loops(runs, [LOOP])[0].odds_ratio
    stay = [run_of("aa" + "".join(s for _, s in run.moves[:-1]), run.success) for run in runs]
    assert contrast_loops(stay, [LOOP])[0].odds_ratio == ratio


def test_outcomes_that_are_a_function_of_length_cannot_be_tested_and_the_reason_is_said():
    runs = runs_of((20, "abc" * 5, False), (20, "abx", True))
    found = contrast_loops(runs, [LOOP])[0]
    assert np.isnan(found.pvalue)
    assert not found.rejected
    assert "none is as long as one of the other group" in found.describe()
    assert "20 failed runs and 20 successful runs" in found.reason


def test_too_few_runs_are_named_with_the_smallest_pvalue_that_could_have_come_out():
    found = contrast_loops(runs_of((1, "abc", False), (4, "abx", True)), [LOOP])[0]
    assert "the smallest p-value that could have come out is 0.2" in found.reason


def test_runs_that_were_stopped_by_a_limit_are_left_out_and_counted():
    limited = [
        run_of("abc" * 3, False, f"limit-{i}", outcome=Outcome.RECURSION_LIMIT) for i in range(9)
    ]
    runs = runs_of((10, "abcx", False), (10, "abxx", True))
    found = contrast_loops([*runs, *limited], [LOOP])[0]
    assert (found.left_out, found.runs) == (9, (10, 10))
    assert found.pvalue == contrast_loops(runs, [LOOP])[0].pvalue


def test_the_order_of_runs_changes_no_digit_even_where_they_have_no_names():
    rng = np.random.default_rng(0)
    runs = walk_runs(rng, random_weights(rng, 5), 60, success=0.6, named=False)
    loops = [("0", "1", "2"), ("1", "3", "2")]
    expected = contrast_loops(runs, loops)
    for _ in range(3):
        again = contrast_loops([runs[i] for i in rng.permutation(len(runs))], loops)
        assert again == expected


def test_outcomes_at_random_are_flagged_no_more_often_than_alpha_over_all_loops():
    rng, flagged, tries = np.random.default_rng(1), 0, 200
    loops = [("0", "1", "2"), ("0", "2", "3"), ("1", "3", "4"), ("2", "4", "3"), ("0", "4", "1")]
    for _ in range(tries):
        weights = push_round(random_weights(rng, 6), (0, 1, 2), 3.0)
        runs = walk_runs(rng, weights, 60, success=0.7)
        found = contrast_loops(runs, loops, replicates=99)
        flagged += any(each.rejected for each in found)
    assert flagged / tries <= 0.05 + 3.7 * np.sqrt(0.05 * 0.95 / tries)


def test_failed_runs_that_are_the_long_ones_are_not_suspect_for_their_length():
    rng, flagged, tries = np.random.default_rng(2), 0, 100
    for _ in range(tries):
        weights = push_round(random_weights(rng, 6), (0, 1, 2), 3.0)
        runs = walk_runs(rng, weights, 100)
        longest = np.quantile([len(run.moves) for run in runs], 0.6)
        chance = [0.7 if len(run.moves) > longest else 0.1 for run in runs]
        runs = [
            Trajectory(run.moves, run.name, success=bool(rng.random() > p))
            for run, p in zip(runs, chance, strict=True)
        ]
        flagged += contrast_loops(runs, [("0", "1", "2")], replicates=99)[0].rejected
    assert flagged / tries <= 0.07 + 3.7 * np.sqrt(0.07 * 0.93 / tries)


def test_a_push_of_one_nat_a_step_in_failed_runs_is_found_and_one_of_two_nearly_always():
    rng, found = np.random.default_rng(3), {1.0: 0, 2.0: 0}
    for nats in found:
        for _ in range(40):
            weights = random_weights(rng, 6)
            good = walk_runs(rng, weights, 70, success=1.0)
            pushed = push_round(weights, (0, 1, 2), nats)
            bad = walk_runs(rng, pushed, 30, success=0.0, prefix="bad")
            found[nats] += contrast_loops(good + bad, [("0", "1", "2")], replicates=99)[0].rejected
    assert found[1.0] >= 24
    assert found[2.0] >= 36


def test_blocks_keep_a_hard_task_from_being_taken_for_a_cause():
    # Each task has its own path and its own rate of failure; inside a task neither matters.
    rng, flagged, tries = np.random.default_rng(4), 0, 100
    for _ in range(tries):
        runs = []
        for task in range(20):
            hard = rng.random() < 0.5
            path = "abcabcx" if hard else "abxabxx"
            for trial in range(6):
                good = bool(rng.random() < (0.2 if hard else 0.8))
                name, context = f"{task}-{trial}", (("task", str(task)),)
                runs.append(run_of(path, good, name, context=context))
        flagged += contrast_loops(runs, [LOOP], block="task", replicates=99)[0].rejected
    assert flagged / tries <= 0.05 + 3.7 * np.sqrt(0.05 * 0.95 / tries)
    assert contrast_loops(runs, [LOOP])[0].rejected  # without tasks it is taken for one


def test_runs_that_are_alone_in_their_block_are_compared_with_each_other():
    runs = runs_of((10, "abcx", False), (10, "abxx", True))
    alone = [
        Trajectory(run.moves, run.name, success=run.success, context=(("task", run.name),))
        for run in runs
    ]
    found = contrast_loops(alone, [LOOP], block="task")[0]
    assert found == contrast_loops(runs, [LOOP])[0]


def test_the_normal_law_of_many_runs_gives_the_pvalues_of_permutations(monkeypatch):
    rng = np.random.default_rng(5)
    weights = random_weights(rng, 4)
    pushed = push_round(weights, (0, 1, 2), 0.3)
    runs = walk_runs(rng, weights, 400, success=1.0)
    runs += walk_runs(rng, pushed, 200, success=0.0, prefix="bad")
    loops = [("0", "1", "2"), ("1", "2", "3"), ("0", "2", "3")]
    permuted = contrast_loops(runs, loops, replicates=4_999)
    monkeypatch.setattr(outcomes, "MOST_PERMUTED", 100)
    by_law = contrast_loops(runs, loops, replicates=4_999)
    for one, other in zip(permuted, by_law, strict=True):
        spread = np.sqrt(one.pvalue * (1 - one.pvalue) / 4_999)
        assert other.pvalue == pytest.approx(one.pvalue, abs=0.01 + 5 * spread)


def test_runs_are_held_against_those_of_a_baseline():
    rng = np.random.default_rng(6)
    weights = random_weights(rng, 6)
    usual = walk_runs(rng, weights, 60, prefix="usual")
    same = walk_runs(rng, weights, 60)
    pushed = walk_runs(rng, push_round(weights, (0, 1, 2), 2.0), 60)
    loops = [("0", "1", "2")]
    assert contrast_with_baseline(pushed, usual, loops)[0].rejected
    found = contrast_with_baseline(same, usual, loops)[0]
    assert not found.rejected
    assert "those of the baseline" in found.describe()


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"replicates": 18}])
def test_settings_out_of_range_are_named(wrong):
    (name,) = wrong
    with pytest.raises(InvalidInputError, match=name):
        contrast_loops(runs_of((2, "abc", True)), [LOOP], **wrong)
