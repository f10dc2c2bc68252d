import math

import numpy as np
import pytest
from scipy.special import erfcx

from detailed_balance.analyzers import (
    Kernel,
    estimate_potential,
    expected_minimum_action,
    fit_spread,
    majority_vote_kernel,
)
from examples.paper.chains import sample, smollm2
from examples.paper.experiments import control as controller, spread, temperature


def two_states(heat, height=2.0):
    return Kernel.from_matrix([[0, 0.8], [0.8 * math.exp(-height / heat), 0]])


@pytest.mark.parametrize("heat", [0.2, 1.0, 5.0])
def test_the_action_of_two_states_is_known_at_each_temperature(heat):
    # The pair costs 2 sqrt(0.8 * 0.8 exp(-2 / T)), shared by two states.
    potential = estimate_potential(two_states(heat))
    assert potential.normalized_action == pytest.approx(0.8 * math.exp(-1 / heat))
    assert potential.difference("0", "1") == pytest.approx(2 / heat)


@pytest.mark.parametrize("votes", [(3, 2), (10, 7)])
def test_the_action_of_two_states_after_votes_is_that_of_the_binomial_tails(votes):
    once = two_states(1.0)
    many, needed = votes
    won = [
        sum(math.comb(many, k) * p**k * (1 - p) ** (many - k) for k in range(needed, many + 1))
        for p in once.probabilities.data
    ]
    voted = estimate_potential(majority_vote_kernel(once, many, needed))
    assert voted.normalized_action == pytest.approx(math.sqrt(won[0] * won[1]))


def test_reheating_once_and_back_changes_nothing_and_powers_multiply():
    kernel = smollm2(1.0)
    full = kernel.probabilities.toarray()
    full /= full.sum(axis=1, keepdims=True)  # nothing is missing
    kernel = Kernel.from_matrix(full)
    there = temperature.reheat(temperature.reheat(kernel, 0.5), 2.0)
    assert np.allclose(there.probabilities.toarray(), full, rtol=1e-9)
    twice = temperature.reheat(temperature.reheat(kernel, 0.5), 0.5)
    once = temperature.reheat(kernel, 0.25)
    assert np.allclose(twice.probabilities.toarray(), once.probabilities.toarray(), rtol=1e-9)


def test_the_measured_kernels_are_those_of_two_temperatures():
    cold, hot = (smollm2(t).probabilities.toarray() for t in (0.7, 1.0))
    entropy = [-(p * np.log(p)).sum() for p in (cold, hot)]
    assert entropy[0] != pytest.approx(entropy[1], rel=0.01)
    assert all(p.sum(axis=1).max() < 1 for p in (cold, hot))
    assert cold.max(axis=1).mean() > hot.max(axis=1).mean()


def test_drawn_counts_have_the_probabilities_of_the_kernel():
    kernel = two_states(2.0)
    counts = sample(kernel, 100_000, np.random.default_rng(0))
    assert counts.attempts.tolist() == [100_000] * 2
    drawn = counts.counts.toarray() / 100_000
    assert drawn == pytest.approx(kernel.probabilities.toarray(), abs=5 * 0.5 / math.sqrt(1e5))


def test_the_action_of_the_lexicon_rises_with_temperature():
    actions = [controller.true_action(controller.at_temperature(t)) for t in (0.3, 0.6, 1.2, 2.4)]
    assert actions == sorted(actions)


@pytest.fixture(scope="module")
def landscape():
    return spread.simulated_landscape(1_500, 2.0, np.random.default_rng(1))


def test_a_simulated_landscape_is_in_detailed_balance_with_the_spread_asked_for(landscape):
    potential = estimate_potential(landscape)
    matrix = landscape.probabilities
    f, g = matrix.nonzero()
    drop = potential.values[f] - potential.values[g]
    ratio = np.log(matrix[f, g] / matrix[g, f])
    assert np.allclose(ratio, drop, atol=1e-5)
    assert matrix.sum(axis=1).max() <= 1 + 1e-12
    fitted = fit_spread(potential)
    assert abs(fitted.deviation - 2.0) < 4 * fitted.deviation_error


