"""Newton steps that keep every digit where weights are hundreds of orders of magnitude apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList

    # Named where mypy would try every overload of sparse products, which takes it seconds.
    _Matrix: TypeAlias = csr_array[Any, tuple[int, int]]

TREE_LIMIT = 5_000
"""Up to so many states wide weights are solved on the spanning tree; its matrix is dense."""

WIDE = 1e-9
"""Where the weakest edge has less than this share of the strongest, sums over states lose it."""


def is_wide(stiffness: NDArray[np.float64]) -> bool:
    """Return whether rounding in strong edges would drown weak ones.

    Between two clusters tied by weak links only, the balance of V rests on those links; summed
    up state by state, they vanish beside the rounding of the flows inside the clusters.
    """
    return bool(stiffness.min(initial=np.inf) < WIDE * stiffness.max(initial=0.0))


def potential_on_tree(
    edges: EdgeList, stiffness: NDArray[np.float64], drop: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) array: the V that has the (m,) drops exactly on the strongest spanning trees."""
    n = edges.n_states
    parent = _parents(edges, stiffness)
    shape = (n, n)
    matrix: Any = csr_array((drop, edges.second, edges.starts), shape=shape)
    below = np.flatnonzero(parent < n)
    values = np.zeros(n + 1)
    # Stored once per edge: one of the two directions is there, the other reads as 0.
    values[below] = matrix[below, parent[below]] - matrix[parent[below], below]
    up = np.append(parent, n)
    while (up < n).any():  # each pass doubles the way towards the root that is added up
        values, up = values + values[up], up[up]
    return values[:n]


class SpanningTreeSolver:
    """Newton steps in the drops along the strongest spanning tree, in place of V.

    The derivative of the action by such a drop is the net flow through the cut that the tree
    edge defines. All other edges across the cut are weaker than that edge, so the sum loses no
    digits to flows inside the two sides.
    """

    method = "spanning_tree"
    iterations = 0

    def __init__(self, edges: EdgeList) -> None:
        self.edges = edges
        self.residual = np.zeros(edges.n_states)

    def refresh(self, stiffness: NDArray[np.float64]) -> None:
        """Take new (m,) weights of the Hessian, and the spanning tree that they give."""
        paths = _root_paths(self.edges, stiffness)
        crossing: _Matrix = csr_array(paths[self.edges.first] - paths[self.edges.second])
        weighted: _Matrix = csr_array(diags_array(stiffness) @ crossing)
        hessian = (crossing.T @ weighted).toarray()
        # A state that is the root of its tree has no drop: a unit holds its place.
        diagonal = np.diag(hessian)
        self._scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        hessian = self._scale[:, None] * hessian * self._scale
        np.fill_diagonal(hessian, 1.0)
        self._factor = cho_factor(hessian, lower=True)
        self._paths, self._crossing = paths, crossing

    def solve_flow(self, net: NDArray[np.float64], rtol: float = 0.0) -> NDArray[np.float64]:
        """(n,) array: the step of V that an (m,) net flow asks for; exact, whatever `rtol`."""
        across = self._scale * (self._crossing.T @ net)
        return np.asarray(self._paths @ (self._scale * cho_solve(self._factor, across)))


def _root_paths(edges: EdgeList, stiffness: NDArray[np.float64]) -> _Matrix:
    """(n, n) csr_array: row v has ones at v and its ancestors, the root of its tree left out."""
    n = edges.n_states
    parent = _parents(edges, stiffness)
    inner = np.flatnonzero(parent < n)
    up = csr_array((np.ones(len(inner)), (inner, parent[inner])), shape=(n, n))
    paths: _Matrix = csr_array(eye_array(n) + up)
    stride: _Matrix = csr_array(up @ up)
    while stride.nnz:  # paths of 2, 4, 8... edges
        paths, stride = csr_array(paths + paths @ stride), csr_array(stride @ stride)
    not_root = diags_array((parent < n).astype(float))
    paths = csr_array(paths @ not_root)
    paths.eliminate_zeros()
    return paths


def _parents(edges: EdgeList, stiffness: NDArray[np.float64]) -> NDArray[Any]:
    """(n,) array: each state's parent in the strongest spanning tree of its component, or n."""
    n = edges.n_states
    roots = np.unique(edges.components, return_index=True)[1]
    weakness = 1 + np.log(stiffness.max()) - np.log(np.maximum(stiffness, np.finfo(float).tiny))
    # One more state above all roots makes one tree of them all. 32 bits: all that scipy takes here
    # before 1.17.
    first = np.concatenate([edges.first, roots]).astype(np.int32)
    second = np.concatenate([edges.second, np.full(len(roots), n)]).astype(np.int32)
    weight = np.concatenate([weakness, np.ones(len(roots))])
    tree = minimum_spanning_tree(csr_array((weight, (first, second)), shape=(n + 1, n + 1)))
    return np.asarray(breadth_first_order(tree, n, directed=False)[1][:n])
