"""The kind of a driven loop: structural, habitual, suspect or unclassified."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from scipy.stats import false_discovery_control, hypergeom

from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.violation import Kind, Violation
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.repetition.rounds import LoopRounds, count_rounds
from detailed_balance.analyzers.runs.names import rank_names
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AgentGraph", "compare_with_baseline", "compare_with_outcomes", "mark_structural"]

AgentGraph: TypeAlias = Mapping[str, Collection[str]] | Iterable[tuple[str, str]]
"""The moves that an agent's graph allows: the targets of each state, or its edges."""

EXAMPLES = 3
"""So many runs are named as examples of a loop."""


def _followers(loop: Sequence[str]) -> dict[str, str]:
    return dict(zip(loop, (*loop[1:], loop[0]), strict=True))


def mark_structural(
    found: Sequence[Violation], counts: TransitionCounts, graph: AgentGraph | None
) -> list[Violation]:
    """Mark the loops that leave no choice: each step is the only exit from its state.

    The agent's graph decides where it is given, because an exit never seen may still be allowed;
    a state that the graph does not know (a tool that a model chose) is no design. Exits to END
    and to the state itself do not count.
    """
    if graph is None:
        seen, allows = _exits_seen(counts, found), "ever seen"
    else:
        seen, allows = _exits_allowed(graph), "that the graph allows"
    evidence = f"each step is the only exit {allows} from its state"
    return [
        replace(v, kind="structural", evidence=evidence)
        if all(seen.get(f) == {g} for f, g in _followers(v.loop).items())
        else v
        for v in found
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


def compare_with_baseline(
    found: Sequence[Violation],
    counts: TransitionCounts,
    baseline: TransitionCounts,
    alpha: float,
    correction: Correction,
) -> list[Violation]:
    """Distinguish habitual loops from suspect ones by how often a baseline walks them."""
    walked = [_times_walked(baseline, violation.loop) for violation in found]
    tables = [
        ((v.counts[0], counts.total - v.counts[0]), (times, baseline.total - times))
        for v, times in zip(found, walked, strict=True)
    ]
    words: dict[Kind, str] = {
        "suspect": "walked more often than in the baseline",
        "habitual": "walked as often in the baseline",
        "unclassified": "not walked in the baseline, which is too small to tell",
    }
    in_good = [times > 0 for times in walked]
    return _judge(found, tables, in_good, [words] * len(found), alpha, correction)


def _times_walked(counts: TransitionCounts, loop: tuple[str, ...]) -> int:
    """Return the smallest count along the loop, 0 where a state of it is unknown."""
    if not set(loop) <= set(counts.states):
        return 0
    ends = np.array([counts.index(state) for state in loop])
    return int(lookup(counts.counts, ends, np.roll(ends, -1)).min())


def compare_with_outcomes(
    found: Sequence[Violation],
    runs: Runs,
    alpha: float,
    correction: Correction,
) -> list[Violation]:
    """Distinguish habitual loops from suspect ones by whether failed runs walk them more.

    A run is one observation, however long: it walked the loop often, or not. "Often" is the number
    of rounds that splits the runs most evenly, whatever their outcome, so the choice does not
    bend the test.
    """
    table = RunTable.of(runs)
    walks = count_rounds(table, [v.loop for v in found])
    examples = _find_examples(table, walks, len(found))
    found = [replace(v, trajectories=names) for v, names in zip(found, examples, strict=True)]
    success = table.runs.success
    good, bad = int((success == 1).sum()), int((success == 0).sum())
    if not (good and bad):
        return found
    tables, words = [], []
    judged = success[walks.run] >= 0
    bounds = np.searchsorted(walks.loop[judged], np.arange(len(found) + 1)).tolist()
    succeeded, rounds = success[walks.run][judged], walks.rounds[judged]
    for begin, end in pairwise(bounds):
        cut = _even_cut(rounds[begin:end], good + bad)
        often = succeeded[begin:end][rounds[begin:end] >= cut]
        n_good = int(often.sum())
        n_bad = len(often) - n_good
        tables.append(((n_bad, bad - n_bad), (n_good, good - n_good)))
        words.append(_describe(tables[-1], cut))
    in_good = [table[1][0] > 0 for table in tables]
    return _judge(found, tables, in_good, words, alpha, correction)


def _find_examples(table: RunTable, walks: LoopRounds, loops: int) -> list[tuple[str, ...]]:
    """Name for each loop runs that failed first, and then those that walked it most.

    Each name comes once: a thread may hold several runs.
    """
    names = rank_names(table.runs.name)[walks.run]
    failed = table.runs.success[walks.run] == 0
    order = np.lexsort((names, -walks.rounds, ~failed, walks.loop))
    order = order[names[order] >= 0]
    # Of one name in one loop only the first.
    keys = walks.loop[order] * (len(table) + 1) + names[order]
    order = order[np.sort(np.unique(keys, return_index=True)[1])]
    bounds = np.searchsorted(walks.loop[order], np.arange(loops + 1)).tolist()
    return [
        tuple(table.runs.name[walks.run[order[begin:end][:EXAMPLES]]].tolist())
        for begin, end in pairwise(bounds)
    ]


def _even_cut(rounds: NDArray[np.int64], runs: int) -> int:
    """Return the number of rounds, 1 or more, that splits all runs most evenly.

    `rounds` are those of the runs that walked the loop at all.
    """
    values, numbers = np.unique(rounds, return_counts=True)
    if not len(values):
        return 1
    above = np.cumsum(numbers[::-1])[::-1]
    return int(values[np.argmin(np.abs(above - runs / 2))])


_Table: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


def _describe(table: _Table, cut: int) -> dict[Kind, str]:
    (bad, bad_rest), (good, good_rest) = table
    often = "walked" if cut == 1 else f"walked {cut} times or more"
    words = (
        f"{often} in {bad:,} of {bad + bad_rest:,} failed runs and in {good:,} of "
        f"{good + good_rest:,} successful ones"
    )
    return {"suspect": words, "habitual": words, "unclassified": words}


def _judge(
    found: Sequence[Violation],
    tables: Sequence[_Table],
    in_good: Sequence[bool],
    words: Sequence[Mapping[Kind, str]],
    alpha: float,
    correction: Correction,
) -> list[Violation]:
    """Test each table for more walks in its first row; its words are the evidence for each kind.

    What an earlier comparison called structural or suspect stays so. A rare loop that a few good
    runs happen not to hold proves nothing either way.
    """
    ratios, pvalues = _test_tables(np.array(tables, dtype=np.int64).reshape(-1, 2, 2))
    adjusted = false_discovery_control(pvalues, method=correction)
    result = []
    for v, ratio, p, good, because in zip(
        found, ratios.tolist(), adjusted.tolist(), in_good, words, strict=True
    ):
        kind: Kind = "suspect" if p <= alpha else "habitual" if good else "unclassified"
        decides = _RANK[kind] > _RANK[v.kind] or not v.evidence
        if decides or np.isnan(v.odds_pvalue):
            v = replace(v, odds_ratio=ratio, odds_pvalue=p)
        result.append(replace(v, kind=kind, evidence=because[kind]) if decides else v)
    return result


def _test_tables(tables: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return odds ratios and p-values of Fisher's exact test, greater, of (k, 2, 2) tables."""
    (a, b), (c, d) = tables.transpose(1, 2, 0)
    pvalues = np.minimum(hypergeom.cdf(b, a + b + c + d, a + b, b + d), 1.0)
    empty = (tables.sum(axis=1) == 0).any(axis=1) | (tables.sum(axis=2) == 0).any(axis=1)
    ratios = np.full(len(tables), np.inf)
    np.divide(a * d, b * c, out=ratios, where=b * c > 0)
    return np.where(empty, np.nan, ratios), np.where(empty, 1.0, pvalues)


_RANK: dict[Kind, int] = {"unclassified": 0, "habitual": 1, "suspect": 2, "structural": 3}
"""Which comparison decides where several were made: the one of higher rank."""
