import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from detailed_balance.analyzers import (
    Exponential,
    Kernel,
    Softplus,
    estimate_potential,
    expression_features,
    fit_explicit_potential,
    make_features,
    ngrams,
    score_directionality,
)
from detailed_balance.analyzers.errors import (
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.potential.lasso import ActionProblem, fit_path


def reversible(values, states):
    """Return a kernel in detailed balance with these values of V."""
    rates = np.exp((values[:, None] - values[None, :]) / 2)
    rates *= 0.9 / rates.sum(axis=1).max()
    np.fill_diagonal(rates, 0.0)
    return Kernel.from_matrix(rates, states)


def words(count, seed=0):
    rng = np.random.default_rng(seed)
    found = {"".join(rng.choice(list("abcde"), size=rng.integers(2, 7))) for _ in range(4 * count)}
    return tuple(sorted(found)[:count])


def letters(state):
    return {letter: state.count(letter) for letter in "abcde"}


@pytest.mark.parametrize("violation", [Exponential(), Softplus(), Exponential(beta=2.0)])
def test_a_potential_made_of_features_is_found_again(violation):
    states = words(60)
    planted = {"a": 0.8, "c": -0.5, "e": 0.3}
    values = np.array([sum(planted.get(x, 0.0) for x in state) for state in states])
    kernel = reversible(values, states)
    fit = fit_explicit_potential(kernel, letters, violation=violation, penalty=1e-7)
    wanted = [planted.get(name, 0.0) / violation.beta for name in fit.names]
    assert fit.theta == pytest.approx(wanted, abs=1e-4)
    new = fit.predict(["aaa", "e"])
    assert new[0] - new[1] == pytest.approx((2.4 - 0.3) / violation.beta, abs=1e-3)


@pytest.mark.parametrize("violation", [Exponential(), Softplus()])
def test_one_feature_for_each_state_gives_the_free_potential(violation):
    rng = np.random.default_rng(1)
    matrix = rng.uniform(0.01, 0.1, (8, 8))
    kernel = Kernel.from_matrix(matrix)
    free = estimate_potential(kernel, violation=violation)
    problem = ActionProblem.from_kernel(kernel, np.eye(8), violation)
    theta = fit_path(problem, np.array([1e-9]))[0]
    assert theta - theta.min() == pytest.approx(free.values, abs=1e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.8))
