"""`compare_counts`: what differs between two tables of counts, where the runs are not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control, fisher_exact

from detailed_balance.analyzers.comparison._run_statistics import (
    MOST_MOVES,
    MOST_SOLVED,
    MOST_STATES,
)
from detailed_balance.analyzers.comparison.kernels import compare_kernels
from detailed_balance.analyzers.comparison.potentials import compare_potentials
from detailed_balance.analyzers.comparison.result import (
    FEWEST_RUNS,
    Change,
    ComparisonTest,
    Question,
    RunComparison,
)
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.analyzers.inputs import CountsLike, read_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_counts"]

MOST_ROWS = 1_000
"""Of more states, the moves from the busiest are compared."""

_REPLICATES = 999


def compare_counts(
    before: CountsLike, after: CountsLike, *, alpha: float = 0.05, seed: int = 0
) -> RunComparison:
    """Test whether two tables of counts differ, each move taken for independent of the others.

    Only the moves (`compare_kernels` by exits, each one by Fisher's exact test) and the potential
    (`compare_potentials`) can be asked about: of at most 1,000 and 60 states, the busiest, and the
    potential of at most 5,000. Runs that are of several kinds inside look like a difference:
    compare runs where you can. The two questions are adjusted by Holm's method.

    Parameters
    ----------
    before, after : CountsLike
        START, END and escapes may be in them.
    alpha : float
        See `RunComparison`.
    seed : int
        Of the permutations.

    Raises
    ------
    InsufficientDataError
        Where no question can be asked.

    Examples
    --------
    >>> old = TransitionCounts.from_edges([("a", "b", 90), ("a", "c", 10)])
    >>> new = TransitionCounts.from_edges([("a", "b", 60), ("a", "c", 40)])
    >>> [(c.what, round(c.difference, 2)) for c in compare_counts(old, new).changes]
    [(('a', 'b'), -0.3), (('a', 'c'), 0.3)]
    """
    before, after = read_counts(before), read_counts(after)
    found: dict[Question, tuple[float, list[Change]]] = {}
    with suppress(InsufficientDataError):
        found["moves"] = _ask_moves(before, after, seed)
    with suppress(InsufficientDataError, ConvergenceError):
        found["potential"] = _ask_potential(before, after)
    if not found:
        raise InsufficientDataError(
            "no state was left in both records and in two ways: there is nothing to compare"
        )
    adjusted = _holm([pvalue for pvalue, _ in found.values()])
    tests = tuple(
        ComparisonTest(question, pvalue, level, _judge(changes, level, alpha), level <= alpha)
        for (question, (pvalue, changes)), level in zip(found.items(), adjusted, strict=True)
    )
    return RunComparison(tests, (0, 0), "moves", alpha, _REPLICATES, seed)


def _holm(pvalues: Sequence[float]) -> list[float]:
    adjusted, worst = [1.0] * len(pvalues), 0.0
    for rank, i in enumerate(np.argsort(pvalues).tolist()):
        worst = max(worst, min(1.0, pvalues[i] * (len(pvalues) - rank)))
        adjusted[i] = worst
    return adjusted


def _judge(changes: Sequence[Change], level: float, alpha: float) -> tuple[Change, ...]:
    adjusted = false_discovery_control([change.pvalue for change in changes])
    judged = [
        replace(change, adjusted=float(p), changed=bool(level <= alpha and p <= alpha))
        for change, p in zip(changes, adjusted, strict=True)
    ]
    return tuple(sorted(judged, key=lambda c: (c.pvalue, -abs(c.difference))))


def _ask_moves(
    before: TransitionCounts, after: TransitionCounts, seed: int
) -> tuple[float, list[Change]]:
    busiest = _busiest(before, after, MOST_ROWS)
    before, after = (_only_from(counts, busiest) for counts in (before, after))
    whole = compare_kernels(before, after, replicates=_REPLICATES, unit="exits", seed=seed)
    tables = [dict(_edges(counts)) for counts in (before, after)]
    rows = [dict(zip(c.states, c.attempts.tolist(), strict=True)) for c in (before, after)]
    total = Counter(tables[0]) + Counter(tables[1])
    tested = set(whole.states)
    common = [move for move, n in total.most_common() if move[0] in tested and n >= FEWEST_RUNS]
    changes = [
        _move(move, [t.get(move, 0) for t in tables], [row[move[0]] for row in rows])
        for move in common[:MOST_MOVES]
    ]
    if not changes:
        raise InsufficientDataError("no move was made often enough to be tested")
    return whole.total_pvalue, changes


def _busiest(before: TransitionCounts, after: TransitionCounts, most: int) -> list[str]:
    visits = Counter[str]()
    for counts in (before, after):
        visits.update(dict(zip(counts.states, counts.attempts.tolist(), strict=True)))
    return [state for state, _ in visits.most_common(most)]


def _only_from(counts: TransitionCounts, states: Iterable[str]) -> TransitionCounts:
    """Keep the moves that leave some states."""
    if len(counts) <= MOST_ROWS:
        return counts
    there = set(counts.states)
    places = [counts.index(state) for state in states if state in there]
    return TransitionCounts.from_edges(
        (*move, n) for move, n in _edges(counts, np.array(places, dtype=np.int64))
    )


def _edges(
    counts: TransitionCounts, rows: NDArray[np.int64] | None = None
) -> Iterator[tuple[tuple[str, str | None], int]]:
    rows = np.arange(len(counts)) if rows is None else rows
    edges = counts.counts[rows].tocoo()
    ends = (rows[edges.row].tolist(), edges.col.tolist(), edges.data.tolist())
    for i, j, n in zip(*ends, strict=True):
        yield (counts.states[i], counts.states[j]), n
    escapes = counts.escapes
    for i in rows[escapes[rows] > 0].tolist():
        yield (counts.states[i], None), int(escapes[i])


def _move(move: tuple[str, str | None], made: Sequence[int], left: Sequence[int]) -> Change:
    before, after = (n / total for n, total in zip(made, left, strict=True))
    spread = sum(p * (1 - p) / n for p, n in zip((before, after), left, strict=True))
    table = np.array([[n, total - n] for n, total in zip(made, left, strict=True)])
    pvalue = float(fisher_exact(table).pvalue)
    return Change("moves", move, before, after, sqrt(spread), (0, 0), pvalue, pvalue, False)


def _ask_potential(before: TransitionCounts, after: TransitionCounts) -> tuple[float, list[Change]]:
    if max(len(before), len(after)) > MOST_SOLVED:
        raise InsufficientDataError("the errors of so large a potential take too long")
    inner = (before.without_boundaries(), after.without_boundaries())
    busiest = _busiest(*inner, MOST_STATES)
    found = compare_potentials(before, after, states=busiest)
    errors = np.hypot(*found.errors).tolist()
    changes = []
    for i, state in enumerate(found.states):
        low, high = found.values[:, i].tolist()
        p, q = float(found.state_pvalue[i]), float(found.state_adjusted[i])
        changes.append(Change("potential", (state,), low, high, errors[i], (0, 0), p, q, False))
    return found.pvalue, changes
