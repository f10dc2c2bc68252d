"""The flows of the action on pairs of states: what every solver iterates on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.action import Exponential, Softplus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["Flows", "Pairs", "add_at", "pair_flows"]

STEEPEST = 1_300.0
"""Drops are cut here, in units of 1 / beta: exp(-beta x / 2) overflows a little beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The linked pairs i < j inside components, in row order: one triangle of a sparse matrix.

    A triangle is half of the memory and half of the exponentials of the whole matrix; it is
    found once, and weights can be exchanged without finding it again.

    Parameters
    ----------
    starts : (n + 1,) array of int
        Where the pairs of each first state begin, as `indptr` of a CSR matrix.
    first, second : (m,) array of int
        The two states of each pair, first < second.
    forward, backward : (m,) array of float
        The weights of first -> second and second -> first; 0 for a move never seen.
    components : (n,) array of int
        The component of each state, 0 to c - 1.
    places : (2, m) array of int
        Where both weights stand in the data of the matrix; -1 for a move never seen.
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

    @classmethod
    def from_matrix(
        cls, matrix: csr_array[Any, tuple[int, int]], components: NDArray[Any]
    ) -> Pairs:
        """Take the moves that stay inside a component; self-loops and zeros are left out."""
        if not matrix.has_canonical_format:
            raise ValueError("add duplicate entries up first (sum_duplicates)")
        there = _moves(matrix, components, upper=True)
        back = _moves(matrix, components, upper=False).T.tocsr()
        # One addition finds the union of both patterns and keeps the two places apart.
        union = csr_array(there + 1j * back)
        both = np.stack([np.real(union.data), np.imag(union.data)])
        places = both.astype(there.indices.dtype) - 1
        first = _rows(union)
        nothing = np.empty(0)
        pattern = cls(
            union.indptr, first, union.indices, nothing, nothing, components, places, nothing
        )
        return pattern.with_weights(matrix.data)

    def with_weights(self, data: NDArray[np.float64]) -> Pairs:
        """Return the same pairs with the weights that `data` of the matrix holds now.

        Each component is scaled to a mean weight of 1 for each of its states. That moves no
        minimum, and lets components many orders of magnitude apart be solved together.
        """
        # A move never seen reads the zero that is put behind the rest, at -1.
        padded = np.append(data, 0.0)
        forward, backward = padded[self.places[0]], padded[self.places[1]]
        scale = 1 / self._component_means(forward + backward)
        of_pair = scale[0] if len(scale) == 1 else scale[self.components][self.first]
        return replace(self, forward=forward * of_pair, backward=backward * of_pair, scale=scale)

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
        return np.asarray(values[self.first] - values[self.second])

    def add_up(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: the sum of an (m,) quantity over the pairs of each state."""
        n = self.n_states
        return add_at(self.first, flow, n) + add_at(self.second, flow, n)

    def outflow(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: what leaves each state, for an (m,) flow from first to second."""
        n = self.n_states
        return add_at(self.first, flow, n) - add_at(self.second, flow, n)

    def _component_means(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (m,) quantity summed per component, over its states; 1 where empty."""
        if self.n_components == 1:
            total = np.array([flow.sum() / self.n_states])
        else:
            sizes = np.maximum(np.bincount(self.components), 1)
            total = self.component_sums(add_at(self.first, flow, self.n_states)) / sizes
        return np.where(total > 0, total, 1.0)

    def component_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (n,) quantity summed over the states of each component."""
        if self.n_components == 1:
            return np.array([values.sum()])
        return add_at(self.components, values, self.n_components)

    def lowest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: the lowest of (n,) values in each component."""
        if self.n_components == 1:
            return np.array([values.min()])
        lowest = np.full(self.n_components, np.inf)
        np.minimum.at(lowest, self.components, values)
        return lowest

    def largest_move(self, step: NDArray[np.float64]) -> float:
        """Return the largest change of a difference inside a component that `step` makes."""
        return float((-self.lowest(-step) - self.lowest(step)).max(initial=0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """The action and its first two derivatives at given drops, one (m,) array each."""

    action: float
    """sum of forward K(x) + backward K(-x)."""
    net: NDArray[np.float64]
    """The flow forward |K'(x)| - backward |K'(-x)| from first to second."""
    total: NDArray[np.float64]
    """The flow in both directions."""
    stiffness: NDArray[np.float64]
    """forward K''(x) + backward K''(-x), the weights of the Hessian, a graph Laplacian."""


def add_at(place: NDArray[Any], values: NDArray[Any], length: int) -> NDArray[np.float64]:
    """(length,) array: (m,) values added up by their (m,) places."""
    # Without any values, bincount would count in integers.
    return np.bincount(place, values, length).astype(np.float64, copy=False)


def pair_flows(violation: ViolationFunction, pairs: Pairs, drop: NDArray[np.float64]) -> Flows:
    """Evaluate everything that a Newton step needs, at (m,) drops x."""
    a, b, beta = pairs.forward, pairs.backward, violation.beta
    if isinstance(violation, Exponential):
        return _exponential_flows(a, b, drop, beta)
    if isinstance(violation, Softplus):
        return _softplus_flows(a, b, drop, beta)
    with np.errstate(over="ignore", invalid="ignore"):
        there, back = -a * violation.derivative(drop), -b * violation.derivative(-drop)
        stiffness = a * violation.second_derivative(drop) + b * violation.second_derivative(-drop)
        action = float(a @ violation.value(drop) + b @ violation.value(-drop))
    return Flows(action, there - back, there + back, stiffness)


def _exponential_flows(
    a: NDArray[np.float64], b: NDArray[np.float64], drop: NDArray[np.float64], beta: float
) -> Flows:
    # One exponential for each pair gives all: K, K' and K'' differ by constants.
    fall = np.multiply(drop, -beta / 2)
    np.exp(np.clip(fall, -STEEPEST / 2, STEEPEST / 2, out=fall), out=fall)
    back = b / fall
    there = np.multiply(a, fall, out=fall)
    total = there + back
    net = np.subtract(there, back, out=there)
    net *= beta / 2
    action = float(total.sum())
    total *= beta / 2
    return Flows(action, net, total, total * (beta / 2))


def _softplus_flows(
    a: NDArray[np.float64], b: NDArray[np.float64], drop: NDArray[np.float64], beta: float
) -> Flows:
    x = beta * drop
    small = np.exp(-np.abs(x))
    likely = 1 / (1 + small)
    unlikely = small * likely
    there = beta * a * np.where(x > 0, unlikely, likely)
    back = beta * b * np.where(x > 0, likely, unlikely)
    action = float((a + b) @ np.log1p(small) + a @ np.maximum(-x, 0) + b @ np.maximum(x, 0))
    stiffness = beta**2 * (a + b) * likely * unlikely
    return Flows(action, there - back, there + back, stiffness)


def _moves(
    matrix: csr_array[Any, tuple[int, int]], components: NDArray[Any], *, upper: bool
) -> csr_array[Any, tuple[int, int]]:
    """Return one triangle of the moves inside components; entries are their places plus 1."""
    rows, columns = _rows(matrix), matrix.indices
    kept = (columns > rows) if upper else (columns < rows)
    kept &= matrix.data > 0
    if components.any():
        kept &= components[rows] == components[columns]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=matrix.shape[0]))])
    places = np.flatnonzero(kept) + 1.0
    return csr_array((places, columns[kept], starts.astype(columns.dtype)), shape=matrix.shape)


def _rows(matrix: csr_array[Any, tuple[int, int]]) -> NDArray[Any]:
    """(m,) array: the row of each entry."""
    n = matrix.shape[0]
    return np.repeat(np.arange(n, dtype=matrix.indices.dtype), np.diff(matrix.indptr))
