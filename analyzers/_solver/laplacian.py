"""Linear systems of graph Laplacians: conjugate gradients, well preconditioned."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyamg
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from detailed_balance.analyzers._solver.incomplete_cholesky import (
    DiagonalSolver,
    IncompleteCholeskySolver,
    dot,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList

DENSE_LIMIT = 64
"""Up to so many states a factorisation is cheap enough to be used at once."""

DIRECT_LIMIT = 2_000
"""Up to so many states a factorisation follows stalled iterations, whatever its fill."""

LOOP_LIMIT = 500
"""Eliminating leaves and chains leaves two states at most for each independent loop, whatever
the size of the graph: up to so many loops the fill of a factorisation is small."""

FEW, MANY = 2, 16
"""With more edges for each state the diagonal is tried as a preconditioner: the first in graphs of
up to `CACHED` states, where a factorisation saves less than it costs; the second in any."""

CACHED = 30_000
"""Vectors of so many states stay in the cache, and more but cheaper iterations are quicker."""

PACE = 3
"""It is kept while so many iterations, or fewer, make the residual e times smaller."""

SMALL = 200
"""Components up to so many states are factored: iterating, the slowest would hold up the rest."""

PLAIN_ITERATIONS = 60
"""Conjugate gradients that need more than these get a better preconditioner, as a rule."""

STRONG_ITERATIONS = 300
"""The same with a strong preconditioner, before the step is taken as it is."""

STALE_ITERATIONS = 30
"""A multigrid made for earlier weights is made again when it needs more than these."""

Apply: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"


class LaplacianSolver:
    """Solve H x = b for a Laplacian H whose pattern stays and whose weights change.

    Every method is a conjugate gradient iteration that ends on its true residual, kept as
    `residual`; they differ in the preconditioner. "auto" begins with an incomplete factorisation
    ("pcg", see `IncompleteCholeskySolver`) and, where that stalls, goes on with what suits the
    graph: "banded" (rings, paths, strips), "lu" (small graphs and those that are almost trees),
    or multigrid ("amg").

    Parameters
    ----------
    edges : EdgeList
        The pattern.
    method : {"auto", "pcg", "banded", "lu", "amg"}
        What to precondition with.
    patience : int
        Where "pcg" needs more iterations, "auto" looks for something better.
    """

    def __init__(
        self, edges: EdgeList, method: str = "auto", *, patience: int = PLAIN_ITERATIONS
    ) -> None:
        self.edges, self._patience = edges, patience
        self.iterations = 0
        self.residual = np.zeros(edges.n_states)
        self.method = method
        if method == "auto":
            self.method = "lu" if edges.n_states <= DENSE_LIMIT else "pcg"
        self._may_change = method == "auto"
        self._order: NDArray[Any] | None = None
        self._precondition: Apply | None = None
        self._incomplete: IncompleteCholeskySolver | None = None
        self._fresh = False
        self._most = np.inf
        self._divide_small_from_large()

    def _divide_small_from_large(self) -> None:
        """Let small components be solved apart; where there is nothing else, directly."""
        edges = self.edges
        sizes = np.bincount(edges.components, minlength=1)
        small = (sizes <= (SMALL if len(sizes) > 1 else 0))[edges.components]
        small &= (sizes > 1)[edges.components]
        self._small, self._inner = np.flatnonzero(small), None
        if (small | (sizes == 1)[edges.components]).all():
            if self.method == "pcg" and self._may_change and len(edges):
                self.method = self._direct_method()
        elif len(self._small):
            self._inner = LaplacianSolver(edges.among(small))
            self._inner_edges = np.flatnonzero(small[edges.first])

    def refresh(
        self, stiffness: NDArray[np.float64], degree: NDArray[np.float64] | None = None
    ) -> None:
        """Take new (m,) weights; they may change by many orders of magnitude.

        `degree` is their sum over the edges of each state, where it is known.
        """
        degree = self.edges.add_up(stiffness) if degree is None else degree
        self.degree = np.maximum(degree, np.finfo(float).tiny)
        self._whole_degree = self.edges.component_sums(self.degree)
        self.stiffness = stiffness
        self._scaled, self._fresh = False, False
        if self.method == "pcg":
            if self._incomplete is None:
                plain = self._may_change and _suits_diagonal(self.edges)
                self._incomplete = (DiagonalSolver if plain else IncompleteCholeskySolver)(
                    self.edges
                )
            self._incomplete.refresh(stiffness, self.degree)
        if self._inner is not None:
            self._inner.refresh(stiffness[self._inner_edges])

    def change(self, which: NDArray[Any]) -> None:
        """Take the new weights that `stiffness` has for a few edges; `degree` is right already."""
        if self._incomplete is not None and self._inner is None:
            self._incomplete.change(which, self.stiffness[which], self.degree)
        elif len(which):
            self.refresh(self.stiffness, self.degree)

    def solve(
        self, b: NDArray[np.float64], rtol: float, *, in_sum: bool = False
    ) -> NDArray[np.float64]:
        """Return an x with H x = b up to `rtol`; b sums to 0 in each component.

        x is one of the solutions that differ by a constant in each component. With `in_sum` the
        1-norm of the residual is at most that share of the 1-norm of b, too: a b at few states
        leaves a residual at many.
        """
        if not b.any():
            self.residual = np.zeros_like(b)
            return np.zeros_like(b)
        b = self._consistent(b)
        self._most = rtol * float(np.abs(b).sum()) if in_sum else np.inf
        if self._inner is None:
            return self._solve_large(b, rtol)
        x, small = np.zeros_like(b), self._small
        x[small] = self._inner.solve(b[small], rtol)
        b[small] = 0.0
        x_large = self._solve_large(b, rtol)
        self.residual[small] = self._inner.residual
        return x + x_large

    def _solve_large(self, b: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        if self.method == "pcg":
            if isinstance(self._incomplete, DiagonalSolver):
                x, done = self._iterate_plainly(b, rtol, 5 + int(PACE * np.log(1 / rtol)))
                if done:
                    return x
                self._incomplete = IncompleteCholeskySolver(self.edges)
                self._incomplete.refresh(self.stiffness, self.degree)
            limit = self._patience if self._may_change else 100 * self._patience
            x, done = self._iterate_plainly(b, rtol, limit)
            if done or not self._may_change:
                return x
            self.method, self._incomplete = self._better_method(), None
        if not self._scaled:
            self._scale_to_one()
        return self._scale * self._solve_strongly(b * self._scale, rtol)

    def _iterate_plainly(
        self, b: NDArray[np.float64], rtol: float, limit: int
    ) -> tuple[NDArray[np.float64], bool]:
        assert self._incomplete is not None  # noqa: S101 - for the type checkers
        x, done = self._incomplete.solve(b, rtol, limit, self._most)
        self.iterations += self._incomplete.steps
        self.residual = self._incomplete.residual
        return x, done

    def _scale_to_one(self) -> None:
        """Scale H to a diagonal of 1: so weights many orders of magnitude apart lose no digits."""
        self._root = np.sqrt(self.degree)
        self._scale, off = 1 / self._root, np.empty(len(self.edges))
        for part, first, second in self.edges.blocks():
            np.multiply(self._scale.take(first), self._scale.take(second), out=off[part])
            off[part] *= self.stiffness[part]
        self._upper = self.edges.upper(off)
        self._lower, self._scaled = self._upper.T, True

    def _solve_strongly(self, b: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        if self.method == "amg" and self._precondition is not None and not self._fresh:
            # Multigrid costs more to make than to use: one for nearby weights will often do.
            x, done = self._iterate(b, rtol, self._precondition, STALE_ITERATIONS)
            if done:
                return x
        if not self._fresh:
            self._precondition = None  # frees its memory before the next is made
            self._precondition = self._make_preconditioner()
            self._fresh = True
        assert self._precondition is not None  # noqa: S101 - for the type checkers
        return self._iterate(b, rtol, self._precondition, STRONG_ITERATIONS)[0]

    def _apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        result = self._upper @ x
        result += self._lower @ x
        return np.asarray(np.subtract(x, result, out=result))

    def _consistent(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take out what rounding left of the sums, or no x would solve it."""
        edges = self.edges
        excess = edges.component_sums(b) / self._whole_degree
        return np.asarray(b - self.degree * edges.spread(excess))

    def _iterate(
        self, b: NDArray[np.float64], rtol: float, precondition: Apply, limit: int
    ) -> tuple[NDArray[np.float64], bool]:
        """Conjugate gradients on the scaled system, until |r| <= rtol |b|."""
        goal = rtol**2 * dot(b, b)
        x, r, p, work, before = np.zeros_like(b), b.copy(), np.zeros_like(b), np.empty_like(b), 1.0
        done, steps = False, 0
        while True:
            done = not dot(r, r) > goal and not np.abs(r) @ self._root > self._most
            if done or steps == limit:
                break
            z = precondition(r)
            size = dot(r, z)
            p *= size / before
            p += z
            q = self._apply(p)
            curvature = dot(p, q)
            length = size / curvature if curvature else np.inf
            if not np.isfinite(length):
                break
            x += np.multiply(p, length, out=work)
            q *= length
            r -= q
            before, steps = size, steps + 1
        self.iterations += steps
        self.residual = r / self._scale
        return x, done

    # What to do where the incomplete factorisation is not enough.

    def _better_method(self) -> str:
        edges, n = self.edges, self.edges.n_states
        loops = len(edges) - n + edges.n_components
        direct = self._direct_method()
        return direct if direct == "banded" or n <= DIRECT_LIMIT or loops <= LOOP_LIMIT else "amg"

    def _direct_method(self) -> str:
        edges, n = self.edges, self.edges.n_states
        self._order = _narrow_order(edges)
        width = _bandwidth(edges, self._order)
        return "banded" if n * width**2 <= 200 * (len(edges) + n) else "lu"

    def _make_preconditioner(self) -> Apply:
        makers = {"banded": self._banded, "lu": self._lu, "amg": self._multigrid}
        try:
            solve = makers[self.method]()
        except (np.linalg.LinAlgError, RuntimeError):
            if not self._may_change:
                raise
            self.method = "amg"  # rounding made a pivot vanish: multigrid divides by none
            solve = self._multigrid()
        return solve

    def _grounded(self) -> NDArray[np.float64]:
        """Return the diagonal, the strongest state of each component tied to the ground.

        That makes the matrix definite, and as b sums to 0 nothing flows there.
        """
        diagonal = np.ones(self.edges.n_states)
        diagonal[_strongest(self.degree, self.edges.components)] += 1.0
        return diagonal

    def _banded(self) -> Apply:
        edges, n = self.edges, self.edges.n_states
        order = self._order if self._order is not None else _narrow_order(edges)
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        one, other = place[edges.first], place[edges.second]
        distance = np.abs(one - other)
        band = np.zeros((int(distance.max(initial=0)) + 1, n), order="F")
        band[0] = self._grounded()[order]
        band[distance, np.minimum(one, other)] = -self._upper.data
        factor = cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)

        def solve(r: NDArray[np.float64]) -> NDArray[np.float64]:
            solution = cho_solve_banded((factor, True), r[order], check_finite=False)
            return np.asarray(solution[place])

        return solve

    def _lu(self) -> Apply:
        factor = splu(
            self._whole_matrix().tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0
        )
        return lambda r: np.asarray(factor.solve(r))

    def _whole_matrix(self) -> csr_array[Any, tuple[int, int]]:
        return csr_array(diags_array(self._grounded()) - self._upper - self._lower)

    def _multigrid(self) -> Apply:
        hierarchy = pyamg.smoothed_aggregation_solver(
            self._whole_matrix(),
            B=np.sqrt(self.degree)[:, None],
            smooth=("jacobi", {"weighting": "local"}),
            max_coarse=500,
            coarse_solver="splu",
        )
        cycle = hierarchy.aspreconditioner()
        return lambda r: np.asarray(cycle @ r)


def _suits_diagonal(edges: EdgeList) -> bool:
    return len(edges) > (FEW if edges.n_states <= CACHED else MANY) * edges.n_states


def _strongest(degree: NDArray[np.float64], components: NDArray[Any]) -> NDArray[Any]:
    """(c,) array: a state of the largest degree in each component."""
    largest = np.zeros(int(components.max(initial=-1)) + 1)
    np.maximum.at(largest, components, degree)
    where = np.flatnonzero(degree == largest[components])
    strongest = np.zeros(len(largest), dtype=np.int64)
    strongest[components[where]] = where
    return strongest


def _narrow_order(edges: EdgeList) -> NDArray[Any]:
    n = edges.n_states
    upper = csr_array((np.ones(len(edges), np.int8), edges.second, edges.starts), shape=(n, n))
    return np.asarray(reverse_cuthill_mckee(csr_array(upper + upper.T), symmetric_mode=True))


def _bandwidth(edges: EdgeList, order: NDArray[Any]) -> int:
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return int(np.abs(place[edges.first] - place[edges.second]).max(initial=0))
