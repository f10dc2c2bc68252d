from collections import defaultdict
from itertools import pairwise, product
from math import comb

import numpy as np
import pytest

from detailed_balance.analyzers import END, START, Trajectory, reversibility_test
from detailed_balance.analyzers.balance import run_wise
from detailed_balance.analyzers.balance.run_wise import mixture_test, orientation_test
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition.walk import LoopErasure
from detailed_balance.analyzers.runs.table import RunTable
from tests.support.runs import push_round, random_weights, walk_runs

LOOPS = [("0", "1", "2"), ("0", "2", "3"), ("1", "3", "4"), ("2", "3", "4")]


def closed_loops(path):
    walk, found = LoopErasure(), []
    for move, state in enumerate(path):
        loop = walk.visit(state, move)
        if len(loop) > 2:
            found.append(Loop(state for state, _ in loop))
    return found


def test_in_a_reversible_chain_the_directions_of_closed_loops_are_fair_and_independent():
    # All paths of 9 moves from state 0, each with its exact probability.
    weights = random_weights(np.random.default_rng(0), 4)
    kernel = weights / weights.sum(axis=1, keepdims=True)
    groups = defaultdict(lambda: defaultdict(float))
    for rest in product(range(4), repeat=9):
        path = (0, *rest)
        if any(f == g for f, g in pairwise(path)):
            continue
        chance = np.prod([kernel[f, g] for f, g in pairwise(path)])
        loops = closed_loops(path)
        unoriented = tuple(sorted(loop.unoriented() for loop in loops))
        ahead = sum(loop == loop.unoriented() for loop in loops)
        groups[path[-1], unoriented][ahead] += chance
    assert max(len(loops) for _, loops in groups) == 3
    for (_, loops), law in groups.items():
        total = sum(law.values())
        fair = [comb(len(loops), k) / 2 ** len(loops) for k in range(len(loops) + 1)]
        assert [law[k] / total for k in range(len(loops) + 1)] == pytest.approx(fair, abs=1e-12)


def test_closings_are_counted_by_the_moves_that_they_share_with_the_loop():
    # abc three times, abd once; acb once in another run.
    runs = [
        Trajectory(tuple(pairwise("abcabcabcabda")), "one"),
        Trajectory(tuple(pairwise("acba")), "other"),
    ]
    found = orientation_test(runs, [("a", "b", "c"), ("b", "d", "a"), ("x", "y", "z")])
    # Of abd against abc: the move a to b is shared. Of acb against abd: b to a, the other way.
    assert [(each.forward, each.backward) for each in found] == [(4, 1), (4, 1), (0, 0)]
    assert found[2].pvalue == 1.0
    assert "went round it 4 times in this direction and once in reverse" in found[0].describe()


def test_the_pvalue_of_one_loop_is_that_of_the_binomial_law():
    runs = [Trajectory(tuple(pairwise("abca")), f"{i}") for i in range(9)]
    runs += [Trajectory(tuple(pairwise("acba")), "back")]
    found = orientation_test(runs, [("a", "b", "c")], replicates=9_999)[0]
    exact = 2 * (1 + 10) / 2**10
    assert found.pvalue == pytest.approx(exact, abs=5 * np.sqrt(exact / 9_999))


@pytest.mark.parametrize("kind", ["one chain", "two types", "each its own", "ends in one state"])
def test_reversible_runs_that_differ_in_any_way_raise_no_more_than_alpha(kind):
    rng, flagged, tries = np.random.default_rng(1), 0, 150
    for _ in range(tries):
        weights = random_weights(rng, 5)
        options = {"end": 3} if kind == "ends in one state" else {}
        if kind == "each its own":
            weights = np.array([random_weights(rng, 5) for _ in range(60)])
        runs = walk_runs(rng, weights, 60, **options)
        if kind == "two types":
            runs += walk_runs(rng, random_weights(rng, 5), 60, prefix="other", start=3)
        found = orientation_test(runs, LOOPS, replicates=99)
        flagged += any(each.rejected for each in found)
    assert flagged / tries <= 0.05 + 3.7 * np.sqrt(0.05 * 0.95 / tries)


