import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy.sparse import csr_array
from scipy.stats import binom

from detailed_balance.analyzers import (
    END,
    START,
    Kernel,
    RunTable,
    Trajectory,
    TransitionCounts,
    entropy_production,
    net_fluxes,
    stationary_distribution,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.flux import pair_moves
from detailed_balance.analyzers.markov.stationary import irreducible_law, stationary_vectors
from tests.support.chains import count_matrices, data_file, reversible_kernel, walk_counts


def ring(n, forward, backward):
    """Go on with one chance and back with another; stay else."""
    stay = 1 - forward - backward
    on = np.roll(np.eye(n), 1, axis=1)
    return forward * on + backward * on.T + stay * np.eye(n)


def random_kernel(rng, n, drive=0.0):
    kernel = rng.gamma(2.0, size=(n, n))
    kernel = kernel + kernel.T
    on = np.arange(n), (np.arange(n) + 1) % n
    kernel[on] *= np.exp(drive)
    kernel[on[::-1]] *= np.exp(-drive)
    return kernel / kernel.sum(axis=1, keepdims=True)


def walk_runs(rng, kernel, runs, steps):
    """Walk so many runs at once, as trajectories."""
    cumulative, state = kernel.cumsum(axis=1), rng.integers(len(kernel), size=runs)
    path = [state]
    for _ in range(steps):
        chance = rng.random(runs)[:, None]
        state = np.minimum((cumulative[state] < chance).sum(axis=1), len(kernel) - 1)
        path.append(state)
    names = np.array(path).T.astype(str).tolist()
    return [Trajectory(tuple(pairwise(run))) for run in names]


def kernels_of(matrix):
    """Return the kernel of counts that are all linked."""
    matrix = matrix + 1
    return matrix / matrix.sum(axis=1, keepdims=True)


# The stationary law.


@settings(deadline=None, max_examples=50)
@given(count_matrices())
def test_the_stationary_law_is_the_leading_eigenvector(matrix):
    kernel = kernels_of(matrix)
    law = stationary_distribution(kernel).probabilities
    values, vectors = np.linalg.eig(kernel.T)
    leading = np.real(vectors[:, np.argmax(values.real)])
    assert law == pytest.approx(leading / leading.sum(), abs=1e-10)


def test_states_that_are_left_for_good_have_no_weight():
    law = stationary_distribution([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0.25, 0.75]])
    assert law.probabilities == pytest.approx([0, 1 / 3, 2 / 3])
    assert law.transient == ("0",)
    assert law.to_table()["state"] == ["2", "1", "0"]


def test_tiny_weights_keep_their_digits():
    # A birth and death chain: the law falls by 1e-4 at each of 50 steps.
    up, down = 1e-4 * 0.5, 0.5
    kernel = np.diag(np.full(49, up), 1) + np.diag(np.full(49, down), -1)
    kernel += np.diag(1 - kernel.sum(axis=1))
    law = stationary_distribution(kernel).probabilities
    assert np.diff(np.log(law)) == pytest.approx(np.full(49, np.log(1e-4)))


@pytest.mark.parametrize("density", [0.02, 0.0])
def test_the_sparse_solves_agree_with_the_elimination(density):
    # Without chords the ring mixes slowly, and is factored.
    rng = np.random.default_rng(0)
    chords = rng.random((400, 400)) * (rng.random((400, 400)) < density)
    kernel = chords + ring(400, 0.5, 0.2) * rng.random((400, 1)) + ring(400, 0.1, 0.1)
    kernel /= kernel.sum(axis=1, keepdims=True)
    sparse = irreducible_law(csr_array(kernel))
    assert sparse == pytest.approx(stationary_vectors(kernel[None])[0], rel=1e-9)


def test_several_closed_classes_are_an_error_with_the_law_of_each():
    counts = TransitionCounts.from_edges(
        [("a", "b", 1), ("a", "c", 1), ("b", "b", 2), ("c", "d", 3), ("d", "c", 3)]
    )
    with pytest.raises(InsufficientDataError, match="2 sets of states are never left") as caught:
        stationary_distribution(counts)
    laws = sorted(law.probabilities.tolist() for law in caught.value.partial)
    assert laws == [[0, 0, 0.5, 0.5], [0, 1, 0, 0]]


