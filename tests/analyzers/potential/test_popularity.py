"""Potential and popularity: kernels solved by hand, the exact kernels of a model, and the null."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from detailed_balance.analyzers import (
    Kernel,
    RunTable,
    Trajectory,
    TransitionCounts,
    compare_with_popularity,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from tests.support.chains import data_file, reversible_kernel, sample_counts

P = np.array([0.5, 0.3, 0.1, 0.06, 0.04])


def blind(p):
    """Return the kernel of an agent that does not look at its state; no self-loops."""
    return Kernel.from_matrix(np.where(np.eye(len(p)), 0.0, p))


def test_an_agent_that_does_not_look_has_a_potential_that_is_popularity():
    found = compare_with_popularity(blind(P))
    assert found.popularity == pytest.approx(P)
    assert np.diff(found.potential.values + np.log(P)) == pytest.approx(np.zeros(4), abs=1e-6)
    assert found.correlation == pytest.approx(1)
    for shares in (found.unweighted, found.weighted, found.weighted_scaled):
        assert (shares.popularity, shares.potential) == pytest.approx((1, 1))
        assert np.isnan(shares.given_popularity)
    assert "nothing is left" in found.describe()


def test_the_shares_of_three_states_are_those_worked_out_by_hand():
    kernel = Kernel.from_matrix([[0.0, 0.1, 0.2], [0.3, 0.0, 0.2], [0.1, 0.1, 0.0]])
    log = np.log
    found = compare_with_popularity(kernel)
    assert found.popularity == pytest.approx([0.2, 0.1, 0.2])
    # Log ratios and what popularity expects of them, pair by pair.
    ratios = np.array([log(0.1 / 0.3), log(0.2 / 0.1), log(0.2 / 0.1)])
    expected = np.array([log(0.1 / 0.2), log(0.2 / 0.2), log(0.2 / 0.1)])
    weights = np.array([0.4, 0.3, 0.3])
    for weight, shares in ((1, found.unweighted), (weights, found.weighted)):
        total = (weight * ratios**2).sum()
        share = 1 - (weight * (ratios - expected) ** 2).sum() / total
        assert shares.popularity == pytest.approx(share)
        left = (shares.potential - share) / (1 - share)
        assert shares.given_popularity == pytest.approx(left)
    scale = (ratios @ expected) / (expected @ expected)
    share = 1 - ((ratios - scale * expected) ** 2).sum() / (ratios**2).sum()
    assert found.unweighted_scaled.popularity == pytest.approx(share)


def test_in_balance_beyond_popularity_the_potential_explains_all():
    kernel, potential = reversible_kernel(np.random.default_rng(3), 12, spread=1.5)
    found = compare_with_popularity(Kernel.from_matrix(kernel))
    assert found.potential.values == pytest.approx(potential - potential.min(), abs=1e-5)
    assert found.weighted.potential == pytest.approx(1)
    assert found.weighted.popularity < 0.95
    assert found.weighted.given_popularity == pytest.approx(1)
    assert found.weighted.given_popularity_error == pytest.approx(0, abs=1e-6)
    assert found.unit == "state"
    assert found.groups == 12


def test_the_exact_kernels_of_a_model_give_the_numbers_on_the_page():
    with np.load(data_file("smollm2", "kernel_chat.npz"), allow_pickle=False) as file:
        logs = file["logP"].astype(float)
    known = [
        (0.886, (0.372, 0.524), (0.670, 0.849), (0.29, 0.10)),
        (0.941, (0.490, 0.598), (0.682, 0.800), (0.21, 0.05)),
    ]
    for log, (r, plain, weighted, left) in zip(logs, known, strict=True):
        rows = np.exp(log)
        found = compare_with_popularity(Kernel.from_matrix(rows / rows.sum(1, keepdims=True)))
        assert found.pairs == 150 * 149 / 2
        assert found.correlation == pytest.approx(r, abs=0.001)
        for shares, expected in ((found.unweighted, plain), (found.weighted, weighted)):
            assert (shares.popularity, shares.potential) == pytest.approx(expected, abs=0.001)
        scaled = found.weighted_scaled
        assert (scaled.given_popularity, scaled.given_popularity_error) == pytest.approx(
            left, abs=0.01
        )
        assert np.isnan(found.pvalue)


def pvalues_of(draw, records):
    rng = np.random.default_rng(0)
    found = [compare_with_popularity(draw(rng), replicates=19, seed=1) for _ in range(records)]
    return np.array([each.pvalue for each in found])


def test_the_test_keeps_its_level_where_the_agent_does_not_look():
    def draw(rng):
        p = rng.dirichlet(np.ones(8))
        return TransitionCounts.from_dense([rng.multinomial(150, p) for _ in p])

    pvalues = pvalues_of(draw, 30)
    assert np.sum(pvalues <= 0.05) <= binom.isf(1e-2, 30, 0.05)
    assert 0.35 < np.mean(pvalues) < 0.7


def test_a_weak_potential_beside_popularity_is_found_as_often_as_such_counts_allow():
    # Half the time, and with a null that is twice as wide nearly never.
    def draw(rng):
        return sample_counts(rng, reversible_kernel(rng, 8, spread=0.5)[0], 100)

    assert np.sum(pvalues_of(draw, 20) <= 0.05) >= binom.ppf(1e-2, 20, 0.5)


def test_the_test_finds_a_potential_that_is_more_than_popularity():
    rng = np.random.default_rng(1)
    kernel, _ = reversible_kernel(rng, 12, spread=1.5)
    counts = sample_counts(rng, kernel, 2_000)
    found = compare_with_popularity(counts, replicates=39)
    assert found.pvalue == 1 / 40
    assert found.weighted.given_popularity > found.expected_given
    assert "is more than popularity" in found.describe()


def draw_runs(rng, runs, length=60):
    p, made = np.array([0.4, 0.3, 0.15, 0.1, 0.05]), []
    for name in range(runs):
        states = rng.choice(list("abcde"), size=length, p=p)
        made.append(Trajectory(tuple(pairwise(states)), str(name)))
    return made


def test_errors_are_by_runs_and_cover_what_popularity_explains():
    rng, seen, errors = np.random.default_rng(2), [], []
    for _ in range(25):
        found = compare_with_popularity(draw_runs(rng, 20), replicates=0)
        assert (found.unit, found.groups) == ("run", 20)
        seen.append(found.weighted.popularity)
        errors.append(found.weighted.popularity_error)
    assert 0.6 < np.sqrt(np.mean(np.square(errors))) / np.std(seen) < 1.8


def test_too_few_runs_and_states_have_no_error_and_blocks_count_together():
    rng = np.random.default_rng(2)
    few = compare_with_popularity(draw_runs(rng, 5), replicates=0)
    assert (few.unit, few.groups) == ("state", 0)
    assert np.isnan(few.weighted.popularity_error)
    runs = [
        Trajectory(run.moves, run.run, context=(("task", str(i // 2)),))
        for i, run in enumerate(draw_runs(rng, 30))
    ]
    blocks = compare_with_popularity(RunTable.of(runs).with_blocks("task"), replicates=0)
    assert (blocks.unit, blocks.groups) == ("block", 15)


def test_the_order_of_states_changes_nothing():
    rng = np.random.default_rng(4)
    table = rng.poisson(6, (12, 12))
    names = [f"s{i:02}" for i in range(12)]
    turned = rng.permutation(12)
    one = compare_with_popularity(TransitionCounts.from_dense(table, names), replicates=19)
    other = compare_with_popularity(
        TransitionCounts.from_dense(table[np.ix_(turned, turned)], [names[i] for i in turned]),
        replicates=19,
    )
    assert one.to_dict() == other.to_dict()
    assert one.potential.states == tuple(names)


def test_pairs_without_a_loop_say_nothing_of_the_potential():
    tree = TransitionCounts.from_edges(
        [("a", "b", 9), ("b", "a", 3), ("b", "c", 5), ("c", "b", 2), ("c", "c", 2)]
    )
    found = compare_with_popularity(tree)
    assert (found.pairs, found.independent_loops) == (2, 0)
    assert found.weighted.potential == pytest.approx(1)
    assert "says nothing" in found.describe()


def test_one_way_records_and_wrong_settings_are_refused_with_what_to_do():
    one_way = TransitionCounts.from_edges([("a", "b", 9), ("b", "c", 9)])
    with pytest.raises(InsufficientDataError, match="seen in both directions"):
        compare_with_popularity(one_way)
    with pytest.raises(InvalidInputError, match="replicates=-1"):
        compare_with_popularity(one_way, replicates=-1)