def test_a_push_inside_runs_is_found_where_the_pooled_test_cannot_tell_it_from_a_mixture():
    rng, pushed, pooled, mixed = np.random.default_rng(2), 0, 0, 0
    for _ in range(30):
        weights = push_round(random_weights(rng, 5), (0, 1, 2), 1.0)
        found = orientation_test(walk_runs(rng, weights, 100), LOOPS, replicates=99)
        pushed += found[0].rejected and found[0].forward > found[0].backward
        # The first type goes mostly round one way by its starts, the second the other way.
        runs = walk_runs(rng, random_weights(rng, 5, spread=2.0), 100)
        runs += walk_runs(rng, random_weights(rng, 5, spread=2.0), 100, prefix="b", start=3)
        mixed += any(e.rejected for e in orientation_test(runs, LOOPS, replicates=99))
        pooled += reversibility_test(RunTable.of(runs).counts()).pvalue <= 0.05
    assert pushed >= 28
    assert pooled >= 10
    assert mixed <= 6


def test_many_closings_are_drawn_by_their_normal_law_with_the_same_answer(monkeypatch):
    rng = np.random.default_rng(3)
    runs = walk_runs(rng, push_round(random_weights(rng, 5), (0, 1, 2), 0.15), 300)
    exact = orientation_test(runs, LOOPS, replicates=4_999)
    monkeypatch.setattr(run_wise, "MOST_DRAWN", 10)
    by_law = orientation_test(runs, LOOPS, replicates=4_999)
    for one, other in zip(exact, by_law, strict=True):
        assert other.pvalue == pytest.approx(one.pvalue, abs=0.02 + 5 * np.sqrt(0.25 / 4_999))


def test_runs_of_one_chain_are_no_mixture_and_two_types_of_tasks_are():
    rng, level, power = np.random.default_rng(4), 0, 0
    for _ in range(100):
        weights = random_weights(rng, 6)
        one = walk_runs(rng, weights, 60)
        other = walk_runs(rng, random_weights(rng, 6), 30, prefix="other")
        level += mixture_test(one, replicates=99).rejected
        power += mixture_test(one[:30] + other, replicates=99).rejected
    assert level / 100 <= 0.05 + 3.7 * np.sqrt(0.05 * 0.95 / 100)
    assert power >= 80


def test_the_label_that_divides_the_runs_is_named():
    rng = np.random.default_rng(5)
    runs = []
    for model in "xy":
        for run in walk_runs(rng, random_weights(rng, 6), 60, prefix=model):
            day = ("day", str(rng.integers(3)))
            runs.append(Trajectory(run.moves, run.name, context=(("model", model), day)))
    found = mixture_test(runs)
    assert found.labels == ("model",)
    assert found.explained_by["day"] > 0.05
    assert "they differ by model" in found.describe()


def test_a_change_of_version_shows_in_the_halves_of_the_record_in_time():
    rng = np.random.default_rng(6)
    runs = []
    for i in range(2):
        for k, run in enumerate(walk_runs(rng, random_weights(rng, 6), 60, prefix=f"{i}")):
            runs.append(Trajectory(run.moves, run.name, started=1e9 + 60 * i + k))
    assert mixture_test(runs).labels == ("first and second half",)


def test_the_excess_is_how_much_more_often_steps_of_one_run_agree():
    # From b there is one way; from a half of the runs go to b and half to c.
    one, other = (Trajectory(tuple(pairwise(f"a{s}" * 4 + "a"))) for s in "bc")
    found = mixture_test([one, other] * 10)
    pairs, agreeing = 12 + 12, 2 * 12 + 12
    assert found.excess == pytest.approx(agreeing / pairs - 1)


def test_the_order_of_runs_changes_no_digit_even_where_they_have_no_names():
    rng = np.random.default_rng(7)
    runs = walk_runs(rng, random_weights(rng, 5), 50, named=False)
    runs += walk_runs(rng, random_weights(rng, 5), 50, named=False)
    expected = mixture_test(runs), orientation_test(runs, LOOPS)
    for _ in range(3):
        shuffled = [runs[i] for i in rng.permutation(len(runs))]
        assert (mixture_test(shuffled), orientation_test(shuffled, LOOPS)) == expected


def test_too_few_runs_are_refused_with_what_is_needed():
    with pytest.raises(InsufficientDataError, match="1 runs"):
        mixture_test([Trajectory((("a", "b"), ("b", "a")))])
    with pytest.raises(InsufficientDataError, match="pairs of steps of one run"):
        mixture_test([Trajectory(((START, "a"), ("a", "b"), ("b", END)))] * 9)


@pytest.mark.parametrize("test", [mixture_test, lambda r, **o: orientation_test(r, LOOPS, **o)])
@pytest.mark.parametrize("wrong", [{"alpha": 1.0}, {"replicates": 1}])
def test_settings_out_of_range_are_named(test, wrong):
    (name,) = wrong
    with pytest.raises(InvalidInputError, match=name):
        test([Trajectory((("a", "b"), ("b", "a")))] * 3, **wrong)
