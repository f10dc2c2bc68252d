import mpmath
import numpy as np
import pytest
from scipy.sparse import block_diag, coo_array, csr_array

from detailed_balance.analyzers import (
    Exponential,
    Kernel,
    Softplus,
    TransitionCounts,
    estimate_potential,
)
from detailed_balance.analyzers._solver import newton as solver
from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers._solver.flows import edge_action, edge_flows, state_flows
from detailed_balance.analyzers._solver.incomplete_cholesky import (
    DiagonalSolver,
    IncompleteCholeskySolver,
)
from detailed_balance.analyzers.errors import ConvergenceError, InvalidInputError
from detailed_balance.analyzers.potential._standard_errors import sketch_size
from tests.support.chains import (
    noisy_kernel,
    precise_potential,
    random_pairs,
    reversible_kernel,
    sample_counts,
)

BOTH = pytest.mark.parametrize("violation", [Exponential(), Softplus()], ids=["exp", "softplus"])


def ring_pairs(n, width):
    i = np.tile(np.arange(n), width)
    return np.stack([i, (i + np.repeat(np.arange(1, width + 1), n)) % n], axis=1)


def grid_pairs(side):
    place = np.arange(side * side).reshape(side, side)
    links = [(place[:, :-1], place[:, 1:]), (place[:-1], place[1:])]
    links += [(place[:-1, :-1], place[1:, 1:]), (place[:-1, 1:], place[1:, :-1])]
    return np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in links])


def tree_pairs(n, rng):
    child = np.arange(1, n)
    return np.stack([child, (child * rng.random(n - 1)).astype(int)], axis=1)


def difference(one, other):
    return np.ptp(np.asarray(one) - np.asarray(other))


@pytest.mark.parametrize(
    "method", ["newton", "pcg", "banded", "lu", "amg", "spanning_tree", "multiscale", "osborne"]
)
def test_every_method_finds_the_same_potential(method):
    rng = np.random.default_rng(1)
    kernel, _ = noisy_kernel(600, random_pairs(600, rng), rng)
    known = estimate_potential(kernel)
    found = estimate_potential(kernel, method=method)
    assert difference(found.heights, known.heights) < 1e-8
    assert found.method == {"newton": "pcg"}.get(method, method)


@pytest.mark.parametrize(
    ("pairs", "method"),
    [
        (lambda rng: random_pairs(60, rng), "lu"),
        (lambda rng: random_pairs(3_000, rng), "pcg"),
        (lambda _: ring_pairs(5_000, 5), "banded"),
        (lambda _: grid_pairs(150), "amg"),
        (lambda rng: tree_pairs(5_000, rng), "lu"),
    ],
    ids=["small", "random", "ring", "grid", "tree"],
)
@BOTH
def test_the_method_suits_the_graph(pairs, method, violation):
    rng = np.random.default_rng(2)
    links = pairs(rng)
    kernel, _ = noisy_kernel(int(links.max()) + 1, links, rng)
    # A tree balances exactly in the first guess; from V = 0 it has to be solved.
    initial = dict.fromkeys(kernel.states, 0.0)
    potential = estimate_potential(kernel, violation=violation, initial=initial)
    assert potential.method == method
    assert potential.residual <= 1e-10


@pytest.mark.parametrize(("orders", "spread"), [(0, 400), (30, 10), (200, 1), (150, 300)])
@pytest.mark.parametrize("n", [5, 80, 600])
@BOTH
def test_weights_over_200_orders_of_magnitude_keep_their_digits(n, orders, spread, violation):
    rng = np.random.default_rng(n)
    kernel, truth = noisy_kernel(
        n, random_pairs(n, rng), rng, spread=spread, noise=0.0, orders=orders
    )
    potential = estimate_potential(kernel, violation=violation)
    assert difference(potential.heights, truth) < 1e-9


