"""Kernels of many shapes, reversible times noise, about ten directed edges for each state."""

from __future__ import annotations

import numpy as np
from scipy.sparse import block_diag, coo_array, csr_array

from detailed_balance.analyzers import Kernel

__all__ = ["SHAPES", "attachment", "components", "grid", "random", "ring"]


def random(n: int, rng: np.random.Generator) -> Kernel:
    """Return a ring with four random links for each state."""
    other = np.concatenate([(np.arange(n) + 1) % n, rng.integers(n, size=4 * n)])
    return _kernel(n, np.concatenate([np.arange(n), rng.integers(n, size=4 * n)]), other, rng)


def ring(n: int, rng: np.random.Generator, width: int = 5) -> Kernel:
    """Return a ring with `width` neighbours on each side."""
    i = np.tile(np.arange(n), width)
    return _kernel(n, i, (i + np.repeat(np.arange(1, width + 1), n)) % n, rng)


def grid(n: int, rng: np.random.Generator) -> Kernel:
    """Return a square grid with diagonals."""
    side = round(n**0.5)
    g = np.arange(side * side).reshape(side, side)
    ends = [
        (g[:, :-1], g[:, 1:]),
        (g[:-1], g[1:]),
        (g[:-1, :-1], g[1:, 1:]),
        (g[:-1, 1:], g[1:, :-1]),
    ]
    one, other = (np.concatenate([pair[k].ravel() for pair in ends]) for k in (0, 1))
    return _kernel(side * side, one, other, rng)


def attachment(n: int, rng: np.random.Generator) -> Kernel:
    """Return a preferential attachment graph: new states link to ends of random earlier links."""
    source = np.repeat(np.arange(n), 5)
    slot = rng.integers(0, np.maximum(10 * source, 1))
    end = slot.copy()
    while (end % 2 == 1).any():  # an odd slot is the target of a link, itself the end of a link
        end = np.where(end % 2 == 1, slot[end // 2], end)
    return _kernel(n, source, source[end // 2], rng)


def components(n: int, rng: np.random.Generator) -> Kernel:
    """Return a preferential attachment graph with 1,000 small components beside it."""
    sizes = rng.integers(2, 20, size=1_000)
    small = [ring(int(size), rng, width=1).probabilities for size in sizes]
    whole = block_diag([attachment(n - int(sizes.sum()), rng).probabilities, *small], format="csr")
    return Kernel(tuple(map(str, range(n))), csr_array(whole))


SHAPES = {
    "random": random,
    "attachment": attachment,
    "ring": ring,
    "grid": grid,
    "components": components,
}
"""The graphs by name."""


def _kernel(n: int, i: np.ndarray, j: np.ndarray, rng: np.random.Generator) -> Kernel:
    key = np.unique(np.minimum(i, j)[i != j] * n + np.maximum(i, j)[i != j])
    i, j = (key // n).astype(np.int32), (key % n).astype(np.int32)
    potential = rng.normal(size=n)
    strength, half = rng.gamma(2.0, size=len(i)), (potential[i] - potential[j]) / 2
    there = strength * np.exp(half + 0.3 * rng.normal(size=len(i)))
    back = strength * np.exp(-half + 0.3 * rng.normal(size=len(i)))
    ends = (np.concatenate([i, j]), np.concatenate([j, i]))
    matrix = coo_array((np.concatenate([there, back]), ends), shape=(n, n)).tocsr()
    matrix.data *= 0.9 / matrix.sum(axis=1).max()
    return Kernel(tuple(map(str, range(n))), matrix)
