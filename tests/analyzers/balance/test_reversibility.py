import json

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln
from scipy.stats import chi2

from detailed_balance.analyzers import END, START, TransitionCounts, reversibility_test
from detailed_balance.analyzers.balance._besag_clifford import sample_reversible_tables
from detailed_balance.analyzers.balance.reversible_mle import fit_reversible
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from tests.support.chains import count_matrices, reversible_kernel, walk_counts


def run_test(matrix, **options):
    return reversibility_test(TransitionCounts.from_dense(matrix), **options)


DRIVEN = np.array([[0, 30, 10], [10, 0, 30], [30, 10, 0]])


def fixed_point(counts, steps=20_000):
    """Iterate x_fg = (N_fg + N_gf) / (N_f / x_f + N_g / x_g) (Bowman et al. 2009)."""
    both, moves = counts + counts.T, counts.sum(axis=1)
    x = both.astype(float)
    for _ in range(steps):
        q = moves / x.sum(axis=1)
        x = both / (q[:, None] + q[None, :])
        x /= x.sum()
    return x / x.sum(axis=1, keepdims=True), x.sum(axis=1)


def log_likelihood(counts, kernel):
    seen = counts > 0
    return float((counts[seen] * np.log(kernel[seen])).sum())


def linked_counts(rng, n, most):
    counts = rng.integers(0, most + 1, (n, n))
    counts[np.arange(n), (np.arange(n) + 1) % n] += 1
    return counts


def test_a_driven_triangle_is_solved_by_hand():
    # Each state is entered as often as left, so the reversible chain goes half of it each way.
    result = run_test(DRIVEN, method="chi2")
    assert result.statistic == pytest.approx(2 * (90 * np.log(1.5) + 30 * np.log(0.5)))
    assert result.degrees_of_freedom == 1
    assert result.pvalue == pytest.approx(chi2.sf(result.statistic, 1))
    half = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    assert result.kernel.probabilities.toarray() == pytest.approx(half)
    assert result.stationary == pytest.approx(np.full(3, 1 / 3))


def test_the_bootstrap_of_a_triangle_draws_from_the_law_that_can_be_written_down():
    # Of 8, 8 and 8 walks, k go round: weight binom(8, k)^3, for k = 8, 7, ... 0.
    counts = np.array([[0, 6, 2], [2, 0, 6], [6, 2, 0]])
    k = np.arange(9)
    weight = np.exp(3 * (gammaln(9) - gammaln(k + 1) - gammaln(9 - k)))
    exact = weight[(k >= 6) | (k <= 2)].sum() / weight.sum()
    result = run_test(counts, method="bootstrap", replicates=20_000, seed=3)
    error = np.sqrt(exact * (1 - exact) / 20_000)
    assert result.pvalue == pytest.approx(exact, abs=4 * error)


def test_the_reversible_kernel_is_the_limit_of_the_fixed_point_iteration():
    counts = linked_counts(np.random.default_rng(0), 9, 6)
    result = run_test(counts)
    kernel, law = fixed_point(counts)
    assert result.kernel.probabilities.toarray() == pytest.approx(kernel, abs=1e-9)
    assert result.stationary == pytest.approx(law, abs=1e-9)
    unrestricted = counts / counts.sum(axis=1, keepdims=True)
    ratio = 2 * (log_likelihood(counts, unrestricted) - log_likelihood(counts, kernel))
    assert result.statistic == pytest.approx(ratio)