@pytest.mark.parametrize(
    "links", [random_pairs, lambda n, _: ring_pairs(n, 2)], ids=["random", "ring"]
)
@pytest.mark.parametrize("orders", [12, 30, 200])
@BOTH
def test_spanning_tree_and_multiscale_agree_where_weights_are_wide(
    monkeypatch, links, orders, violation
):
    # With noise there is no closed form; the two methods share only the flows.
    rng = np.random.default_rng(orders)
    kernel, _ = noisy_kernel(400, links(400, rng), rng, spread=5, noise=0.5, orders=orders)
    by_tree = estimate_potential(kernel, violation=violation)
    monkeypatch.setattr(solver, "TREE_LIMIT", 300)
    by_scales = estimate_potential(kernel, violation=violation)
    assert (by_tree.method, by_scales.method) == ("spanning_tree", "multiscale")
    assert by_scales.residual <= 1e-10
    assert difference(by_scales.heights, by_tree.heights) < 1e-6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", [1, 5, 48])
def test_a_first_step_of_any_length_is_survived(seed):
    # Far out on its flat side the softplus bends so little that a step goes 1e200 and further.
    rng = np.random.default_rng(seed)
    pairs = tree_pairs(100, rng)
    kernel, _ = noisy_kernel(100, pairs, rng, spread=10, noise=1.5, orders=5)
    found = estimate_potential(kernel, violation=Softplus())
    # In a tree each pair balances by itself.
    there, back = kernel.probabilities[*pairs.T], kernel.probabilities[*pairs.T[::-1]]
    drops = found.heights[pairs[:, 0]] - found.heights[pairs[:, 1]]
    assert np.allclose(drops, np.log(there / back), atol=1e-6)


@pytest.mark.parametrize("limit", [solver.TREE_LIMIT, 0], ids=["spanning_tree", "multiscale"])
@pytest.mark.parametrize("seed", range(4))
@BOTH
def test_hard_small_chains_agree_with_500_digits(monkeypatch, seed, violation, limit):
    monkeypatch.setattr(solver, "TREE_LIMIT", limit)
    # One-way moves, noise, and weights over 60 orders of magnitude: no closed form.
    rng = np.random.default_rng(seed)
    rates = 10 ** rng.uniform(-60, -1, (5, 5)) * (rng.random((5, 5)) < 0.6)
    rates[np.arange(5), (np.arange(5) + 1) % 5] += 10 ** rng.uniform(-60, -1, 5)
    np.fill_diagonal(rates, 0.0)
    potential = estimate_potential(Kernel.from_matrix(rates), violation=violation)
    known = precise_potential(rates, isinstance(violation, Softplus))
    assert difference(potential.heights, known) < 1e-7


@BOTH
def test_thousands_of_components_of_any_size_are_solved_together(violation):
    # Two-state components have the potential log(there / back), at any scale.
    rng = np.random.default_rng(3)
    c = 3_000
    there, back = 10 ** rng.uniform(-150, -1, (2, c)) * np.array([[1.0], [1e-3]])
    f = 2 * np.arange(c)
    matrix = coo_array((np.r_[there, back], (np.r_[f, f + 1], np.r_[f + 1, f])), (2 * c, 2 * c))
    kernel = Kernel(tuple(map(str, range(2 * c))), matrix.tocsr())
    potential = estimate_potential(kernel, violation=violation)
    found = potential.heights[f] - potential.heights[f + 1]
    assert np.abs(found - np.log(there / back)).max() < 1e-8
    assert potential.residual <= 1e-10


def test_a_component_is_solved_as_if_it_were_alone():
    rng = np.random.default_rng(4)
    one, _ = noisy_kernel(500, random_pairs(500, rng), rng)
    other, _ = noisy_kernel(700, random_pairs(700, rng), rng)
    first, second = one.probabilities.tocoo(), other.probabilities.tocoo()
    rows = np.r_[first.row, second.row + 500]
    columns = np.r_[first.col, second.col + 500]
    data = np.r_[first.data, second.data * 1e-100]
    both = Kernel(
        tuple(map(str, range(1_200))), coo_array((data, (rows, columns)), (1_200, 1_200)).tocsr()
    )
    together = estimate_potential(both).heights
    assert difference(together[:500], estimate_potential(one).heights) < 1e-7
    assert difference(together[500:], estimate_potential(other).heights) < 1e-7


