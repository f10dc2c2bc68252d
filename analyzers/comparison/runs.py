"""`compare_runs`: what differs between two sets of runs, with one promise for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.stats import false_discovery_control

from detailed_balance.analyzers.comparison._run_statistics import (
    RunStatistics,
    compute_run_statistics,
)
from detailed_balance.analyzers.comparison.potentials import PotentialComparison, compare_potentials
from detailed_balance.analyzers.comparison.result import (
    QUESTIONS,
    Change,
    ComparisonTest,
    Question,
    RunComparison,
)
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.runs.roots import whole_runs
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_runs"]

_Whole: TypeAlias = Sequence[Trajectory]
"""A root run and all that ran inside it."""

_CHUNK = 250
"""Permutations made at a time."""

_MOST_DRAWN = 200_000_000
"""So many labels are drawn in all, where `replicates` is not given."""


def compare_runs(
    before: Iterable[Trajectory],
    after: Iterable[Trajectory],
    *,
    questions: Iterable[Question] | None = None,
    min_visits: float = 10.0,
    alpha: float = 0.05,
    replicates: int | None = None,
    seed: int = 0,
) -> RunComparison:
    """Test whether two sets of runs differ, in what, and by how much.

    Null hypothesis: the runs of both sets are exchangeable. Nothing is assumed about a run inside.
    Every run has a score for each thing that is asked about. What is tested is the sum of the
    scores of the second set over their spread, and for a question the sum of the squares of those.
    Whole runs are permuted between the sets: the p-value of a question is the rank of its
    statistic, and the smallest p-value of all questions has its own rank, so that all together
    keep alpha exactly, whatever their dependence (Westfall and Young). Where a question as a whole
    shows a change, what changed is listed at a false discovery rate of alpha.

    Parameters
    ----------
    before, after : iterable of Trajectory
        The runs. Those of subgraphs are part of the run around them: their moves and loops add to
        it, and so do their costs, and of stays the longest counts; success and steps are its own.
    questions : iterable of str, optional
        Some of `QUESTIONS`; all by default.
    min_visits : float
        Of traps, as for `find_traps`.
    alpha : float
        See `RunComparison`.
    replicates : int, optional
        How many permutations; 9,999 by default, and fewer for more than 20,000 runs.
    seed : int
        Of the permutations.

    Raises
    ------
    InsufficientDataError
        Where a set has no run.
    InvalidInputError
        Where an argument has a value that is not allowed.

    References
    ----------
    P. H. Westfall and S. S. Young, *Resampling-based multiple testing*, 1993.

    Examples
    --------
    >>> old = [Trajectory((("a", "b"), ("b", "a"), ("a", "__end__")))] * 20
    >>> new = [Trajectory((("a", "b"), ("b", "c"), ("c", "__end__")))] * 20
    >>> found = compare_runs(old, new, questions=["moves", "length"])
    >>> found.rejected, [(change.what, change.difference) for change in found.changes[:2]]
    (True, [(('b', 'a'), -1.0), (('b', 'c'), 1.0)])
    """
    sides = [whole_runs(before), whole_runs(after)]
    asked = _check(sides, questions, alpha)
    runs = [*sides[0], *sides[1]]
    families = compute_run_statistics(runs, asked, min_visits)
    label = np.repeat([False, True], [len(side) for side in sides])
    if replicates is None:
        replicates = max(999, min(9_999, _MOST_DRAWN // len(runs)))
    if not families:
        return RunComparison((), (len(sides[0]), len(sides[1])), "runs", alpha, replicates, seed)
    omnibus, each = _permute([family.scores for family in families], label, replicates, seed)
    shifts = _shifts(sides, families)
    tests = []
    for family, (pvalue, adjusted), found in zip(families, omnibus, each, strict=True):
        changes = _changes(family, label, found, shifts, alpha if adjusted <= alpha else -1.0)
        tests.append(ComparisonTest(family.question, pvalue, adjusted, changes, adjusted <= alpha))
    sizes = (len(sides[0]), len(sides[1]))
    return RunComparison(tuple(tests), sizes, "runs", alpha, replicates, seed)


def _check(
    sides: Sequence[Sequence[_Whole]], questions: Iterable[Question] | None, alpha: float
) -> tuple[Question, ...]:
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha={alpha!r}; it must lie between 0 and 1")
    asked = tuple(QUESTIONS) if questions is None else tuple(questions)
    if unknown := sorted(set(asked) - set(QUESTIONS)):
        raise InvalidInputError(f"questions={unknown!r}; allowed are {', '.join(QUESTIONS)}")
    if not all(sides):
        sizes = " and ".join(str(len(side)) for side in sides)
        raise InsufficientDataError(f"a comparison needs runs on both sides; got {sizes}")
    return asked


def _permute(
    scores: Sequence[NDArray[np.float64]], label: NDArray[np.bool_], replicates: int, seed: int
) -> tuple[list[tuple[float, float]], list[NDArray[np.float64]]]:
    """Return (p, adjusted p) of each question, and the (m,) p-values of its statistics."""
    unit = [part / np.sqrt((part**2).sum(axis=0)) for part in scores]
    found = [np.abs(label @ part) for part in unit]
    beyond = [np.ones(part.shape[1]) for part in unit]
    totals = [np.array([(z**2).sum() for z in found])]
    for labels in _draw_labels(label, replicates, np.random.default_rng(seed)):
        drawn = [np.abs(labels @ part) for part in unit]
        totals.append(np.column_stack([(z**2).sum(axis=1) for z in drawn]))
        for count, z, z0 in zip(beyond, drawn, found, strict=True):
            count += (z >= z0 - 1e-9).sum(axis=0)
    ranks = _rank_pvalues(np.vstack(totals))
    # Of each question: how often is the smallest p-value of a permutation as small?
    smallest = np.sort(ranks.min(axis=1))
    adjusted = [np.searchsorted(smallest, p + 1e-12, "right") / len(smallest) for p in ranks[0]]
    each = [count / (replicates + 1) for count in beyond]
    return list(zip(ranks[0].tolist(), map(float, adjusted), strict=True)), each


def _draw_labels(
    label: NDArray[np.bool_], replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    for start in range(0, replicates, _CHUNK):
        rows = np.tile(label.astype(np.float64), (min(_CHUNK, replicates - start), 1))
        yield rng.permuted(rows, axis=1)


def _rank_pvalues(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each entry the share of its column that is as large."""
    n = len(totals)
    columns = [
        (n - np.searchsorted(np.sort(column), column - 1e-9, "left")) / n for column in totals.T
    ]
    return np.column_stack(columns)


