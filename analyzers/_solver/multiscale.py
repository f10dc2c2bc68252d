"""Newton steps on large graphs whose weights are hundreds of orders of magnitude apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from detailed_balance.analyzers._solver.edges import EdgeList, add_at
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIDE, DEPTH = 1e-4, 1e-8
"""Each level begins at this share of the one above, and looks down to this share of its top."""

NEARLY = 0.02
"""Where no weight changed by a larger share, the levels are kept."""

PRECISION, SWEEPS = 1e-9, 2
"""How exactly each level is solved at best, and how often all are, one after the other."""

PATIENCE = 4_000
"""Plain iterations in a level before a factorisation is made: wide weights fill it in."""


class MultiscaleSolver:
    """Newton steps from the strongest edges down to the weakest, some orders at a time.

    In each level, states that stronger edges tie together move as one. What flows out of such a
    cluster is added up over the edges that leave it, and these are all weak: no flow inside
    drowns it. Levels overlap, so that an edge is solved together with those that compare with it.
    """

    method = "multiscale"
    iterations = 0

    def __init__(self, edges: EdgeList) -> None:
        self.edges = edges
        self.residual = np.zeros(edges.n_states)
        self._made_for = np.zeros(len(edges))

    def refresh(self, stiffness: NDArray[np.float64]) -> None:
        """Take new (m,) weights of the Hessian."""
        self._stiffness = stiffness
        change = np.abs(stiffness - self._made_for)
        if not (change <= NEARLY * stiffness).all():
            self._levels = self._made_levels(stiffness)
            self._made_for = stiffness.copy()

    def _made_levels(self, stiffness: NDArray[np.float64]) -> list[_Level]:
        edges, top = self.edges, np.inf
        levels: list[_Level] = []
        clusters: NDArray[Any] = np.arange(edges.n_states)
        while True:
            crossing = np.flatnonzero(clusters[edges.first] != clusters[edges.second])
            if not len(crossing):
                return levels
            # Where nothing is as strong, the next level begins with the strongest there is.
            top = min(STRIDE * top, float(stiffness[crossing].max()))
            levels.append(_Level(edges, crossing, stiffness[crossing], clusters, DEPTH * top))
            tied = np.flatnonzero(stiffness >= STRIDE * top)
            ends, shape = (edges.first[tied], edges.second[tied]), (len(clusters), len(clusters))
            links = csr_array((np.ones(len(tied)), ends), shape=shape)
            clusters = connected_components(links, directed=False)[1]

    def solve_flow(self, net: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        """(n,) array: the step of V that an (m,) net flow asks for, about right to `rtol`."""
        step = np.zeros(self.edges.n_states)
        for level in SWEEPS * self._levels:
            rest = net[level.crossing] - self._stiffness[level.crossing] * level.drop(step)
            step += level.solve(rest, max(STRIDE * rtol, PRECISION))
        self.residual = self.edges.outflow(net - self._stiffness * self.edges.drop(step))
        self.iterations = sum(level.solver.iterations for level in self._levels)
        return step


class _Level:
    """The clusters that stronger edges tie, and the edges that cross between them."""

    def __init__(
        self,
        edges: EdgeList,
        crossing: NDArray[Any],
        stiffness: NDArray[np.float64],
        clusters: NDArray[Any],
        lowest: float,
    ) -> None:
        self.crossing, self.clusters = crossing, clusters
        self.ends = edges.first[crossing], edges.second[crossing]
        self.one, self.other = clusters[self.ends[0]], clusters[self.ends[1]]
        n, seen = int(clusters.max()) + 1, stiffness >= lowest
        low, high = np.minimum(self.one, self.other)[seen], np.maximum(self.one, self.other)[seen]
        matrix = csr_array((stiffness[seen], (low, high)), shape=(n, n))
        matrix.sum_duplicates()
        components = connected_components(matrix, directed=False)[1]
        contracted = EdgeList.from_matrix(matrix, components.astype(np.int64))
        self.solver = LaplacianSolver(contracted, patience=PATIENCE)
        self.solver.refresh(contracted.forward)
        self.scale = contracted.scale[components]

    def drop(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values[self.ends[0]] - values[self.ends[1]])

    def solve(self, net: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        n = self.solver.edges.n_states
        net_outflow = add_at(self.one, net, n) - add_at(self.other, net, n)
        return np.asarray(self.solver.solve(self.scale * net_outflow, rtol)[self.clusters])
