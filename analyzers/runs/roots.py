"""Root runs, and the runs of subgraphs inside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["name_graphs", "name_node", "root_places", "root_runs"]

_UNNAMED = "subgraph"
_PLACE = re.compile(r"[/|]([^/|:]+):")
"""The node in a key such as ``thread/node:task`` or ``thread/node:task|node:task``."""


def root_runs(runs: Iterable[Trajectory]) -> list[Trajectory]:
    """Return the runs that ran inside no other of them.

    These are what rates and "of N runs" count. The run of a subgraph names the run around it as its
    `parent`; where that is not among `runs`, it is a root run itself, and so is every run of a
    record that knows no parents.

    Parameters
    ----------
    runs : iterable of Trajectory
        The runs.

    Returns
    -------
    list of Trajectory
        In the order of `runs`.

    Examples
    --------
    >>> outer = Trajectory((("__start__", "research"),), "T", run="1")
    >>> inner = Trajectory((("__start__", "search"),), "T/research:7", run="2", parent="1")
    >>> [run.name for run in root_runs([outer, inner])]
    ['T']
    >>> [run.name for run in root_runs([inner])]
    ['T/research:7']
    """
    runs = list(runs)
    roots = _find_roots([run.run for run in runs], [run.parent for run in runs])
    return [runs[place] for place in np.unique(roots).tolist()]


def root_places(table: RunTable) -> NDArray[np.int64]:
    """(r,) array of int64: the place of the root run of each run, its own where it is one.

    Examples
    --------
    >>> inner = Trajectory((("__start__", "search"),), run="2", parent="1")
    >>> outer = Trajectory((("__start__", "research"),), run="1")
    >>> root_places(RunTable.of([inner, outer])).tolist()
    [1, 1]
    """
    return _find_roots(table.runs.run.tolist(), table.runs.parent.tolist())


def _find_roots(ids: Sequence[str | None], parents: Sequence[str | None]) -> NDArray[np.int64]:
    own = np.arange(len(ids))
    places: dict[str | None, int] = dict(zip(reversed(ids), reversed(range(len(ids))), strict=True))
    places.pop(None, None)  # of an id that several runs have, the first is left
    above = np.fromiter(map(places.get, parents, range(len(ids))), dtype=np.int64, count=len(ids))
    root = above
    for _ in range(len(ids).bit_length()):
        root = root[root]
    # In a circle, which no record of ours has, there is no root.
    return np.where(above[root] == root, root, own)


def name_graphs(table: RunTable, root: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the places of the runs inside root runs by the name of their graph.

    That is the label ``graph``, where it is not that of the root run too, or else the node in which
    they ran, the last one that the key names.

    Parameters
    ----------
    table : RunTable
        The r runs.
    root : (r,) array of int64
        As from `root_places`.

    Examples
    --------
    >>> outer = Trajectory((("__start__", "research"),), "T", run="1")
    >>> inner = Trajectory((("__start__", "search"),), "T/research:7", run="2", parent="1")
    >>> table = RunTable.of([outer, inner])
    >>> name_graphs(table, root_places(table))
    {'research': array([1])}
    """
    inner = np.flatnonzero(root != np.arange(len(root)))
    labels = np.array([dict(context).get("graph") for context in table.contexts], dtype=object)
    own, outer = (labels[table.runs.context[runs]] for runs in (inner, root[inner]))
    found: dict[str, list[int]] = {}
    for place, key, label, other in zip(
        inner.tolist(), table.runs.name[inner], own, outer, strict=True
    ):
        name = label if label and label != other else name_node(key)
        found.setdefault(name, []).append(place)
    return {name: np.array(places) for name, places in found.items()}


def name_node(key: str | None) -> str:
    """Return the node in which the run of a subgraph ran, the last one that its key names.

    Examples
    --------
    >>> name_node("T/research:7"), name_node(None)
    ('research', 'subgraph')
    """
    nodes = _PLACE.findall(key or "")
    return nodes[-1] if nodes else _UNNAMED
