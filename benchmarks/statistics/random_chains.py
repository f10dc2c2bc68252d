"""Random chains, reversible or driven."""

from __future__ import annotations

import numpy as np

__all__ = ["SHAPES", "draw_chain"]

SHAPES = {
    "3 states": (3, 1.0),
    "8 states, dense": (8, 1.0),
    "8 states, sparse": (8, 0.3),
    "30 states, dense": (30, 1.0),
    "30 states, sparse": (30, 0.15),
    "three triangles": (7, 0.0),
}
"""Number of states, and the share of pairs that are linked beside a ring (or beside nothing)."""

TRIANGLES = [(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0), (1, 5), (5, 6), (6, 1)]


def draw_chain(shape: str, force: float, rng: np.random.Generator) -> np.ndarray:
    """Return an (n, n) kernel whose rows sum to 1.

    Potential and conductances are random; on top, log T(g<-f)/T(f<-g) of each pair gets a normal
    push with standard deviation `force`, in nats. With 0 the chain is reversible.
    """
    n, density = SHAPES[shape]
    ring = [(i, (i + 1) % n) for i in range(n)]
    linked = np.triu(rng.random((n, n)) < density, 1)
    for f, g in TRIANGLES if shape == "three triangles" else ring:
        linked[min(f, g), max(f, g)] = True
    conductance = np.where(linked, rng.gamma(2.0, size=(n, n)) + 0.1, 0)
    push = np.triu(rng.normal(size=(n, n)) * force, 1)
    potential = rng.normal(size=n)
    kernel = (conductance + conductance.T) * np.exp(
        (potential[:, None] - potential[None, :] + push - push.T) / 2
    )
    return kernel / kernel.sum(axis=1, keepdims=True)
