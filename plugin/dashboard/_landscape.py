"""The landscape as the page draws it: the states that matter, the rest in groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import plain
from detailed_balance.dashboard._ids import state_id
from detailed_balance.dashboard._monitors import Snapshot
from detailed_balance.plots.layout import place_sideways
from detailed_balance.render import safe_text
from detailed_balance.render.formatting import count_noun

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STATES = 400
"""The most states that are drawn, whatever is asked for."""

EDGES_SHOWN = 600
"""The most arrows that are drawn; those of loops come first, then the widest."""

GROUPS_SHOWN = 24
"""The most components whose other states get a node of their own."""

_LABEL = 24
_PLACES_KEPT = 10 * MOST_STATES
# What a node takes, with room for arrows around it, in the units of the page.
_NODE_HEIGHT, _NODE_PADDING, _CHAR_WIDTH, _COLUMN_GAP = 44.0, 40.0, 6.4, 60.0


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Which states of a potential are drawn, and in which group the others are.

    `members` is (n,): the place of each state's node, groups after the `chosen` states; `rest` is
    the component that each group is cut from, -1 for the last, which takes all that is left.
    """

    chosen: NDArray[np.int64]
    members: NDArray[np.int64]
    rest: list[int]

    @property
    def size(self) -> int:
        return len(self.chosen) + len(self.rest)