def test_runs_that_end_have_no_long_run():
    counts = TransitionCounts.from_edges([(START, "a", 5), ("a", "b", 5), ("b", END, 5)])
    with pytest.raises(InsufficientDataError, match="'b', from which none is known"):
        stationary_distribution(counts)


def test_rows_are_scaled_to_moves_that_were_made():
    law = stationary_distribution(Kernel.from_matrix([[0.1, 0.1], [0.6, 0.2]]))
    assert law.probabilities == pytest.approx([0.6, 0.4])


# Net fluxes.


def test_a_ring_carries_the_same_net_flux_on_each_link():
    fluxes = net_fluxes(ring(5, 0.6, 0.1))
    assert fluxes.flux == pytest.approx(np.full(5, 0.5 / 5))
    assert fluxes.affinity == pytest.approx(np.full(5, np.log(6)))
    walked = set(zip(fluxes.source, fluxes.target, strict=True))
    assert walked == {(str(i), str((i + 1) % 5)) for i in range(5)}


@settings(deadline=None, max_examples=50)
@given(count_matrices(min_states=3))
def test_as_much_net_flux_enters_a_state_as_leaves_it(matrix):
    fluxes = net_fluxes(kernels_of(matrix))
    balance = dict.fromkeys(map(str, range(len(matrix))), 0.0)
    for source, target, flux in zip(fluxes.source, fluxes.target, fluxes.flux, strict=True):
        balance[source] -= flux
        balance[target] += flux
    assert list(balance.values()) == pytest.approx([0.0] * len(matrix), abs=1e-12)


def test_time_reversal_flips_net_fluxes_and_leaves_entropy_production():
    kernel = random_kernel(np.random.default_rng(1), 6, drive=0.5)
    law = stationary_distribution(kernel).probabilities
    turned = kernel.T * law[None, :] / law[:, None]
    there, back = net_fluxes(kernel), net_fluxes(turned)
    flipped = dict(zip(zip(back.target, back.source, strict=True), back.flux, strict=True))
    for source, target, flux in zip(there.source, there.target, there.flux, strict=True):
        assert flipped[source, target] == pytest.approx(flux)
    produced = entropy_production(kernel).value
    assert entropy_production(turned).value == pytest.approx(produced)
    assert there.dissipation.sum() == pytest.approx(produced)


def test_components_count_with_their_share_of_the_moves():
    spin = np.zeros((6, 6), dtype=int)
    spin[:3, :3] = 10 * np.array([[0, 6, 2], [2, 0, 6], [6, 2, 0]])
    spin[3:, 3:] = 30 * np.array([[0, 6, 2], [2, 0, 6], [6, 2, 0]])
    spin[0, 3] = 1  # leads on for good
    fluxes = net_fluxes(TransitionCounts.from_dense(spin))
    assert fluxes.flux[:3] == pytest.approx(np.full(3, 0.75 * 0.5 / 3))
    assert fluxes.flux[3:] == pytest.approx(np.full(3, 0.25 * 0.5 / 3))


def test_a_pipeline_has_no_steady_flow():
    with pytest.raises(InsufficientDataError, match="no steady flow"):
        net_fluxes(TransitionCounts.from_edges([("a", "b", 3), ("b", "c", 3)]))


# Entropy production.


@pytest.mark.parametrize("n", [3, 4, 7])
def test_entropy_production_of_a_ring_is_flux_times_affinity(n):
    produced = entropy_production(ring(n, 0.6, 0.1))
    assert produced.value == pytest.approx(0.5 * np.log(6))
    assert produced.interval == (produced.value, produced.value)


def test_a_three_state_cycle_is_solved_by_hand():
    # One loop: its flux is the same on each link, so the production is flux x affinity.
    kernel = np.array([[0.2, 0.7, 0.1], [0.2, 0.3, 0.5], [0.8, 0.1, 0.1]])
    trees = [0.2 * 0.8 + 0.2 * 0.1 + 0.8 * 0.5, 0.7 * 0.8 + 0.7 * 0.1 + 0.1 * 0.1]
    trees += [0.1 * 0.5 + 0.1 * 0.2 + 0.7 * 0.5]
    law = np.array(trees) / sum(trees)
    assert stationary_distribution(kernel).probabilities == pytest.approx(law)
    affinity = np.log(0.7 * 0.5 * 0.8 / (0.1 * 0.1 * 0.2))
    flux = law[0] * 0.7 - law[1] * 0.2
    assert entropy_production(kernel).value == pytest.approx(flux * affinity)