def test_a_metropolis_walk_has_the_expected_action_of_half_its_spread(landscape):
    # Each proposal between states of Gaussian V costs exp(-|x| / 2): the mean is that of s / 2.
    potential = estimate_potential(landscape)
    proposed = (landscape.probabilities > 0).sum() / landscape.probabilities.shape[0]
    rate = landscape.probabilities.data.max()
    found = potential.normalized_action / (proposed * rate)
    s = fit_spread(potential).deviation
    assert found == pytest.approx(erfcx(s / 2), rel=0.02)
    assert expected_minimum_action(s) < 0.7 * found  # eq. 28 takes exp(-|x|)


def test_a_walk_starts_everywhere_and_follows_the_rows(landscape):
    counts = spread.walk(landscape, 30_000, np.random.default_rng(0))
    assert counts.total == 30_000
    assert counts.attempts.mean() == 20.0
    seen = landscape.probabilities[counts.counts.nonzero()]
    assert seen.min() > 0
    f = int(np.argmax(counts.attempts))
    row = landscape.probabilities[[f]].toarray()[0]
    seen = counts.counts[[f]].toarray()[0] / counts.attempts[f]
    assert np.abs(seen - row / row.sum()).max() < 5 * 0.5 / math.sqrt(counts.attempts[f])


def test_the_gaussian_test_is_calibrated_and_sees_what_is_not_gaussian():
    rng = np.random.default_rng(0)
    null = [spread.gaussian_pvalue(rng.normal(3, 2, 60), seed, 99) for seed in range(100)]
    assert np.mean(np.array(null) <= 0.1) == pytest.approx(0.1, abs=0.09)
    assert 0.4 < np.mean(null) < 0.6
    assert spread.gaussian_pvalue(rng.exponential(size=200), 0) == pytest.approx(1 / 1000)


def test_votes_deepen_a_ring_of_rare_steps_n_times():
    ring = spread.two_way_ring(2.0)
    rare = Kernel.from_matrix(0.001 * ring.probabilities.toarray())
    once = estimate_potential(rare)
    voted = estimate_potential(majority_vote_kernel(rare, 10, 7))
    assert spread.vote_slope(once, voted) == pytest.approx((7.0, 1.0), rel=1e-2)


def test_the_first_table_has_the_published_numbers_beside_ours(capsys):
    spread.show_table_iv()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[1] for row in rows] == [row[2] for row in rows] == ["0.129", "0.245"]
    assert all(float(row[3]) < float(row[2]) for row in rows)


def test_the_controller_is_within_ten_per_cent_of_its_targets():
    for target in (0.3, 0.6):
        for seed in (0, 1):
            ended = controller.by_temperature(target, seed, 12)
            true = controller.true_action(controller.at_temperature(ended.setting))
            assert true == pytest.approx(target, rel=0.1)
            first = controller.true_action(controller.at_temperature(1.0))
            assert abs(true - target) < 0.3 * abs(first - target)


def test_the_controller_finds_how_many_votes_to_ask_for():
    target = controller.true_action(controller.at_votes(7))
    ended = controller.by_votes(target, 0, 12)
    assert ended.history[0].setting == 9
    assert [step.setting for step in ended.history[-4:]] == [7] * 4


def test_driven_loops_are_found_by_what_never_comes_back_and_balance_is_not_accused(capsys):
    spread.show_one_way(200, seed=0)
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:18].strip(): line[18:].split() for line in lines[-3:]}
    assert int(rows["lexicon, driven"][-1]) >= 20
    assert int(rows["lexicon, balanced"][-1]) == 0
    (turkey,) = [line.split() for line in lines if line.startswith("TURKEY")]
    # log of 1 / (1 - 0.05^(1/4000)), from 4,122 moves and nothing back in 4,000
    assert float(turkey[5]) == pytest.approx(-math.log(1 - 0.05 ** (1 / 4000)), abs=1e-3)
