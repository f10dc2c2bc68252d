"""Runs taken on chains that are known, for the tests of forecasts and comparisons."""

import numpy as np

from detailed_balance.analyzers import END, START, Trajectory


def walk_run(rng, kernel, ends, names, first=0, limit=10_000):
    """Walk one run: `kernel` (n, n) between states, `ends` (n, 2) to success and failure."""
    n, here, moves = len(kernel), first, [(START, names[first])]
    law = np.hstack([kernel, ends]).cumsum(axis=1)
    while len(moves) < limit:
        there = int(np.searchsorted(law[here] / law[here, -1], rng.random(), side="right"))
        if there >= n:
            moves.append((names[here], END))
            return Trajectory(tuple(moves), success=there == n)
        moves.append((names[here], names[there]))
        here = there
    return Trajectory(tuple(moves))


def walk_runs(rng, kernel, ends, runs, *, limit=10_000, names=None):
    kernel, ends = np.asarray(kernel, dtype=float), np.asarray(ends, dtype=float)
    names = names or [f"s{i}" for i in range(len(kernel))]
    return [walk_run(rng, kernel, ends, names, limit=limit) for _ in range(runs)]


def random_chain(rng, n, *, ending=0.15):
    """Return a kernel and its ends; each row ends with a chance around `ending`."""
    stop = ending * rng.uniform(0.5, 1.5, size=n)
    kernel = rng.dirichlet(np.ones(n), size=n) * (1 - stop)[:, None]
    good = rng.uniform(0.2, 0.8, size=n)
    return kernel, stop[:, None] * np.column_stack([good, 1 - good])


def absorption(kernel, ends):
    """Return the chance of success and the mean moves to the end from each state."""
    inverse = np.linalg.inv(np.eye(len(kernel)) - kernel)
    return inverse @ ends[:, 0], inverse.sum(axis=1)
