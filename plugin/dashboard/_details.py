"""What the page shows of one state, of one loop, and of two contexts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts, compare_kernels, compare_potentials
from detailed_balance.analyzers.balance.loops import SMALL_COUNT
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import plain
from detailed_balance.dashboard._ids import loop_id, show_state
from detailed_balance.dashboard._monitors import Snapshot
from detailed_balance.render.formatting import safe_run, safe_text

if TYPE_CHECKING:
    from detailed_balance.callbacks.store.reading import Excerpt

LONGEST_LOOP = 64
"""The most states of a loop that a URL may ask for."""

MOVES_SHOWN = 25
"""The most moves that are listed of each direction."""

_WHOLE_KEY = 4_000

STATES_COMPARED = 200
"""The states with the most moves in both together; tests of more take too long to wait for."""

ROWS_SHOWN = 60
_REPLICATES = 199


def list_states(snapshot: Snapshot, limit: int) -> list[dict[str, Any]]:
    """Return the states with the most moves: what the landscape shows, as rows of a table."""
    counts, ranked = snapshot.counts, np.argsort(-snapshot.flows, kind="stable")
    names = [counts.states[i] for i in ranked if counts.states[i] not in BOUNDARIES][:limit]
    values = _potentials(snapshot)
    return [
        {
            **show_state(state),
            "potential": values.get(state, (None, None))[0],
            "component": values.get(state, (None, None))[1],
            "flow": snapshot.flow(state),
            "attempts": int(counts.attempts[counts.index(state)]),
        }
        for state in names
    ]


def _potentials(snapshot: Snapshot) -> dict[str, tuple[Any, int]]:
    """Return V of each state against the lowest of the largest component, and its component."""
    potential, order = snapshot.potential, snapshot.order
    if potential is None or order is None:
        return {}
    rows = zip(
        potential.states, order.relative.tolist(), potential.components.tolist(), strict=True
    )
    return {state: (plain(value), number) for state, value, number in rows}


def show_state_page(snapshot: Snapshot, state: str) -> dict[str, Any]:
    """Return everything about one state."""
    counts = snapshot.counts
    i = counts.index(state)
    row, column = counts.counts[[i], :].toarray()[0], counts.counts[:, [i]].toarray()[:, 0]
    value, component = _potentials(snapshot).get(state, (None, None))
    itself = int(row[i])
    row[i] = column[i] = 0
    return {
        **show_state(state),
        "key": safe_text(state, _WHOLE_KEY),
        "length": len(state),
        "potential": value,
        "component": component,
        "attempts": int(counts.attempts[i]),
        "escapes": int(counts.escapes[i]),
        "itself": itself,
        "leaves": _rank(counts, row, counts.attempts[i]),
        "enters": _rank(counts, column, column.sum()),
    }


def _rank(counts: TransitionCounts, moves: Any, total: Any) -> dict[str, Any]:
    ranked = [int(j) for j in np.argsort(-moves, kind="stable") if moves[j]]
    rows = [
        {
            **show_state(counts.states[j]),
            "count": int(moves[j]),
            "share": float(moves[j] / max(int(total), 1)),
        }
        for j in ranked[:MOVES_SHOWN]
    ]
    return {"moves": rows, "more": len(ranked) - len(rows)}


def parse_loop(snapshot: Snapshot, text: str) -> list[str]:
    """Return the states of a loop that a URL names.

    Raises
    ------
    InvalidInputError
        Where it is not a loop of 2 to 64 different states.
    UnknownStateError
        Where one of them is not recorded.
    """
    ids = text.split(".")
    if not 2 <= len(ids) <= LONGEST_LOOP or len(set(ids)) < len(ids):
        raise InvalidInputError(
            f"a loop has 2 to {LONGEST_LOOP} different states; this address names {len(ids)}"
        )
    return [snapshot.state(number) for number in ids]


def show_loop(snapshot: Snapshot, loop: Sequence[str]) -> dict[str, Any]:
    """Return the counts along a loop, in both directions, and its affinity.

    The affinity is the log of forward over backward counts multiplied up, in nats; half a move
    is added to each count where one of them is small (paper, eq. 7).
    """
    counts = snapshot.counts
    there = [_count(counts, *move) for move in Loop(loop).edges()]
    back = [_count(counts, target, source) for source, target in Loop(loop).edges()]
    add = 0.5 if min(there + back) < SMALL_COUNT else 0.0
    affinity = sum(log((n + add) / (m + add)) for n, m in zip(there, back, strict=True))
    error = sqrt(sum(1 / (n + add) for n in there + back))
    return {
        "id": loop_id(loop),
        "states": [show_state(state) for state in loop],
        "there": there,
        "back": back,
        "affinity": affinity,
        "error": error if isfinite(error) else None,
    }


def _count(counts: TransitionCounts, source: str, target: str) -> int:
    try:
        return int(counts.counts[counts.index(source), counts.index(target)])
    except UnknownStateError:
        return 0


def show_walks(walks: Sequence[Excerpt]) -> list[dict[str, Any]]:
    """Return example stretches of runs as paths; where a stretch has a gap, it starts again."""
    shown = []
    for walk in walks:
        path: list[dict[str, Any]] = []
        last: str | None = None
        for source, target in walk.moves:
            if source != last:
                path.append(show_state(source))
            path.append(show_state(target))
            last = source if target is None else target
        shown.append(
            {
                "trajectory": safe_run(walk.trajectory),
                "path": path,
                "hits": walk.hits,
                "time": walk.time,
            }
        )
    return shown


def compare_snapshots(a: Snapshot, b: Snapshot) -> dict[str, Any]:
    """Return what two contexts have in common and where they differ, as rows of tables.

    Counts are compared, so that each move is taken to be independent of the others: where runs
    are of several kinds, differences are found that whole runs would not show.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts
    >>> from detailed_balance.dashboard._monitors import take_snapshot
    >>> a = take_snapshot(TransitionCounts.from_edges([("x", "y", 80), ("y", "x", 80)]))
    >>> compare_snapshots(a, a)["potentials"]["differ"]
    False
    """
    states = _busiest(a, b)
    pair = [_restrict(snapshot.counts, states) for snapshot in (a, b)]
    return {
        "states": len(states),
        "left_out": len((a.ids | b.ids).keys()) - len(states),
        "kernels": _compare(_kernel_rows, *pair),
        "potentials": _compare(_potential_rows, *pair),
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


def _kernel_rows(a: TransitionCounts, b: TransitionCounts) -> dict[str, Any]:
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


def _potential_rows(a: TransitionCounts, b: TransitionCounts) -> dict[str, Any]:
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