@pytest.mark.parametrize("link", [1.0, 1e-4])
def test_a_bottleneck_that_hardly_shows_in_the_flow_is_resolved(link):
    rng = np.random.default_rng(5)
    n = 3_000
    halves = [random_pairs(n, rng), random_pairs(n, rng) + n]
    kernel, _ = noisy_kernel(2 * n, np.concatenate(halves), rng)
    matrix = kernel.probabilities.tolil()
    matrix[0, n], matrix[n, 0] = link * 1e-4, link * 3e-4
    kernel = Kernel(kernel.states, csr_array(matrix))
    potential = estimate_potential(kernel)
    # Between two halves that a single pair links, that pair alone decides.
    assert potential.difference("0", str(n)) == pytest.approx(np.log(1 / 3), abs=1e-6)


@pytest.mark.parametrize("link", [1e-4, 1e-6])
@BOTH
def test_two_large_clusters_find_their_difference_by_a_weak_pair(link, violation):
    # What passes by the link is 1e-10 of all flow, or 1e-12; V across it is decided there.
    n, rng = 30_000, np.random.default_rng(3)
    ends = np.concatenate([random_pairs(n, rng), n + random_pairs(n, rng), [[0, n]]])
    i, j = np.unique(np.sort(ends, axis=1), axis=0).T
    i, j = i[i != j], j[i != j]
    potential = rng.uniform(0, 2, 2 * n)
    strength = np.where((i == 0) & (j == n), link, rng.gamma(2.0, size=len(i)))
    half = (potential[i] - potential[j]) / 2
    rates = np.concatenate([strength * np.exp(half), strength * np.exp(-half)])
    matrix = coo_array((rates, (np.r_[i, j], np.r_[j, i])), shape=(2 * n, 2 * n)).tocsr()
    matrix.data *= 0.9 / matrix.sum(axis=1).max()
    found = estimate_potential(Kernel(tuple(map(str, range(2 * n))), matrix), violation=violation)
    assert difference(found.heights, potential) < 1e-6


def test_duplicate_and_zero_entries_change_nothing():
    rows, columns = [0, 0, 1, 1, 2, 0], [1, 1, 0, 2, 1, 2]
    doubled = csr_array(np.zeros((3, 3)))
    doubled.data = np.array([0.1, 0.2, 0.0, 0.1, 0.2, 0.3])
    doubled.indices = np.array([1, 1, 2, 0, 2, 1], dtype=np.int32)
    doubled.indptr = np.array([0, 3, 5, 6], dtype=np.int32)
    assert sorted(zip(rows, columns, strict=True))[:2] == [(0, 1), (0, 1)]
    clean = Kernel.from_matrix([[0, 0.3, 0], [0.1, 0, 0.2], [0, 0.3, 0]])
    names = ("0", "1", "2")
    assert np.allclose(
        estimate_potential(Kernel(names, doubled)).heights, estimate_potential(clean).heights
    )


def test_isolated_states_are_components_of_their_own():
    kernel = Kernel.from_matrix(np.diag([0.5, 0.5, 0.5]))
    potential = estimate_potential(kernel)
    assert potential.heights.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(potential.difference("0", "1"))


def dense_potential(rates, violation):
    """Newton's method on dense matrices, written down from the action."""
    values = np.zeros(len(rates))
    for _ in range(60):
        drop = values[:, None] - values[None, :]
        pull = rates * violation.derivative(drop)
        bend = rates * violation.second_derivative(drop)
        bend = bend + bend.T
        hessian = np.diag(bend.sum(axis=1)) - bend + 1 / len(rates)
        step = np.linalg.solve(hessian, pull.sum(axis=0) - pull.sum(axis=1))
        values = values + step * min(1.0, 1 / np.ptp(step))
        if np.ptp(step) < 1e-12:
            return values
    raise AssertionError("the reference did not converge")


@pytest.mark.parametrize("degree", [1, 4, 40], ids=["sparse", "middling", "dense"])
@BOTH
def test_moves_seen_one_way_only_are_balanced_as_in_dense_algebra(degree, violation):
    # A ring makes one component of moves of which next to none has a way back.
    rng, n = np.random.default_rng(degree), 300
    rates = 10 ** rng.uniform(-3, 0, (n, n)) * (rng.random((n, n)) < degree / n)
    rates[np.arange(n), (np.arange(n) + 1) % n] += 0.1
    np.fill_diagonal(rates, 0.0)
    rates /= rates.sum(axis=1).max()
    known = dense_potential(rates, violation)
    assert (
        difference(
            estimate_potential(Kernel.from_matrix(rates), violation=violation).heights, known
        )
        < 1e-8
    )


