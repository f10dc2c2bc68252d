"""Chains with known answers, and hypothesis strategies for counts, shared by the tests."""

from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.sparse import coo_array

from detailed_balance.analyzers import Kernel, TransitionCounts

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
AIRLINE = (
    "claude-opus-4-6",
    "claude-sonnet-4-5",
    "gpt-4o",
    "gpt-5.4",
    "gpt-oss-120b_langchain",
    "tau1_gpt-4o",
)


def data_file(*parts):
    """Return a file of real transitions, or skip where they are not there."""
    path = _DATA.joinpath(*parts)
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


def noisy_kernel(n, pairs, rng, *, spread=1.0, noise=0.3, orders=0.0):
    """Return a kernel on given pairs, reversible times noise, and the V that it has without.

    The strengths of the pairs are spread evenly over `orders` of magnitude.
    """
    i, j = np.sort(np.asarray(pairs), axis=1).T
    i, j = np.unique(np.stack([i, j])[:, i != j], axis=1)
    potential = rng.uniform(0, spread, n)
    strength = -rng.uniform(0, orders, len(i)) * np.log(10)
    half = (potential[i] - potential[j]) / 2
    there = strength + half + noise * rng.normal(size=len(i))
    back = strength - half + noise * rng.normal(size=len(i))
    rates = np.exp(np.concatenate([there, back]) - max(there.max(), back.max())) / n
    matrix = coo_array((rates, (np.r_[i, j], np.r_[j, i])), shape=(n, n)).tocsr()
    return Kernel(tuple(map(str, range(n))), matrix), potential


def random_pairs(n, rng, degree=5):
    """Return pairs that a chain connects, the others drawn by chance."""
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    return np.concatenate([chain, rng.integers(n, size=((degree - 1) * n, 2))])


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


def precise_potential(rates, softplus):
    """Newton's method with 500 digits; the last state is held at 0."""
    with mpmath.workdps(500):
        n = len(rates)
        moves = [(f, g, mpmath.mpf(float(rates[f, g]))) for f in range(n) for g in range(n)]
        moves = [(f, g, w) for f, g, w in moves if w > 0 and f != g]
        values = [mpmath.mpf(0)] * n
        for _ in range(3_000):
            gradient, hessian = mpmath.zeros(n - 1, 1), mpmath.zeros(n - 1, n - 1)
            for f, g, w in moves:
                e = mpmath.exp(-(values[f] - values[g]) / (1 if softplus else 2))
                slope = -w * e / (1 + e) if softplus else -w * e / 2
                bend = w * e / (1 + e) ** 2 if softplus else w * e / 4
                for state, sign in ((f, 1), (g, -1)):
                    if state < n - 1:
                        gradient[state] += sign * slope
                        hessian[state, state] += bend
                if f < n - 1 and g < n - 1:
                    hessian[f, g] -= bend
                    hessian[g, f] -= bend
            step = mpmath.lu_solve(hessian, -gradient)
            longest = max(abs(s) for s in step)
            share = mpmath.log(1 + 2 * longest) / (2 * longest) if longest > 1e-9 else 1
            values = [v + share * s for v, s in zip(values[:-1], step, strict=True)] + [values[-1]]
            if longest < 1e-40:
                return np.array([float(v) for v in values])
    raise AssertionError("the reference did not converge")
