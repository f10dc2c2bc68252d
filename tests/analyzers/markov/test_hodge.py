import json

import numpy as np
import pytest
from hypothesis import assume, given, settings

from detailed_balance.analyzers import TransitionCounts, hodge_decomposition
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
    assert json.loads(json.dumps(parts.to_dict()))["settings"] == {"weights": "precision"}


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
    assert "1 pairs walked one way only were left out" in parts.describe()
    with pytest.raises(InsufficientDataError, match="no pair of states was walked both ways"):
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
