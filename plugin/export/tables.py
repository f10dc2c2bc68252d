"""What a result holds, as tables: counts, potential, violations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.results import Table
from detailed_balance.report.sections import CHEAP_ERRORS

if TYPE_CHECKING:
    from detailed_balance.analyzers import BalanceReport, Potential

__all__ = ["counts_table", "potential_table", "violations_table"]


def counts_table(counts: TransitionCounts) -> Table:
    """Return the columns source, target (None: escapes) and count, START and END included.

    Examples
    --------
    >>> counts_table(TransitionCounts.from_edges([("a", "b", 3), ("a", None, 1)]))
    {'source': ['a', 'a'], 'target': ['b', None], 'count': [3, 1]}
    """
    edges, states = counts.counts.tocoo(), counts.states
    failed = np.flatnonzero(counts.escapes).tolist()
    return {
        "source": [states[i] for i in [*edges.row.tolist(), *failed]],
        "target": [*(states[j] for j in edges.col.tolist()), *(None for _ in failed)],
        "count": [*edges.data.tolist(), *counts.escapes[failed].tolist()],
    }


def potential_table(potential: Potential, counts: TransitionCounts) -> Table:
    """Return the columns state, potential, component, error, attempts and escapes.

    The lowest state of each component is at 0, and nothing is to be read into differences between
    components. The error is that of the difference to the lowest state of the largest component;
    it is left out above 20,000 states, where it would take minutes.
    """
    places = np.lexsort((potential.values, potential.components))
    states = [potential.states[i] for i in places.tolist()]
    rows = [counts.index(state) for state in states]
    table: dict[str, list[Any]] = {
        "state": states,
        "potential": potential.values[places].tolist(),
        "component": potential.components[places].tolist(),
    }
    if len(states) <= CHEAP_ERRORS:
        table["error"] = potential.standard_errors()[places].tolist()
    table["attempts"] = counts.attempts[rows].tolist()
    table["escapes"] = counts.escapes[rows].tolist()
    return table


def violations_table(balance: BalanceReport) -> Table:
    """Return the violations, one a row; a loop is a list of states."""
    found = balance.violations
    intervals = [violation.interval() for violation in found]
    return {
        "loop": [list(violation.loop) for violation in found],
        "kind": [violation.kind for violation in found],
        "affinity": [float(violation.affinity) for violation in found],
        "error": [float(violation.error) for violation in found],
        "low": [float(low) for low, _ in intervals],
        "high": [float(high) for _, high in intervals],
        "pvalue": [float(violation.pvalue) for violation in found],
        "forward": [int(violation.counts[0]) for violation in found],
        "backward": [int(violation.counts[1]) for violation in found],
        "flux_share": [float(violation.flux_share) for violation in found],
        "odds_ratio": [float(violation.odds_ratio) for violation in found],
        "evidence": [violation.evidence for violation in found],
    }
