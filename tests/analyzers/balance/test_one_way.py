import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from detailed_balance.analyzers import (
    Kernel,
    TransitionCounts,
    check_one_way,
    estimate_potential,
    needed_one_way,
    unseen_bound,
)
from detailed_balance.analyzers.errors import InvalidInputError
from tests.support.chains import reversible_kernel, sample_counts, walk_counts


@pytest.mark.parametrize("attempts", [1, 7, 300])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_the_bound_is_that_of_clopper_and_pearson(attempts, alpha):
    # A one-sided bound at alpha is the upper end of a two-sided interval at 2 alpha.
    interval = binomtest(0, attempts).proportion_ci(1 - 2 * alpha, method="exact")
    assert unseen_bound(attempts, alpha) == pytest.approx(interval.high, rel=1e-9)


def test_the_bound_is_three_over_n_and_nothing_tried_bounds_nothing():
    assert unseen_bound(10_000) == pytest.approx(3 / 10_000, rel=2e-3)
    assert unseen_bound(0) == 1.0


@pytest.mark.parametrize("back", [0.4, 0.02])
def test_the_bound_falls_below_a_probability_after_the_attempts_that_it_needs(back):
    needed = needed_one_way(back)
    assert unseen_bound(needed) <= back < unseen_bound(needed - 1)


def two_states(difference):
    """Return a potential with V(a) - V(b) = difference."""
    return estimate_potential(
        Kernel.from_matrix([[0, 0.5], [0.5 * np.exp(-difference), 0]], ("a", "b"))
    )


def test_a_hand_solved_pair():
    # 10 of 20 attempts a -> b, none of 60 back, and V(a) - V(b) = log 2: given a move, it is one
    # from a with probability 20 / (20 + 60 / 2) = 0.4.
    edges = [("a", "b", 10), ("a", None, 10), ("b", None, 60)]
    check = check_one_way(TransitionCounts.from_edges(edges), two_states(np.log(2)))
    assert check.source + check.target == ("a", "b")
    assert check.difference == pytest.approx([np.log(2)])
    assert check.bound == pytest.approx([1 - 0.05 ** (1 / 60)])
    assert check.least == pytest.approx([np.log(0.5 / (1 - 0.05 ** (1 / 60)))])
    assert check.pvalue == pytest.approx([2 * 0.4**10])
    assert not check.holds.any()
    assert check.violations == (("a", "b"),)


def test_one_move_fails_the_inequality_and_is_no_violation():
    edges = [("a", "b", 1), ("a", None, 1), ("b", None, 60)]
    check = check_one_way(TransitionCounts.from_edges(edges), two_states(1.0))
    assert not check.holds.any()
    assert check.violations == ()


def test_between_components_nothing_is_asked():
    edges = [("a", "b", 9), ("b", "a", 9), ("b", "c", 900), ("c", "d", 9), ("d", "c", 9)]
    check = check_one_way(TransitionCounts.from_edges(edges))
    assert (check.difference.tolist(), check.pvalue.tolist()) == ([np.inf], [1.0])
    assert check.holds.all()
    assert check.pairs_tested == 3


def false_violations(attempts, rate, difference):
    """Return the exact probability that a reversible pair is said to violate detailed balance."""
    potential, total = two_states(difference), 0.0
    law = binom(attempts, rate), binom(attempts, rate * np.exp(-difference))
    for walked, way in product(range(1, attempts + 1), (0, 1)):
        edges = [("a", "b", 0), ("b", "a", 0), ("a", None, attempts), ("b", None, attempts)]
        edges[way] = (*edges[way][:2], walked)
        edges[2 + way] = ("ab"[way], None, attempts - walked)
        if check_one_way(TransitionCounts.from_edges(edges), potential).violations:
            total += law[way].pmf(walked) * law[1 - way].pmf(0)
    return total


@pytest.mark.parametrize("difference", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.15, 0.5, 1.0])
def test_a_reversible_pair_is_accused_with_probability_alpha_at_most(rate, difference):
    assert false_violations(40, rate, difference) <= 0.05