def test_reversible_kernels_produce_no_entropy():
    kernel, _ = reversible_kernel(np.random.default_rng(2), 9, spread=3)
    assert entropy_production(kernel).value == pytest.approx(0, abs=1e-12)


def test_a_known_kernel_with_a_one_way_pair_has_no_bound():
    produced = entropy_production(ring(3, 0.5, 0.0))
    assert produced.value == float("inf")
    assert not produced.lower_bound


def test_entropy_production_is_the_rate_of_the_log_odds_of_direction():
    # An independent identity: the log likelihood ratio of a long walk and its reversal.
    rng = np.random.default_rng(3)
    kernel = random_kernel(rng, 4, drive=0.8)
    counts = walk_counts(rng, kernel, 400_000).counts.toarray()
    rate = (counts * np.log(kernel / kernel.T)).sum() / counts.sum()
    assert entropy_production(kernel).value == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize(("place", "value"), [(0, 0.1298), (1, 0.2838)])
def test_a_real_language_model_produces_entropy(place, value):
    logs = np.load(data_file("smollm2", "kernel_chat.npz"), allow_pickle=False)["logP"][place]
    kernel = np.exp(logs.astype(float))
    kernel /= kernel.sum(axis=1, keepdims=True)
    assert entropy_production(kernel).value == pytest.approx(value, abs=1e-4)


def test_one_way_pairs_make_a_lower_bound_and_half_a_move_each_way():
    counts = TransitionCounts.from_dense([[0, 30, 10], [10, 0, 30], [30, 0, 0]])
    produced = entropy_production(counts, replicates=50)
    assert produced.one_way_pairs == 1
    assert produced.lower_bound
    assert 0 < produced.two_way < produced.value < float("inf")
    assert "lower bound" in produced.describe()
    filled = np.array([[0, 30, 10], [10, 0, 30.5], [30, 0.5, 0]])
    known = entropy_production(filled / filled.sum(axis=1, keepdims=True))
    assert produced.value == pytest.approx(known.value)


def test_boundaries_and_escapes_change_nothing():
    counts = TransitionCounts.from_dense([[5, 30, 10], [10, 0, 30], [30, 10, 0]])
    more = TransitionCounts.from_edges([(START, "0", 9), ("2", END, 9), ("1", None, 5)])
    plain, with_more = (entropy_production(c, replicates=30) for c in (counts, counts + more))
    assert with_more.value == pytest.approx(plain.value)
    assert with_more.interval == pytest.approx(plain.interval)


def test_runs_and_their_counts_give_the_same_value():
    runs = walk_runs(np.random.default_rng(4), random_kernel(np.random.default_rng(4), 4), 40, 30)
    counts = TransitionCounts.from_edges((s, t, 1) for run in runs for s, t in run.moves)
    by_runs, by_counts = entropy_production(runs), entropy_production(counts)
    assert by_runs.value == pytest.approx(by_counts.value)
    assert (by_runs.method, by_runs.runs, by_counts.method) == ("runs", 40, "rows")


def test_the_correction_takes_out_what_chance_adds():
    rng = np.random.default_rng(5)
    kernel = random_kernel(rng, 5, drive=0.3)
    true = entropy_production(kernel).value
    found = [
        entropy_production(walk_runs(rng, kernel, 25, 20), replicates=60, seed=seed)
        for seed in range(80)
    ]
    plain = np.array([f.value for f in found]) - true
    corrected = np.array([f.corrected for f in found]) - true
    # Near detailed balance the bias is 2 (E - n + 1) / N.
    assert plain.mean() == pytest.approx(2 * 6 / 500, rel=0.25)
    assert abs(corrected.mean()) < plain.mean() / 3
    assert np.mean(corrected**2) < np.mean(plain**2)


@pytest.mark.parametrize("as_runs", [True, False])
def test_the_interval_covers_the_truth_as_often_as_it_says(as_runs):
    rng = np.random.default_rng(6)
    kernel, covered, trials = random_kernel(rng, 4, drive=0.5), 0, 200
    true = entropy_production(kernel).value
    for seed in range(trials):
        runs = walk_runs(rng, kernel, 40, 25)
        counts = TransitionCounts.from_edges((s, t, 1) for run in runs for s, t in run.moves)
        source = runs if as_runs else counts
        low, high = entropy_production(source, replicates=100, seed=seed).interval
        covered += low <= true <= high
    # 95% less 3 standard errors; 100 replicates cost a little on top.
    assert covered / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials) - 0.01
    assert covered < trials


