"""The tables that can be exported: their columns and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.dashboard._monitors import Snapshot
from detailed_balance.monitor import Status


def states_table(snapshot: Snapshot, _: Status) -> Iterator[list[Any]]:
    """Yield the states, lowest potential first, then those without one."""
    counts, potential, order = snapshot.counts, snapshot.potential, snapshot.order
    ranked: list[tuple[str, Any, Any]] = []
    if potential is not None and order is not None:
        ranked += [
            (potential.states[i], float(order.relative[i]), int(potential.components[i]))
            for i in order.ranking.tolist()
        ]
    known = {state for state, *_ in ranked}
    ranked += [(s, None, None) for s in counts.states if s not in known and s not in BOUNDARIES]
    escapes = counts.escapes
    for state, value, component in ranked:
        i = counts.index(state)
        yield [state, value, component, int(counts.attempts[i]), int(escapes[i])]


def moves_table(snapshot: Snapshot, _: Status) -> Iterator[list[Any]]:
    """Yield the moves, most frequent first, with the count of the way back."""
    states, counts = snapshot.counts.states, snapshot.counts.counts
    edges = counts.tocoo()
    back = counts[edges.col, edges.row]
    for k in np.argsort(-edges.data, kind="stable").tolist():
        source, target = states[edges.row[k]], states[edges.col[k]]
        yield [source, target, int(edges.data[k]), int(back[k])]


def findings_table(_: Snapshot, status: Status) -> Iterator[list[Any]]:
    """Yield the findings."""
    for alert in status.alerts:
        found, times = alert.finding, [alert.raised, alert.updated, alert.resolved]
        about = [found.kind, alert.status, found.severity, alert.end or found.headline]
        yield [alert.id, *about, " | ".join(found.place), *times]


def traps_table(_: Snapshot, status: Status) -> Iterator[list[Any]]:
    """Yield the traps."""
    for trap in status.traps:
        low, high = trap["interval"]
        names = " | ".join(trap["states"])
        yield [names, trap["stay"], low, high, trap["moves"], trap["exits"]]


TABLES = {
    "states": (["state", "potential", "component", "attempts", "escapes"], states_table),
    "moves": (["source", "target", "count", "back"], moves_table),
    "findings": (
        ["id", "kind", "status", "severity", "sentence", "states", "raised", "updated", "resolved"],
        findings_table,
    ),
    "traps": (["states", "stay", "low", "high", "moves", "exits"], traps_table),
}
"""What can be exported: the columns, and the rows of a snapshot and a status."""
