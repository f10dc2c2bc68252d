"""Runs of one task resemble each other: they are compared inside tasks, or tasks as wholes."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from detailed_balance.analyzers import (
    Trajectory,
    compare_kernels,
    compare_potentials,
    compare_runs,
)
from detailed_balance.analyzers.comparison._divisions import Divisions
from detailed_balance.analyzers.comparison.runs import contrast_runs
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from tests.support.walks import random_chain, walk_runs

MOVES = (("a", "b"), ("b", "c"))


def judged(side, task, successes, runs):
    return [
        Trajectory(MOVES, f"{side}-{task}-{i}", success=i < successes, context=(("task", task),))
        for i in range(runs)
    ]


def in_task(runs, task, side=""):
    labels = (("task", task),)
    return [replace(r, name=f"{side}{task}-{i}", context=labels) for i, r in enumerate(runs)]


def with_tasks(rng, tasks, trials, side, kinds):
    """Runs of tasks, each of which is taken by one of two kernels."""
    return [
        run
        for task in tasks
        for run in in_task(walk_runs(rng, *kinds[rng.random() < 0.5], trials), task, side)
    ]


def two_kinds(seed=3):
    rng = np.random.default_rng(seed)
    kernel, ends = random_chain(rng, 4)
    other, slow = random_chain(rng, 4, ending=0.05)
    return [(kernel, ends), (other, slow)]


# The divisions.


def test_divisions_of_a_small_case_are_those_by_hand():
    # Block 5 is on both sides; 7 and 9 are on one each; two runs have none.
    block = np.array([5, 7, 5, 9, -1, 7, 5, -1])
    side = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    divisions = Divisions.of(block, side)
    assert divisions.unit.tolist() == [0, 1, 2, 3, 4, 1, 5, 6]
    assert (divisions.stratum == 0).tolist() == [False, True, False, True, True, False, True]
    assert divisions.label.tolist() == [0, 0, 1, 1, 0, 1, 1]
    assert divisions.blocks == (1, 2, 2)
    assert divisions.smallest_pvalue == pytest.approx(1 / (3 * 6))
    drawn = {tuple(row) for rows in divisions.draw(2_000, np.random.default_rng(0)) for row in rows}
    assert len(drawn) == 3 * 6


def test_blocks_of_one_side_stay_where_they_are_where_runs_make_the_sides():
    block, side = np.array([1, 1, 2, 2, 3, -1]), np.array([0, 1, 0, 0, 1, 0])
    divisions = Divisions.of(block, side, whole=False)
    assert divisions.smallest_pvalue == pytest.approx(2 * 1 / 4)  # block 1, and 3 with the last
    scores = np.arange(12.0).reshape(2, 6)
    assert divisions.project(scores)[:, divisions.unit[2]] == pytest.approx(0)


def test_scores_of_units_sum_to_zero_inside_strata_and_vary_alike():
    rng = np.random.default_rng(0)
    block, side = rng.integers(-1, 8, 60), rng.integers(0, 2, 60)
    divisions = Divisions.of(block, side)
    rows = divisions.project(rng.normal(size=(3, 60)))
    for stratum in set(divisions.stratum.tolist()):
        np.testing.assert_allclose(rows[:, divisions.stratum == stratum].sum(axis=1), 0, atol=1e-9)
    drawn = np.vstack([labels @ rows.T for labels in divisions.draw(20_000, rng)])
    np.testing.assert_allclose(drawn.var(axis=0), 1, atol=5 * np.sqrt(2 / 20_000) * 1.5)


# The p-values, against exact ones.


def test_success_inside_tasks_has_the_pvalue_of_the_exact_stratified_test():
    before = {"t1": (4, 4), "t2": (3, 5), "t3": (2, 3), "t4": (4, 4)}
    after = {"t1": (1, 4), "t2": (2, 5), "t3": (1, 3), "t4": (2, 4)}
    sides = [
        [run for task, numbers in each.items() for run in judged(i, task, *numbers)]
        for i, each in enumerate((before, after))
    ]
    found = compare_runs(*sides, block="task", replicates=19_999)
    law = np.ones(1)
    for task, (good, runs) in before.items():
        more, others = after[task]
        each = hypergeom(runs + others, good + more, others).pmf(np.arange(others + 1))
        law = np.convolve(law, each)
    total = sum(good for good, _ in after.values())
    expected = sum(
        (before[t][0] + after[t][0]) * after[t][1] / (before[t][1] + after[t][1]) for t in after
    )
    far = np.abs(np.arange(len(law)) - expected) >= abs(total - expected) - 1e-9
    (change,) = found.test("success").changes
    assert change.pvalue == pytest.approx(law[far].sum(), abs=4 * np.sqrt(0.01 / 19_999))
    assert (found.unit, found.blocks) == ("runs in blocks", (4, 0, 0))


def test_other_tasks_are_permuted_as_wholes():
    shares = [4, 4, 4, 1, 0, 0, 1, 4]
    tasks = [judged("x", f"t{i}", n, 4) for i, n in enumerate(shares)]
    before, after = ([run for task in part for run in task] for part in (tasks[:4], tasks[4:]))
    found = compare_runs(before, after, block="task", replicates=19_999)
    sums = [sum(shares[i] for i in chosen) for chosen in combinations(range(8), 4)]
    away = np.abs(np.array(sums) - sum(shares) / 2)
    expected = (away >= abs(sum(shares[4:]) - sum(shares) / 2)).mean()
    (change,) = found.test("success").changes
    assert change.pvalue == pytest.approx(expected, abs=0.015)
    assert (found.unit, found.blocks) == ("blocks", (0, 4, 4))
    assert found.smallest_pvalue == pytest.approx(2 / 70)
    by_run = compare_runs(before, after, replicates=1_999).test("success").changes[0]
    assert by_run.pvalue < expected / 2


def test_where_nothing_can_be_permuted_it_says_so():
    before, after = judged(0, "t1", 3, 4), judged(1, "t2", 0, 4)
    found = compare_runs(before, after, block="task", replicates=99)
    assert found.smallest_pvalue == 1
    assert found.too_few
    assert not found.rejected
    assert "too few data" in found.describe()


def test_a_label_that_no_run_has_is_refused():
    with pytest.raises(InvalidInputError, match="no run has a label 'job'"):
        compare_runs(judged(0, "t", 1, 2), judged(1, "t", 1, 2), block="job")
    counts = RunTable.of(judged(0, "t", 1, 2)).counts()
    with pytest.raises(InvalidInputError, match="needs runs"):
        compare_kernels(counts, counts, block="task")


# What is promised.


def test_other_tasks_are_no_difference_as_seldom_as_promised():
    kinds = two_kinds()
    records, found = 80, np.zeros(4, dtype=int)
    for seed in range(records):
        rng = np.random.default_rng((5, seed))
        names = [f"t{i}" for i in range(12)]
        before = with_tasks(rng, names[:6], 8, "a", kinds)
        after = with_tasks(rng, names[6:], 8, "b", kinds)
        options = {"replicates": 99, "seed": seed}
        asked = {"questions": ("moves", "length"), **options}
        found += [
            compare_runs(before, after, block="task", **asked).rejected,
            compare_runs(before, after, **asked).rejected,
            compare_kernels(before, after, block="task", **options).rejected,
            compare_kernels(before, after, **options).rejected,
        ]
    assert found[0] <= 13  # binomial, 80 at 5%: 14 or more in 1 of 15,000
    assert found[2] <= 13
    assert found[1] > 13
    assert found[3] > 13


def test_outcomes_that_only_the_task_decides_do_not_differ_in_their_path():
    kinds = two_kinds()
    rejected = by_run = 0
    for seed in range(60):
        rng = np.random.default_rng((6, seed))
        runs = []
        for i in range(16):
            slow = rng.random() < 0.5
            walked = in_task(walk_runs(rng, *kinds[slow], 4), f"t{i:02}")
            luck = rng.random(4) < (0.2 if slow else 0.8)
            runs += [replace(r, success=bool(s)) for r, s in zip(walked, luck, strict=True)]
        plain = RunTable.of(runs)
        places = [np.flatnonzero(plain.success == kind) for kind in (1, 0)]
        asked = {"questions": ("moves", "length"), "replicates": 99, "whole_blocks": False}
        own = np.arange(len(plain))
        tasks = plain.with_blocks("task")
        rejected += contrast_runs(tasks, own, *places, **asked).rejected
        by_run += contrast_runs(plain, own, *places, **asked).rejected
    assert rejected <= 11  # binomial, 60 at 5%: 12 or more in 1 of 17,000
    assert by_run > 30


def test_a_change_inside_tasks_is_seen_better_than_between_runs():
    found = np.zeros(2, dtype=int)
    for seed in range(20):
        rng = np.random.default_rng((8, seed))
        sides = [[], []]
        for i, logit in enumerate(rng.normal(0, 4, 40)):
            for side, runs in enumerate(sides):
                good = (rng.random(4) < 1 / (1 + np.exp(side * 1.2 - logit))).sum()
                runs += judged(side, f"t{i}", good, 4)
        options = {"questions": ["success"], "replicates": 199}
        found += [
            compare_runs(*sides, block="task", **options).rejected,
            compare_runs(*sides, **options).rejected,
        ]
    assert found[0] >= 15
    assert found[1] <= 12


# Errors, and what must not matter.


def copies(runs, side):
    return [run for i, one in enumerate(runs) for run in in_task([one] * 3, f"{side}{i:02}", side)]


def test_blocks_of_copies_have_the_errors_of_single_runs():
    rng = np.random.default_rng(1)
    kernel, ends = random_chain(rng, 4)
    other = 0.8 * kernel + 0.2 * np.roll(kernel, 1, axis=0)
    sides = [walk_runs(rng, each, ends, 40) for each in (kernel, other)]
    many = [copies(side, name) for side, name in zip(sides, "ab", strict=True)]
    questions = ["moves", "length", "stays"]
    plain = compare_runs(*sides, questions=questions, replicates=99)
    blocks = compare_runs(*many, questions=questions, replicates=99, block="task")
    errors = {change.what: change.error for test in plain.tests for change in test.changes}
    compared = 0
    for test in blocks.tests:
        for change in test.changes:
            if change.what in errors:
                assert change.error == pytest.approx(errors[change.what], rel=1e-9)
                compared += 1
    assert compared > 10
    one, three = compare_potentials(*sides), compare_potentials(*many, block="task")
    np.testing.assert_allclose(three.errors, one.errors, rtol=1e-6)
    np.testing.assert_allclose(three.shift_error, one.shift_error, rtol=1e-6)
    assert three.pvalue == pytest.approx(one.pvalue, rel=1e-5)


def test_the_error_of_a_paired_change_is_that_of_the_differences_of_tasks():
    rng = np.random.default_rng(2)
    tasks = [f"t{i}" for i in range(20)]
    good = [[int(rng.binomial(4, 0.1 + 0.04 * i)) for i in range(20)] for _ in range(2)]
    sides = [
        [run for task, n in zip(tasks, numbers, strict=True) for run in judged(s, task, n, 4)]
        for s, numbers in enumerate(good)
    ]
    (change,) = compare_runs(*sides, block="task", replicates=99).test("success").changes
    differences = (np.array(good[1]) - np.array(good[0])) / 4
    assert change.error == pytest.approx(differences.std(ddof=1) / np.sqrt(20))


def test_runs_and_their_exact_copies_in_the_same_tasks_have_no_error():
    rng = np.random.default_rng(4)
    kernel, ends = random_chain(rng, 4)
    runs = [r for i in range(15) for r in in_task(walk_runs(rng, kernel, ends, 2), f"t{i}", "a")]
    twins = [replace(run, name=f"b{run.name}") for run in runs]
    found = compare_potentials(runs, twins, block="task")
    np.testing.assert_allclose(found.shift_error, 0, atol=1e-6)
    assert found.pvalue == 1


def as_moves(runs):
    """Return each move as a run by itself: permuted so, tasks are taken for a change."""
    return [
        replace(run, name=f"{run.name}-{k}", moves=(move,), success=None)
        for run in runs
        for k, move in enumerate(run.moves)
    ]


def test_permuted_potentials_do_not_take_other_tasks_for_a_change():
    kinds = two_kinds()
    rejected = by_move = 0
    for seed in range(8):
        rng = np.random.default_rng((9, seed))
        names = [f"t{i}" for i in range(8)]
        before = with_tasks(rng, names[:4], 20, "a", kinds)
        after = with_tasks(rng, names[4:], 20, "b", kinds)
        rejected += compare_potentials(before, after, block="task", replicates=19).rejected
        moves = as_moves(before), as_moves(after)
        by_move += compare_potentials(*moves, replicates=19).rejected
    most = binom.isf(1e-3, 8, 0.05)
    assert rejected <= most < by_move


@pytest.mark.parametrize("same", [0, 6, 12])
def test_neither_the_order_of_runs_nor_that_of_tasks_changes_a_number(same):
    kinds = two_kinds()
    rng = np.random.default_rng(7)
    names = [f"t{i}" for i in range(24 - same)]
    sides = [
        with_tasks(rng, names[:12], 3, "a", kinds),
        with_tasks(rng, names[12 - same : 24 - same], 3, "b", kinds),
    ]
    options = {"block": "task", "replicates": 99}
    functions = (compare_runs, compare_kernels)
    expected = [repr(function(*sides, **options).to_dict()) for function in functions]
    for _ in range(2):
        shuffled = [[side[i] for i in rng.permutation(len(side))] for side in sides]
        for function, value in zip(functions, expected, strict=True):
            assert repr(function(*shuffled, **options).to_dict()) == value


def test_blocks_of_the_tables_are_used_without_being_asked_for():
    kinds = two_kinds()
    rng = np.random.default_rng(10)
    names = [f"t{i}" for i in range(16)]
    before = with_tasks(rng, names[:8], 3, "a", kinds)
    after = with_tasks(rng, names[8:], 3, "b", kinds)
    asked = compare_runs(before, after, block="task", replicates=99)
    tables = [RunTable.of(side).with_blocks("task") for side in (before, after)]
    assert compare_runs(*tables, replicates=99).to_dict() == asked.to_dict()
