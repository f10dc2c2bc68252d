"""Newton's method for the least action, on sparse graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyamg
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import LinearOperator, cg, splu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["Edges", "Residuals", "Solution", "laplacian_solver", "minimize_action"]

DIRECT_LIMIT = 2_000
"""Up to so many states a sparse factorisation is faster than iterating, whatever the graph."""

JACOBI_ITERATIONS = 300
"""Conjugate gradients that need more than these get a multigrid preconditioner."""

LaplacianSolver: TypeAlias = "Callable[[NDArray[np.float64], float], NDArray[np.float64]]"
"""From a right-hand side that sums to 0 in each component, and a relative tolerance, to H+ b."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Weighted moves between n states, all of them inside strongly connected components.

    Parameters
    ----------
    source, target : (m,) array of int
        The states that each move links, source != target.
    weight : (m,) array of float
        T(target <- source) > 0.
    components : (n,) array of int
        The component of each state, 0 to c - 1.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[np.float64]
    components: NDArray[Any]

    def drop(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) array: V(source) - V(target)."""
        return np.asarray(values[self.source] - values[self.target])

    def gather(self, flow: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add an (m,) flow up by source and by target: two (n,) arrays."""
        n = len(self.components)
        out = np.bincount(self.source, flow, n).astype(np.float64)
        return out, np.bincount(self.target, flow, n).astype(np.float64)

    def per_component(self, values: NDArray[np.float64], ufunc: np.ufunc) -> NDArray[np.float64]:
        """(c,) array: `values` reduced by minimum or maximum in each component."""
        worst = -np.inf if ufunc is np.maximum else np.inf
        result = np.full(int(self.components.max()) + 1, worst)
        ufunc.at(result, self.components, values)
        return result


@dataclass(frozen=True, slots=True)
class Residuals:
    """How far an estimate is from the minimum, in three ways that must all be small."""

    flow: float
    """sum |in - out| / sum (in + out) of the flow T |K'|; 0 where balanced."""
    step: float
    """The largest change of a difference of V by one more full Newton step, in units of V."""
    decrement: float
    """The squared Newton decrement over the action: twice the decrease still expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Where the solver stopped: (n,) values, lowest 0 in each component, and how it got there."""

    values: NDArray[np.float64]
    action: float
    residuals: Residuals
    iterations: int
    converged: bool


def minimize_action(
    edges: Edges,
    violation: ViolationFunction,
    *,
    initial: NDArray[np.float64],
    tolerance: float = 1e-6,
    max_iterations: int = 200,
) -> Solution:
    """Minimise S[V] by damped Newton steps, all components at once.

    Stops when a full step would move no difference by more than ``tolerance / beta``, the squared
    decrement is at most 1e-12 of the action, and the flow is balanced to 1e-10. The gradient
    alone would not do: on a graph with a small spectral gap a tiny one hides a large error in V.
    """
    values, iterations = initial.astype(np.float64), 0
    while True:
        residuals, step = _newton_step(edges, violation, values)
        converged = _is_converged(residuals, tolerance / violation.beta)
        if converged or iterations >= max_iterations or not np.all(np.isfinite(step)):
            break
        values = _damped(edges, violation, values, step, residuals)
        iterations += 1
    values = values - edges.per_component(values, np.minimum)[edges.components]
    action = float(edges.weight @ violation.value(edges.drop(values)))
    return Solution(values, action, residuals, iterations, converged)


def _is_converged(residuals: Residuals, tolerance: float) -> bool:
    return residuals.step <= tolerance and residuals.decrement <= 1e-12 and residuals.flow <= 1e-10


def _newton_step(
    edges: Edges, violation: ViolationFunction, values: NDArray[np.float64]
) -> tuple[Residuals, NDArray[np.float64]]:
    drop = edges.drop(values)
    out, into = edges.gather(-edges.weight * violation.derivative(drop))
    flow = float(np.abs(into - out).sum() / max(np.sum(into + out), np.finfo(float).tiny))
    solve = laplacian_solver(edges, edges.weight * violation.second_derivative(drop))
    step = solve(out - into, float(np.clip(np.sqrt(flow), 1e-4, 0.1)))
    moved = edges.per_component(step, np.maximum) - edges.per_component(step, np.minimum)
    action = float(edges.weight @ violation.value(drop))
    decrement = float((out - into) @ step) / action if action > 0 else 0.0
    return Residuals(flow, float(moved.max(initial=0.0)), decrement), step


def _damped(
    edges: Edges,
    violation: ViolationFunction,
    values: NDArray[np.float64],
    step: NDArray[np.float64],
    residuals: Residuals,
) -> NDArray[np.float64]:
    """Take the step, halved until the action falls enough (Armijo)."""
    if residuals.decrement <= 1e-8:
        # Full steps converge quadratically here, and rounding would blur the comparison below.
        return values + step

    def action(point: NDArray[np.float64]) -> float:
        with np.errstate(over="ignore"):
            return float(edges.weight @ violation.value(edges.drop(point)))

    here, length = action(values), 1.0
    slope = residuals.decrement * here
    while length > 1e-10 and not action(values + length * step) <= here - 1e-4 * length * slope:
        length /= 2
    return values + length * step


def laplacian_solver(edges: Edges, weight: NDArray[np.float64]) -> LaplacianSolver:
    """Return a solver of H x = b, H the graph Laplacian of `edges` with the weights of `weight`.

    The solution is one of those that differ by a constant in each component.
    """
    n = len(edges.components)
    rows = np.concatenate([edges.source, edges.target])
    columns = np.concatenate([edges.target, edges.source])
    off = coo_array((np.concatenate([weight, weight]), (rows, columns)), shape=(n, n)).tocsr()
    degree = np.asarray(off.sum(axis=1))
    # Scaled to a unit diagonal, weights many orders of magnitude apart lose no digits.
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1.0))
    scaled = eye_array(n) - diags_array(scale) @ off @ diags_array(scale)
    if n <= DIRECT_LIMIT:
        return _direct_solver(edges, csr_array(scaled), scale)
    return _iterative_solver(csr_array(scaled), scale)


def _direct_solver(
    edges: Edges, scaled: csr_array[Any, tuple[int, int]], scale: NDArray[np.float64]
) -> LaplacianSolver:
    # One state of each component is held at 0, which makes the rest non-singular.
    _, held = np.unique(edges.components, return_index=True)
    free = np.setdiff1d(np.arange(len(scale)), held)
    block = scaled[free, :][:, free].tocsc()
    factor = splu(block, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0) if free.size else None

    def solve(b: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        x = np.zeros_like(b)
        if factor is not None:
            x[free] = scale[free] * factor.solve(scale[free] * b[free])
        return x

    return solve


def _iterative_solver(
    scaled: csr_array[Any, tuple[int, int]], scale: NDArray[np.float64]
) -> LaplacianSolver:
    multigrid: list[LinearOperator] = []  # made once, and only where it is needed

    def solve(b: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        y, stalled = cg(scaled, scale * b, rtol=rtol, maxiter=JACOBI_ITERATIONS)
        if stalled:
            if not multigrid:
                hierarchy = pyamg.smoothed_aggregation_solver(scaled, B=1 / scale[:, None])
                multigrid.append(hierarchy.aspreconditioner())
            y, _ = cg(scaled, scale * b, x0=y, rtol=rtol, maxiter=1_000, M=multigrid[0])
        return np.asarray(scale * y)

    return solve
