"""Root runs, and the runs of subgraphs inside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["child_runs", "root_places", "root_runs", "whole_runs"]

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
    return [whole[0] for whole in whole_runs(runs)]


def root_places(table: RunTable) -> NDArray[np.int64]:
    """(r,) array of int64: the place of the root run of each run, its own where it is one.

    Examples
    --------
    >>> inner = Trajectory((("__start__", "search"),), run="2", parent="1")
    >>> outer = Trajectory((("__start__", "research"),), run="1")
    >>> root_places(RunTable.of([inner, outer])).tolist()
    [1, 1]
    """
    own = np.arange(len(table))
    named = _named(table.runs.run)
    inner = _named(table.runs.parent)
    if not named.size or not inner.size:
        return own
    names = table.runs.run[named].astype(str)
    order = np.argsort(names, kind="stable")
    names, named = names[order], named[order]
    wanted = table.runs.parent[inner].astype(str)
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    there = names[place] == wanted
    above = own.copy()
    above[inner[there]] = named[place[there]]
    root = above
    for _ in range(len(table).bit_length()):
        root = root[root]
    # In a circle, which no record of ours has, there is no root.
    return np.where(above[root] == root, root, own)


def _named(column: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the places of a column that are not None."""
    return np.flatnonzero(column != np.array(None))


def whole_runs(runs: Iterable[Trajectory]) -> list[tuple[Trajectory, ...]]:
    """Return each root run, followed by all runs inside it.

    Examples
    --------
    >>> inner = Trajectory((("__start__", "search"),), "T/research:7", run="2", parent="1")
    >>> outer = Trajectory((("__start__", "research"),), "T", run="1")
    >>> [[run.name for run in whole] for whole in whole_runs([inner, outer])]
    [['T', 'T/research:7']]
    """
    runs = list(runs)
    known = {run.run for run in runs}
    inside: defaultdict[str | None, list[Trajectory]] = defaultdict(list)
    for run in runs:
        inside[run.parent if run.parent in known else None].append(run)
    wholes = []
    for root in inside.pop(None, []):
        whole = [root]
        for run in whole:  # which grows
            whole += inside.pop(run.run, [])
        wholes.append(tuple(whole))
    in_circles = (run for left in inside.values() for run in left)  # no record of ours has any
    return [*wholes, *((run,) for run in in_circles)]


def child_runs(wholes: Iterable[Sequence[Trajectory]]) -> dict[str, list[Trajectory]]:
    """Return the runs inside root runs by the name of their graph.

    That is the label ``graph``, where it is not that of the root run too, or else the node in which
    they ran, the last one that the key names.

    Parameters
    ----------
    wholes : iterable of sequence of Trajectory
        As from `whole_runs`.

    Examples
    --------
    >>> outer = Trajectory((("__start__", "research"),), "T", run="1")
    >>> inner = Trajectory((("__start__", "search"),), "T/research:7", run="2", parent="1")
    >>> list(child_runs(whole_runs([outer, inner])))
    ['research']
    """
    found: dict[str, list[Trajectory]] = {}
    for root, *inside in wholes:
        for run in inside:
            found.setdefault(_name_graph(run, root), []).append(run)
    return found


def _name_graph(run: Trajectory, root: Trajectory) -> str:
    label = dict(run.context).get("graph")
    if label and label != dict(root.context).get("graph"):
        return label
    nodes = _PLACE.findall(run.name or "")
    return nodes[-1] if nodes else _UNNAMED