def test_the_penalised_minimum_is_that_of_a_bounded_solver(seed, share):
    rng = np.random.default_rng(seed)
    kernel = Kernel.from_matrix(rng.uniform(0, 0.1, (9, 9)) * rng.integers(0, 2, (9, 9)))
    if not np.any(kernel.probabilities.toarray() - np.diag(kernel.probabilities.diagonal())):
        return
    problem = ActionProblem.from_kernel(kernel, rng.normal(size=(9, 4)), Exponential())
    penalty = share * problem.penalties(1)[0]
    ours = fit_path(problem, np.array([penalty]))[0] * problem.scales

    def split(both):
        up, down = both[:4], both[4:]
        slope = problem.derivatives(up - down)[0]
        value = problem.value(up - down) + penalty * both.sum()
        return value, np.concatenate([slope + penalty, penalty - slope])

    theirs = minimize(
        split,
        np.full(8, 0.01),
        jac=True,
        bounds=[(0, None)] * 8,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    mine = problem.value(ours) + penalty * np.abs(ours).sum()
    assert mine <= theirs.fun + 1e-9
    assert ours == pytest.approx(theirs.x[:4] - theirs.x[4:], abs=1e-3)


def test_the_slopes_are_those_of_the_action():
    rng = np.random.default_rng(2)
    problem = ActionProblem.from_kernel(
        Kernel.from_matrix(rng.uniform(0, 0.1, (6, 6))), rng.normal(size=(6, 3)), Softplus()
    )
    theta, step = rng.normal(size=3), 1e-6
    gradient, hessian = problem.derivatives(theta)
    for j, unit in enumerate(np.eye(3)):
        there, back = theta + step * unit, theta - step * unit
        slope = (problem.value(there) - problem.value(back)) / (2 * step)
        bend = (problem.derivatives(there)[0] - problem.derivatives(back)[0]) / (2 * step)
        assert gradient[j] == pytest.approx(slope, rel=1e-6)
        assert hessian[j] == pytest.approx(bend, rel=1e-6, abs=1e-9)


def test_features_that_say_nothing_are_left_out():
    states = words(80, seed=3)
    values = np.array([float(len(state)) for state in states])
    noise = dict(zip(states, np.random.default_rng(4).normal(size=(80, 6)), strict=True))

    def features(state):
        return {"length": len(state), **{f"noise {i}": x for i, x in enumerate(noise[state])}}

    fit = fit_explicit_potential(reversible(values, states), features)
    assert fit.to_table()["feature"][0] == "length"
    assert np.abs(fit.theta[1:]).max() < 0.05 * fit.theta[0]
    only_noise = fit_explicit_potential(
        reversible(values, states), lambda state: {f"{i}": x for i, x in enumerate(noise[state])}
    )
    assert only_noise.held_out_action > 0.95 > fit.held_out_action


def test_the_largest_penalty_leaves_no_feature():
    kernel = reversible(np.arange(6.0), words(6))
    problem = ActionProblem.from_kernel(kernel, np.arange(6.0)[:, None], Exponential())
    largest = problem.penalties(2)[0]
    none, some = fit_path(problem, np.array([largest, 0.9 * largest]))
    assert (none[0], some[0] > 0) == (0.0, True)


def test_every_transition_goes_down_on_the_potential_of_a_chain_that_only_falls():
    states = tuple("abcdefgh")
    matrix = np.zeros((8, 8))
    matrix[np.arange(1, 8), np.arange(7)] = 0.9
    kernel = Kernel.from_matrix(matrix, states)
    fit = fit_explicit_potential(kernel, lambda state: {"place": ord(state)}, penalty=0.05)
    assert fit.directionality.shares == (1.0, 0.0, 0.0)
    # K = exp(-x/2) for x = the fall of one place: the penalised minimum by hand.
    scale = np.std(np.arange(8))
    assert fit.theta[0] == pytest.approx(-2 * math.log(2 * 0.05 * scale), abs=1e-5)


def test_directionality_counts_each_way():
    kernel = Kernel.from_matrix([[0.0, 0.3, 0.3], [0.2, 0.0, 0.06], [0.05, 0.9, 0.0]])
    score = score_directionality(kernel, [1.0, 0.0, 1.0])
    assert (score.down, score.up, score.flat) == (2, 2, 1)
    assert score_directionality(kernel, {"0": 1.0, "1": 0.0, "2": 1.0}) == score
    with pytest.raises(UnknownStateError, match="'2' has no value"):
        score_directionality(kernel, {"0": 1.0, "1": 0.0})
    with pytest.raises(InsufficientDataError, match=r"above 0\.95"):
        score_directionality(kernel, [1.0, 0.0, 1.0], threshold=0.95)


def test_ngrams_know_the_ends_of_a_text():
    assert ngrams(3)("aba") == {
        "length": 3,
        "a": 2,
        "b": 1,
        "^a": 1,
        "ab": 1,
        "ba": 1,
        "a$": 1,
        "^ab": 1,
        "aba": 1,
        "ba$": 1,
    }


@settings(deadline=None)
@given(state=st.text(max_size=60))
def test_any_text_has_features(state):
    table = make_features([state, "x"], [ngrams(2), expression_features])
    assert np.isfinite(table.values).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda state: {"n": 1 / (len(state) - 1)}, "state 'a' cannot be computed.*division"),
        (lambda state: {"n": math.nan}, "feature 'n' of state 'a' is nan"),
        (lambda state: 3, "state 'a' cannot be computed.*numbers by name"),
    ],
)
def test_features_that_cannot_be_computed_name_the_state(features, message):
    with pytest.raises(InvalidInputError, match=message):
        make_features(["a", "b"], features)


def test_what_cannot_be_fitted_is_said():
    kernel = reversible(np.arange(6.0), words(6))
    with pytest.raises(InsufficientDataError, match="none of 1 features differs"):
        fit_explicit_potential(kernel, lambda state: {"one": 1.0})
    with pytest.raises(InsufficientDataError, match="6 states cannot be divided into 9"):
        fit_explicit_potential(kernel, letters, folds=9)
    with pytest.raises(InvalidInputError, match="a penalty is a number above 0"):
        fit_explicit_potential(kernel, letters, penalty=0.0)
    with pytest.raises(InvalidInputError, match="folds=1"):
        fit_explicit_potential(kernel, letters, folds=1)
