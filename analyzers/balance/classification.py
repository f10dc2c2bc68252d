"""The kind of a driven loop: structural, habitual, suspect or unclassified."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from scipy.stats import false_discovery_control, fisher_exact

from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.violation import Kind, Violation
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AgentGraph", "compare_with_baseline", "compare_with_outcomes", "mark_structural"]

AgentGraph: TypeAlias = Mapping[str, Collection[str]] | Iterable[tuple[str, str]]
"""The moves that an agent's graph allows: the targets of each state, or its edges."""

EXAMPLES = 3
"""So many runs are named as examples of a loop."""


def count_rounds(run: Trajectory, loop: Sequence[str]) -> int:
    """Return how often a run walked round a loop without leaving it.

    Steps that stay where they are, and escapes, leave nothing.

    Examples
    --------
    >>> run = Trajectory(tuple(zip("xabcabca", "abcabcax")))
    >>> count_rounds(run, ("a", "b", "c")), count_rounds(run, ("c", "b", "a"))
    (2, 0)
    """
    return _rounds(_steps(run), _followers(loop))


def _steps(run: Trajectory) -> list[tuple[str, str]]:
    return [(f, g) for f, g in run.moves if g is not None and f != g]


def _followers(loop: Sequence[str]) -> dict[str, str]:
    return dict(zip(loop, (*loop[1:], loop[0]), strict=True))


def _rounds(steps: Sequence[tuple[str, str]], follows: Mapping[str, str]) -> int:
    rounds = streak = 0
    at = None
    for source, target in steps:
        if follows.get(source) != target:
            streak = 0
            continue
        streak = streak + 1 if source == at else 1
        at = target
        if streak == len(follows):
            rounds, streak = rounds + 1, 0
    return rounds


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
    runs: Iterable[Trajectory],
    alpha: float,
    correction: Correction,
) -> list[Violation]:
    """Distinguish habitual loops from suspect ones by whether failed runs walk them more.

    A run is one observation, however long: it walked the loop often, or not. "Often" is the number
    of rounds that splits the runs most evenly, whatever their outcome, so the choice does not
    bend the test.
    """
    judged, rounds, examples = _walk_runs(found, runs)
    found = [replace(v, trajectories=names) for v, names in zip(found, examples, strict=True)]
    success = np.array(judged, dtype=bool)
    if not success.any() or success.all():
        return found
    cuts = [_even_cut(column) for column in rounds.T]
    often = rounds >= cuts
    tables = [_split_counts(~success, column) for column in often.T]
    words = [_describe(table, cut) for table, cut in zip(tables, cuts, strict=True)]
    in_good = [table[1][0] > 0 for table in tables]
    return _judge(found, tables, in_good, words, alpha, correction)


def _walk_runs(
    found: Sequence[Violation], runs: Iterable[Trajectory]
) -> tuple[list[bool], NDArray[np.int64], list[tuple[str, ...]]]:
    """Return the success of the judged runs, their rounds (runs, loops), and examples per loop."""
    loops = [_followers(v.loop) for v in found]
    judged: list[bool] = []
    rows: list[list[int]] = []
    best: list[list[tuple[bool, int, str]]] = [[] for _ in found]
    for run in runs:
        steps = _steps(run)
        seen = set(steps)
        row = [_rounds(steps, loop) if loop.items() <= seen else 0 for loop in loops]
        if run.success is not None:
            judged.append(run.success)
            rows.append(row)
        for kept, times in zip(best, row, strict=True):
            if times and run.name is not None:
                _keep_best(kept, (run.success is not False, -times, run.name))
    rounds = np.array(rows, dtype=np.int64).reshape(-1, len(found))
    return judged, rounds, [tuple(name for _, _, name in kept) for kept in best]


def _keep_best(kept: list[tuple[bool, int, str]], run: tuple[bool, int, str]) -> None:
    """Keep the best few runs, each name once (a thread may hold several runs)."""
    by_name = {old[2]: old for old in sorted([*kept, run], reverse=True)}
    kept[:] = sorted(by_name.values())[:EXAMPLES]


def _even_cut(rounds: NDArray[np.int64]) -> int:
    """Return the number of rounds, 1 or more, that splits the runs most evenly."""
    values, numbers = np.unique(np.maximum(rounds, 0), return_counts=True)
    above = np.cumsum(numbers[::-1])[::-1]
    walked = values > 0
    if not walked.any():
        return 1
    return int(values[walked][np.argmin(np.abs(above[walked] - len(rounds) / 2))])


_Table: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


def _split_counts(failed: NDArray[np.bool_], often: NDArray[np.bool_]) -> _Table:
    """Return failed and successful runs, each with and without the loop."""
    return (
        (int((failed & often).sum()), int((failed & ~often).sum())),
        (int((~failed & often).sum()), int((~failed & ~often).sum())),
    )


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
    tests = [fisher_exact(np.array(table), alternative="greater") for table in tables]
    adjusted = false_discovery_control([test.pvalue for test in tests], method=correction)
    result = []
    for v, test, p, good, because in zip(
        found, tests, adjusted.tolist(), in_good, words, strict=True
    ):
        kind: Kind = "suspect" if p <= alpha else "habitual" if good else "unclassified"
        decides = _RANK[kind] > _RANK[v.kind] or not v.evidence
        if decides or np.isnan(v.odds_pvalue):
            v = replace(v, odds_ratio=float(test.statistic), odds_pvalue=p)
        result.append(replace(v, kind=kind, evidence=because[kind]) if decides else v)
    return result


_RANK: dict[Kind, int] = {"unclassified": 0, "habitual": 1, "suspect": 2, "structural": 3}
"""Which comparison decides where several were made: the one of higher rank."""
