"""The flows of the action on pairs of states: what every solver iterates on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from detailed_balance.analyzers.action import Exponential, Softplus
from detailed_balance.analyzers.patterns import locate, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["Flows", "Pairs", "StateFlows", "add_at", "balanced_drops", "pair_flows", "state_flows"]

STEEPEST = 1_300.0
"""Drops are cut here, in units of 1 / beta: exp(-beta x / 2) overflows a little beyond."""

NARROW = 200.0
"""Up to so wide a potential, in units of 1 / beta, one exponential for each state serves all of
its pairs; beyond, rounding would show."""

BLOCK = 16_384
"""Pairs are worked on by so many at a time: what is put down in between stays in the cache."""


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
        Where both weights stand in the data of the matrix; -1 for a move never seen. (2, 0) for
        pairs that were chosen, or grew.
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
    ) -> Pairs:
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
        return pattern.with_weights(matrix.data)

    def with_weights(self, data: NDArray[np.float64]) -> Pairs:
        """Return the same pairs with the weights that `data` of the matrix holds now.

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

    def find(
        self, sources: NDArray[Any], targets: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return which pairs (k,) moves belong to, or would, and whether they are listed."""
        ends = np.minimum(sources, targets), np.maximum(sources, targets)
        return locate(self.starts, self.second, ends)

    def grown(
        self, sources: NDArray[Any], targets: NDArray[Any], components: NDArray[Any]
    ) -> tuple[Pairs, NDArray[np.int64]]:
        """Return these pairs and those of more moves, and before which of these they stand.

        Parameters
        ----------
        sources, targets : (k,) array of int
            The moves; self-loops and moves between components are left out.
        components : (N,) array of int
            Of all states; new ones come behind the n that are here.

        The new weights are 0, and `places` are not kept.
        """
        inside = (sources != targets) & (components[sources] == components[targets])
        ends = np.sort(np.array([sources, targets])[:, inside], axis=0)
        more = len(components) - self.n_states
        starts = np.pad(self.starts, (0, more), mode="edge")
        place, listed = locate(starts, self.second, ends)
        (first, second), once = np.unique(ends[:, ~listed], axis=1, return_index=True)
        before = place[~listed][once]
        counted = np.cumsum(np.bincount(first + 1, minlength=len(starts)))
        scale = np.ones(int(components.max()) + 1)
        scale[: len(self.scale)] = self.scale
        pairs = Pairs(
            starts + counted.astype(starts.dtype),
            np.insert(self.first, before, first),
            np.insert(self.second, before, second),
            np.insert(self.forward, before, 0.0),
            np.insert(self.backward, before, 0.0),
            components,
            np.empty((2, 0), dtype=np.int64),
            scale,
        )
        return pairs, before

    def some(self, which: NDArray[Any]) -> Pairs:
        """Return these pairs alone, without `starts` and `places`."""
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
        """Yield the pairs by blocks: where they are, and both states, as numpy gathers best."""
        for start in range(0, len(self), BLOCK):
            part = slice(start, start + BLOCK)
            first, second = self.first[part], self.second[part]
            yield part, first.astype(np.intp, copy=False), second.astype(np.intp, copy=False)

    def upper(self, data: NDArray[np.float64]) -> csr_array[Any, tuple[int, int]]:
        """(n, n) csr_array: an (m,) quantity in the upper triangle."""
        return csr_array((data, self.second, self.starts), shape=(self.n_states, self.n_states))

    def add_up(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: the sum of an (m,) quantity over the pairs of each state."""
        matrix, one = self.upper(flow), np.ones(self.n_states)
        return np.asarray(matrix @ one + matrix.T @ one)

    def outflow(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: what leaves each state, for an (m,) flow from first to second."""
        matrix, one = self.upper(flow), np.ones(self.n_states)
        return np.asarray(matrix @ one - matrix.T @ one)

    def touching(self, states: NDArray[Any]) -> NDArray[Any]:
        """Return which pairs the states are in, in order."""
        if not self._by_second:  # made once: the places of the pairs, sorted by their second
            self._by_second.append(self.upper(np.arange(len(self), dtype=np.float64)).tocsc())
        (by_second,) = self._by_second
        one, other = ranges(self.starts, states), ranges(by_second.indptr, states)
        return np.unique(np.concatenate([one, by_second.data[other].astype(np.int64)]))

    def among(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs of whole components, the (n,) `chosen` states renumbered."""
        place = np.cumsum(chosen) - 1
        kept = chosen[self.first]
        first = place[self.first[kept]]
        starts = np.searchsorted(first, np.arange(np.count_nonzero(chosen) + 1))
        components = np.unique(self.components[chosen], return_inverse=True)[1]
        second = place[self.second[kept]]
        weights = self.forward[kept], self.backward[kept]
        return Pairs(
            starts, first, second, *weights, components, self.places[:, kept], self.scale[:0]
        )

    def _component_means(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (m,) quantity summed per component, over its states; 1 where empty."""
        sizes = np.bincount(self.components, minlength=1)
        means = self.pair_sums(flow) / np.maximum(sizes, 1)
        return np.where(means > 0, means, 1.0)

    def component_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (n,) quantity summed over the states of each component."""
        return self._by_component(np.add, values, 0.0)

    def pair_sums(self, flow: NDArray[np.float64]) -> NDArray[np.float64]:
        """(c,) array: an (m,) quantity summed over the pairs of each component."""
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


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class StateFlows:
    """The action at V, and its flows added up for each state."""

    action: float
    """sum of forward K(x) + backward K(-x)."""
    pull: NDArray[np.float64]
    """(n,) array: the flow out of each state, less the flow into it."""
    through: NDArray[np.float64]
    """(c,) array: the flow out of all states of each component, and into them."""
    degree: NDArray[np.float64] | None
    """(n,) array: the stiffness of the pairs of each state, where it comes with the rest."""
    stiffness: Callable[[], NDArray[np.float64]]
    """Return the (m,) weights of the Hessian."""
    net: Callable[[], NDArray[np.float64]]
    """Return the (m,) net flow from first to second."""

    def imbalance(self, pairs: Pairs) -> NDArray[np.float64]:
        """(c,) array: sum |in - out| / sum (in + out) of each component."""
        sums = pairs.component_sums(np.abs(self.pull))
        return np.asarray(sums / np.maximum(self.through, np.finfo(float).tiny))


def add_at(place: NDArray[Any], values: NDArray[Any], length: int) -> NDArray[np.float64]:
    """(length,) array: (m,) values added up by their (m,) places."""
    # Without any values, bincount would count in integers.
    return np.bincount(place, values, length).astype(np.float64, copy=False)


def balanced_drops(pairs: Pairs, beta: float) -> NDArray[np.float64]:
    """(m,) array: the drops that balance each pair by itself.

    A pair seen one way has none: it takes the drop of the V that balances each state by itself.
    """
    both = (pairs.forward > 0) & (pairs.backward > 0)
    if both.all():
        return np.asarray((np.log(pairs.forward) - np.log(pairs.backward)) / beta)
    one, there, back = np.ones(pairs.n_states), *map(pairs.upper, (pairs.forward, pairs.backward))
    tiny = np.finfo(float).tiny
    out = np.log(np.maximum(there @ one + back.T @ one, tiny))
    into = np.log(np.maximum(back @ one + there.T @ one, tiny))
    drops = pairs.drop((out - into) / beta)
    drops[both] = (np.log(pairs.forward[both]) - np.log(pairs.backward[both])) / beta
    return drops


def pair_flows(violation: ViolationFunction, pairs: Pairs, drop: NDArray[np.float64]) -> Flows:
    """Evaluate everything that a Newton step needs, at (m,) drops x."""
    flows, beta = _empty_flows(len(pairs)), violation.beta
    for start in range(0, len(pairs), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, x = pairs.forward[part], pairs.backward[part], drop[part]
        if isinstance(violation, Exponential):
            fall = np.exp(np.clip(x * (-beta / 2), -STEEPEST / 2, STEEPEST / 2))
            _put_exponential(flows, part, a, b, fall, beta)
        elif isinstance(violation, Softplus):
            rise = -beta * x
            cut = np.clip(rise, -STEEPEST / 2, STEEPEST / 2)
            beyond = rise - cut
            flows.action += float(a @ np.maximum(beyond, 0) - b @ np.minimum(beyond, 0))
            _put_softplus(flows, part, a, b, np.exp(cut, out=cut), beta)
        else:
            _put_any(flows, part, a, b, x, violation)
    return flows


def state_flows(
    violation: ViolationFunction, pairs: Pairs, values: NDArray[np.float64]
) -> StateFlows:
    """Evaluate the same at (n,) values V, added up for each state."""
    beta = violation.beta
    narrow = len(values) > 0 and np.ptp(values) * beta <= NARROW
    if narrow and isinstance(violation, Exponential):
        return _exponential_flows(pairs, values, beta)
    if narrow and isinstance(violation, Softplus):
        flows = _softplus_flows(pairs, values, beta)
    else:
        flows = pair_flows(violation, pairs, pairs.drop(values))
    through = 2 * pairs.pair_sums(flows.total)
    pull = pairs.outflow(flows.net)
    return StateFlows(
        flows.action, pull, through, None, lambda: flows.stiffness, lambda: flows.net
    )


def _exponential_flows(pairs: Pairs, values: NDArray[np.float64], beta: float) -> StateFlows:
    # The flow of i -> j is a down[i] up[j]: products with the weights add it up, pair by pair
    # nothing is put down, and a pair's own flows are there for those who ask.
    rate = beta / 2
    down = np.exp((values - values.mean()) * -rate)
    up = 1 / down
    there, back = pairs.upper(pairs.forward), pairs.upper(pairs.backward)
    out = down * (there @ up + back.T @ up)
    into = up * (there.T @ down + back @ down)
    action = float(out.sum())
    pull = np.subtract(out, into)
    out += into
    for each in (pull, out):
        each *= rate

    def weigh(add: np.ufunc, factor: float) -> NDArray[np.float64]:
        result = np.empty(len(pairs))
        for part, first, second in pairs.blocks():
            fall = down.take(first)
            fall *= up.take(second)
            fall *= factor
            there = np.multiply(pairs.forward[part], fall, out=result[part])
            add(there, np.divide(factor**2 * pairs.backward[part], fall, out=fall), out=there)
        return result

    through = pairs.component_sums(out)
    out *= rate
    return StateFlows(
        action, pull, through, out, lambda: weigh(np.add, rate**2), lambda: weigh(np.subtract, rate)
    )


def _softplus_flows(pairs: Pairs, values: NDArray[np.float64], beta: float) -> Flows:
    # One exponential for each state serves all of its pairs.
    flows = _empty_flows(len(pairs))
    down = np.exp((values - values.mean()) * -beta)
    up = 1 / down
    for part, first, second in pairs.blocks():
        fall = down.take(first)
        fall *= up.take(second)
        _put_softplus(flows, part, pairs.forward[part], pairs.backward[part], fall, beta)
    return flows


def _empty_flows(m: int) -> Flows:
    return Flows(0.0, *np.empty((3, m)))


def _put_exponential(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    fall: NDArray[np.float64],
    beta: float,
) -> None:
    # One exponential for each pair gives all: K, K' and K'' differ by constants.
    back = b / fall
    there = np.multiply(a, fall, out=fall)
    net, total = flows.net[part], flows.total[part]
    np.subtract(there, back, out=net)
    np.add(there, back, out=total)
    flows.action += float(total.sum())
    net *= beta / 2
    total *= beta / 2
    np.multiply(total, beta / 2, out=flows.stiffness[part])


def _put_softplus(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    fall: NDArray[np.float64],
    beta: float,
) -> None:
    # The odds exp(-beta x) give all; the results are also where it is put down on the way.
    net, total, stiffness = flows.net[part], flows.total[part], flows.stiffness[part]
    flows.action += float(a @ np.log1p(fall, out=net))
    flows.action += float(b @ np.log1p(np.divide(1, fall, out=net), out=net))
    there = np.add(1, fall, out=total)
    back = np.divide(1, there, out=net)  # the share of the flow that goes back
    np.multiply(fall, back, out=there)
    np.add(a, b, out=stiffness)
    for factor in (there, back, beta**2):
        stiffness *= factor
    there *= a
    back *= b
    there *= beta
    back *= beta
    np.add(there, back, out=fall)
    np.subtract(there, back, out=net)
    total[:] = fall


def _put_any(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    x: NDArray[np.float64],
    violation: ViolationFunction,
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        there, back = -a * violation.derivative(x), -b * violation.derivative(-x)
        bend = a * violation.second_derivative(x) + b * violation.second_derivative(-x)
        flows.action += float(a @ violation.value(x) + b @ violation.value(-x))
    flows.net[part], flows.total[part], flows.stiffness[part] = there - back, there + back, bend


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
