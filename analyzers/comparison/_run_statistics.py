"""What sets of runs are compared by: numbers of each run for its moves, loops, stays and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from detailed_balance.analyzers.comparison.result import FEWEST_RUNS, REPEAT, Question
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.markov.traps import find_traps
from detailed_balance.analyzers.potential.estimate import estimate_potential
from detailed_balance.analyzers.repetition.classify import RepetitionRules, repeating_kind
from detailed_balance.analyzers.repetition.walk import RunRepetition, measure_repetition
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.trajectory import Trajectory, count_transitions

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_MOVES, MOST_LOOPS, MOST_STATES = 300, 100, 60
"""Of more moves, loops and states, those that most runs show are tested."""

MOST_SOLVED = 5_000
"""With more states, the potential is not asked about: its errors would take minutes."""

STAY, OSCILLATION = "longest stay in one state", "changes back and forth between two states"


@dataclass(frozen=True, slots=True, eq=False)
class RunStatistics:
    """The m statistics behind one question, of each of r runs.

    Parameters
    ----------
    question : Question
        The question.
    names : tuple of tuple of (str or None), length m
        A move (source, target), a state, a loop, a trap, or the name of a number.
    numerator, denominator : (r, m) arrays of float
        A statistic of a set of runs is the sum of `numerator` over the sum of `denominator`.
    scores : (r, m) array of float
        What is tested, with the sum 0 over the runs: above 0 where a run has more of it.
    """

    question: Question
    names: tuple[tuple[str | None, ...], ...]
    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]
    scores: NDArray[np.float64]


def compute_run_statistics(
    wholes: Sequence[Sequence[Trajectory]],
    questions: Iterable[Question],
    min_visits: float = 10.0,
) -> list[RunStatistics]:
    """Return the statistics behind each question that the runs can answer.

    They do not depend on which runs are to be compared with which. A run comes with all that ran
    inside it (`whole_runs`).

    Examples
    --------
    >>> runs = [[Trajectory((("a", "b"), ("b", "a")), success=i % 2 == 0)] for i in range(10)]
    >>> [statistics.question for statistics in compute_run_statistics(runs, ["moves", "success"])]
    ['success']
    """
    wanted = set(questions)
    found: list[RunStatistics] = []
    if "moves" in wanted:
        found.append(_moves(wholes))
    if "potential" in wanted:
        found.append(_potential(wholes))
    if not wanted.isdisjoint({"loops", "stays"}):
        counts = count_transitions(chain.from_iterable(wholes))
        traps = [trap.states for trap in find_traps(counts, min_visits=min_visits).traps]
        repetition = [[measure_repetition(run, traps) for run in whole] for whole in wholes]
        found += [_loops(repetition), _stays(repetition, traps, min_visits)]
    if "success" in wanted:
        found.append(_success([root for root, *_ in wholes]))
    if "length" in wanted:
        found.append(_length(wholes))
    return [kept for t in found if t.question in wanted and (kept := _varying(t)).names]


def _moves(wholes: Sequence[Sequence[Trajectory]]) -> RunStatistics:
    counts = [Counter(move for run in whole for move in run.moves) for whole in wholes]
    shown = Counter(move for count in counts for move in count)
    exits = Counter(source for source, _ in shown)
    common = [move for move, n in shown.most_common() if n >= FEWEST_RUNS and exits[move[0]] > 1]
    names = tuple(common[:MOST_MOVES])
    left = [Counter[str]() for _ in wholes]
    for count, total in zip(counts, left, strict=True):
        for (source, _), n in count.items():
            total[source] += n
    numerator = _table([[count[move] for move in names] for count in counts], len(names))
    denominator = _table([[total[source] for source, _ in names] for total in left], len(names))
    return RunStatistics("moves", names, numerator, denominator, _residuals(numerator, denominator))


def _loops(repetition: Sequence[Sequence[RunRepetition]]) -> RunStatistics:
    rounds = [Counter[tuple[str, ...]]() for _ in repetition]
    for found, parts in zip(rounds, repetition, strict=True):
        for loop in (loop for part in parts for loop in part.loops):
            found[loop.states] += loop.rounds
    shown = Counter(loop for found in rounds for loop in found)
    common = [loop for loop, n in shown.most_common(MOST_LOOPS) if n >= FEWEST_RUNS]
    values = _table([[found[loop] for loop in common] for found in rounds], len(common))
    return _ranked("loops", tuple(common), values)


def _stays(
    repetition: Sequence[Sequence[RunRepetition]],
    traps: Sequence[tuple[str, ...]],
    min_visits: float,
) -> RunStatistics:
    rules = RepetitionRules(visits=min_visits)
    repeats = [
        [float(any(repeating_kind(part, rules) is not None for part in parts))]
        for parts in repetition
    ]
    stays = [
        [(p.stay.visits, p.oscillation.switches, *(t.visits for t in p.trapped)) for p in parts]
        for parts in repetition
    ]
    values = [[max(each) for each in zip(*parts, strict=True)] for parts in stays]
    ranked = _ranked("stays", ((STAY,), (OSCILLATION,), *traps), _table(values, 2 + len(traps)))
    share = np.array(repeats)
    return RunStatistics(
        "stays",
        ((REPEAT,), *ranked.names),
        np.hstack([share, ranked.numerator]),
        np.hstack([np.ones_like(share), ranked.denominator]),
        np.hstack([share - share.mean(), ranked.scores]),
    )


def _success(runs: Sequence[Trajectory]) -> RunStatistics:
    known = [run.success for run in runs]
    numerator = np.array([[float(bool(success))] for success in known])
    denominator = np.array([[float(success is not None)] for success in known])
    return RunStatistics(
        "success", (("success",),), numerator, denominator, _residuals(numerator, denominator)
    )


def _length(wholes: Sequence[Sequence[Trajectory]]) -> RunStatistics:
    """Return moves and costs as they are: a few endless runs make a change expensive."""
    names, columns = [("steps",)], [[float(len(root)) for root, *_ in wholes]]
    if all(run.costs for whole in wholes for run in whole):
        names.append(("cost",))
        columns.append([sum(cost for run in whole for cost in run.costs) for whole in wholes])
    numerator = np.array(columns).T
    denominator = np.ones_like(numerator)
    return RunStatistics(
        "length", tuple(names), numerator, denominator, _residuals(numerator, denominator)
    )


def _potential(wholes: Sequence[Sequence[Trajectory]]) -> RunStatistics:
    """Return what each run adds to V of the states of the largest component, less their mean."""
    none = RunStatistics("potential", (), *(np.zeros((len(wholes), 0)) for _ in range(3)))
    runs = list(chain.from_iterable(wholes))
    counts = count_transitions(runs)
    if len(counts) > MOST_SOLVED:
        return none
    try:
        potential = estimate_potential(counts)
    except InsufficientDataError:
        return none
    first = [state for state in counts.states if state not in BOUNDARIES]
    members = potential.components == np.bincount(potential.components).argmax()
    inside = {state for state, kept in zip(potential.states, members, strict=True) if kept}
    busiest = sorted(inside, key=lambda state: (-counts.attempts[counts.index(state)], state))
    names = tuple(busiest[:MOST_STATES])
    if len(names) < 2:
        return none
    order = (*potential.states, *(s for s in first if s not in set(potential.states)))
    paths = Paths.from_runs(runs, states=order)
    width = len(paths.states) + 1
    first_of = np.cumsum([0, *(len(whole) for whole in wholes)])[:-1]
    each_adds = potential.influence(names, names[0], paths.run_counts(), width)
    added = -np.add.reduceat(each_adds, first_of)
    scores = added - added.mean(axis=1, keepdims=True)
    nothing = np.zeros_like(scores)
    each = tuple((name,) for name in names)
    return RunStatistics("potential", each, nothing, nothing, scores - scores.mean(axis=0))


def _table(rows: Sequence[Sequence[float]], width: int) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _residuals(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what each run has over its share, by the share of all."""
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.nan_to_num(
                numerator - denominator * (numerator.sum(axis=0) / denominator.sum(axis=0))
            )
        )


def _ranked(
    question: Question, names: tuple[tuple[str, ...], ...], values: NDArray[np.float64]
) -> RunStatistics:
    """Return numbers of runs, tested by their ranks, so that one endless run does not decide."""
    ranks = rankdata(values, axis=0) if values.size else values
    scores = ranks - ranks.mean(axis=0) if len(ranks) else ranks
    return RunStatistics(question, names, values, np.ones_like(values), scores)


def _varying(statistics: RunStatistics) -> RunStatistics:
    """Leave out what is the same in all runs."""
    kept = np.flatnonzero(np.abs(statistics.scores).max(axis=0, initial=0.0) > 1e-9)
    return RunStatistics(
        statistics.question,
        tuple(statistics.names[i] for i in kept),
        *(
            part[:, kept]
            for part in (statistics.numerator, statistics.denominator, statistics.scores)
        ),
    )
