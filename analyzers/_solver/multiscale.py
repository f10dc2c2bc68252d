"""Newton steps on large graphs whose weights are hundreds of orders of magnitude apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from detailed_balance.analyzers._solver.edges import Pairs, add_at
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LayerSolver"]

STRIDE, DEPTH = 1e-4, 1e-8
"""Each layer begins at this share of the one above, and looks down to this share of its top."""

NEARLY = 0.02
"""Where no weight changed by a larger share, the layers are kept."""

PRECISION, SWEEPS = 1e-9, 2
"""How exactly each layer is solved at best, and how often all are, one after the other."""

PATIENCE = 4_000
"""Plain iterations in a layer before a factorisation is made: wide weights fill it in."""


class LayerSolver:
    """Newton steps from the strongest pairs down to the weakest, some orders at a time.

    In each layer, states that stronger pairs tie together move as one. What flows out of such a
    cluster is added up over the pairs that leave it, and these are all weak: no flow inside
    drowns it. Layers overlap, so that a pair is solved together with those that compare with it.
    """

    method = "layers"
    iterations = 0

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.left = np.zeros(pairs.n_states)
        self._made_for = np.zeros(len(pairs))

    def refresh(self, stiffness: NDArray[np.float64]) -> None:
        """Take new (m,) weights of the Hessian."""
        self._stiffness = stiffness
        change = np.abs(stiffness - self._made_for)
        if not (change <= NEARLY * stiffness).all():
            self._layers = self._made_layers(stiffness)
            self._made_for = stiffness.copy()

    def _made_layers(self, stiffness: NDArray[np.float64]) -> list[_Layer]:
        pairs, top = self.pairs, np.inf
        layers: list[_Layer] = []
        clusters: NDArray[Any] = np.arange(pairs.n_states)
        while True:
            crossing = np.flatnonzero(clusters[pairs.first] != clusters[pairs.second])
            if not len(crossing):
                return layers
            # Where nothing is as strong, the next layer begins with the strongest there is.
            top = min(STRIDE * top, float(stiffness[crossing].max()))
            layers.append(_Layer(pairs, crossing, stiffness[crossing], clusters, DEPTH * top))
            tied = np.flatnonzero(stiffness >= STRIDE * top)
            ends, shape = (pairs.first[tied], pairs.second[tied]), (len(clusters), len(clusters))
            links = csr_array((np.ones(len(tied)), ends), shape=shape)
            clusters = connected_components(links, directed=False)[1]

    def solve_flow(self, net: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        """(n,) array: the step of V that an (m,) net flow asks for, about right to `rtol`."""
        step = np.zeros(self.pairs.n_states)
        for layer in SWEEPS * self._layers:
            rest = net[layer.crossing] - self._stiffness[layer.crossing] * layer.drop(step)
            step += layer.solve(rest, max(STRIDE * rtol, PRECISION))
        self.left = self.pairs.outflow(net - self._stiffness * self.pairs.drop(step))
        self.iterations = sum(layer.solver.iterations for layer in self._layers)
        return step


class _Layer:
    """The clusters that stronger pairs tie, and the pairs that cross between them."""

    def __init__(
        self,
        pairs: Pairs,
        crossing: NDArray[Any],
        stiffness: NDArray[np.float64],
        clusters: NDArray[Any],
        lowest: float,
    ) -> None:
        self.crossing, self.clusters = crossing, clusters
        self.ends = pairs.first[crossing], pairs.second[crossing]
        self.one, self.other = clusters[self.ends[0]], clusters[self.ends[1]]
        n, seen = int(clusters.max()) + 1, stiffness >= lowest
        low, high = np.minimum(self.one, self.other)[seen], np.maximum(self.one, self.other)[seen]
        matrix = csr_array((stiffness[seen], (low, high)), shape=(n, n))
        matrix.sum_duplicates()
        components = connected_components(matrix, directed=False)[1]
        contracted = Pairs.from_matrix(matrix, components.astype(np.int64))
        self.solver = LaplacianSolver(contracted, patience=PATIENCE)
        self.solver.refresh(contracted.forward)
        self.scale = contracted.scale[components]

    def drop(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values[self.ends[0]] - values[self.ends[1]])

    def solve(self, net: NDArray[np.float64], rtol: float) -> NDArray[np.float64]:
        n = self.solver.pairs.n_states
        pull = add_at(self.one, net, n) - add_at(self.other, net, n)
        return np.asarray(self.solver.solve(self.scale * pull, rtol)[self.clusters])