@pytest.mark.parametrize("linear", [DiagonalSolver, IncompleteCholeskySolver])
def test_an_incomplete_factorisation_knows_its_residual(linear):
    rng = np.random.default_rng(8)
    kernel, _ = noisy_kernel(300, random_pairs(300, rng), rng)
    pairs = EdgeList.from_matrix(kernel.probabilities, np.zeros(300, dtype=np.int64))
    weights, b = rng.gamma(2.0, size=len(pairs)), rng.normal(size=300)
    linear, b = linear(pairs), b - b.mean()
    linear.refresh(weights, pairs.add_up(weights))
    few = np.arange(0, len(pairs), 9)
    weights[few] *= 1.5
    linear.change(few, weights[few], pairs.add_up(weights))
    x, done = linear.solve(b, 1e-8, 60)
    assert done
    left = b - pairs.outflow(weights * pairs.drop(x))
    assert np.abs(left).max() < 1e-6
    assert np.allclose(linear.residual, left, atol=1e-12)


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
def test_an_interrupted_solve_hands_over_its_estimate(error):
    rng = np.random.default_rng(6)
    kernel, _ = noisy_kernel(500, random_pairs(500, rng), rng, noise=1.5)
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.iterations == 2:
            raise error

    with pytest.raises(ConvergenceError, match="the solve was interrupted") as caught:
        estimate_potential(kernel, progress=stop)
    assert [p.iterations for p in seen] == [0, 1, 2]
    assert seen[-1].residuals.flow < seen[0].residuals.flow
    known = estimate_potential(kernel)
    assert caught.value.estimate.iterations == 2
    assert difference(caught.value.estimate.heights, known.heights) < 0.1


def test_a_limit_on_the_steps_is_kept():
    rng = np.random.default_rng(7)
    kernel, _ = noisy_kernel(500, random_pairs(500, rng), rng, noise=1.5)
    with pytest.raises(ConvergenceError, match="not minimised in 1 steps"):
        estimate_potential(kernel, max_iterations=1)


def test_sweeps_that_stall_hand_over_to_newton():
    rng = np.random.default_rng(8)
    kernel, _ = noisy_kernel(3_000, ring_pairs(3_000, 2), rng)
    potential = estimate_potential(kernel, method="osborne")
    assert potential.method == "banded"
    assert difference(potential.heights, estimate_potential(kernel).heights) < 1e-7


def test_sweeps_balance_the_exponential_action_only():
    with pytest.raises(InvalidInputError, match="osborne"):
        estimate_potential(
            Kernel.from_matrix([[0, 0.5], [0.5, 0]]), violation=Softplus(), method="osborne"
        )


@BOTH
def test_flows_are_the_derivatives_of_the_action(violation):
    rng = np.random.default_rng(9)
    kernel, _ = noisy_kernel(20, random_pairs(20, rng), rng)
    pairs = EdgeList.from_matrix(kernel.probabilities, np.zeros(20, dtype=int))
    x, e = rng.normal(size=len(pairs)), 1e-5
    here = edge_flows(violation, pairs, x)
    expected = pairs.forward * violation.value(x) + pairs.backward * violation.value(-x)
    assert edge_action(violation, pairs, x) == pytest.approx(expected.sum())
    there = -pairs.forward * violation.derivative(x)
    back = -pairs.backward * violation.derivative(-x)
    assert np.allclose(here.net, there - back)
    assert np.allclose(here.total, there + back)
    slope = edge_flows(violation, pairs, x - e).net - edge_flows(violation, pairs, x + e).net
    assert np.allclose(here.stiffness, slope / (2 * e), rtol=1e-6)