def _shifts(
    sides: Sequence[Sequence[_Whole]], families: Sequence[RunStatistics]
) -> PotentialComparison | None:
    """Return the potentials of both sides on the states asked about, where they can be compared."""
    names = [name for f in families if f.question == "potential" for (name,) in f.names]
    if not names:
        return None
    before, after = ([run for whole in side for run in whole] for side in sides)
    try:
        return compare_potentials(before, after, states=[n for n in names if n is not None])
    except (InsufficientDataError, ConvergenceError):
        return None


def _changes(
    family: RunStatistics,
    label: NDArray[np.bool_],
    pvalues: NDArray[np.float64],
    shifts: PotentialComparison | None,
    alpha: float,
) -> tuple[Change, ...]:
    adjusted = np.asarray(false_discovery_control(pvalues))
    of_potential = family.question == "potential"
    values = _shifted(family, shifts) if of_potential else _effects(family, label)
    found = []
    for i in np.lexsort((-np.abs(np.nan_to_num(values[1] - values[0])), pvalues)):
        before, after, error, *runs = values[:, i].tolist()
        p, q = float(pvalues[i]), float(adjusted[i])
        sizes = (int(runs[0]), int(runs[1]))
        about = (family.question, family.names[i])
        found.append(Change(*about, before, after, error, sizes, p, q, q <= alpha))
    return tuple(found)


def _effects(family: RunStatistics, label: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(5, m) array: before, after, the error of their difference, and the runs that count."""
    means, variances, runs = [], [], []
    for side in (~label, label):
        numerator, denominator = family.numerator[side], family.denominator[side]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = numerator.sum(axis=0) / denominator.sum(axis=0)
            n = (denominator > 0).sum(axis=0)
            rest = ((numerator - denominator * mean) ** 2).sum(axis=0)
            variances.append(rest / denominator.sum(axis=0) ** 2 * n / (n - 1))
        means.append(mean)
        shown = denominator if family.question in ("moves", "success", "length") else numerator
        runs.append((shown > 0).sum(axis=0))
    return np.array([*means, np.sqrt(variances[0] + variances[1]), *runs])


def _shifted(family: RunStatistics, shifts: PotentialComparison | None) -> NDArray[np.float64]:
    values = np.full((5, len(family.names)), np.nan)
    values[3:] = 0
    if shifts is not None:
        place = {state: i for i, state in enumerate(shifts.states)}
        for column, (state,) in enumerate(family.names):
            if (i := place.get(str(state))) is not None:
                values[:2, column] = shifts.values[:, i]
                values[2, column] = np.hypot(*shifts.errors[:, i])
    return values