def draw_landscape(
    snapshot: Snapshot,
    loops: Mapping[str, Sequence[str]],
    *,
    wanted: Collection[str] = (),
    top: int = 200,
    places: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return nodes with their places and arrows with their widths.

    Parameters
    ----------
    snapshot : Snapshot
        What is shown.
    loops : mapping of str to sequence of str
        The driven loops to highlight, by the id of their finding.
    wanted : collection of str
        States to show besides the `top` ones by flow.
    top : int
        How many.
    places : dict of str to float
        Where states stood sideways before, by their ids; they stay near, and it is brought up
        to date.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts
    >>> from detailed_balance.dashboard._monitors import take_snapshot
    >>> edges = [("a", "b", 9), ("b", "a", 3), ("b", "c", 4), ("c", "b", 2)]
    >>> drawn = draw_landscape(take_snapshot(TransitionCounts.from_edges(edges)), {}, top=2)
    >>> [(node["label"], node["group"]) for node in drawn["nodes"]]
    [('b', False), ('a', False), ('1 other state', True)]
    """
    potential = snapshot.potential
    if potential is None or snapshot.order is None:
        return {"nodes": [], "edges": [], "scales": [], "states": len(snapshot.ids), "moves": 0}
    flows = _flows_of(snapshot, potential)
    in_loops = [state for loop in loops.values() for state in loop]
    cut = _cut(potential, flows, [*in_loops, *wanted], min(top, MOST_STATES))
    matrix = _aggregate(snapshot, potential, cut)
    heights = _heights(potential, snapshot.order.levels, flows, cut)
    nodes, scales = _nodes(potential, heights, cut, matrix, {} if places is None else places)
    edges = _edges(matrix, [node["id"] for node in nodes], loops)
    return {
        "nodes": nodes,
        "edges": edges,
        "scales": scales,
        "states": len(potential.states),
        "moves": int(matrix.sum()),
        "moves_shown": sum(edge["count"] for edge in edges),
    }


def _flows_of(snapshot: Snapshot, potential: Potential) -> NDArray[np.int64]:
    """(n,) array: the flow of each state of the potential."""
    return snapshot.flows[[snapshot.counts.index(state) for state in potential.states]]


def _cut(potential: Potential, flows: NDArray[np.int64], wanted: Sequence[str], top: int) -> _Cut:
    """Choose the states by flow and those that are wanted, and group the rest by component."""
    place = {state: i for i, state in enumerate(potential.states)}
    first = [place[state] for state in dict.fromkeys(wanted) if state in place]
    ranked = np.argsort(-flows, kind="stable").tolist()
    both = dict.fromkeys([*first, *ranked[:top]])
    chosen = np.array(list(both)[:MOST_STATES], dtype=np.int64)
    members = np.full(len(flows), -1, dtype=np.int64)
    members[chosen] = np.arange(len(chosen))
    left = np.flatnonzero(members < 0)
    sizes = np.bincount(potential.components[left], flows[left] + 1)
    # A component gets a group of its own where some of it is drawn, the busiest first.
    drawn = set(potential.components[chosen].tolist())
    ranked_components = np.argsort(-sizes, kind="stable").tolist()
    rest = [c for c in ranked_components if sizes[c] and c in drawn][:GROUPS_SHOWN]
    for number, component in enumerate(rest):
        members[left[potential.components[left] == component]] = len(chosen) + number
    if np.any(members < 0):
        members[members < 0] = len(chosen) + len(rest)
        rest.append(-1)
    return _Cut(chosen, members, rest)


def _aggregate(snapshot: Snapshot, potential: Potential, cut: _Cut) -> NDArray[np.int64]:
    """(m, m) array: the moves between the nodes."""
    moves = snapshot.counts.restrict(potential.states).counts
    n = len(potential.states)
    gather = csr_array((np.ones(n, np.int64), (cut.members, np.arange(n))), shape=(cut.size, n))
    matrix = (gather @ moves @ gather.T).toarray()
    np.fill_diagonal(matrix, 0)
    return np.asarray(matrix)


def _nodes(
    potential: Potential,
    heights: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
    cut: _Cut,
    matrix: NDArray[np.int64],
    places: dict[str, float],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    values, levels, components = heights
    relative = potential.values[cut.chosen]
    labels = [safe_text(potential.states[i], _LABEL) for i in cut.chosen]
    sizes_of_groups = np.bincount(cut.members, minlength=cut.size)[len(cut.chosen) :].tolist()
    labels += [count_noun(size, "other state") for size in sizes_of_groups]
    ids = [state_id(potential.states[i]) for i in cut.chosen]
    ids += [f"others-{component}" for component in cut.rest]
    main = int(np.argmax(np.bincount(potential.components)))
    columns = _divide(levels, components, main)
    scene = _Scene(values, labels, ids, matrix, places)
    x, y, scales = scene.place(columns)
    totals = matrix.sum(axis=0) + matrix.sum(axis=1)
    return [
        {
            "id": ids[k],
            "label": labels[k],
            "group": k >= len(cut.chosen),
            "x": round(float(x[k]), 1),
            "y": round(float(y[k]), 1),
            "potential": plain(float(relative[k])) if k < len(cut.chosen) else None,
            "level": int(levels[k]),
            "flow": int(totals[k]),
        }
        for k in range(cut.size)
    ], scales


class _Column(NamedTuple):
    """Nodes that stand together: those of a component, or of one level that are each alone."""

    nodes: NDArray[np.int64]
    has_scale: bool
    is_main: bool


def _divide(levels: NDArray[np.int64], components: NDArray[np.int64], main: int) -> list[_Column]:
    """Divide nodes into columns: agents go from one to another from left to right only."""
    number = np.bincount(components + 1)[components + 1]
    columns = []
    for level in np.unique(levels)[::-1].tolist():
        inside = np.flatnonzero(levels == level)
        large = inside[number[inside] > 1]
        for component in np.unique(components[large]).tolist():
            nodes = large[components[large] == component]
            columns.append(_Column(nodes, True, component == main))
        alone = inside[number[inside] == 1]
        if len(alone):
            columns.append(_Column(alone, False, main in components[alone]))
    return columns


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """The n nodes that are to be placed, in the units of the page."""

    values: NDArray[np.float64]
    labels: list[str]
    ids: list[str]
    matrix: NDArray[np.int64]
    places: dict[str, float]

    @property
    def tall(self) -> float:
        return float(np.clip(330 + 9.0 * len(self.values), 400, 1500))

    def place(
        self, columns: Sequence[_Column]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[dict[str, Any]]]:
        """Return x and y of the nodes, and the scales of the columns that have one.

        The column of the largest component begins at 0, so that it stays where it is.
        """
        x, y, scales = np.zeros(len(self.values)), np.zeros(len(self.values)), []
        left = origin = 0.0
        for column in columns:
            place = self._by_potential if column.has_scale else self._alone
            width, x[column.nodes], y[column.nodes] = place(column.nodes)
            x[column.nodes] += left
            if column.has_scale:
                top = float(self.values[column.nodes].max())
                scale = self.tall / max(top, 1e-3)
                scales.append({"left": left, "right": left + width, "scale": scale, "top": top})
            origin = left if column.is_main else origin
            left += width + _COLUMN_GAP
        for each in scales:
            each["left"] -= origin
            each["right"] -= origin
        return x - origin, y, scales

    def _by_potential(self, nodes: NDArray[np.int64]) -> tuple[float, NDArray[Any], NDArray[Any]]:
        """Return the width of a component, and where its nodes stand: as high as their V."""
        share = len(nodes) / len(self.values)
        widest = float(self._widths(nodes).max())
        width = max(share * max(900.0, 1.8 * self.tall), 1.5 * widest)
        # Smaller differences than a thousandth are rounding, and are not blown up.
        y = -self.tall * self.values[nodes] / max(float(self.values[nodes].max()), 1e-3)
        ids = [self.ids[k] for k in nodes.tolist()]
        known = np.array([self.places.get(name, np.nan) for name in ids]) * width
        own = self.matrix[np.ix_(nodes, nodes)]
        flows = -(own.sum(axis=0) + own.sum(axis=1))
        first = np.lexsort((flows, np.isnan(known))).tolist()
        sizes = np.column_stack([self._widths(nodes), np.full(len(nodes), _NODE_HEIGHT)])
        x = place_sideways(np.log1p(own + own.T), y, sizes, first, width, wanted=known)
        if len(self.places) > _PLACES_KEPT:
            self.places.clear()
        self.places.update(zip(ids, (x / width).tolist(), strict=True))
        return width, x, y

    def _alone(self, nodes: NDArray[np.int64]) -> tuple[float, NDArray[Any], NDArray[Any]]:
        """Return the width of states without a way back, and where they stand: in rows."""
        most = max(1, int(self.tall // _NODE_HEIGHT))
        across = -(-len(nodes) // most)
        rows = -(-len(nodes) // across)
        place, width = np.arange(len(nodes)), float(self._widths(nodes).max())
        x = (place % across + 0.5) * width
        y = self.tall * ((place // across + 0.5) / rows - 1)
        return across * width, x, y

    def _widths(self, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([_NODE_PADDING + _CHAR_WIDTH * len(self.labels[k]) for k in nodes.tolist()])


def _heights(
    potential: Potential, levels: NDArray[np.int64], flows: NDArray[np.int64], cut: _Cut
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return V, the level and the component of each node.

    A group stands at the mean of its busiest level; the last one may be of no component, -1.
    """
    values = potential.heights[cut.chosen].tolist()
    found = levels[cut.chosen].tolist()
    for number in range(len(cut.rest)):
        inside = np.flatnonzero(cut.members == len(cut.chosen) + number)
        busiest = inside[np.argmax(flows[inside])]
        same = inside[levels[inside] == levels[busiest]]
        values.append(float(np.average(potential.heights[same], weights=flows[same] + 1)))
        found.append(int(levels[busiest]))
    components = [*potential.components[cut.chosen].tolist(), *cut.rest]
    return np.array(values, dtype=np.float64), np.array(found), np.array(components)


def _edges(
    matrix: NDArray[np.int64], ids: Sequence[str], loops: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    driven: dict[tuple[str, str], list[str]] = {}
    for name, loop in loops.items():
        for source, target in Loop(state_id(state) for state in loop).edges():
            driven.setdefault((source, target), []).append(name)
    sources, targets = np.nonzero(matrix)
    moves = list(zip(sources.tolist(), targets.tolist(), strict=True))
    moves.sort(key=lambda m: ((ids[m[0]], ids[m[1]]) not in driven, -int(matrix[m])))
    return [
        {
            "source": ids[i],
            "target": ids[j],
            "count": int(matrix[i, j]),
            "back": int(matrix[j, i]),
            "loops": driven.get((ids[i], ids[j]), []),
        }
        for i, j in moves[:EDGES_SHOWN]
    ]