@pytest.mark.parametrize("spread", [1.0, 150.0, 700.0, 4_000.0])
@BOTH
def test_flows_of_states_are_those_of_the_textbook_at_any_drop(spread, violation):
    rng = np.random.default_rng(16)
    kernel, _ = noisy_kernel(20, random_pairs(20, rng), rng)
    pairs, beta = (
        EdgeList.from_matrix(kernel.probabilities, np.zeros(20, dtype=int)),
        violation.beta,
    )
    values = rng.uniform(0, spread, 20)
    found, x = state_flows(violation, pairs, values), pairs.drop(values)
    total = edge_action(violation, pairs, x)
    with mpmath.workdps(60):
        action, net = mpmath.mpf(0), []
        for a, b, drop in zip(
            pairs.forward, pairs.backward, np.clip(x, -1_300, 1_300), strict=True
        ):
            there, back = (mpmath.exp(sign * beta * mpmath.mpf(float(drop))) for sign in (-1, 1))
            if isinstance(violation, Softplus):
                action += a * mpmath.log(1 + there) + b * mpmath.log(1 + back)
                net.append(float(beta * (a * there / (1 + there) - b * back / (1 + back))))
            else:
                action += a * mpmath.sqrt(there) + b * mpmath.sqrt(back)
                net.append(float(beta / 2 * (a * mpmath.sqrt(there) - b * mpmath.sqrt(back))))
    if spread < 1_300:
        assert total == pytest.approx(float(action), rel=1e-12)
        assert found.action in (None, pytest.approx(total, rel=1e-12))
        assert np.allclose(found.net(), net, rtol=1e-11, atol=0)
    assert np.isfinite([total, *found.net(), *found.stiffness()]).all()


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("spread", [1.0, 150.0, 700.0])
@BOTH
def test_flows_of_states_are_the_sums_of_those_of_pairs(spread, exactly, violation):
    rng = np.random.default_rng(17)
    sizes = [7, 1, 5]
    blocks = [csr_array((1, 1))] * 3
    for k in (0, 2):
        blocks[k] = noisy_kernel(sizes[k], random_pairs(sizes[k], rng), rng)[0].probabilities
    matrix = csr_array(block_diag(blocks, format="csr"))
    # The components are not in order, so that their states have to be sorted.
    mixed = rng.permutation(13)
    matrix = csr_array(matrix[mixed, :][:, mixed])
    matrix.sort_indices()
    pairs = EdgeList.from_matrix(matrix, np.repeat([0, 1, 2], sizes)[mixed])
    values = rng.uniform(0, spread, 13)
    each = edge_flows(violation, pairs, pairs.drop(values))
    found = state_flows(violation, pairs, values, exactly=exactly)
    assert np.allclose(found.net_outflow, pairs.outflow(each.net), rtol=1e-9)
    ends = np.zeros(3)
    np.add.at(ends, pairs.components[pairs.first], 2 * each.total)
    assert np.allclose(found.total, ends, rtol=1e-12)
    assert found.degree is None or np.allclose(found.degree, pairs.add_up(each.stiffness))
    wrong = np.zeros(3)
    np.add.at(wrong, pairs.components, np.abs(pairs.outflow(each.net)))
    shares = [wrong[k] / ends[k] if ends[k] else 0.0 for k in range(3)]
    assert np.allclose(found.imbalance(pairs), shares, rtol=1e-9)


def test_sums_over_components_need_no_order_and_no_member():
    components = np.array([2, 0, 2, 0, 4])  # nothing is in 1 and 3
    pairs = EdgeList.from_matrix(csr_array((5, 5)), components)
    values = np.array([1.0, 5.0, 2.0, -7.0, 3.0])
    assert pairs.component_sums(values).tolist() == [-2.0, 0.0, 3.0, 0.0, 3.0]
    assert pairs.lowest(values).tolist() == [-7.0, np.inf, 1.0, np.inf, 3.0]
    assert pairs.centred(values).tolist() == [-0.5, 6.0, 0.5, -6.0, 0.0]


