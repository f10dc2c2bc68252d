import dataclasses
import json
from pathlib import Path

import choix
import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy.optimize import minimize
from scipy.sparse import coo_array, csr_array

from detailed_balance.analyzers import (
    END,
    START,
    CustomViolation,
    Exponential,
    Kernel,
    Softplus,
    TransitionCounts,
    estimate_kernel,
    estimate_potential,
    evaluate_action,
)
from detailed_balance.analyzers._solver import laplacian
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.potential import _standard_errors as uncertainty
from tests.support.chains import count_matrices, data_file, reversible_kernel, sample_counts

REFERENCES = json.loads((Path(__file__).parents[2] / "references" / "potentials.json").read_text())
BOTH = pytest.mark.parametrize("violation", [Exponential(), Softplus()], ids=["exp", "softplus"])


@pytest.mark.parametrize("case", REFERENCES, ids=lambda case: case["name"])
def test_chains_solved_by_hand_come_out(case):
    counts = TransitionCounts.from_edges(map(tuple, case["edges"]))
    for violation in (Exponential(), Softplus()):
        potential = estimate_potential(counts, attempts=case["attempts"], violation=violation)
        for state, value in case["potential"].items():
            assert potential.difference(state, case["reference"]) == pytest.approx(value, abs=1e-8)
    exponential = estimate_potential(counts, attempts=case["attempts"])
    assert exponential.action == pytest.approx(case["exponential_action"], rel=1e-12)
    assert exponential.normalized_action == exponential.action / len(counts)


def claude_table():
    table = json.loads(data_file("paper", "claude_4_words.json").read_text())
    return table, TransitionCounts.from_edges(map(tuple, table["transitions"]))


def test_the_potentials_that_the_paper_prints_for_claude_4_come_out():
    table, counts = claude_table()
    potential = estimate_potential(counts, attempts=table["attempts_per_state"])
    for state, published in table["published_beta_potential"].items():
        value = np.inf if published == "infinite" else published
        assert potential.difference(state, "ATTITUDE") == pytest.approx(value, abs=0.05)
    # On a tree the error of V is that of a log ratio of two multinomial rates.
    for state, down, up in [("PERSONAL", 3879, 66), ("PROBLEMS", 3558, 20)]:
        expected = np.sqrt(1 / down - 1 / 4000 + 1 / up - 1 / 4000)
        error = potential.standard_error(state, "ATTITUDE")
        assert error == pytest.approx(expected, rel=1e-6)
    assert np.isnan(potential.standard_error("BUZZY", "ATTITUDE"))


def test_components_are_ordered_and_their_differences_infinite():
    _, counts = claude_table()
    potential = estimate_potential(counts, attempts=4000)
    assert potential.difference("BUZZY", "TURKEY") == np.inf
    assert potential.difference("ATTITUDE", "TURKEY") == -np.inf
    order = potential.order()
    members = {node: set(data["members"]) for node, data in order.nodes(data=True)}
    downhill = {(frozenset(members[f]), frozenset(members[g])) for f, g in order.edges}
    low = frozenset({"ATTITUDE", "PERSONAL", "PROBLEMS"})
    assert downhill == {
        (frozenset({"BUZZY"}), frozenset({"TURKEY"})),
        (frozenset({"BUZZY"}), low),
        (frozenset({"TURKEY"}), low),
    }


def test_states_that_do_not_lead_to_each_other_are_not_compared():
    edges = [("top", "left", 5), ("top", "right", 5), ("left", "left", 5), ("right", "right", 5)]
    potential = estimate_potential(TransitionCounts.from_edges(edges))
    assert np.isnan(potential.difference("left", "right"))
    assert potential.difference("top", "right") == np.inf


def smollm2_kernel(temperature=1.0):
    data = np.load(data_file("smollm2", "kernel_chat.npz"))
    rates = np.exp(data["logP"][list(data["temperatures"]).index(temperature)])
    return Kernel.from_matrix(rates / rates.sum(axis=1, keepdims=True), tuple(data["words"]))


@pytest.mark.parametrize(
    ("violation", "known"), [(Exponential(), 0.41791), (Softplus(), 0.24733)], ids=["exp", "soft"]
)
def test_the_least_action_of_a_real_language_model_is_the_known_one(violation, known):
    potential = estimate_potential(smollm2_kernel(), violation=violation)
    assert potential.residual < 1e-10
    assert potential.normalized_action == pytest.approx(known, abs=1e-5)


