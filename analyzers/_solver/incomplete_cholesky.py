"""Conjugate gradients on a graph Laplacian, preconditioned by an incomplete factorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyamg.amg_core import gauss_seidel
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList

PIVOT_SWEEPS = 2
"""So many sweeps over the pivots; each makes those right that lie one edge deeper."""

LEAST_PIVOT = 0.05
"""A pivot is at least this share of the diagonal: the last one of a Laplacian is 0."""


class IncompleteCholeskySolver:
    """Solve H x = b for a Laplacian H by conjugate gradients.

    The preconditioner is (P + L) P^-1 (P + L'), with the lower triangle L of H as it is and pivots
    P that make the diagonals agree (an incomplete Cholesky factorisation that changes nothing but
    the diagonal). As H is (P + L) + (P + L') + diag(H) - 2 P, both triangular solves together are
    one product with H (Eisenstat, SIAM J. Sci. Stat. Comput. 2, 1981): a step costs hardly more
    than one without a preconditioner, and about half as many are needed, or fewer.

    Parameters
    ----------
    edges : EdgeList
        The pattern.
    """

    def __init__(self, edges: EdgeList) -> None:
        self.edges = edges
        n, m = edges.n_states, len(edges)
        self._make_room()
        self._below: NDArray[np.int64] | None = None
        starts = (edges.starts + np.arange(n + 1)).astype(np.int32)
        off = np.ones(n + m, dtype=bool)
        off[starts[:-1]] = False
        ends = np.empty(n + m, dtype=np.int32)
        ends[starts[:-1]], ends[off] = np.arange(n), edges.second
        numbers = csr_array((np.arange(n + m), ends, starts), shape=(n, n)).T.tocsr()
        self._place = numbers.data
        self._upper = csr_array((np.empty(n + m), ends, starts), shape=(n, n))
        below = (np.empty(n + m), numbers.indices, numbers.indptr)
        self._lower = csr_array(below, shape=(n, n))

    def _make_room(self) -> None:
        """Set aside what every step writes to: fresh memory would cost as much as the work."""
        self.steps, self.residual = 0, np.zeros(self.edges.n_states)
        self._share: NDArray[np.float64] | None = None
        self._room = np.empty((7, self.edges.n_states))

    def refresh(self, stiffness: NDArray[np.float64], degree: NDArray[np.float64]) -> None:
        """Take new (m,) weights, and their (n,) sums over the edges of each state."""
        if self._share is None:
            self._share = self._found_pivots(stiffness, degree) / degree
        self._pivots = degree * self._share
        self._bend = degree - 2 * self._pivots
        for part, first, _ in self.edges.blocks():
            # Each row of the upper triangle begins with its diagonal.
            place = first + np.arange(part.start + 1, part.start + 1 + len(first))
            self._upper.data[place] = -stiffness[part]
        self._upper.data[self._upper.indptr[:-1]] = self._pivots
        self._upper.data.take(self._place, out=self._lower.data, mode="clip")

    def change(
        self, which: NDArray[Any], stiffness: NDArray[np.float64], degree: NDArray[np.float64]
    ) -> None:
        """Take new weights of the edges `which`, and the (n,) sums as they all are now."""
        place = which + self.edges.first[which] + 1  # behind the diagonals of this row and above
        if self._below is None:
            self._below = np.empty(len(self._place), dtype=np.int64)
            self._below[self._place] = np.arange(len(self._place))
        self._upper.data[place] = self._lower.data[self._below[place]] = -stiffness
        self._bend = degree - 2 * self._pivots

    def solve(
        self, b: NDArray[np.float64], rtol: float, limit: int, most: float = np.inf
    ) -> tuple[NDArray[np.float64], bool]:
        """Return x, and whether it is right up to `rtol` after at most `limit` steps.

        The residual b - H x is kept as `residual`; its 1-norm is at most `most`, too.
        """
        u, z, p, y, *spare = self._room
        self._forward(b, u)  # the residual is (P + L) u; x is (P + L')^-1 y
        p[:], y[:] = 0.0, 0.0
        before, goal, self.steps = 1.0, -1.0, 0
        while True:
            np.multiply(self._pivots, u, out=z)
            size = dot(u, z)
            goal = rtol**2 * size if goal < 0 else goal
            done = not size > goal and not self._residual_is_above(u, z, most)
            if done or self.steps == limit:
                break
            p *= size / before
            p += z
            q = self._product(p, *spare)
            length = size / dot(p, q)
            if not np.isfinite(length):
                break
            y += np.multiply(p, length, out=z)
            q *= length
            u -= q
            before, self.steps = size, self.steps + 1
        if not done:
            self._keep_residual(u)
        x = np.empty_like(b)
        self._backward(y, x)
        return x, done

    def _found_pivots(
        self, stiffness: NDArray[np.float64], degree: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n,) array: P such that P + L P^-1 L' has the diagonal of H, as nearly as may be."""
        squares, found = self.edges.upper(stiffness**2).T, degree
        least = np.maximum(LEAST_PIVOT * degree, np.finfo(float).tiny)
        for _ in range(PIVOT_SWEEPS):
            found = np.maximum(degree - squares @ (1 / found), least)
        return found

    def _product(self, p: NDArray[np.float64], *spare: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (P + L)^-1 H (P + L')^-1 p, in one of three spare arrays."""
        up, work, result = spare
        self._backward(p, up)
        np.multiply(self._bend, up, out=work)
        work += p
        self._forward(work, result)
        result += up
        return result

    def _forward(self, b: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        lower = self._lower  # of a triangle, one sweep reads only what it wrote
        gauss_seidel(lower.indptr, lower.indices, lower.data, x, b, 0, len(x), 1)

    def _backward(self, b: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        upper = self._upper
        gauss_seidel(upper.indptr, upper.indices, upper.data, x, b, len(x) - 1, -1, -1)

    def _residual_is_above(
        self, u: NDArray[np.float64], z: NDArray[np.float64], most: float
    ) -> bool:
        """Return whether the 1-norm of the residual (P + L) u is more than `most`; z is P u."""
        if np.abs(z).sum() > most:  # cheaper, and about as much
            return True
        self._keep_residual(u)
        return bool(np.abs(self.residual).sum() > most)

    def _keep_residual(self, u: NDArray[np.float64]) -> None:
        self.residual = np.asarray(self._lower @ u)


class DiagonalSolver(IncompleteCholeskySolver):
    """The same with nothing but the diagonal, which is at hand and costs nothing to divide by.

    On graphs that mix fast it needs about twice the steps, each at less than half of the cost.
    """

    def __init__(self, edges: EdgeList) -> None:
        self.edges = edges
        self._make_room()

    def refresh(self, stiffness: NDArray[np.float64], degree: NDArray[np.float64]) -> None:
        """Take new (m,) weights, and their (n,) sums over the edges of each state."""
        self._pivots, self._stiffness = degree, stiffness
        self._upper = self.edges.upper(stiffness)
        self._transposed = self._upper.T

    def change(
        self, which: NDArray[Any], stiffness: NDArray[np.float64], degree: NDArray[np.float64]
    ) -> None:
        """Take new weights of the edges `which`, and the (n,) sums as they all are now."""
        self._pivots = degree
        self._stiffness[which] = stiffness

    def _product(self, p: NDArray[np.float64], *spare: NDArray[np.float64]) -> NDArray[np.float64]:
        up, work, _ = spare
        self._backward(p, up)
        np.add(np.asarray(self._upper @ up), np.asarray(self._transposed @ up), out=work)
        work /= self._pivots
        return np.subtract(up, work, out=work)

    def _forward(self, b: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        np.divide(b, self._pivots, out=x)

    _backward = _forward

    def _keep_residual(self, u: NDArray[np.float64]) -> None:
        self.residual = u * self._pivots


def dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the inner product of two (n,) arrays, always in one thread."""
    # Above this BLAS would wake other threads, which wait for each other on a busy machine.
    return float(x @ y) if len(x) < 10_000 else float(np.einsum("i,i", x, y))
