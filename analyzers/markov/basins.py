"""`find_attractors`: the valleys of the landscape, and how high the passes between them are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.kernel import Kernel, KernelLike, read_chain
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Result, Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Attractor", "AttractorReport", "find_attractors"]


@dataclass(frozen=True, slots=True)
class Attractor(Result):
    """A local minimum of the potential, with the states that run down to it.

    Parameters
    ----------
    state : str
        The lowest state.
    value : float
        Its V as in `Potential.values`, in units of 1 / beta: inf or -inf above or below the
        largest component, NaN beside it.
    depth : float
        The climb from it to the lowest pass into a deeper valley; inf for the deepest of a
        component.
    saddle : str or None
        The highest state of that pass; None for the deepest.
    into : str or None
        The deepest attractor behind the pass; None for the deepest.
    basin : tuple of str
        The states from which the steepest observed descent ends here, itself included.
    component : int
        The strongly connected component that it lies in; only inside one do heights compare.
    final : bool
        Whether no observed move leads out of that component.
    """

    state: str
    value: float
    depth: float
    saddle: str | None
    into: str | None
    basin: tuple[str, ...]
    component: int
    final: bool

    def describe(self) -> str:
        """Say in one sentence what was found."""
        others = len(self.basin) - 1
        text = f"{self.state} attracts {others} other state{'' if others == 1 else 's'}"
        if self.into is None:
            return f"{text} and is the lowest of its component"
        return f"{text}; {self.depth:.2f} up to {self.saddle}, the pass to {self.into}"


@dataclass(frozen=True, slots=True, eq=False)
class AttractorReport(TableResult):
    """The attractors, deepest first.

    Parameters
    ----------
    attractors : tuple of Attractor
        Those of at least `min_depth`.
    shallow : int
        Local minima that are not: each was joined to the deepest valley behind its lowest pass.
    min_depth : float
        In units of 1 / beta.
    potential : Potential
        The heights.
    passes : (n, n) csr_array of float
        A tree for each component, over which the lowest passes lead: the height of each of its
        links, above the lowest state of the component, plus 1.
    """

    attractors: tuple[Attractor, ...]
    shallow: int
    min_depth: float
    potential: Potential
    passes: csr_array[Any, tuple[int, int]]

    def __len__(self) -> int:
        return len(self.attractors)

    def basin_of(self, state: str) -> Attractor | None:
        """Return the attractor that `state` runs down to; raises `UnknownStateError`.

        None for a state that no other leads back to, and that leads on.
        """
        self.potential.index(state)
        return next((a for a in self.attractors if state in a.basin), None)

    def barrier(self, f: str, g: str) -> float:
        """Return the climb from f to the highest state on the lowest way to g.

        NaN where they lie in different components. Not symmetric: the way back climbs more or
        less by V(f) - V(g). Raises `UnknownStateError`.
        """
        start, end = self.potential.index(f), self.potential.index(g)
        if start == end:
            return 0.0
        highest = _highest_on_way(self.passes, start, end)
        return float(highest - 1 - self.potential.heights[start])

    def to_table(self) -> Table:
        """Return the columns state, value, depth, saddle, into, basin, component and final."""
        names = Attractor.__slots__
        return {name: [getattr(a, name) for a in self.attractors] for name in names}

    def _content(self) -> dict[str, Any]:
        return {
            "attractors": self.to_table(),
            "shallow": self.shallow,
            "settings": {"min_depth": self.min_depth},
        }

    def describe(self) -> str:
        """Say in one sentence what was found."""
        found = "; ".join(attractor.describe() for attractor in self.attractors)
        return found or "no state attracts others"


def find_attractors(source: Potential | KernelLike, *, min_depth: float = 0.0) -> AttractorReport:
    """Find the local minima of the potential, their basins, and the barriers between them.

    Two states are neighbours where a move was observed between them, either way, inside a
    strongly connected component; a component of one state that leads on attracts nothing. A
    barrier is the least, over all ways of neighbours, of the greatest height on the way.
    Neighbours of equal height are one valley.

    Parameters
    ----------
    source : Potential or KernelLike
        The potential; of counts or a kernel it is estimated with the default settings.
    min_depth : float
        Valleys shallower than this are joined to the deepest one behind their lowest pass. Twice
        the standard error of a difference is a good choice.

    Returns
    -------
    AttractorReport
        The attractors, with `barrier(f, g)` between any two states.

    Raises
    ------
    InvalidInputError
        Where `min_depth` is negative.
    InsufficientDataError
        Where a potential is to be estimated from fewer than two states.

    Notes
    -----
    A low state is not yet a trap: that is a matter of how long the agent stays; see `find_traps`.

    References
    ----------
    Edelsbrunner, Letscher, Zomorodian, Discrete Comput. Geom. 28, 511 (2002), for the depth.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> path = [("a", "a", 30), ("a", "b", 10), ("b", "a", 40), ("b", "c", 40)]
    >>> path += [("c", "b", 10), ("c", "c", 70)]
    >>> report = find_attractors(TransitionCounts.from_edges(path))
    >>> [attractor.state for attractor in report.attractors]
    ['c', 'a']
    >>> round(report.barrier("a", "c"), 4)  # log(0.5 / 0.25)
    0.6931
    """
    if not min_depth >= 0:
        raise InvalidInputError(f"min_depth={min_depth!r}; a depth is 0 or more")
    if isinstance(source, Potential):
        potential = source
    else:
        chain, runs = read_chain(source)
        chain = chain if isinstance(chain, Kernel) else chain.sorted()
        potential = estimate_potential(chain if runs is None else runs)
    links = _links(potential)
    tree = csr_array(minimum_spanning_tree(links))
    valleys = _flood(potential.heights, tree)
    minima = {low: valley for low, valley in valleys.items() if valley.depth > 0}
    kept = {low: valley for low, valley in minima.items() if valley.depth >= min_depth}
    basins = _basins(potential.heights, links, valleys, kept)
    return AttractorReport(
        tuple(_attractors(potential, kept, basins)),
        len(minima) - len(kept),
        min_depth,
        potential,
        csr_array(tree + tree.T),
    )


@dataclass(frozen=True, slots=True)
class _Valley:
    """How a valley is left: the climb, the highest state of the pass, the deepest behind it."""

    depth: float
    saddle: int | None = None
    into: int | None = None


def _links(potential: Potential) -> csr_array[Any, tuple[int, int]]:
    """Return the links inside components, both ways: height + 1, since a 0 would be no link."""
    edges = potential.kernel.probabilities.tocoo()
    inner = (edges.row != edges.col) & (edges.data > 0)
    inner &= potential.components[edges.row] == potential.components[edges.col]
    i, j = edges.row[inner], edges.col[inner]
    height = 1 + np.maximum(potential.heights[i], potential.heights[j])
    n = len(potential.states)
    # Before 1.17, scipy finds a spanning tree by 32-bit indices alone.
    links = csr_array((height, (i.astype(np.int32), j.astype(np.int32))), shape=(n, n))
    return csr_array(links.maximum(links.T))


def _flood(
    values: NDArray[np.float64], tree: csr_array[Any, tuple[int, int]]
) -> dict[int, _Valley]:
    """Let the water rise: where two lakes meet, the shallower one's valley is known.

    A state on a slope makes a lake of depth 0 of its own.
    """
    leader = list(range(len(values)))  # of each lake: its lowest state
    valleys = {i: _Valley(float("inf")) for i in leader}

    def lowest(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    edges = tree.tocoo()
    for k in np.argsort(edges.data, kind="stable"):
        near, far = int(edges.row[k]), int(edges.col[k])
        if (values[lowest(near)], lowest(near)) < (values[lowest(far)], lowest(far)):
            near, far = far, near
        low, into = lowest(near), lowest(far)
        saddle = near if values[near] >= values[far] else far
        valleys[low] = _Valley(float(values[saddle] - values[low]), saddle, into)
        leader[low] = into
    return valleys


def _basins(
    values: NDArray[np.float64],
    links: csr_array[Any, tuple[int, int]],
    valleys: dict[int, _Valley],
    kept: dict[int, _Valley],
) -> NDArray[np.int64]:
    """(n,) array: the kept valley that the steepest descent from each state ends in."""
    down = np.arange(len(values))
    # Written in this order, the lowest neighbour of each state is written last.
    edges = links.tocoo()
    order = np.lexsort((-edges.col, -values[edges.col]))
    row, col = edges.row[order], edges.col[order]
    lower = (values[col] < values[row]) | ((values[col] == values[row]) & (col < row))
    down[row[lower]] = col[lower]
    for low in np.flatnonzero(down == np.arange(len(values))).tolist():
        into = valleys[low].into
        if low not in kept and into is not None:
            down[low] = into
    while not np.array_equal(down, down[down]):
        down = down[down]
    return np.asarray(down, dtype=np.int64)


def _attractors(
    potential: Potential, kept: dict[int, _Valley], basins: NDArray[np.int64]
) -> list[Attractor]:
    states, components, values = potential.states, potential.components, potential.values
    edges = potential.kernel.probabilities.tocoo()
    moved = edges.data > 0
    source, target = components[edges.row[moved]], components[edges.col[moved]]
    leading_on = set(source[source != target].tolist())
    members: dict[int, list[str]] = {}
    for state, low in zip(states, basins.tolist(), strict=True):
        members.setdefault(low, []).append(state)
    found = [
        Attractor(
            states[low],
            float(values[low]),
            valley.depth,
            None if valley.saddle is None else states[valley.saddle],
            None if valley.into is None else states[valley.into],
            tuple(members[low]),
            int(components[low]),
            int(components[low]) not in leading_on,
        )
        for low, valley in kept.items()
    ]
    found = [a for a in found if a.final or len(a.basin) > 1 or a.into is not None]
    height = dict(zip(states, potential.heights.tolist(), strict=True))
    return sorted(found, key=lambda a: (-a.depth, height[a.state], a.state))


def _highest_on_way(tree: csr_array[Any, tuple[int, int]], start: int, end: int) -> float:
    """Return the greatest link on the way between two states of a tree; NaN where none leads."""
    _, before = breadth_first_order(tree, start, directed=False)
    highest = 0.0
    while end != start:
        if before[end] < 0:
            return float("nan")
        highest = max(highest, float(tree[before[end], end]))
        end = int(before[end])
    return highest
