import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy.stats import binom

from detailed_balance.analyzers import (
    RunTable,
    Trajectory,
    TransitionCounts,
    hodge_decomposition,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from tests.support.chains import count_matrices, data_file, reversible_kernel


def ring(n, forward, backward):
    on = np.roll(np.eye(n), 1, axis=1)
    return forward * on + backward * on.T


def dense_parts(parts):
    """Solve the same split with dense matrices: gradients, then rotations, in root-w units."""
    m, n = len(parts.first), len(parts.states)
    root = np.sqrt(parts.weight)
    gradients = np.zeros((m, n))
    gradients[np.arange(m), parts.first] = 1
    gradients[np.arange(m), parts.second] = -1
    number = {p: e for e, p in enumerate(zip(parts.first, parts.second, strict=True))}
    rounds = []
    for a, b in number:
        for c in range(b + 1, n):
            if (b, c) in number and (a, c) in number:
                row = np.zeros(m)
                row[[number[a, b], number[b, c], number[a, c]]] = 1, 1, -1
                rounds.append(row)
    left = root * parts.log_ratio
    potential = np.linalg.lstsq(root[:, None] * gradients, left, rcond=None)[0]
    gradient = gradients @ potential
    system = np.array(rounds).reshape(-1, m).T / root[:, None]
    strength = np.linalg.lstsq(system, left - root * gradient, rcond=None)[0]
    return gradient, (system @ strength) / root


def test_a_triangle_is_solved_by_hand():
    # log ratios log 8, log 2 and -log 4: they sum to 2 log 2 round the loop.
    kernel = np.array([[0, 0.4, 0.2], [0.05, 0, 0.4], [0.05, 0.2, 0]])
    parts = hodge_decomposition(kernel / kernel.sum(axis=1, keepdims=True))
    around = np.log(0.4 / 0.05) + np.log(0.4 / 0.2) + np.log(0.05 / 0.2)
    assert parts.triangle_affinities == pytest.approx([around])
    # Pairs (0, 1), (0, 2), (1, 2): a third of it goes round each, against the middle one.
    assert parts.curl == pytest.approx([around / 3, -around / 3, around / 3])
    assert parts.harmonic == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_driven_triangle_is_all_curl_and_a_longer_ring_all_harmonic():
    triangle, square = (
        hodge_decomposition(ring(3, 0.9, 0.1)),
        hodge_decomposition(ring(4, 0.9, 0.1)),
    )
    assert triangle.curl_share == pytest.approx(1)
    assert square.harmonic_share == pytest.approx(1)
    assert len(square.triangle_affinities) == 0
    assert np.abs(square.harmonic) == pytest.approx(np.full(4, np.log(9)))


def test_one_potential_explains_all_of_a_reversible_chain():
    kernel, potential = reversible_kernel(np.random.default_rng(0), 12, spread=2, density=0.4)
    parts = hodge_decomposition(kernel)
    assert parts.gradient_share == pytest.approx(1)
    assert parts.residual == pytest.approx(0, abs=1e-9)
    # Scaling a row moves its state: what is left is the potential of the scaled kernel.
    scaled = potential - np.log(kernel.sum(axis=1))
    assert parts.potential == pytest.approx(scaled - scaled.min())


@settings(deadline=None, max_examples=60)
@given(count_matrices(min_states=3, max_states=7, max_count=30))
def test_the_parts_are_orthogonal_add_up_and_agree_with_dense_algebra(matrix):
    assume(np.any((matrix > 0) & (matrix.T > 0) & ~np.eye(len(matrix), dtype=bool)))
    parts = hodge_decomposition(TransitionCounts.from_dense(matrix))
    flows = np.array([parts.gradient, parts.curl, parts.harmonic])
    assert flows.sum(axis=0) == pytest.approx(parts.log_ratio)
    products = (flows * parts.weight) @ flows.T
    scale = 1 + parts.weight @ parts.log_ratio**2
    assert products - np.diag(np.diag(products)) == pytest.approx(
        np.zeros((3, 3)), abs=1e-8 * scale
    )
    gradient, curl = dense_parts(parts)
    assert parts.gradient == pytest.approx(gradient, abs=1e-7)
    assert parts.curl == pytest.approx(curl, abs=1e-6)
    shares = parts.gradient_share, parts.curl_share, parts.harmonic_share
    assert sum(shares) == pytest.approx(1)
    assert json.loads(json.dumps(parts.to_dict()))["settings"]["weights"] == "precision"


def test_turning_time_round_turns_every_part():
    matrix = np.random.default_rng(1).integers(1, 30, (6, 6))
    there = hodge_decomposition(TransitionCounts.from_dense(matrix), weights="uniform")
    back = hodge_decomposition(TransitionCounts.from_dense(matrix.T), weights="uniform")
    # The gradient differs by the row sums; what goes round loops is minus what it was.
    assert back.curl == pytest.approx(-there.curl)
    assert back.triangle_affinities == pytest.approx(there.triangle_affinities)


def test_counted_pairs_weigh_by_the_precision_of_their_log_ratio():
    counts = TransitionCounts.from_dense([[0, 30, 4], [10, 0, 6], [12, 3, 0]])
    parts = hodge_decomposition(counts)
    assert parts.weight == pytest.approx([1 / (1 / 30 + 1 / 10), 1 / (1 / 4 + 1 / 12), 2])
    assert hodge_decomposition(counts, weights="uniform").weight == pytest.approx(np.ones(3))


def test_one_way_pairs_are_left_out_and_counted():
    counts = TransitionCounts.from_edges([("a", "b", 4), ("b", "a", 2), ("b", "c", 9)])
    parts = hodge_decomposition(counts)
    assert (len(parts.first), parts.one_way_pairs) == (1, 1)
    assert parts.components[0] == parts.components[1] != parts.components[2]
    assert "1 pairs seen in one direction only were left out" in parts.describe()
    with pytest.raises(InsufficientDataError, match="no pair of states was seen in both"):
        hodge_decomposition(counts.restrict(["b", "c"]))


@pytest.mark.parametrize(
    ("place", "residual", "share", "triangle"),
    [(0, 2.196, 0.789, 2.298), (1, 1.528, 0.801, 1.627)],
)
def test_a_real_language_model_is_mostly_gradient(place, residual, share, triangle):
    logs = np.load(data_file("smollm2", "kernel_chat.npz"), allow_pickle=False)["logP"][place]
    kernel = np.exp(logs.astype(float))
    parts = hodge_decomposition(kernel / kernel.sum(axis=1, keepdims=True))
    assert len(parts.first) == 150 * 149 // 2
    assert parts.residual == pytest.approx(residual, abs=1e-3)
    assert parts.gradient_share == pytest.approx(share, abs=1e-3)
    assert np.median(parts.triangle_affinities) == pytest.approx(triangle, abs=1e-3)
    # Every loop of a complete graph is filled with triangles.
    assert parts.harmonic_share == pytest.approx(0, abs=1e-12)


def test_settings_that_are_not_allowed_are_named():
    with pytest.raises(InvalidInputError, match="weights='flux'"):
        hodge_decomposition(ring(3, 0.5, 0.5), weights="flux")
    with pytest.raises(InvalidInputError, match="needs counts"):
        hodge_decomposition(ring(3, 0.5, 0.5), weights="precision")


def mixed_runs(rng, runs, drive=1.5, spread=0.7):
    """Runs round four states, each with weights and a push round a triangle of its own."""
    found = []
    for i in range(runs):
        weight = np.triu(np.exp(spread * rng.normal(size=(4, 4))), 1)
        push = np.zeros((4, 4))
        for f, g in ((0, 1), (1, 2), (2, 0)):
            push[f, g] = drive + 0.5 * rng.normal()
        height = np.array([0.8, 0.0, -0.8, 0.3])
        kernel = (weight + weight.T) * np.exp((height[:, None] - height + push - push.T) / 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        path = [0]
        for u in rng.random(rng.integers(15, 30)):
            path.append(min(int(np.searchsorted(kernel[path[-1]].cumsum(), u)), 3))
        names = [str(place) for place in path]
        tasks = (("task", str(i // 2)),)
        found.append(Trajectory(tuple(pairwise(names)), name=f"{i:05d}", context=tasks))
    return found


def test_runs_give_the_parts_of_their_counts_and_intervals_beside():
    table = RunTable.of(mixed_runs(np.random.default_rng(1), 40))
    by_runs, by_counts = hodge_decomposition(table), hodge_decomposition(table.counts())
    assert by_runs.to_table() == by_counts.to_table()
    assert np.isnan(by_counts.gradient_interval).all()
    assert (by_runs.clusters, by_runs.replicates, by_counts.clusters) == (40, 200, 0)
    for part in ("gradient", "curl", "harmonic"):
        low, high = getattr(by_runs, f"{part}_interval")
        assert 0 <= low <= high <= 1
    low, high = by_runs.gradient_interval
    assert f"({low:.0%} to {high:.0%}) of the drift" in by_runs.describe()
    blocks = hodge_decomposition(table.with_blocks("task"))
    assert (blocks.clusters, blocks.gradient_share) == (20, by_runs.gradient_share)
    assert json.loads(json.dumps(by_runs.to_dict()))["settings"]["clusters"] == 40


def test_too_few_runs_and_no_replicates_have_no_intervals():
    runs = mixed_runs(np.random.default_rng(2), 19)
    assert np.isnan(hodge_decomposition(runs).curl_interval).all()
    assert np.isnan(hodge_decomposition(runs * 2, replicates=0).curl_interval).all()


def test_the_order_of_runs_moves_no_digit_of_an_interval():
    runs = mixed_runs(np.random.default_rng(3), 30)
    first, again = (hodge_decomposition(x, replicates=20) for x in (runs, runs[::-1]))
    assert first.gradient_interval == again.gradient_interval


def test_intervals_of_the_gradient_share_cover_it_where_runs_differ():
    rng = np.random.default_rng(4)
    trials, covered = 100, 0
    many = RunTable.of(mixed_runs(rng, trials * 40))
    true = hodge_decomposition(many, replicates=0).gradient_share
    for i in range(trials):
        some = many.select(np.arange(40 * i, 40 * i + 40))
        low, high = hodge_decomposition(some, replicates=100).gradient_interval
        covered += low <= true <= high
    # All 4,000 runs miss the truth by a sixth of the error of 40.
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, 0.95)
    assert low <= covered <= high
