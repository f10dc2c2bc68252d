import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, norm

from detailed_balance.analyzers import (
    Exponential,
    Kernel,
    estimate_potential,
    expected_minimum_action,
    fit_spread,
    majority_vote_kernel,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError


@pytest.mark.parametrize("s", [0.2, 1.0, 2.30, 4.38])
def test_the_expected_action_is_the_mean_over_gaussian_differences(s):
    difference = norm(scale=math.sqrt(2) * s)
    half = quad(lambda x: math.exp(-x) * difference.pdf(x), 0, np.inf)[0]
    assert expected_minimum_action(s) == pytest.approx(2 * half, rel=1e-7)


@pytest.mark.parametrize("x", [0.5, 3.0])
def test_a_pair_in_balance_costs_what_its_fixed_rates_say_and_never_what_eq_28_takes(x):
    metropolis = Kernel.from_matrix([[0.0, 0.4], [0.4 * math.exp(-x), 0.0]])
    bath = Kernel.from_matrix([[0.0, 0.8 / (1 + math.exp(-x))], [0.8 / (1 + math.exp(x)), 0.0]])
    costs = [estimate_potential(kernel).action / 0.8 for kernel in (metropolis, bath)]
    assert costs == pytest.approx([math.exp(-x / 2), 1 / math.cosh(x / 2)])
    assert math.exp(-x) < min(costs)


@pytest.mark.parametrize("s", [0.5, 2.0])
def test_half_the_spread_gives_what_a_metropolis_walk_costs(s):
    difference = norm(scale=math.sqrt(2) * s)
    half = quad(lambda x: math.exp(-x / 2) * difference.pdf(x), 0, 40 * s)[0]
    bath = quad(lambda x: difference.pdf(x) / math.cosh(x / 2), 0, 40 * s)[0]
    assert expected_minimum_action(s / 2) == pytest.approx(2 * half, rel=1e-7)
    assert expected_minimum_action(s) < 2 * half < 2 * bath


@pytest.mark.parametrize(("s", "published"), [(4.38, 0.129), (2.30, 0.245)])
def test_the_asymptote_gives_what_the_paper_prints(s, published):
    assert expected_minimum_action(s, asymptotic=True) == pytest.approx(published, abs=5e-4)
    assert expected_minimum_action(s) < expected_minimum_action(s, asymptotic=True)


def test_the_expected_action_survives_the_widest_potentials():
    actions = expected_minimum_action(np.array([0.0, 30.0, 1e6]))
    with mpmath.workdps(30):
        exact = float(mpmath.exp(900) * mpmath.erfc(30))
    assert actions[:2] == pytest.approx([1.0, exact], rel=1e-13)
    assert actions[2] == pytest.approx(1 / (math.sqrt(math.pi) * 1e6))


@pytest.mark.parametrize("deviation", [-1.0, math.nan])
def test_a_spread_that_is_none_is_named(deviation):
    with pytest.raises(InvalidInputError, match="standard deviation is 0 or more"):
        expected_minimum_action(deviation)


def chain(values, beta=1.0):
    """Return a kernel in detailed balance with these values of V, each move half a chance."""
    rates = np.exp(beta * (values[:, None] - values[None, :]) / 2)
    rates *= 0.5 / rates.sum(axis=1).max()
    return Kernel.from_matrix(rates)


def test_the_spread_of_a_known_potential_is_found():
    values = np.random.default_rng(5).normal(3.0, 2.3, 400)
    for beta in (1.0, 2.0):
        potential = estimate_potential(chain(values, beta), violation=Exponential(beta))
        spread = fit_spread(potential)
        assert spread.deviation == pytest.approx(beta * np.std(values, ddof=1), rel=1e-6)
        assert abs(spread.deviation - beta * 2.3) < 3 * spread.deviation_error
        assert spread.pvalue > 0.01
        assert quad(spread.density, -30, 60)[0] == pytest.approx(1.0)


def test_values_that_are_not_gaussian_are_said_to_be_not():
    values = np.repeat([0.0, 5.0], 50) + np.linspace(0, 0.1, 100)
    assert fit_spread(estimate_potential(chain(values))).pvalue < 1e-6


def test_only_the_largest_component_has_a_spread():
    matrix = np.zeros((5, 5))
    matrix[:3, :3] = chain(np.array([0.0, 1.0, 2.0])).probabilities.toarray()
    matrix[3:, 3:] = chain(np.array([0.0, 9.0])).probabilities.toarray()
    spread = fit_spread(estimate_potential(Kernel.from_matrix(matrix)))
    assert (spread.states, spread.deviation) == (3, pytest.approx(1.0))


def test_two_states_have_no_spread():
    with pytest.raises(InsufficientDataError, match="2 states with 2 values"):
        fit_spread(estimate_potential(chain(np.array([0.0, 1.0]))))


@pytest.mark.parametrize("needed", [5, 7, 9])
def test_a_majority_is_as_probable_as_the_binomial_law_says(needed):
    kernel = Kernel.from_matrix([[0.2, 0.7], [0.05, 0.9]])
    voted = majority_vote_kernel(kernel, votes=10, needed=needed).probabilities.toarray()
    exact = binom.sf(needed - 1, 10, kernel.probabilities.toarray())
    assert voted == pytest.approx(exact, rel=1e-9)


def test_votes_counted_one_by_one_agree():
    rng = np.random.default_rng(3)
    row = np.array([0.5, 0.3, 0.2])
    won = (rng.multinomial(5, row, size=200_000) >= 3).mean(axis=0)
    voted = majority_vote_kernel(Kernel.from_matrix(np.tile(row, (3, 1))), votes=5, needed=3)
    assert voted.probabilities.toarray()[0] == pytest.approx(won, abs=4 * 0.5 / 447)


def test_a_vote_deepens_the_potential_as_many_times_as_votes_are_needed():
    kernel = chain(np.array([0.0, 1.0, 2.5]))
    rare = replace(kernel, probabilities=kernel.probabilities * 1e-4)
    once = estimate_potential(rare).values
    voted = estimate_potential(majority_vote_kernel(rare, votes=10, needed=7)).values
    assert voted == pytest.approx(7 * once, rel=1e-3)


@pytest.mark.parametrize(("votes", "needed"), [(10, 4), (3, 4), (0, 0)])
def test_votes_that_decide_nothing_are_refused(votes, needed):
    with pytest.raises(InvalidInputError, match="at least half of the votes"):
        majority_vote_kernel(chain(np.array([0.0, 1.0])), votes=votes, needed=needed)