@pytest.mark.parametrize(("walked", "accused"), [(5, False), (6, True)])
def test_the_way_round_is_counted_twice_because_it_was_not_foreseen(walked, accused):
    # Between equal states all n moves go one same way with probability 2 / 2^n.
    edges = [("a", "b", walked), ("a", None, 400 - walked), ("b", None, 400)]
    check = check_one_way(TransitionCounts.from_edges(edges), two_states(0.0))
    assert check.pvalue == pytest.approx([2 / 2**walked])
    assert bool(check.violations) == accused


def test_reversible_chains_are_not_accused_whichever_potential():
    accused, pairs, runs = np.zeros(2), 0, 150
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        kernel, _ = reversible_kernel(rng, 6, spread=1.5)
        counts = sample_counts(rng, kernel, 40)
        exact = estimate_potential(Kernel.from_matrix(kernel))
        checks = [check_one_way(counts, potential) for potential in (exact, None)]
        accused += [bool(check.violations) for check in checks]
        pairs += len(checks[0])
    assert pairs > 500
    assert (accused <= 0.05 * runs).all()


def ring(push, n=5):
    """Return a ring that goes `push` times as often one way as the other."""
    forward = np.roll(np.eye(n), 1, axis=1)
    return 0.9 * (push * forward + forward.T) / (1 + push)


def test_driven_rings_are_found_from_the_moves_that_nobody_makes():
    for seed in range(10):
        counts = walk_counts(np.random.default_rng(seed), ring(1e9), 500)
        check = check_one_way(counts)
        assert len(check.violations) == len(check) == 5
        assert {(f, g) for f, g in check.violations} == {
            (str(i), str((i + 1) % 5)) for i in range(5)
        }


def test_a_known_potential_finds_what_the_fitted_one_leans_to():
    # One edge of a reversible chain loses its way back: the fitted potential makes room for it.
    kernel, values = reversible_kernel(np.random.default_rng(4), 6, spread=0.3)
    exact = estimate_potential(Kernel.from_matrix(kernel))
    f, g = np.unravel_index(np.argmax(kernel), kernel.shape)
    driven = kernel.copy()
    driven[g, f] = 0
    counts = sample_counts(np.random.default_rng(0), driven, 300)
    known, fitted = check_one_way(counts, exact), check_one_way(counts)
    assert known.violations == ((str(f), str(g)),)
    where = fitted.source.index(str(f))
    assert fitted.pvalue[where] >= known.pvalue[known.source.index(str(f))]
    assert exact.difference(str(f), str(g)) == pytest.approx(values[f] - values[g], abs=1e-5)


def test_pairs_walked_both_ways_count_in_the_correction():
    edges = [("a", "b", 9), ("b", "c", 9), ("c", "a", 9), ("c", "d", 5), ("d", "c", 5)]
    check = check_one_way(TransitionCounts.from_edges(edges))
    assert (len(check), check.pairs_tested) == (3, 4)
    assert check.adjusted == pytest.approx(np.minimum(1, 4 * check.pvalue))


def test_the_attempts_of_the_potential_are_used():
    edges = [("a", "b", 40), ("b", "c", 40), ("c", "a", 40)]
    counts = TransitionCounts.from_edges(edges)
    check = check_one_way(counts, estimate_potential(counts, attempts=4000))
    assert check.attempts.tolist() == [4000.0] * 3
    assert check.least == pytest.approx(np.log(0.01 / unseen_bound(4000)) * np.ones(3))


def test_states_with_any_name_survive_the_way_to_json():
    evil = "\x1b[31m<script>", "=1+1", "__end__ ", ""
    edges = [(evil[i], evil[(i + 1) % 4], 9) for i in range(4)]
    restored = json.loads(json.dumps(check_one_way(TransitionCounts.from_edges(edges)).to_dict()))
    assert set(restored["pairs"]["source"]) == set(evil)
    assert restored["settings"] == {"alpha": 0.05}


def test_a_level_that_is_none_is_refused():
    with pytest.raises(InvalidInputError, match=r"alpha=1\.5; a level lies between 0 and 1"):
        unseen_bound(5, 1.5)
