"""Conjugate gradients on a graph Laplacian, preconditioned by an incomplete factorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyamg.amg_core import gauss_seidel
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.flows import Pairs

__all__ = ["DiagonalSolver", "IncompleteSolver", "dot"]

PIVOT_SWEEPS = 4
"""So often the pivots are gone through; each sweep makes those right that lie one move deeper."""

LEAST_PIVOT = 0.05
"""A pivot is at least this share of the diagonal: the last one of a Laplacian is 0."""


class IncompleteSolver:
    """Solve H x = b for a Laplacian H by conjugate gradients.

    The preconditioner is (P + L) P^-1 (P + L'), with the lower triangle L of H as it is and pivots
    P that make the diagonals agree (an incomplete Cholesky factorisation that changes nothing but
    the diagonal). Scaled so that P is 1, both triangular solves together are one product with H
    (Eisenstat, SIAM J. Sci. Stat. Comput. 2, 1981): a step costs hardly more than one without a
    preconditioner, and about half as many are needed, or fewer.

    Parameters
    ----------
    pairs : Pairs
        The pattern.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        n, m = pairs.n_states, len(pairs)
        self.steps, self.left = 0, np.zeros(n)
        self._pivots: NDArray[np.float64] | None = None
        self._below: NDArray[np.int64] | None = None
        starts = (pairs.starts + np.arange(n + 1)).astype(np.int32)
        off = np.ones(n + m, dtype=bool)
        off[starts[:-1]] = False
        ends = np.empty(n + m, dtype=np.int32)
        ends[starts[:-1]], ends[off] = np.arange(n), pairs.second
        numbers = csr_array((np.arange(n + m), ends, starts), shape=(n, n)).T.tocsr()
        self._place = numbers.data
        self._off = off
        self._upper = csr_array((np.ones(n + m), ends, starts), shape=(n, n))
        below = (np.ones(n + m), numbers.indices, numbers.indptr)
        self._lower = csr_array(below, shape=(n, n))

    def refresh(self, stiffness: NDArray[np.float64], degree: NDArray[np.float64]) -> None:
        """Take new (m,) weights, and their (n,) sums over the pairs of each state."""
        if self._pivots is None:
            self._rescale(stiffness, degree)
            self._pivots = self._found_pivots()
        self._rescale(stiffness, degree * self._pivots)
        self._bend = 1 / self._pivots - 2

    def change(
        self, which: NDArray[Any], stiffness: NDArray[np.float64], degree: NDArray[np.float64]
    ) -> None:
        """Take new weights of a few pairs, (m,) and (n,) as they all are now."""
        first, second = self.pairs.first[which], self.pairs.second[which]
        off = -stiffness[which] * self._scale[first] * self._scale[second]
        place = which + first + 1  # behind the diagonals of this row and those before
        if self._below is None:
            self._below = np.empty(len(self._place), dtype=np.int64)
            self._below[self._place] = np.arange(len(self._place))
        self._upper.data[place] = self._lower.data[self._below[place]] = off
        self._bend = degree * self._scale**2 - 2

    def solve(
        self, b: NDArray[np.float64], rtol: float, limit: int, most: float = np.inf
    ) -> tuple[NDArray[np.float64], bool]:
        """Return x, and whether it is right up to `rtol` after at most `limit` steps.

        What is left, b - H x, is kept as `left`; the sum of it is to be `most` at most, too.
        """
        r = self._forward(self._scale * b)
        x, p, work, before = np.zeros_like(r), np.zeros_like(r), np.empty_like(r), 1.0
        goal, self.steps = rtol**2 * dot(r, r), 0
        while True:
            size = dot(r, r)
            done = not size > goal and not self._is_more_left(r, most)
            if done or self.steps == limit:
                break
            p *= size / before
            p += r
            q = self._product(p, work)
            length = size / dot(p, q)
            if not np.isfinite(length):
                break
            x += np.multiply(p, length, out=work)
            q *= length
            r -= q
            before, self.steps = size, self.steps + 1
        if not done:
            self._keep_left(r)
        return self._scale * self._backward(x), done

    def _rescale(self, stiffness: NDArray[np.float64], pivots: NDArray[np.float64]) -> None:
        self._scale = 1 / np.sqrt(pivots)
        off = np.empty(len(stiffness))
        for part, first, second in self.pairs.blocks():
            np.multiply(self._scale.take(first), self._scale.take(second), out=off[part])
            off[part] *= stiffness[part]
        self._upper.data[self._off] = np.negative(off, out=off)
        self._upper.data.take(self._place, out=self._lower.data, mode="clip")

    def _found_pivots(self) -> NDArray[np.float64]:
        """(n,) array: the pivots of the matrix as it is scaled now, to a diagonal of 1."""
        squares, found = self._lower.copy(), np.ones(self.pairs.n_states)
        squares.data **= 2
        for _ in range(PIVOT_SWEEPS):
            found = np.maximum(1 + 1 / found - squares @ (1 / found), LEAST_PIVOT)
        return found

    def _product(self, p: NDArray[np.float64], work: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (1 + L)^-1 H (1 + L')^-1 p, as H is (1 + L) + (1 + L') + diag(1 / pivots - 2)."""
        up = self._backward(p)
        np.multiply(self._bend, up, out=work)
        work += p
        result = self._forward(work)
        result += up
        return result

    def _forward(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.empty_like(b)  # of a triangle, one sweep reads only what it wrote
        lower = self._lower
        gauss_seidel(lower.indptr, lower.indices, lower.data, x, b, 0, len(x), 1)
        return x

    def _backward(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.empty_like(b)
        upper = self._upper
        gauss_seidel(upper.indptr, upper.indices, upper.data, x, b, len(x) - 1, -1, -1)
        return x

    def _is_more_left(self, r: NDArray[np.float64], most: float) -> bool:
        """Say whether the sum of what is left, (1 + L) r unscaled, is more than `most`."""
        if np.abs(r / self._scale).sum() > most:  # cheaper, and about as much
            return True
        self._keep_left(r)
        return bool(np.abs(self.left).sum() > most)

    def _keep_left(self, r: NDArray[np.float64]) -> None:
        self.left = np.asarray(self._lower @ r) / self._scale


class DiagonalSolver(IncompleteSolver):
    """The same with nothing but the diagonal, which is at hand and costs nothing to divide by.

    On graphs that mix fast it needs about twice the steps, each at less than half of the cost.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.steps, self.left = 0, np.zeros(pairs.n_states)

    def refresh(self, stiffness: NDArray[np.float64], degree: NDArray[np.float64]) -> None:
        """Take new (m,) weights, and their (n,) sums over the pairs of each state."""
        self._scale = 1 / np.sqrt(degree)
        self._upper = self.pairs.upper(stiffness)
        self._transposed = self._upper.T

    def change(
        self, which: NDArray[Any], stiffness: NDArray[np.float64], degree: NDArray[np.float64]
    ) -> None:
        """Take new weights of a few pairs, (m,) and (n,) as they all are now."""
        self.refresh(stiffness, degree)

    def _product(self, p: NDArray[np.float64], work: NDArray[np.float64]) -> NDArray[np.float64]:
        np.multiply(self._scale, p, out=work)
        result = np.asarray(self._upper @ work)
        result += np.asarray(self._transposed @ work)
        result *= self._scale
        return np.asarray(p - result)

    def _forward(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        return b

    def _backward(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        return b

    def _keep_left(self, r: NDArray[np.float64]) -> None:
        self.left = r / self._scale


def dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the inner product of two (n,) arrays, always in one thread."""
    # Above this BLAS would wake other threads, which wait for each other on a busy machine.
    return float(x @ y) if len(x) < 10_000 else float(np.einsum("i,i", x, y))