@BOTH
def test_no_general_minimiser_finds_a_smaller_action(violation):
    kernel = smollm2_kernel()
    potential = estimate_potential(kernel, violation=violation)
    edges = kernel.probabilities.tocoo()
    moves = edges.row != edges.col
    f, g, rate = edges.row[moves], edges.col[moves], edges.data[moves]

    def action_and_gradient(values):
        drop = values[f] - values[g]
        pull = rate * violation.derivative(drop)
        return rate @ violation.value(drop), np.bincount(f, pull) - np.bincount(g, pull)

    found = minimize(
        action_and_gradient,
        np.zeros(len(kernel.states)),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 10_000},
    )
    assert potential.action <= found.fun * (1 + 1e-14)
    assert potential.action == pytest.approx(found.fun, rel=1e-10)
    assert evaluate_action(kernel, potential.values, violation) == pytest.approx(
        potential.action, rel=1e-12
    )


@given(count_matrices(min_states=3))
@settings(max_examples=60)
def test_the_exponential_potential_balances_the_matrix(matrix):
    counts = TransitionCounts.from_dense(matrix)
    assume(np.count_nonzero(counts.attempts >= 2) >= 2)
    potential = estimate_potential(counts)
    rates = potential.kernel.probabilities.toarray()
    np.fill_diagonal(rates, 0.0)
    rates[potential.components[:, None] != potential.components[None, :]] = 0.0
    scale = np.exp(-potential.heights / 2)
    balanced = scale[:, None] * rates / scale[None, :]
    total = balanced.sum()
    assert np.allclose(balanced.sum(axis=0), balanced.sum(axis=1), rtol=1e-9, atol=1e-9 * total)


def test_the_softplus_potential_is_the_bradley_terry_estimate():
    rng = np.random.default_rng(5)
    strength = rng.normal(size=40)
    pairs = [rng.choice(40, 2, replace=False) for _ in range(2_000)]
    wins = [
        (i, j) if rng.random() < 1 / (1 + np.exp(strength[j] - strength[i])) else (j, i)
        for i, j in pairs
    ]
    known = choix.opt_pairwise(40, wins, alpha=0.0, method="BFGS", tol=1e-9)
    # A win of i over j is a move j -> i; equal attempts leave the counts as weights.
    moves = TransitionCounts.from_edges([(str(j), str(i), 1) for i, j in wins])
    potential = estimate_potential(moves, violation=Softplus(), attempts=2_000)
    ours = np.array([-potential.difference(str(i), "0") for i in range(40)])
    assert np.abs(ours - (known - known[0])).max() < 1e-6


@BOTH
def test_a_known_potential_is_recovered_within_its_stated_errors(violation):
    rng = np.random.default_rng(11)
    kernel, truth = reversible_kernel(rng, 6, density=0.6)
    hits = []
    for _ in range(200):
        potential = estimate_potential(sample_counts(rng, kernel, 2_000), violation=violation)
        errors = potential.standard_errors("0")
        found = np.array([potential.difference(str(i), "0") for i in range(6)])
        z = (found - (truth - truth[0]))[1:] / errors[1:]
        hits.append(np.abs(z) < 1.959964)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_one_exact_chain_has_its_own_potential_whatever_the_violation_function():
    kernel, truth = reversible_kernel(np.random.default_rng(2), 12, spread=3.0, density=0.4)
    cosh = CustomViolation(
        lambda x: np.exp(-x / 2) + np.logaddexp(0, -x),
        lambda x: -np.exp(-x / 2) / 2 - 1 / (1 + np.exp(x)),
        lambda x: np.exp(-x / 2) / 4 + 1 / (2 + 2 * np.cosh(x)),
    )
    for violation in (Exponential(), Softplus(), cosh):
        potential = estimate_potential(Kernel.from_matrix(kernel), violation=violation)
        assert np.abs(potential.relative_to("0") - (truth - truth[0])).max() < 1e-7


def test_beta_is_the_unit_of_the_potential():
    kernel, truth = reversible_kernel(np.random.default_rng(3), 8)
    potential = estimate_potential(Kernel.from_matrix(kernel), violation=Exponential(beta=4.0))
    assert np.allclose(4.0 * potential.relative_to("0"), truth - truth[0], atol=1e-6)


def ring(n):
    """A ring whose potential is a sine, on which information travels slowly."""
    rng = np.random.default_rng(1)
    truth = 3 * np.sin(np.arange(n) * 2 * np.pi / n)
    f = np.arange(n)
    g = (f + 1) % n
    strength = rng.uniform(0.1, 0.4, size=n)
    there = strength * np.exp((truth[f] - truth[g]) / 2)
    back = strength * np.exp((truth[g] - truth[f]) / 2)
    rates = coo_array(
        (np.concatenate([there, back]), (np.concatenate([f, g]), np.concatenate([g, f]))),
        shape=(n, n),
    )
    return Kernel(tuple(map(str, range(n))), rates.tocsr()), truth


