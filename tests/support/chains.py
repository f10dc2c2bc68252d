"""Chains with known answers, and hypothesis strategies for counts, shared by the tests."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from detailed_balance.analyzers import TransitionCounts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_file(*parts):
    """Return a file of real transitions, or skip where they are not there."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the real transitions {'/'.join(parts)} are not on this machine")
    return path


def reversible_kernel(rng, n, *, spread=1.0, density=1.0):
    """Return a kernel T with T[f, g] / T[g, f] = exp(V[f] - V[g]), and V.

    A ring keeps it connected; rows sum to less than 1, the rest stays where it is.
    """
    potential = rng.normal(size=n) * spread
    conductance = rng.gamma(2.0, size=(n, n)) * (rng.random((n, n)) < density)
    conductance = np.triu(conductance, 1)
    for i in range(n - 1):
        conductance[i, i + 1] = max(conductance[i, i + 1], 0.5)
    conductance = conductance + conductance.T
    kernel = conductance * np.exp((potential[:, None] - potential[None, :]) / 2)
    return kernel / kernel.sum(axis=1).max() * 0.9, potential


def sample_counts(rng, kernel, attempts):
    """Draw `attempts` moves from every state; what is missing in a row is an escape."""
    n = len(kernel)
    rows = np.column_stack([kernel, np.clip(1 - kernel.sum(axis=1), 0, None)])
    drawn = np.array([rng.multinomial(attempts, row / row.sum()) for row in rows])
    edges = [(str(i), str(j), int(drawn[i, j])) for i in range(n) for j in range(n)]
    escapes = [(str(i), None, int(drawn[i, n])) for i in range(n)]
    return TransitionCounts.from_edges(edges + escapes)


def walk_counts(rng, kernel, steps, walkers=10):
    """Walk the kernel with several walkers; the missing part of a row stays where it is."""
    n = len(kernel)
    kernel = kernel + np.diag(1 - kernel.sum(axis=1))
    cumulative = np.cumsum(kernel, axis=1)
    state = rng.integers(n, size=walkers)
    counts = np.zeros((n, n), dtype=np.int64)
    for _ in range(steps // walkers):
        chance = rng.random(walkers)[:, None]
        after = np.minimum((cumulative[state] < chance).sum(axis=1), n - 1)
        np.add.at(counts, (state, after), 1)
        state = after
    return TransitionCounts.from_dense(counts)


@st.composite
def count_matrices(draw, min_states=2, max_states=7, max_count=200):
    """Small count matrices, one-way pairs and zeros included."""
    n = draw(st.integers(min_states, max_states))
    cells = st.integers(0, max_count) | st.just(0)
    return np.array(draw(st.lists(cells, min_size=n * n, max_size=n * n))).reshape(n, n)