@pytest.mark.parametrize("seed", range(5))
def test_the_reversible_kernel_agrees_with_deeptime(seed):
    msm = pytest.importorskip("deeptime.markov.msm", reason="deeptime is not installed")
    counts = linked_counts(np.random.default_rng(seed), 12, 4)
    estimator = msm.MaximumLikelihoodMSM(reversible=True, maxerr=1e-14, maxiter=10**7)
    theirs = estimator.fit(counts.astype(float)).fetch_model()
    ours = run_test(counts)
    assert ours.kernel.probabilities.toarray() == pytest.approx(theirs.transition_matrix, abs=1e-9)
    assert ours.stationary == pytest.approx(theirs.stationary_distribution, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(count_matrices(min_states=3))
def test_the_fit_is_reversible_stationary_and_a_kernel(matrix):
    fit = fit_reversible(TransitionCounts.from_dense(matrix))
    kernel, law = fit.kernel().probabilities.toarray(), fit.stationary()
    flow = law[:, None] * kernel
    assert flow == pytest.approx(flow.T, abs=1e-8)
    assert kernel.sum(axis=1) == pytest.approx(np.ones(len(law)))
    assert law @ kernel == pytest.approx(law, abs=1e-8)
    assert np.all(fit.deviance() >= -1e-6 * (1 + fit.totals))


@settings(deadline=None, max_examples=50)
@given(count_matrices(min_states=3, max_count=20))
def test_degrees_of_freedom_count_the_independent_loops(matrix):
    fit = fit_reversible(TransitionCounts.from_dense(matrix))
    parts, labels = connected_components(matrix, connection="strong")
    inside = (labels[:, None] == labels[None, :]) & ((matrix + matrix.T) > 0)
    pairs = np.count_nonzero(np.triu(inside, 1))
    assert fit.degrees_of_freedom == pairs - len(matrix) + parts


def test_self_loops_escapes_and_boundaries_change_nothing():
    counts = TransitionCounts.from_dense(DRIVEN)
    more = [("0", "0", 50), ("1", None, 9), (START, "0", 4), ("2", END, 4)]
    with_more = reversibility_test(counts + TransitionCounts.from_edges(more))
    without = reversibility_test(counts)
    assert with_more.statistic == pytest.approx(without.statistic)
    assert with_more.pvalue == pytest.approx(without.pvalue)
    assert (with_more.moves, with_more.untested_moves) == (120, 0)


def test_what_lies_on_no_loop_is_left_out_and_counted():
    lead = TransitionCounts.from_edges([("a", "0", 7), ("b", "c", 2), ("2", "d", 3)])
    result = reversibility_test(TransitionCounts.from_dense(DRIVEN) + lead)
    assert result.statistic == pytest.approx(run_test(DRIVEN).statistic)
    assert result.untested_states == ("a", "b", "c", "d")
    assert result.untested_moves == 12


def test_pairs_walked_one_way_are_evidence():
    result = run_test([[0, 20, 0], [0, 0, 20], [20, 0, 0]], method="bootstrap")
    assert result.one_way_pairs == 3
    # Each of 60 moves went the way of a fair coin.
    assert result.statistic == pytest.approx(2 * 60 * np.log(2))
    assert result.pvalue == 1 / 1000


def test_a_graph_without_loops_raises_with_the_fit_attached():
    with pytest.raises(InsufficientDataError, match="no loop of three") as caught:
        run_test([[0, 9, 0], [2, 0, 5], [0, 4, 0]])
    assert np.isnan(caught.value.partial.pvalue)
    assert caught.value.partial.statistic == pytest.approx(0, abs=1e-9)


def test_new_names_leave_the_statistic_alone():
    rng = np.random.default_rng(5)
    counts = linked_counts(rng, 8, 9)
    order = rng.permutation(8)
    statistic = run_test(counts, method="chi2").statistic
    assert run_test(counts[order][:, order], method="chi2").statistic == pytest.approx(statistic)


def test_a_closed_walk_says_the_same_backward():
    walk = np.random.default_rng(5).integers(0, 7, 200)
    counts = np.zeros((7, 7), dtype=int)
    np.add.at(counts, (walk, np.roll(walk, -1)), 1)
    there, back = run_test(counts, method="chi2"), run_test(counts.T, method="chi2")
    assert there.statistic == pytest.approx(back.statistic)
    assert there.stationary == pytest.approx(counts.sum(axis=1) / 200)


def test_replicates_keep_the_totals_of_pairs_and_the_exits_of_states():
    counts = TransitionCounts.from_dense(linked_counts(np.random.default_rng(6), 9, 3))
    fit = fit_reversible(counts)
    rng = np.random.default_rng(0)
    (tables,) = sample_reversible_tables(fit, replicates=30, sweeps=5, rng=rng)
    assert tables.shape == (len(fit.pairs), 30)
    assert len(np.unique(tables, axis=1).T) > 20
    for table in tables.T:
        assert np.all((table >= 0) & (table <= fit.totals))
        out = np.bincount(fit.pairs.first, table, 9)
        out += np.bincount(fit.pairs.second, fit.totals - table, 9)
        assert out.tolist() == fit.exits().tolist()


def test_auto_takes_the_bootstrap_exactly_where_counts_are_small():
    few, many = run_test(DRIVEN // 5), run_test(DRIVEN * 10)
    assert (few.method, few.replicates) == ("bootstrap", 999)
    assert (many.method, many.replicates) == ("chi2", 0)
    # Six expected counts of 200: (1/200 + 1/200 - 1/400) / 6 for each of three pairs.
    assert many.small_count_shift == pytest.approx(3 * 0.0075 / 6 / np.sqrt(2))


def test_the_two_methods_agree_on_large_counts():
    rng = np.random.default_rng(2)
    kernel, _ = reversible_kernel(rng, 6)
    counts = walk_counts(rng, kernel, 60_000)
    by_law = reversibility_test(counts, method="chi2").pvalue
    drawn = reversibility_test(counts, method="bootstrap", replicates=1999, sweeps=20).pvalue
    assert drawn == pytest.approx(by_law, abs=4 * np.sqrt(by_law * (1 - by_law) / 1999))


def test_sparse_reversible_walks_are_seldom_rejected_where_the_chi_square_law_fails():
    by_tables = by_law = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        kernel, _ = reversible_kernel(rng, 8, spread=0.3)
        counts = walk_counts(rng, kernel, 200, walkers=1)
        result = reversibility_test(counts, method="bootstrap", replicates=99, sweeps=3)
        by_tables += result.pvalue <= 0.05
        by_law += chi2.sf(result.statistic, result.degrees_of_freedom) <= 0.05
    assert by_tables <= 120 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)) < by_law