@BOTH
def test_large_graphs_take_the_iterative_road_and_meet_the_same_standard(violation):
    # 6,000 states in a ring need thousands of plain conjugate gradients: multigrid takes over.
    kernel, truth = ring(6_000)
    assert len(truth) > laplacian.DIRECT_LIMIT
    potential = estimate_potential(kernel, violation=violation)
    assert potential.residual <= 1e-10
    assert np.abs(potential.relative_to("0") - (truth - truth[0])).max() < 1e-6


def test_iterated_and_factored_standard_errors_agree(monkeypatch):
    rng = np.random.default_rng(4)
    kernel, _ = reversible_kernel(rng, 30, density=0.2)
    potential = estimate_potential(sample_counts(rng, kernel, 500))
    direct = potential.standard_errors("0")
    monkeypatch.setattr(uncertainty, "DIRECT_LIMIT", 0)
    monkeypatch.setattr(laplacian, "DENSE_LIMIT", 0)
    again = dataclasses.replace(potential)
    assert np.allclose(again.standard_errors("0"), direct, rtol=1e-8)


def test_the_standard_error_is_the_dense_sandwich():
    rng = np.random.default_rng(9)
    kernel, _ = reversible_kernel(rng, 7)
    potential = estimate_potential(sample_counts(rng, kernel, 300))
    rates, n = potential.kernel.probabilities.toarray(), 7
    values, attempts = potential.values, potential.kernel.attempts
    hessian, middle = np.zeros((n, n)), np.zeros((n, n))
    for f in range(n):
        scores = []
        for g in range(n):
            score = np.zeros(n)
            if f != g:
                drop = values[f] - values[g]
                step = np.eye(n)[f] - np.eye(n)[g]
                hessian += rates[f, g] * np.exp(-drop / 2) / 4 * np.outer(step, step)
                score = -np.exp(-drop / 2) / 2 * step
            scores.append(score)
        scores = np.array(scores)
        covariance = np.diag(rates[f]) - np.outer(rates[f], rates[f])
        middle += scores.T @ covariance @ scores / attempts[f]
    inverse = np.linalg.pinv(hessian)
    contrast = np.eye(n)[3] - np.eye(n)[5]
    expected = np.sqrt(contrast @ inverse @ middle @ inverse @ contrast)
    assert potential.standard_error("3", "5") == pytest.approx(expected, rel=1e-8)


def test_a_warm_start_saves_steps_and_changes_nothing():
    kernel, _ = reversible_kernel(np.random.default_rng(8), 60, spread=2.0, density=0.2)
    counts = sample_counts(np.random.default_rng(9), kernel, 200)
    cold = estimate_potential(counts)
    warm = estimate_potential(counts, initial=cold)
    assert warm.iterations < cold.iterations
    assert np.allclose(warm.values, cold.values, atol=1e-7)


def test_start_and_end_have_no_potential():
    edges = [(START, "a", 5), ("a", "b", 9), ("b", "a", 4), ("b", END, 5)]
    potential = estimate_potential(TransitionCounts.from_edges(edges))
    assert potential.states == ("a", "b")
    assert potential.difference("a", "b") == pytest.approx(np.log(1.0 / (4 / 9)))


@given(count_matrices(min_states=3))
@settings(max_examples=40)
def test_renaming_and_reordering_states_changes_no_difference(matrix):
    counts = TransitionCounts.from_dense(matrix)
    assume(np.count_nonzero(counts.attempts >= 2) >= 2)
    n = len(matrix)
    order = np.random.default_rng(n).permutation(n)
    shuffled = TransitionCounts.from_dense(matrix[order][:, order], [f"{i}" for i in order])
    one, other = estimate_potential(counts), estimate_potential(shuffled)
    for f in one.states:
        there = [one.difference(f, g) for g in one.states]
        again = [other.difference(f, g) for g in one.states]
        assert np.allclose(there, again, atol=1e-6, equal_nan=True)


def test_a_sample_without_spread_states_no_error():
    edges = [("a", "b", 5), ("b", "a", 5)]
    potential = estimate_potential(TransitionCounts.from_edges(edges))
    assert potential.difference("a", "b") == 0.0
    assert np.isnan(potential.standard_error("a", "b"))
    assert potential.standard_error("a", "a") == 0.0