@pytest.mark.parametrize(
    ("links", "method"),
    [
        (lambda rng: random_pairs(700, rng), "pcg"),
        (lambda rng: random_pairs(700, rng, 2), "pcg"),
        (lambda _: ring_pairs(900, 3), "banded"),
        (lambda _: grid_pairs(150), "amg"),
        (lambda rng: np.concatenate([random_pairs(600, rng), 600 + ring_pairs(9, 1)]), "pcg"),
    ],
    ids=["diagonal", "incomplete", "ring", "grid", "two components"],
)
@BOTH
def test_a_record_that_grows_is_followed_from_the_last_potential(links, method, violation):
    rng = np.random.default_rng(18)
    ends = links(rng)
    n = int(ends.max()) + 1
    drawn = rng.poisson(20, size=(2, len(ends))) + 1
    edges = [(str(f), str(g), int(k)) for (f, g), k in zip(ends, drawn[0], strict=True)]
    edges += [(str(g), str(f), int(k)) for (f, g), k in zip(ends, drawn[1], strict=True)]
    counts = TransitionCounts.from_edges(edges)
    last = estimate_potential(counts, violation=violation)
    assert last.method == method
    for k in range(3):
        pairs = rng.integers(min(n, 600), size=(5, 2))
        moves = [(str(f), str(g), int(rng.integers(1, 5))) for f, g in pairs[:4]]
        f, g = map(str, pairs[4])
        counts += TransitionCounts.from_edges([*moves, (f, f"new {k}", 1), (f"new {k}", g, 3)])
        last = estimate_potential(counts, violation=violation, initial=last)
        assert last.residual <= 1e-10
        listed = EdgeList.from_matrix(last.kernel.probabilities, last.components)
        flows = edge_flows(violation, listed, listed.drop(last.heights))
        assert np.abs(listed.outflow(flows.net)).sum() <= 1e-10 * 2 * flows.total.sum()
    cold = estimate_potential(counts, violation=violation)
    assert np.array_equal(last.components, cold.components)
    for component in set(cold.components):
        inside = cold.components == component
        assert difference(last.heights[inside], cold.heights[inside]) < 1e-6


def test_wide_counts_are_followed_from_the_last_potential():
    edges = [("a", "b", 9), ("b", "a", 7), ("b", "c", 5), ("c", "b", 3), ("c", "d", 2)]
    edges += [("d", "c", 4), ("d", "b", 2), ("c", "c", 10**12), ("d", "d", 10**12)]
    counts = TransitionCounts.from_edges(edges)
    last = estimate_potential(counts)
    assert last.method == "spanning_tree"
    counts += TransitionCounts.from_edges([("a", "b", 5), ("d", "c", 5)])
    again = estimate_potential(counts, initial=last)
    assert difference(again.heights, estimate_potential(counts).heights) < 1e-6


def test_sketched_errors_have_their_stated_accuracy():
    rng = np.random.default_rng(12)
    kernel, _ = reversible_kernel(rng, 40, density=0.2)
    potential = estimate_potential(sample_counts(rng, kernel, 500))
    exact = potential.standard_errors("0")[1:]
    sketched = potential.standard_errors("0", accuracy=0.05, seed=1)[1:]
    assert sketch_size(0.05) == 200
    deviation = (sketched / exact - 1) / 0.05
    assert np.sqrt(np.mean(deviation**2)) < 2
    assert np.abs(deviation).max() < 4.5


def test_the_errors_of_all_moves_come_at_once():
    rng = np.random.default_rng(13)
    kernel, _ = reversible_kernel(rng, 30, density=0.2)
    potential = estimate_potential(sample_counts(rng, kernel, 500))
    errors = potential.pair_errors(accuracy=0.03)
    moves = errors.tocoo()
    some = [k for k in range(0, moves.nnz, 17) if moves.row[k] != moves.col[k]]
    for k in some:
        f, g = potential.states[moves.row[k]], potential.states[moves.col[k]]
        assert moves.data[k] == pytest.approx(potential.standard_error(f, g), rel=0.15)


def test_intervals_agree_where_counts_are_large_and_are_nan_where_nothing_is_known():
    rng = np.random.default_rng(14)
    kernel, _ = reversible_kernel(rng, 10)
    counts = sample_counts(rng, kernel, 2_000) + TransitionCounts.from_edges([("0", "out", 3)])
    potential = estimate_potential(counts, min_attempts=0)
    low, high = potential.confidence_interval("2", "7")
    middle, error = potential.difference("2", "7"), potential.standard_error("2", "7")
    assert (low, high) == pytest.approx((middle - 1.959964 * error, middle + 1.959964 * error))
    drawn = potential.confidence_interval("2", "7", method="bootstrap", replicates=4_000)
    assert drawn == pytest.approx((low, high), abs=0.15 * error)
    with pytest.raises(InvalidInputError, match="level=2"):
        potential.confidence_interval("2", "7", level=2)
    with pytest.raises(InvalidInputError, match="method='guess'"):
        potential.confidence_interval("2", "7", method="guess")
