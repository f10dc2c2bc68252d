"""Two contexts side by side: whether they move alike, and which states moved."""

from __future__ import annotations

from typing import Any

import numpy as np

from detailed_balance.analyzers.comparison.kernels import compare_kernels
from detailed_balance.analyzers.comparison.potentials import compare_potentials
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.analyzers.results import plain
from detailed_balance.dashboard._ids import show_state
from detailed_balance.dashboard._snapshot import Snapshot

STATES_COMPARED = 200
"""The states with the most moves in both together; tests of more take too long to wait for."""

ROWS_SHOWN = 60
_REPLICATES = 199


def compare_snapshots(a: Snapshot, b: Snapshot) -> dict[str, Any]:
    """Return what two contexts have in common and where they differ, as rows of tables.

    Counts are compared, so that each move is taken to be independent of the others: where runs
    are of several kinds, differences are found that whole runs would not show.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts
    >>> from detailed_balance.dashboard._snapshot import take_snapshot
    >>> a = take_snapshot(TransitionCounts.from_edges([("x", "y", 80), ("y", "x", 80)]))
    >>> compare_snapshots(a, a)["potentials"]["differ"]
    False
    """
    states = _busiest(a, b)
    pair = [_restrict(snapshot.counts, states) for snapshot in (a, b)]
    return {
        "states": len(states),
        "left_out": len((a.ids | b.ids).keys()) - len(states),
        "kernels": _compare(_kernels, *pair),
        "potentials": _compare(_potentials, *pair),
    }


def _busiest(a: Snapshot, b: Snapshot) -> list[str]:
    flows: dict[str, int] = {}
    for snapshot in (a, b):
        for state, flow in zip(snapshot.counts.states, snapshot.flows.tolist(), strict=True):
            if state not in BOUNDARIES:
                flows[state] = flows.get(state, 0) + flow
    return sorted(flows, key=lambda state: -flows[state])[:STATES_COMPARED]


def _restrict(counts: TransitionCounts, states: list[str]) -> TransitionCounts:
    there = set(counts.states)
    return counts.restrict([state for state in states if state in there])


def _compare(compare: Any, a: TransitionCounts, b: TransitionCounts) -> dict[str, Any]:
    try:
        return dict(plain(compare(a, b)))
    except (InsufficientDataError, ConvergenceError) as error:
        return {"error": str(error)}


def _kernels(a: TransitionCounts, b: TransitionCounts) -> dict[str, Any]:
    found = compare_kernels(a, b, replicates=_REPLICATES)
    place = np.lexsort((-found.statistic, found.pvalue))[:ROWS_SHOWN]
    rows = [
        {
            **show_state(found.states[i]),
            "moves": found.moves[:, i],
            "adjusted": found.adjusted[i],
            "change": found.change[i],
            "target": show_state(found.target[i]),
        }
        for i in place
    ]
    return {
        "differ": found.rejected,
        "pvalue": found.total_pvalue,
        "different": len(found.different),
        "tested": len(found.states),
        "rows": rows,
    }


def _potentials(a: TransitionCounts, b: TransitionCounts) -> dict[str, Any]:
    found = compare_potentials(a, b)
    place = np.argsort(found.state_pvalue, kind="stable")[:ROWS_SHOWN]
    rows = [
        {
            **show_state(found.states[i]),
            "values": found.values[:, i],
            "errors": found.errors[:, i],
            "shift": found.shift[i],
            "adjusted": found.state_adjusted[i],
        }
        for i in place
    ]
    return {
        "differ": found.rejected,
        "pvalue": found.pvalue,
        "different": len(found.moved),
        "tested": len(found.states),
        "rows": rows,
    }
