"""What people would use in place of the solver, at the accuracy that it reaches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import choix
import numpy as np
from scipy.linalg import matrix_balance
from scipy.optimize import minimize

from benchmarks.solver.graphs import random, ring
from detailed_balance.analyzers import (
    Kernel,
    Softplus,
    TransitionCounts,
    estimate_potential,
)

__all__ = ["rows"]


def rows() -> Iterator[str]:
    """Yield the rows of the table, one after the other."""
    rng = np.random.default_rng(3)
    yield _vectorised("random, 10,000 states", random(10_000, rng))
    yield _vectorised("ring of 10,000, 5 each side", ring(10_000, rng))
    yield _vectorised("ring of 10,000, 1 each side", ring(10_000, rng, width=1))
    yield _bradley_terry(rng)
    yield _dense_balance(rng)
    yield from _edge_loop(rng)


def _timed(function: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _row(
    rival: str, problem: str, theirs: float, ours: float, their_error: float, our_error: float
) -> str:
    return (
        f"{rival} | {problem} | {theirs:.3g} | {ours:.3g} | {theirs / ours:.0f} | "
        f"{their_error:.0e} | {our_error:.0e}"
    )


def _ours(kernel: Kernel) -> tuple[float, np.ndarray, np.ndarray]:
    """Return our time, our V, and a tighter one."""
    seconds = sorted(_timed(lambda: estimate_potential(kernel))[0] for _ in range(3))[1]
    found = estimate_potential(kernel)
    return seconds, found.values, estimate_potential(kernel, tolerance=1e-9).values


def _vectorised(problem: str, kernel: Kernel) -> str:
    """Run L-BFGS-B with a vectorised gradient, tightened until V is right to 1e-6."""
    ours, values, known = _ours(kernel)
    theirs, (found, _) = _timed(lambda: _tightened(kernel, known))
    errors = float(np.ptp(found - known)), float(np.ptp(values - known))
    return _row("L-BFGS-B, vectorised", problem, theirs, ours, *errors)


def _tightened(kernel: Kernel, known: np.ndarray) -> tuple[np.ndarray, int]:
    """Go on with L-BFGS-B until V is right to 1e-6 or 20,000 steps; return V and evaluations."""
    edges, n = kernel.probabilities.tocoo(), len(kernel.states)

    def action(v: np.ndarray) -> tuple[float, np.ndarray]:
        flow = edges.data * np.exp(-(v[edges.row] - v[edges.col]) / 2)
        pull = np.bincount(edges.col, flow, n) - np.bincount(edges.row, flow, n)
        return float(flow.sum()), pull / 2

    def stop_when_right(v: np.ndarray) -> None:
        if np.ptp(v - known) <= 1e-6:
            raise StopIteration

    options = {"maxiter": 20_000, "maxfun": 25_000, "ftol": 0.0, "gtol": 0.0, "maxcor": 20}
    found = minimize(
        action,
        np.zeros(n),
        jac=True,
        method="L-BFGS-B",
        options=options,
        callback=stop_when_right,
    )
    return found.x, int(found.nfev)


def _bradley_terry(rng: np.random.Generator) -> str:
    """Run choix on 100,000 comparisons of 1,000 items."""
    strength = rng.normal(size=1_000)
    pairs = rng.integers(1_000, size=(100_000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    first_wins = rng.random(len(pairs)) < 1 / (1 + np.exp(np.diff(strength[pairs], axis=1)[:, 0]))
    wins = np.where(first_wins[:, None], pairs, pairs[:, ::-1])
    theirs, found = _timed(lambda: choix.ilsr_pairwise(1_000, wins.tolist(), alpha=0.0, tol=1e-8))
    names = tuple(map(str, range(1_000)))
    # A win of i over j is a move j -> i.
    counts = TransitionCounts.from_arrays(names, wins[:, 1], wins[:, 0], np.ones(len(wins)))
    settings = {"violation": Softplus(), "attempts": 1_000.0}
    ours = sorted(_timed(lambda: estimate_potential(counts, **settings))[0] for _ in range(3))[1]
    values = estimate_potential(counts, **settings).values
    known = estimate_potential(counts, tolerance=1e-9, **settings).values
    errors = float(np.ptp(-found - known)), float(np.ptp(values - known))
    return _row("choix.ilsr_pairwise", "1,000 states, 100,000 comparisons", theirs, ours, *errors)


def _dense_balance(rng: np.random.Generator) -> str:
    """Run LAPACK's balancing, which scales by powers of two only."""
    n, potential = 2_000, rng.normal(size=2_000) * 3
    half = (potential[:, None] - potential[None, :]) / 2
    rates = rng.gamma(2.0, size=(n, n)) * np.exp(half + 0.3 * rng.normal(size=(n, n)))
    np.fill_diagonal(rates, 0.0)
    kernel = Kernel.from_matrix(rates * 0.9 / rates.sum(axis=1).max())
    ours, values, known = _ours(kernel)
    theirs, found = _timed(lambda: matrix_balance(rates, permute=False, separate=True))
    scale = found[1][0]
    errors = float(np.ptp(2 * np.log(scale) - known)), float(np.ptp(values - known))
    return _row("scipy.linalg.matrix_balance", "2,000 states, dense", theirs, ours, *errors)


def _edge_loop(rng: np.random.Generator) -> Iterator[str]:
    """Run a Python loop over edges with the default stopping rule on S / n."""
    n, m = 7_500, 3_350
    child = np.arange(1, n)
    ends = np.concatenate(
        [
            np.stack([child, (child * rng.random(n - 1)).astype(int)]),
            rng.integers(n, size=(2, m)),
        ],
        axis=1,
    )
    counts = np.concatenate([ends, ends[::-1]], axis=1)
    drawn = 1 + rng.poisson(3, size=counts.shape[1])
    names = tuple(map(str, range(n)))
    kernel = estimate_potential(
        TransitionCounts.from_arrays(names, counts[0], counts[1], drawn)
    ).kernel
    ours, values, known = _ours(kernel)
    matrix = kernel.probabilities.tocoo()
    edges = list(zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True))
    states = len(kernel.states)

    def action(v: np.ndarray) -> tuple[float, np.ndarray]:
        total, gradient = 0.0, np.zeros(states)
        for f, g, rate in edges:
            if f != g:
                flow = rate * math.exp(-(v[f] - v[g]) / 2)
                total += flow
                gradient[f] -= flow / 2
                gradient[g] += flow / 2
        return total / states, gradient / states

    theirs, found = _timed(lambda: minimize(action, np.zeros(states), jac=True, method="L-BFGS-B"))
    errors = float(np.ptp(found.x - known)), float(np.ptp(values - known))
    problem = f"{states:,} states, {len(edges):,} edges"
    yield _row("L-BFGS-B, loop over edges, default stop", problem, theirs, ours, *errors)
    # To the end the loop would take hours: its evaluations are counted on the vectorised one.
    tight, evaluations = _tightened(kernel, known)
    full = theirs / found.nfev * evaluations
    errors = float(np.ptp(tight - known)), errors[1]
    yield _row(f"the same loop, {evaluations:,} evaluations", problem, full, ours, *errors)
