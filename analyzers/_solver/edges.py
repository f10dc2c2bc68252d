"""The list of edges between states, which every solver of the least action works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from detailed_balance.analyzers.sparse import ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 16_384
"""So many edges are worked on at a time: what is computed in between stays in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeList:
    """The edges i < j inside components, in row order: one triangle of a sparse matrix.

    A triangle is half of the memory and half of the exponentials of the whole matrix.

    Parameters
    ----------
    starts : (n + 1,) array of int
        Where the edges of each first state begin, as `indptr` of a CSR matrix.
    first, second : (m,) array of int
        The two states of each edge, first < second.
    forward, backward : (m,) array of float
        The weights of first -> second and second -> first; 0 for a move never seen.
    components : (n,) array of int
        The component of each state, 0 to c - 1.
    places : (2, m) array of int
        Where both weights stand in the data of the matrix; -1 for a move never seen. (2, 0) for
        edges that were chosen.
    scale : (c,) array of float
        What the weights of each component were multiplied by.
    """

    starts: NDArray[Any]
    first: NDArray[Any]
    second: NDArray[Any]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    components: NDArray[Any]
    places: NDArray[Any]
    scale: NDArray[np.float64]
    _by_second: list[csc_array[Any]] = field(default_factory=list, init=False, repr=False)
    _members: list[NDArray[Any]] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def from_matrix(
        cls, matrix: csr_array[Any, tuple[int, int]], components: NDArray[Any]
    ) -> EdgeList:
        """Take the moves that stay inside a component; self-loops and zeros are left out."""
        if not matrix.has_canonical_format:
            raise ValueError("add duplicate entries up first (sum_duplicates)")
        rows, inside = _rows(matrix), matrix.data > 0
        if components.any():
            label = components.astype(rows.dtype)  # as narrow as may be: it is read at random
            inside &= label.take(rows) == label.take(matrix.indices)
        there = _moves(matrix, inside & (matrix.indices > rows))
        back = _moves(matrix, inside & (matrix.indices < rows)).T.tocsr()
        # One addition finds the union of both patterns, and keeps the two places apart.
        there.data <<= 32
        union = csr_array(there + back)
        places = np.empty((2, union.nnz), dtype=union.indices.dtype)
        np.right_shift(union.data, 32, out=places[0], casting="unsafe")
        np.bitwise_and(union.data, 2**32 - 1, out=places[1], casting="unsafe")
        places -= 1
        nothing = np.empty(0)
        first = _rows(union)
        pattern = cls(
            union.indptr, first, union.indices, nothing, nothing, components, places, nothing
        )
        return pattern._with_weights(matrix.data)

    def _with_weights(self, data: NDArray[np.float64]) -> EdgeList:
        """Return the same edges with the weights that `data` of the matrix holds now.

        Each component is scaled to a mean weight of 1 for each of its states. That moves no
        minimum, and lets components many orders of magnitude apart be solved together.
        """
        # A move never seen reads the zero that is put behind the rest, at -1.
        padded, weights = np.append(data, 0.0), np.empty(self.places.shape)
        for way, places in enumerate(self.places):
            padded.take(places, out=weights[way], mode="wrap")
        scale = 1 / self._component_means(weights[0] + weights[1])
        weights *= scale if len(scale) == 1 else self.spread(scale).take(self.first)
        return replace(self, forward=weights[0], backward=weights[1], scale=scale)

    def some(self, which: NDArray[Any]) -> EdgeList:
        """Return these edges alone, without `starts` and `places`."""
        return replace(
            self,
            starts=self.starts[:0],
            first=self.first[which],
            second=self.second[which],
            forward=self.forward[which],
            backward=self.backward[which],
            places=self.places[:, :0],
        )

    def __len__(self) -> int:
        return len(self.first)

    @property
    def n_states(self) -> int:
        """The number of states, n."""
        return len(self.components)

    @property
    def n_components(self) -> int:
        """The number of components, c."""
        return int(self.components.max(initial=-1)) + 1

    def drop(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) array: V(first) - V(second)."""
        result = np.empty(len(self))
        for part, first, second in self.blocks():
            np.subtract(values.take(first), values.take(second), out=result[part])
        return result

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the edges by blocks: where they are, and both states, as numpy gathers best."""
        for start in range(0, len(self), BLOCK):
            part = slice(start, start + BLOCK)
            first, second = self.first[part], self.second[part]
            yield part, first.astype(np.intp, copy=False), second.astype(np.intp, copy=False)

    def upper(self, data: NDArray[np.float64]) -> csr_array[Any, tuple[int, int]]:
        """(n, n) csr_array: an (m,) quantity in the upper triangle."""
        return csr_array((data, self.second, self.starts), shape=(self.n_states, self.n_states))

    def add_up(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: the sum of an (m,) quantity over the edges of each state."""
        matrix, one = self.upper(flow), np.ones(self.n_states)
        return np.asarray(matrix @ one + matrix.T @ one)

    def outflow(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: what leaves each state, for an (m,) flow from first to second."""
        matrix, one = self.upper(flow), np.ones(self.n_states)
        return np.asarray(matrix @ one - matrix.T @ one)

    def touching(self, states: NDArray[Any]) -> NDArray[Any]:
        """Return which edges the states are in, in order."""
        if not self._by_second:  # made once: the places of the edges, sorted by their second
            self._by_second.append(self.upper(np.arange(len(self), dtype=np.float64)).tocsc())
        (by_second,) = self._by_second
        one, other = ranges(self.starts, states), ranges(by_second.indptr, states)
        return np.unique(np.concatenate([one, by_second.data[other].astype(np.int64)]))

    def among(self, chosen: NDArray[np.bool_]) -> EdgeList:
        """Return the edges of whole components, the (n,) `chosen` states renumbered."""
        place = np.cumsum(chosen) - 1
        kept = chosen[self.first]
        first = place[self.first[kept]]
        starts = np.searchsorted(first, np.arange(np.count_nonzero(chosen) + 1))
        components = np.unique(self.components[chosen], return_inverse=True)[1]
        second = place[self.second[kept]]
        weights = self.forward[kept], self.backward[kept]
        nowhere = self.places[:, :0]
        return EdgeList(starts, first, second, *weights, components, nowhere, self.scale[:0])

    def _component_means(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (m,) quantity summed per component, over its states; 1 where empty."""
        sizes = np.bincount(self.components, minlength=1)
        means = self.edge_sums(flow) / np.maximum(sizes, 1)
        return np.where(means > 0, means, 1.0)

    def component_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (n,) quantity summed over the states of each component."""
        return self._by_component(np.add, values, 0.0)

    def edge_sums(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (m,) quantity summed over the edges of each component."""
        if self.n_components == 1:
            return np.array([flow.sum()])
        return self.component_sums(self.upper(flow) @ np.ones(self.n_states))

    def lowest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: the lowest of (n,) values in each component."""
        return self._by_component(np.minimum, values, np.inf)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """(n,) or (1,) array: a (c,) quantity at each state."""
        return values if len(values) == 1 else values[self.components]

    def centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: values less their mean in each component."""
        means = self.component_sums(values) / np.maximum(np.bincount(self.components), 1)
        return np.asarray(values - self.spread(means))

    def _by_component(
        self, join: np.ufunc, values: NDArray[np.float64], empty: float
    ) -> NDArray[np.float64]:
        if self.n_components == 1:
            return np.array([join.reduce(values)])
        if not self._members:  # found once: the states, sorted by their component
            order = np.argsort(self.components, kind="stable")
            sizes = np.bincount(self.components)
            self._members.extend([order, np.cumsum(sizes) - sizes, np.flatnonzero(sizes)])
        order, starts, there = self._members
        result = np.full(self.n_components, empty)
        if len(there):
            result[there] = join.reduceat(values.take(order), starts[there])
        return result

    def largest_move(self, step: NDArray[np.float64]) -> float:
        """Return the largest change of a difference inside a component that `step` makes."""
        return float((-self.lowest(-step) - self.lowest(step)).max(initial=0.0))


def add_at(place: NDArray[Any], values: NDArray[Any], length: int) -> NDArray[np.float64]:
    """(length,) array: (m,) values added up by their (m,) places."""
    # Without any values, bincount would count in integers.
    return np.bincount(place, values, length).astype(np.float64, copy=False)


def _moves(
    matrix: csr_array[Any, tuple[int, int]], kept: NDArray[np.bool_]
) -> csr_array[Any, tuple[int, int]]:
    """Return the `kept` moves of a matrix; entries are their places plus 1."""
    places = np.flatnonzero(kept)
    # Below 2^31 moves all indices are of 32 bits, which is half to read and what scipy wants.
    index = np.int32 if max(matrix.nnz, matrix.shape[0]) < 2**31 else np.int64
    before = np.zeros(matrix.nnz + 1, dtype=index)
    np.cumsum(kept, out=before[1:])
    columns = matrix.indices.take(places).astype(index, copy=False)
    return csr_array((places + 1, columns, before.take(matrix.indptr)), matrix.shape)


def _rows(matrix: csr_array[Any, tuple[int, int]]) -> NDArray[Any]:
    """(m,) array: the row of each entry."""
    n = matrix.shape[0]
    return np.repeat(np.arange(n, dtype=matrix.indices.dtype), np.diff(matrix.indptr))