def test_a_sketch_states_no_error_either_where_there_is_no_spread():
    cycle = [("a", "b", 5), ("b", "c", 5), ("c", "a", 5)]
    spread = [("x", "y", 5), ("y", "x", 3), ("y", "y", 2)]
    potential = estimate_potential(TransitionCounts.from_edges(cycle + spread))
    sketched = potential.standard_errors("a", accuracy=0.1)
    exact = potential.standard_errors("a", accuracy=0.0)
    assert np.array_equal(np.isnan(sketched), np.isnan(exact))
    assert sketched[potential.index("a")] == 0.0
    of_moves = potential.pair_errors(accuracy=0.1).tocoo()
    in_cycle = potential.components[of_moves.row] == potential.components[potential.index("a")]
    assert np.isnan(of_moves.data[in_cycle]).all()
    assert np.isfinite(of_moves.data[~in_cycle]).all()


def test_too_few_states_are_refused_with_what_was_dropped():
    counts = TransitionCounts.from_edges([("only", "only", 7), ("rare", "only", 1)])
    with pytest.raises(InsufficientDataError, match=r"there is 'only' \(1 dropped for too few"):
        estimate_potential(counts)


def test_a_state_that_was_dropped_says_so_where_it_is_asked_for():
    edges = [("a", "b", 5), ("b", "a", 5), ("a", "c", 1)]
    potential = estimate_potential(TransitionCounts.from_edges(edges))
    with pytest.raises(UnknownStateError, match="'c' was dropped: it has fewer than 2 attempts"):
        potential.difference("c", "a")
    with pytest.raises(UnknownStateError, match="no state 'd'"):
        potential.difference("d", "a")


def test_an_exact_kernel_has_no_standard_error():
    kernel = Kernel.from_matrix([[0.0, 0.5], [0.5, 0.0]])
    with pytest.raises(InsufficientDataError, match="no sampling error"):
        estimate_potential(kernel).standard_error("0", "1")


def test_a_tolerance_beyond_rounding_raises_with_the_estimate_attached():
    kernel, truth = reversible_kernel(np.random.default_rng(6), 5)
    with pytest.raises(ConvergenceError, match="was not minimised") as caught:
        estimate_potential(Kernel.from_matrix(kernel), tolerance=1e-40)
    assert np.allclose(caught.value.estimate.relative_to("0"), truth - truth[0], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0}, "tolerance=0; a tolerance lies between 0 and 1"),
        ({"method": "newtn"}, "method='newtn'; allowed are auto, newton"),
        ({"initial": {"0": float("nan")}}, r"initial\['0'\] = nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    kernel = Kernel.from_matrix([[0.0, 0.5], [0.5, 0.0]])
    with pytest.raises(InvalidInputError, match=message):
        estimate_potential(kernel, **options)


def test_the_result_is_json_and_repeats_its_settings():
    _, counts = claude_table()
    result = json.loads(json.dumps(estimate_potential(counts, attempts=4000).to_dict()))
    settings = result["settings"]
    assert "independent" in settings.pop("errors")
    assert settings == {
        "violation": {"name": "Exponential", "beta": 1.0},
        "attempts": "number",
        "min_attempts": 2,
        "tolerance": 1e-6,
    }
    assert result["states"]["state"][0] == "ATTITUDE"
    assert result["states"]["potential"][-1] == "inf"


def test_the_kernel_that_was_used_is_kept():
    counts = TransitionCounts.from_edges([("a", "b", 5), ("b", "a", 5)])
    used = estimate_potential(counts).kernel
    expected = estimate_kernel(counts).probabilities
    assert np.array_equal(used.probabilities.toarray(), expected.toarray())


def test_a_run_with_no_move_between_the_states_adds_what_its_exits_take_from_them():
    """A way out of a takes 1/30 of T(b<-a), and V(b) - V(a) = log T(a<-b) - log T(b<-a) follows."""
    counts = TransitionCounts.from_edges([("a", "b", 28), ("a", None, 2), ("b", "a", 20)])
    potential, width = estimate_potential(counts), 3
    runs = csr_array(([1.0, 2.0], ([0, 1], [0 * width + 2, 1 * width + 2])), shape=(3, 2 * width))
    added = potential.influence(["b"], "a", runs, width)
    assert np.abs(added) == pytest.approx(np.array([[1 / 30], [2 / 20], [0.0]]))
    assert added[0] * added[1] < 0
    nothing = potential.influence(["b"], "a", csr_array((3, 2 * width)), width)
    assert nothing.tolist() == [[0.0]] * 3