def test_the_bootstrap_of_runs_sees_that_runs_differ():
    # Half of the runs go round one way and half the other: rows cannot know.
    rng = np.random.default_rng(7)
    one, other = ring(3, 0.8, 0.1), ring(3, 0.1, 0.8)
    runs = walk_runs(rng, one, 11, 60) + walk_runs(rng, other, 9, 60)
    assert entropy_production(runs).clusters == 20
    counts = TransitionCounts.from_edges((s, t, 1) for run in runs for s, t in run.moves)
    by_runs, by_rows = entropy_production(runs).interval, entropy_production(counts).interval
    assert by_runs[1] - by_runs[0] > 2 * (by_rows[1] - by_rows[0])


def test_too_few_runs_raise_with_the_value_attached():
    runs = walk_runs(np.random.default_rng(8), ring(3, 0.6, 0.2), 19, 50)
    with pytest.raises(InsufficientDataError, match="19 runs are too few") as caught:
        entropy_production(runs)
    assert caught.value.partial.value > 0
    assert np.isnan(caught.value.partial.interval[0])


def test_blocks_of_runs_are_drawn_and_counted_together():
    runs = walk_runs(np.random.default_rng(9), ring(3, 0.6, 0.2), 60, 20)
    tasks = [replace(run, context=(("task", str(i // 3)),)) for i, run in enumerate(runs)]
    by_block = entropy_production(RunTable.of(tasks).with_blocks("task"))
    assert (by_block.runs, by_block.clusters) == (60, 20)
    few = RunTable.of(tasks).select(np.arange(57)).with_blocks("task")
    with pytest.raises(InsufficientDataError, match="19 blocks of runs are too few"):
        entropy_production(few)


def test_twenty_driven_runs_that_differ_are_covered_as_often_as_it_says():
    rng, trials, covered = np.random.default_rng(10), 200, 0
    kernels = [ring(3, 0.45 + push, 0.45 - push) for push in (0.05, 0.15, 0.25)]
    pooled = np.mean(kernels, axis=0)  # each state is as likely in all of them
    true = entropy_production(pooled).value
    for seed in range(trials):
        kinds = rng.integers(3, size=20)
        runs = [walk_runs(rng, kernels[kind], 1, 40)[0] for kind in kinds]
        low, high = entropy_production(runs, replicates=200, seed=seed).interval
        covered += low <= true <= high
    fewest, most = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert fewest <= covered <= most


def test_the_order_of_runs_moves_no_digit():
    runs = walk_runs(np.random.default_rng(11), ring(3, 0.6, 0.2), 30, 20)
    runs = [replace(run, name=f"run {i:02d}") for i, run in enumerate(runs)]
    first, again = (entropy_production(x, replicates=50) for x in (runs, runs[::-1]))
    assert first == again


def test_large_graphs_go_the_sparse_way():
    n = 320
    counts = np.rint(100 * ring(n, 0.6, 0.2)).astype(int)
    calls = []
    produced = entropy_production(
        TransitionCounts.from_dense(counts),
        replicates=20,
        progress=lambda *done: calls.append(done),
    )
    assert produced.value == pytest.approx(0.4 * np.log(3))
    assert produced.interval[0] < 0.4 * np.log(3) < produced.interval[1]
    assert calls[-1] == (20, 20)


@settings(deadline=None, max_examples=30)
@given(count_matrices(min_states=3, max_count=30))
def test_every_result_is_finite_and_json(matrix):
    counts = TransitionCounts.from_dense(matrix)
    try:
        pair_moves(counts)
    except InsufficientDataError:
        assume(False)
    produced = entropy_production(counts, replicates=20)
    assert 0 <= produced.two_way <= produced.value < float("inf")
    assert 0 <= produced.interval[0] <= produced.interval[1]
    assert json.loads(json.dumps(produced.to_dict()))["seed"] == 0
    json.dumps(net_fluxes(counts).to_dict())


@pytest.mark.parametrize("options", [{"confidence": 1.0}, {"replicates": 3}])
def test_settings_that_are_not_allowed_are_named(options):
    (name,) = options
    with pytest.raises(InvalidInputError, match=f"{name}="):
        entropy_production(ring(3, 0.5, 0.2), **options)
