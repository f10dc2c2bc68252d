"""Triplets of sparse counts: the statistic of the paper, with its errors and with ours."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

from detailed_balance.analyzers import (
    START,
    Loop,
    TransitionCounts,
    calibrate_triplets,
    measure_triplets,
)
from detailed_balance.analyzers.balance.loops import find_loops
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from tests.support.chains import count_matrices, reversible_kernel, sample_counts

EDGES = [("a", "b", 4), ("b", "c", 2), ("c", "a", 5), ("b", "a", 1), ("c", "b", 3), ("a", "c", 2)]


def counted(edges=EDGES, escapes=(("a", 4), ("b", 7), ("c", 2))):
    return TransitionCounts.from_edges([*edges, *((state, None, n) for state, n in escapes)])


def test_the_sums_and_the_errors_are_those_worked_out_by_hand():
    # Each state has ten attempts.
    found = measure_triplets(counted())
    assert found.loops == (Loop("abc"),)
    assert found.forward == pytest.approx(np.log(0.4 * 0.2 * 0.5))
    assert found.backward == pytest.approx(np.log(0.2 * 0.3 * 0.1))
    assert found.forward_error == pytest.approx(np.sqrt(1 / 4 + 1 / 2 + 1 / 5 - 3 / 10))
    assert found.backward_error == pytest.approx(np.sqrt(1 / 2 + 1 / 3 + 1 / 1 - 3 / 10))
    assert found.affinity == pytest.approx(np.log(40 / 6))
    assert found.error**2 == pytest.approx(1 / 4 + 1 / 2 + 1 / 5 + 1 / 2 + 1 / 3 + 1)
    assert found.mean_square == pytest.approx(np.log(40 / 6) ** 2 / found.error[0] ** 2)


def test_the_errors_of_the_paper_have_plus_signs_and_are_larger():
    ours, paper = (measure_triplets(counted(), errors=each) for each in ("multinomial", "paper"))
    assert paper.forward_error == pytest.approx(np.sqrt(1 / 4 + 1 / 2 + 1 / 5 + 3 / 10))
    assert paper.error**2 == pytest.approx(ours.error**2 + 6 / 10)
    assert paper.affinity == pytest.approx(ours.affinity)
    assert paper.mean_square < ours.mean_square


def test_the_attempts_shift_both_sums_and_leave_the_affinity():
    few, many = (measure_triplets(counted(), attempts=n) for n in (10, 1000))
    assert few.forward - many.forward == pytest.approx(3 * np.log(100))
    assert few.affinity == pytest.approx(many.affinity)
    each = measure_triplets(counted(), attempts=[10.0, 20.0, 40.0])
    assert each.forward == pytest.approx(np.log(4 / 10 * 2 / 20 * 5 / 40))


@given(count_matrices(max_states=7))
def test_every_triplet_with_six_counts_is_there_once(matrix):
    states = [f"s{i}" for i in range(len(matrix))]
    counts = TransitionCounts.from_dense(matrix, states)
    for least in (1, 2):
        expected = [
            Loop(states[i] for i in triplet)
            for triplet in combinations(range(len(matrix)), 3)
            if all(matrix[i, j] >= least for i in triplet for j in triplet if i != j)
        ]
        assert list(measure_triplets(counts, min_count=least).loops) == expected


def test_the_order_of_the_states_changes_nothing():
    one, other = measure_triplets(counted()), measure_triplets(counted(EDGES[::-1]))
    assert one.to_dict() == other.to_dict()


def test_start_and_self_loops_are_no_part_of_a_triplet():
    more = [*EDGES, (START, "a", 9), ("a", START, 9), (START, "b", 1), ("b", START, 1)]
    assert measure_triplets(counted([*more, ("a", "a", 3)])).loops == (Loop("abc"),)


def test_the_affinity_is_that_of_the_loop_test_where_that_tests():
    rng = np.random.default_rng(1)
    kernel, _ = reversible_kernel(rng, 5, spread=0.5)
    counts = sample_counts(rng, kernel, 2_000)
    loops, found = find_loops(counts), measure_triplets(counts)
    tested = {loops.names(i).unoriented(): i for i in range(len(loops)) if not loops.searched[i]}
    shared = [(k, tested[loop.unoriented()]) for k, loop in enumerate(found.loops)]
    assert len(shared) == len(found) == 10
    for k, i in shared:
        assert abs(found.affinity[k]) == pytest.approx(loops.affinity[i])
        assert found.error[k] == pytest.approx(loops.error[i])


def test_under_detailed_balance_it_is_1_with_many_counts_and_below_1_with_few():
    # Only triplets whose six moves were all seen enter: the selection of the paper.
    rng = np.random.default_rng(0)
    many, few = [], []
    for _ in range(60):
        kernel, _ = reversible_kernel(rng, 8, spread=1.0)
        many.append(measure_triplets(sample_counts(rng, kernel, 4_000)).mean_square)
        few.append(measure_triplets(sample_counts(rng, kernel, 25)).mean_square)
    assert 0.85 < np.mean(many) < 1.15
    assert np.nanmean(few) < 0.75


def test_too_few_counts_are_an_empty_table_and_a_wrong_argument_an_error():
    found = measure_triplets(counted(), min_count=3)
    assert len(found) == 0
    assert np.isnan(found.mean_square)
    assert found.to_dict()["mean_square"] is None
    with pytest.raises(InvalidInputError, match=r"min_count=0.*1 or more"):
        measure_triplets(counted(), min_count=0)
    with pytest.raises(InvalidInputError, match=r"errors='papers'.*multinomial, paper"):
        measure_triplets(counted(), errors="papers")


def sparse_counts(rng, n=25, attempts=100):
    """Return counts of a kernel in balance, most moves of which were seen a few times."""
    kernel, _ = reversible_kernel(rng, n, density=0.5)
    return sample_counts(rng, kernel, attempts)


def test_under_balance_the_mean_square_of_sparse_triplets_is_below_one_and_the_null_says_so():
    rng = np.random.default_rng(7)
    found = [calibrate_triplets(sparse_counts(rng), replicates=19) for _ in range(25)]
    observed, mean = (np.mean([getattr(f, name) for f in found]) for name in ("observed", "mean"))
    assert 0.4 < observed < 0.85
    assert mean == pytest.approx(observed, abs=0.08)
    pvalues = np.array([f.pvalue for f in found])
    assert np.sum(pvalues <= 0.05) <= 5  # 99% of binomial draws of 25 at 0.05 are at most 4
    assert 0.3 < pvalues.mean() < 0.7


def test_a_push_shows_where_its_mean_square_is_beyond_the_null():
    ring = np.array([[0, 30, 10], [10, 0, 30], [30, 10, 0]])
    found = calibrate_triplets(TransitionCounts.from_dense(ring), replicates=99)
    assert found.observed == measure_triplets(TransitionCounts.from_dense(ring)).mean_square
    assert found.mean == pytest.approx(1, abs=0.4)  # counts are large: chi-square of one degree
    assert (found.triplets, found.mean_triplets, found.empty) == (1, 1.0, 0)
    assert found.pvalue == 0.01
    assert "detailed balance gives" in found.describe()


def test_the_null_is_the_same_for_any_order_of_states_and_takes_the_errors_of_the_paper():
    rng = np.random.default_rng(8)
    counts = sparse_counts(rng, n=12, attempts=100)
    turned = counts.restrict([counts.states[i] for i in rng.permutation(12)])
    settings = {"errors": "paper", "attempts": 100, "replicates": 19, "min_count": 2}
    one, other = (calibrate_triplets(each, **settings) for each in (counts, turned))
    assert one.to_dict() == other.to_dict()
    by_array = calibrate_triplets(turned, **{**settings, "attempts": [100.0] * 12})
    assert by_array.mean == pytest.approx(one.mean)
    assert one.mean < calibrate_triplets(counts, **{**settings, "errors": "multinomial"}).mean


def test_without_a_triplet_there_is_no_null():
    with pytest.raises(InsufficientDataError, match="no triplet"):
        calibrate_triplets(TransitionCounts.from_edges([("a", "b", 3), ("b", "a", 2)]))
    with pytest.raises(InvalidInputError, match="replicates"):
        calibrate_triplets(counted(), replicates=0)
