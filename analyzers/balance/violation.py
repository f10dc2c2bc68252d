"""`Violation`: one cause of broken balance, named by a loop, and its kind by evidence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
from scipy.stats import false_discovery_control, hypergeom, norm

from detailed_balance.analyzers.balance.loops import Z95, Correction, LoopTable
from detailed_balance.analyzers.balance.outcomes import LoopContrast
from detailed_balance.analyzers.counts import BOUNDARIES, END, TransitionCounts
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition.rounds import count_rounds
from detailed_balance.analyzers.results import Result, times
from detailed_balance.analyzers.runs.names import rank_names
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AgentGraph",
    "Kind",
    "Violation",
    "apply_contrasts",
    "compare_counts_with_baseline",
    "group_loops",
    "mark_structural",
    "name_examples",
    "states_before_end",
]

Kind: TypeAlias = Literal["structural", "work-flow", "suspect", "unclassified"]
"""What a violation is, by evidence; see `Violation.kind`."""

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Violation(Result):
    """A cause of broken balance: the loop that shows it best, and those that it explains.

    One push makes many loops significant. Loops that share moves are one cause, which is named by
    its strongest short loop; a loop that shares moves only with explained ones is explained too.

    Parameters
    ----------
    loop : Loop
        The states in the order in which they are taken; the last leads back to the first.
    affinity : float
        Log of forward over backward counts, multiplied up along the loop; in nats, above 0. Of a
        loop that was searched for, in halves of the moves that did not choose it.
    error : float
        Its standard error, by runs where at least 10 are known.
    pvalue : float
        That all moves come from one reversible kernel; adjusted for the number of loops tested
        (the report's `correction`). Runs that differ from each other make it small, too.
    counts : (int, int)
        The smallest count along the loop, forward and backward.
    kind : {"structural", "work-flow", "suspect", "unclassified"}
        Structural: each step is the only exit that the agent's graph allows from its state, or,
        where no graph was given, the only one ever seen of a loop that was left. Work-flow: failed
        runs walk it no more than their visits explain, or the baseline walks it as often. Suspect:
        failed runs walk it more, or more than the baseline. Unclassified: not known.
    closed : (int, int)
        How often runs closed loops that share its moves, in its direction and in the other.
    run_pvalue : float
        That inside runs both directions are equally likely (`orientation_test`); NaN without runs.
    odds_ratio : float
        Odds of a step along the loop in failed runs over those in successful ones, or here over
        those in the baseline; NaN without either.
    odds_interval : (float, float)
        Its 95% interval.
    odds_pvalue : float
        Of an odds ratio above 1, adjusted for the number of loops; see `LoopContrast`.
    detectable_odds : float
        The smallest odds ratio that would have been found with 80% probability.
    flux_share : float
        Net moves that going round this loop accounts for, at most, over all net moves: its length
        times its smallest net count, over the sum of |n_fg - n_gf|. 0 where the net count of some
        step runs against it. Loops that share steps share flux, so the shares do not add up.
    trajectories : tuple of str
        Up to 3 runs that took it, failed ones first, then those that took it most.
    explains : tuple of Loop
        The other loops that are significant and share its moves, strongest first.
    evidence : str
        What the kind rests on, in words.

    Examples
    --------
    >>> violation = Violation(Loop("abc"), 6.59, 0.58, 1e-9, (90, 10))
    >>> low, high = violation.interval()
    >>> round(low, 2), round(high, 2)
    (5.45, 7.73)
    """

    loop: Loop[str]
    affinity: float
    error: float
    pvalue: float
    counts: tuple[int, int]
    kind: Kind = "unclassified"
    closed: tuple[int, int] = (0, 0)
    run_pvalue: float = _NAN
    odds_ratio: float = _NAN
    odds_interval: tuple[float, float] = (_NAN, _NAN)
    odds_pvalue: float = _NAN
    detectable_odds: float = _NAN
    flux_share: float = _NAN
    trajectories: tuple[str, ...] = ()
    explains: tuple[Loop[str], ...] = ()
    evidence: str = ""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the affinity, in nats."""
        half = float(norm.ppf(0.5 + confidence / 2)) * self.error
        return self.affinity - half, self.affinity + half

    def describe(self) -> str:
        """Say in one sentence what was found."""
        because = f": {self.evidence}" if self.evidence else ""
        return (
            f"{self.loop.name()} is driven ({self.kind}{because}): affinity {self.affinity:.2f} "
            f"+- {self.error:.2f} nats, adjusted p = {self.pvalue:.2g}, {times(self.counts[0])} in "
            f"this direction and {times(self.counts[1])} in reverse"
        )


def group_loops(
    loops: LoopTable, places: Sequence[int], suspect: Collection[int] = ()
) -> list[list[int]]:
    """Return the causes behind driven loops: the places of the loops of each, the first names it.

    Each loop, the strongest first, belongs to the strongest cause of an earlier loop that it
    shares a move with, or else is a cause by itself. What failed runs walk more, `suspect`, is no
    part of a cause that they do not. The shortest loop whose affinity a step may be as large as
    that of the strongest one (by the 95% interval) names the cause.

    Examples
    --------
    >>> from detailed_balance.analyzers.balance.loops import find_loops
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90), ("b", "d", 40), ("d", "a", 40)]
    >>> edges += [(g, f, 10 if n == 90 else 40) for f, g, n in edges]
    >>> loops = find_loops(TransitionCounts.from_edges(edges))
    >>> [[loops.names(i).name() for i in cause] for cause in group_loops(loops, range(len(loops)))]
    [['a -> b -> c -> a', 'a -> d -> b -> c -> a', 'a -> b -> d -> a']]
    """
    owner: dict[tuple[int, int], int] = {}
    owner_suspect: dict[tuple[int, int], int] = {}
    causes: list[list[int]] = []
    for place in places:
        edges = loops.members[place].edges()
        known = owner_suspect if place in suspect else owner
        cause = min((known[edge] for edge in edges if edge in known), default=len(causes))
        if cause == len(causes):
            causes.append([])
        causes[cause].append(place)
        for edge in edges:
            owner.setdefault(edge, cause)
            if place in suspect:
                owner_suspect.setdefault(edge, cause)
    lengths = np.fromiter(map(len, loops.members), dtype=np.int64, count=len(loops))
    push, reach = loops.affinity / lengths, (loops.affinity + Z95 * loops.error) / lengths
    for members in causes:
        least = float(push[members[0]])
        strong = [
            i for i in members if reach[i] >= least and (i in suspect) == (members[0] in suspect)
        ]
        name = min(strong, key=lambda i: (int(lengths[i]), i))
        members.remove(name)
        members.insert(0, name)
    return causes


AgentGraph: TypeAlias = Mapping[str, Collection[str]] | Iterable[tuple[str, str]]
"""The moves that an agent's graph allows: the targets of each state, or its edges."""

EXAMPLES = 3
"""So many runs are named as examples of a loop."""


def mark_structural(
    found: Sequence[Violation],
    counts: TransitionCounts,
    graph: AgentGraph | None,
    ends: Collection[str] = (),
) -> list[Violation]:
    """Mark the loops that leave no choice: each step is the only exit from its state.

    The agent's graph decides where it is given, because an exit never seen may still be allowed;
    a state that the graph does not know (a tool that a model chose) is not a design. Exits to END
    and to the state itself do not count. Without a graph, the only exits ever seen are evidence
    where the loop was left at all: `ends` are the states from which runs ended.
    """
    if graph is None:
        exits = _exits_seen(counts, found)
        left = set(ends)
        evidence = "each step is the only exit ever seen from its state"
        found_structural = [
            bool(left & set(v.loop)) and all(exits.get(f) == {g} for f, g in v.loop.edges())
            for v in found
        ]
    else:
        exits = _exits_allowed(graph)
        evidence = "each step is the only exit that the graph allows from its state"
        found_structural = [all(exits.get(f) == {g} for f, g in v.loop.edges()) for v in found]
    return [
        replace(v, kind="structural", evidence=evidence) if structural else v
        for v, structural in zip(found, found_structural, strict=True)
    ]


def _exits_seen(counts: TransitionCounts, found: Sequence[Violation]) -> dict[str, set[str]]:
    states = dict.fromkeys(state for v in found for state in v.loop)
    matrix, exits = counts.counts, {}
    for state in states:
        i = counts.index(state)
        row = slice(matrix.indptr[i], matrix.indptr[i + 1])
        targets = matrix.indices[row][matrix.data[row] > 0].tolist()
        exits[state] = {counts.states[j] for j in targets if j != i}
    return exits


def _exits_allowed(graph: AgentGraph) -> dict[str, set[str]]:
    exits: dict[str, set[str]] = {}
    for source, targets in _targets(graph):
        exits.setdefault(source, set()).update(targets)
    return {source: targets - BOUNDARIES - {source} for source, targets in exits.items()}


def _targets(graph: AgentGraph) -> Iterator[tuple[str, Collection[str]]]:
    if isinstance(graph, Mapping):
        yield from cast("Mapping[str, Collection[str]]", graph).items()
    else:
        yield from ((source, (target,)) for source, target in graph)


def states_before_end(counts: TransitionCounts) -> frozenset[str]:
    """Return the states from which runs ended.

    Examples
    --------
    >>> states_before_end(TransitionCounts.from_edges([("a", "b", 2), ("b", "__end__", 1)]))
    frozenset({'b'})
    """
    if END not in counts.states:
        return frozenset()
    column = counts.counts[:, [counts.index(END)]].toarray()[:, 0]
    return frozenset(counts.states[i] for i in np.flatnonzero(column).tolist())


def apply_contrasts(
    found: Sequence[Violation], contrasts: Sequence[LoopContrast]
) -> list[Violation]:
    """Say of each violation whether failed runs walk it more, by the contrasts of its loops.

    What is structural, or suspect already, stays so.
    """
    result = list(found)
    for groups in dict.fromkeys(contrast.groups for contrast in contrasts):
        known = {c.loop: c for c in contrasts if c.groups == groups}
        result = [_apply_contrast(violation, known) for violation in result]
    return result


def _apply_contrast(v: Violation, contrasts: Mapping[Loop[str], LoopContrast]) -> Violation:
    known = [contrasts[loop] for loop in (v.loop, *v.explains) if loop in contrasts]
    if not known or v.kind in ("structural", "suspect"):
        return v
    best = min(known, key=lambda c: (c.loop != v.loop, c.pvalue))
    kind: Kind = "unclassified"
    if best.rejected or best.informative:
        kind = "suspect" if best.rejected else "work-flow"
    if _RANK[kind] <= _RANK[v.kind] and v.evidence:
        return v
    named = "" if best.loop == v.loop else f" (by {best.loop.name()})"
    return replace(
        v,
        kind=kind,
        evidence=best.describe() + named,
        odds_ratio=best.odds_ratio,
        odds_interval=best.interval,
        odds_pvalue=best.pvalue,
        detectable_odds=best.detectable,
    )


def name_examples(found: Sequence[Violation], table: RunTable) -> list[Violation]:
    """Name for each loop runs that failed first, and then those that took it most.

    Each name comes once: a thread may hold several runs.
    """
    walks = count_rounds(table, [v.loop for v in found])
    names = rank_names(table.runs.name)[walks.run]
    failed = table.runs.success[walks.run] == 0
    order = np.lexsort((names, -walks.rounds, ~failed, walks.loop))
    order = order[names[order] >= 0]
    # Of one name in one loop only the first.
    keys = walks.loop[order] * (len(table) + 1) + names[order]
    order = order[np.sort(np.unique(keys, return_index=True)[1])]
    bounds = np.searchsorted(walks.loop[order], np.arange(len(found) + 1)).tolist()
    return [
        replace(v, trajectories=tuple(table.runs.name[walks.run[order[b:e][:EXAMPLES]]].tolist()))
        for v, (b, e) in zip(found, pairwise(bounds), strict=True)
    ]


def compare_counts_with_baseline(
    found: Sequence[Violation],
    counts: TransitionCounts,
    baseline: TransitionCounts,
    alpha: float,
    correction: Correction,
) -> list[Violation]:
    """Distinguish work-flow from suspect loops by how often a baseline walks them.

    Where only counts are known, moves are taken as independent of each other (Fisher's exact
    test); with runs on both sides, `contrast_loops` does better.
    """
    walked = [_times_walked(baseline, violation.loop) for violation in found]
    tables = [
        ((v.counts[0], counts.total - v.counts[0]), (times, baseline.total - times))
        for v, times in zip(found, walked, strict=True)
    ]
    ratios, pvalues = _test_tables(np.array(tables, dtype=np.int64).reshape(-1, 2, 2))
    adjusted = false_discovery_control(pvalues, method=correction)
    result = []
    for v, ratio, p, usual in zip(found, ratios.tolist(), adjusted.tolist(), walked, strict=True):
        kind: Kind = "suspect" if p <= alpha else "work-flow" if usual else "unclassified"
        decides = _RANK[kind] > _RANK[v.kind] or not v.evidence
        if decides or np.isnan(v.odds_pvalue):
            v = replace(v, odds_ratio=ratio, odds_pvalue=p)
        result.append(replace(v, kind=kind, evidence=_WORDS[kind]) if decides else v)
    return result


def _times_walked(counts: TransitionCounts, loop: Sequence[str]) -> int:
    """Return the smallest count along the loop, 0 where a state of it is unknown."""
    if not set(loop) <= set(counts.states):
        return 0
    ends = np.array([counts.index(state) for state in loop])
    return int(lookup(counts.counts, ends, np.roll(ends, -1)).min())


def _test_tables(tables: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return odds ratios and p-values of Fisher's exact test, greater, of (k, 2, 2) tables."""
    (a, b), (c, d) = tables.transpose(1, 2, 0)
    pvalues = np.minimum(hypergeom.cdf(b, a + b + c + d, a + b, b + d), 1.0)
    empty = (tables.sum(axis=1) == 0).any(axis=1) | (tables.sum(axis=2) == 0).any(axis=1)
    ratios = np.full(len(tables), np.inf)
    np.divide(a * d, b * c, out=ratios, where=b * c > 0)
    return np.where(empty, np.nan, ratios), np.where(empty, 1.0, pvalues)


_WORDS: dict[Kind, str] = {
    "suspect": "taken more often than in the baseline",
    "work-flow": "taken as often in the baseline",
    "unclassified": "not taken in the baseline, which is too small to tell",
}

_RANK: dict[Kind, int] = {"unclassified": 0, "work-flow": 1, "suspect": 2, "structural": 3}
"""Which comparison decides where several were made: the one of higher rank."""