def test_pvalues_hold_however_short_the_walk_between_tables():
    trials, low = 150, 0
    for seed in range(trials):
        rng = np.random.default_rng([seed, 1])
        kernel, _ = reversible_kernel(rng, 6, spread=0.5)
        rows = kernel / kernel.sum(axis=1, keepdims=True)
        counts = np.array([rng.multinomial(12, row) for row in rows])
        low += (
            run_test(counts, method="bootstrap", replicates=19, sweeps=1, seed=seed).pvalue <= 0.25
        )
    assert low / trials == pytest.approx(0.25, abs=3 * np.sqrt(0.25 * 0.75 / trials))


def test_driving_is_found_in_sparse_walks():
    rng = np.random.default_rng(1)
    kernel, _ = reversible_kernel(rng, 8)
    ring = np.roll(np.eye(8), 1, axis=1)
    counts = walk_counts(rng, 0.6 * kernel + 0.3 * ring, 400, walkers=1)
    assert reversibility_test(counts).pvalue == 1 / 1000


def test_equal_seeds_give_equal_results_and_progress_is_told():
    calls = []
    options = {"method": "bootstrap", "replicates": 50}
    counts = linked_counts(np.random.default_rng(8), 6, 3)
    first = run_test(
        counts, seed=4, progress=lambda done, total: calls.append((done, total)), **options
    )
    assert first.pvalue == run_test(counts, seed=4, **options).pvalue
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] > 0


def test_the_table_adds_up_to_the_statistic_and_is_json():
    result = run_test(DRIVEN)
    table = json.loads(json.dumps(result.to_dict()))["pairs"]
    assert sum(table["deviance"]) == pytest.approx(result.statistic)
    assert set(zip(table["source"], table["target"], strict=True)) == {
        ("0", "1"),
        ("1", "2"),
        ("2", "0"),
    }
    assert table["forward"] == [30, 30, 30]
    assert "120 moves over 3 pairs" in result.describe()


@pytest.mark.parametrize("options", [{"method": "exact"}, {"replicates": 5}, {"sweeps": 0}])
def test_settings_that_are_not_allowed_are_named(options):
    (name,) = options
    with pytest.raises(InvalidInputError, match=f"{name}="):
        run_test(DRIVEN, **options)
