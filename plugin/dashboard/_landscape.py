"""The landscape as the page draws it: the states that matter, the rest in groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import plain
from detailed_balance.dashboard._ids import state_id
from detailed_balance.dashboard._monitors import Snapshot
from detailed_balance.plots.layout import place_sideways, stack_bands
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
_NODE_HEIGHT, _NODE_PADDING, _CHAR_WIDTH = 44.0, 40.0, 6.4


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
        return {"nodes": [], "edges": [], "bands": [], "states": len(snapshot.ids), "moves": 0}
    flows = _flows_of(snapshot, potential)
    in_loops = [state for loop in loops.values() for state in loop]
    cut = _cut(potential, flows, [*in_loops, *wanted], min(top, MOST_STATES))
    matrix = _aggregate(snapshot, potential, cut)
    heights = _heights(potential, snapshot.order.levels, flows, cut)
    nodes, bands = _nodes(potential, heights, cut, matrix, {} if places is None else places)
    edges = _edges(matrix, [node["id"] for node in nodes], loops)
    return {
        "nodes": nodes,
        "edges": edges,
        "bands": bands,
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
    heights: tuple[NDArray[np.float64], NDArray[np.int64]],
    cut: _Cut,
    matrix: NDArray[np.int64],
    places: dict[str, float],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    values, levels = heights
    count = len(values)
    tall = float(np.clip(330 + 9.0 * count, 400, 1500))
    bands = stack_bands(values, levels, tall / 100)
    y = np.array([100 * bands[k].height(v) for k, v in zip(levels.tolist(), values, strict=True)])
    labels = [safe_text(potential.states[i], _LABEL) for i in cut.chosen]
    sizes_of_groups = np.bincount(cut.members, minlength=count)[len(cut.chosen) :].tolist()
    labels += [count_noun(size, "other state") for size in sizes_of_groups]
    ids = [state_id(potential.states[i]) for i in cut.chosen]
    ids += [f"others-{component}" for component in cut.rest]
    x = _sideways(matrix, y, labels, ids, places, max(900.0, 1.8 * tall))
    totals = matrix.sum(axis=0) + matrix.sum(axis=1)
    nodes = [
        {
            "id": ids[k],
            "label": labels[k],
            "group": k >= len(cut.chosen),
            "x": round(float(x[k]), 1),
            "y": round(-float(y[k]), 1),
            "potential": plain(float(values[k])),
            "level": int(levels[k]),
            "flow": int(totals[k]),
        }
        for k in range(count)
    ]
    return nodes, [
        {"level": level, "bottom": -100 * band.bottom, "scale": 100 * band.scale, "top": band.top}
        for level, band in bands.items()
    ]


def _heights(
    potential: Potential, levels: NDArray[np.int64], flows: NDArray[np.int64], cut: _Cut
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return V and the level of each node; a group stands at the mean of its busiest level."""
    values = potential.values[cut.chosen].tolist()
    found = levels[cut.chosen].tolist()
    for number in range(len(cut.rest)):
        inside = np.flatnonzero(cut.members == len(cut.chosen) + number)
        busiest = inside[np.argmax(flows[inside])]
        same = inside[levels[inside] == levels[busiest]]
        values.append(float(np.average(potential.values[same], weights=flows[same] + 1)))
        found.append(int(levels[busiest]))
    return np.array(values, dtype=np.float64), np.array(found, dtype=np.int64)


def _sideways(
    matrix: NDArray[np.int64],
    y: NDArray[np.float64],
    labels: Sequence[str],
    ids: Sequence[str],
    places: dict[str, float],
    width: float,
) -> NDArray[np.float64]:
    """Return where the nodes stand sideways, near to where they stood before."""
    widths = np.array([_NODE_PADDING + _CHAR_WIDTH * len(label) for label in labels])
    sizes = np.column_stack([widths, np.full(len(labels), _NODE_HEIGHT)])
    known = np.array([places.get(name, np.nan) for name in ids]) * width
    flows = -(matrix.sum(axis=0) + matrix.sum(axis=1))
    first = np.lexsort((flows, np.isnan(known))).tolist()
    weights = np.log1p(matrix + matrix.T)
    x = place_sideways(weights, y, sizes, first, width, wanted=known)
    if len(places) > _PLACES_KEPT:
        places.clear()
    places.update(zip(ids, (x / width).tolist(), strict=True))
    return x


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
