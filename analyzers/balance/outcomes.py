"""Whether some runs go round a loop more than others do, beyond what their visits explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log, nan, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.special import gammaln
from scipy.stats import norm, t as student

from detailed_balance.analyzers.balance.power import POWER
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.multiplicity import check_level, check_replicates
from detailed_balance.analyzers.permutation import permute_inside
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.analyzers.sparse import find_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopContrast", "contrast_loops", "contrast_with_baseline"]

RUNS_PER_STRATUM, MOST_STRATA = 10, 10
"""Runs are compared with those of like length: in at most 10 groups of 10 runs or more."""

LABELS_AT_ONCE = 2_000_000
"""So many permuted outcomes are held in memory at a time."""

MOST_PERMUTED = 5_000
"""With more runs the permutations are replaced by the normal distribution that they then have."""

LARGE_ODDS = 3.0
"""Where this odds ratio would have been found, or lies above the interval, "no more" is said."""


OUTCOME_GROUPS = ("failed runs", "successful runs")
"""Which runs are compared by their outcomes."""

BASELINE_GROUPS = ("these runs", "those of the baseline")
"""Which runs are compared with a baseline."""


@dataclass(frozen=True, slots=True)
class LoopContrast(Result):
    """Failed runs against successful ones, or these runs against a baseline, on one loop.

    Parameters
    ----------
    loop : Loop
        The loop.
    odds_ratio : float
        Odds of a step along the loop, of all steps from its states, in the first group of runs
        over those in the second, among runs of like length (Mantel and Haenszel); NaN where
        nothing can be compared.
    interval : (float, float)
        Its 95% interval, by runs.
    pvalue : float
        That the first group steps along the loop more; adjusted for the number of loops. NaN
        where it cannot be tested.
    detectable : float
        The smallest odds ratio that would have been found with 80% probability; inf where none
        would.
    runs : (int, int)
        The runs of each group that tell something: those of a stratum that holds both groups.
    left_out : int
        Runs that were stopped by a limit: their outcome is a function of their length.
    strata : int
        The strata: runs of like length (and of one block), of both groups.
    reason : str
        Why it cannot be tested; empty where it can.
    alpha : float
        The level.
    replicates, seed : int
        Of the permutations.
    groups : (str, str)
        What the groups are.
    """

    loop: Loop[str]
    odds_ratio: float
    interval: tuple[float, float]
    pvalue: float
    detectable: float
    runs: tuple[int, int]
    left_out: int
    strata: int
    reason: str
    alpha: float
    replicates: int
    seed: int
    groups: tuple[str, str] = OUTCOME_GROUPS

    @property
    def rejected(self) -> bool:
        """Whether the first group goes round the loop more than its visits explain."""
        return self.pvalue <= self.alpha

    @property
    def informative(self) -> bool:
        """Whether odds three times as high would have been found, or lie above the interval."""
        return not self.reason and min(self.detectable, self.interval[1]) <= LARGE_ODDS

    def describe(self) -> str:
        """Say in one sentence what was found."""
        ours, theirs = self.groups
        if self.reason:
            return f"whether {ours} take it more than {theirs} is not known: {self.reason}"
        low, high = map(_factor, self.interval)
        ratio = _factor(self.odds_ratio)
        figures = f"odds of a step along it {ratio} those of {theirs} ({low} to {high})"
        if self.rejected:
            return (
                f"{ours} take it more than their visits to its states explain: {figures}, adjusted "
                f"p = {self.pvalue:.2g}"
            )
        able = isfinite(self.detectable)
        if self.informative:
            shown = f"; a factor of {self.detectable:.2g} would have been found" if able else ""
            return f"{ours} do not take it more: {figures}{shown}"
        shown = f"a factor of {self.detectable:.2g}" if able else "no factor"
        unknown = f"whether {ours} take it more than {theirs} is not known"
        return f"{unknown}: {figures}; {shown} would have been found"


def _factor(value: float) -> str:
    return f"{value:.2g} times" if isfinite(value) else "infinitely many times"


def contrast_loops(
    runs: Runs,
    loops: Sequence[Sequence[str]],
    *,
    block: str | None = None,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> tuple[LoopContrast, ...]:
    """Test of each loop whether failed runs go round it more than successful ones.

    Null hypothesis: given the length of a run, and its block, its outcome does not depend on its
    path. The score of a run is its steps along the loop, less what its visits to the loop's
    states predict from all runs together; moves to END, and from a state to itself, are no
    alternative in that prediction. A second score takes the steps in reverse off. Outcomes are
    permuted among runs of like length inside blocks, and the largest standardised sum of the
    scores of failed runs, over all loops, is the statistic, so that all loops together keep alpha.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        Those that were not judged, and those that were stopped by a limit, are left out.
    loops : sequence of sequence of str
        The states of each loop in the order visited, from any of them on. They must not have been
        chosen by looking at outcomes.
    block : str, optional
        As `by` of `RunTable.block_codes`; by default the blocks of the table.
    alpha : float
        The level of the verdict.
    replicates : int
        How many permutations. For more than 5,000 runs, draws of the normal distribution with the
        same covariance.
    seed : int
        Of the permutations.

    Raises
    ------
    InvalidInputError
        Where a setting has a value that is not allowed.

    References
    ----------
    N. Mantel and W. Haenszel, J. Natl. Cancer Inst. 22 (1959) 719, for the odds ratio;
    P. H. Westfall and S. S. Young, *Resampling-based multiple testing*, 1993.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> good = [Trajectory(tuple(zip("abcabcba", "bcabcbac")), success=True)] * 10
    >>> bad = [Trajectory(tuple(zip("abcabcab", "bcabcabc")), success=False)] * 10
    >>> found = contrast_loops(good + bad, [("a", "b", "c")])[0]
    >>> found.pvalue, found.odds_ratio > 1, found.runs
    (0.001, True, (10, 10))
    """
    table = RunTable.of(runs)
    chosen, left_out = _choose_runs(table)
    failed = table.success[chosen] == 0
    return _contrast(
        table.select(chosen),
        failed,
        table.block_codes(block)[chosen],
        [Loop(loop) for loop in loops],
        (left_out, OUTCOME_GROUPS),
        (alpha, replicates, seed),
    )


def contrast_with_baseline(
    runs: Runs,
    baseline: Runs,
    loops: Sequence[Sequence[str]],
    *,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> tuple[LoopContrast, ...]:
    """Test of each loop whether runs go round it more than a baseline's; as `contrast_loops`.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> usual = [Trajectory(tuple(zip("abcabcba", "bcabcbac")))] * 10
    >>> new = [Trajectory(tuple(zip("abcabcab", "bcabcabc")))] * 10
    >>> contrast_with_baseline(new, usual, [("a", "b", "c")])[0].rejected
    True
    """
    tables = [RunTable.of(runs), RunTable.of(baseline)]
    table = join_runs(tables)
    new = np.arange(len(table)) < len(tables[0])
    order = table.order()
    order = order[(table.lengths > 0)[order]]
    return _contrast(
        table.select(order),
        new[order],
        table.block_codes()[order],
        [Loop(loop) for loop in loops],
        (0, BASELINE_GROUPS),
        (alpha, replicates, seed),
    )


def _contrast(
    table: RunTable,
    first: NDArray[np.bool_],
    blocks: NDArray[np.int64],
    loops: Sequence[Loop[str]],
    given: tuple[int, tuple[str, str]],
    settings: tuple[float, int, int],
) -> tuple[LoopContrast, ...]:
    """Compare the first group of runs with the rest."""
    alpha, replicates, seed = settings
    check_level(alpha)
    check_replicates(replicates)
    left_out, groups = given
    strata = _make_strata(table.lengths, blocks)
    kept = _is_mixed(strata, first)
    strata_kept = np.unique(strata[kept], return_inverse=True)[1]
    sizes = (int((first & kept).sum()), int((~first & kept).sum()))
    smallest = _smallest_pvalue(strata_kept, first[kept])
    shared = (sizes, left_out, len(np.unique(strata_kept)))
    if not loops or smallest > alpha:
        reason = _say_too_few(first, kept, smallest, groups)
        return tuple(
            LoopContrast(loop, nan, (nan, nan), nan, inf, *shared, reason, *settings, groups)
            for loop in loops
        )
    counted = _count_steps(table, [*loops, *(loop.reversed() for loop in loops)])
    steps, back = counted[: len(loops)], counted[len(loops) :]
    lengths = _make_strata(table.lengths, np.zeros(len(table)))
    scores = _score_runs(steps, back, lengths)[kept]
    design = _Design.of(strata_kept, first[kept])
    steps = [_Steps(each.along[kept], each.visits[kept]) for each in steps]
    z, error, largest = _permute(design, scores, replicates, np.random.default_rng(seed))
    best = z.reshape(2, -1).max(axis=0)
    pvalues = (1 + (largest[:, None] >= best - 1e-9).sum(axis=0)) / (len(largest) + 1)
    critical = float(np.quantile(largest, 1 - alpha, method="higher"))
    found = []
    for j, loop in enumerate(loops):
        ratio, interval, information = _compare_odds(design, steps[j])
        slope = information / error[j] if error[j] else 0.0
        detectable = exp(min((critical + norm.ppf(POWER)) / slope, 700)) if slope else inf
        what = (ratio, interval, float(pvalues[j]), detectable)
        found.append(LoopContrast(loop, *what, *shared, "", *settings, groups))
    return tuple(found)


def _choose_runs(table: RunTable) -> tuple[NDArray[np.int64], int]:
    """Return the places of the runs to compare, in order, and how many stopped at a limit."""
    judged = (table.success >= 0) & (table.lengths > 0)
    limited = table.runs.outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT)
    order = table.order()
    return order[(judged & ~limited)[order]], int((judged & limited).sum())


def _make_strata(lengths: NDArray[Any], blocks: NDArray[Any]) -> NDArray[np.int64]:
    """(r,) array: the group of each run, by its block and a quantile of the lengths there.

    Runs of one length are in one group. Those of no block, or alone in theirs, are together.
    """
    _, number, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
    blocks = np.where(sizes[number] > 1, blocks, -1)
    order = np.lexsort((lengths, blocks))
    block, length = blocks[order], lengths[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = block[1:] != block[:-1]
    begin = np.flatnonzero(new)
    sizes = np.diff(np.append(begin, len(order)))
    start, size = np.repeat(begin, sizes), np.repeat(sizes, sizes)
    longer = new.copy()
    longer[1:] |= length[1:] != length[:-1]
    first = np.maximum.accumulate(np.where(longer, np.arange(len(order)), 0))
    groups = np.clip(size // RUNS_PER_STRATUM, 1, MOST_STRATA)
    quantile = (first - start) * groups // np.maximum(size, 1)
    keys = np.cumsum(new) * MOST_STRATA + quantile
    strata = np.empty(len(order), dtype=np.int64)
    strata[order] = np.unique(keys, return_inverse=True)[1]
    return strata


def _is_mixed(strata: NDArray[np.int64], failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(r,) array: whether the group of each run holds both outcomes."""
    size, bad = np.bincount(strata), np.bincount(strata, failed)
    return np.asarray(((bad > 0) & (bad < size))[strata])


def _smallest_pvalue(strata: NDArray[np.int64], failed: NDArray[np.bool_]) -> float:
    """Return 1 over the number of ways to permute outcomes inside groups."""
    if not len(strata):
        return 1.0
    size, bad = np.bincount(strata), np.bincount(strata, failed)
    ways = gammaln(size + 1) - gammaln(bad + 1) - gammaln(size - bad + 1)
    return float(np.exp(-ways.sum()))


def _say_too_few(
    first: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    smallest: float,
    groups: tuple[str, str],
) -> str:
    numbers = int(first.sum()), int((~first).sum())
    both = [f"{number:,} {name}" for number, name in zip(numbers, groups, strict=True)]
    if not all(numbers):
        return f"there are {both[0]} and {both[1]}; both are needed"
    if not kept.any():
        return (
            f"of {both[0]} and {both[1]} none is as long as one of the other group (and of its "
            "block), so that length alone may explain the difference"
        )
    return (
        f"of {both[0]} and {both[1]} only {int((first & kept).sum()):,} and "
        f"{int((~first & kept).sum()):,} have runs of like length and block to be compared with: "
        f"the smallest p-value that could have come out is {smallest:.2g}"
    )


class _Steps(NamedTuple):
    """Of one loop of k steps, (r, k) arrays: steps along it, and all steps from their sources."""

    along: NDArray[np.float64]
    visits: NDArray[np.float64]


def _count_steps(table: RunTable, loops: Sequence[Loop[str]]) -> list[_Steps]:
    moves, counts = table.distinct_moves(), table.by_run().astype(np.float64)
    source, target = moves
    usable = (target >= 0) & (target != source)
    usable &= (target != table.code(END)) & (source != table.code(START))
    n = len(table.states)
    ones = csr_array(
        (usable.astype(np.float64), (np.arange(len(source)), source)), shape=(len(source), n)
    )
    visits = (counts @ ones).tocsc()
    by_move, keys = counts.tocsc(), source * (n + 1) + target + 1
    place = {state: i for i, state in enumerate(table.states)}
    found = []
    for loop in loops:
        edges = np.array([[place.get(f, -2), place.get(g, -2)] for f, g in loop.edges()])
        where = find_places(edges[:, 0] * (n + 1) + edges[:, 1] + 1, keys, n * (n + 1))
        known = (edges >= 0).all(axis=1) & (where >= 0)
        along = np.zeros((len(table), len(edges)))
        along[:, known] = by_move[:, where[known]].toarray()
        there = edges[:, 0] >= 0
        from_there = np.zeros_like(along)
        from_there[:, there] = visits[:, edges[there, 0]].toarray()
        found.append(_Steps(along, from_there))
    return found


def _score_runs(
    steps: Sequence[_Steps], back: Sequence[_Steps], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(r, 2 m) array: steps along each of m loops less those expected, less the mean of like runs.

    First the steps themselves, then these less the steps in reverse: a push makes the one more and
    the other fewer.
    """
    along, reverse = (np.column_stack([_excess(*each) for each in part]) for part in (steps, back))
    scores = np.hstack([along, along - reverse])
    return scores - _means(scores, lengths)[lengths]


def _excess(along: NDArray[np.float64], visits: NDArray[np.float64]) -> NDArray[np.float64]:
    chance = along.sum(axis=0) / np.maximum(visits.sum(axis=0), 1)
    return np.asarray((along - visits * chance).sum(axis=1))


def _means(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(g, m) array: the mean of the rows of each group."""
    return np.asarray(_indicator(groups) @ values) / np.bincount(groups)[:, None]


def _indicator(groups: NDArray[np.int64]) -> csr_array[Any, tuple[int, int]]:
    """(g, r) array: 1 where a run is of a group."""
    r = len(groups)
    return csr_array(
        (np.ones(r), (groups, np.arange(r))), shape=(int(groups.max(initial=0)) + 1, r)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """The runs that are compared: (r,) group and outcome, and (g, r) indicators of the groups."""

    strata: NDArray[np.int64]
    failed: NDArray[np.bool_]
    bad: csr_array[Any, tuple[int, int]]
    good: csr_array[Any, tuple[int, int]]

    @classmethod
    def of(cls, strata: NDArray[np.int64], failed: NDArray[np.bool_]) -> _Design:
        indicator = _indicator(strata)
        weight = failed.astype(np.float64)
        bad, good = (csr_array(indicator.multiply(each[None, :])) for each in (weight, 1 - weight))
        return cls(strata, failed, bad, good)

    def covariance(self, centred: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, m) array: of the sums over failed runs, when outcomes are permuted in groups."""
        size, bad = np.bincount(self.strata), np.bincount(self.strata, self.failed)
        weight = (bad * (size - bad) / size / np.maximum(size - 1, 1))[self.strata]
        return np.asarray(centred.T @ (centred * weight[:, None]))


def _permute(
    design: _Design, scores: NDArray[np.float64], replicates: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return z and the standard error of each loop, and the largest z of each permutation."""
    centred = scores - _means(scores, design.strata)[design.strata]
    covariance = design.covariance(centred)
    error = np.sqrt(np.maximum(covariance.diagonal(), 0))
    error[error < 1e-9] = 0
    scale = np.where(error > 0, error, np.inf)
    z = design.failed @ centred / scale
    if len(scores) > MOST_PERMUTED:
        correlation = covariance / scale[:, None] / scale
        drawn = rng.multivariate_normal(np.zeros(len(z)), correlation, replicates, method="eigh")
        return z, error, drawn.max(axis=1)
    largest, at_once = [], max(1, LABELS_AT_ONCE // len(design.failed))
    for begin in range(0, replicates, at_once):
        copies = min(at_once, replicates - begin)
        failed = permute_inside(design.failed, design.strata, copies, rng).astype(np.float64)
        largest.append((failed @ centred / scale).max(axis=1))
    return z, error, np.concatenate(largest)


def _compare_odds(design: _Design, steps: _Steps) -> tuple[float, tuple[float, float], float]:
    """Return the odds ratio of Mantel and Haenszel, its 95% interval by runs, and the information.

    The tables are those of each group and each state of the loop. The information is that of a
    step, as if steps were independent, about the log of the odds ratio.
    """
    along, other = steps.along, steps.visits - steps.along
    a, b = np.asarray(design.bad @ along), np.asarray(design.bad @ other)
    c, d = np.asarray(design.good @ along), np.asarray(design.good @ other)
    total = np.maximum(a + b + c + d, 1)
    up, down = float((a * d / total).sum()), float((b * c / total).sum())
    information = float(((a + b) * (c + d) * (a + c) * (b + d) / total**3).sum())
    if not (up and down):
        cells = [float(each.sum()) + 0.5 for each in (a, b, c, d)]
        middle = log(cells[0] * cells[3] / cells[1] / cells[2])
        half = float(norm.ppf(0.975)) * sqrt(sum(1 / cell for cell in cells))
        ratio = nan if not (up or down) else inf if up else 0.0
        return ratio, (exp(middle - half), exp(middle + half)), information
    # The derivative of the log of the ratio by each cell, summed over what a run adds to it.
    square = total**2
    slopes = (
        (d * (total - a) / up + b * c / down) / square,
        (-a * d / up - c * (total - b) / down) / square,
        (-a * d / up - b * (total - c) / down) / square,
        (a * (total - d) / up + b * c / down) / square,
    )
    group = design.strata
    bad = (along * slopes[0][group] + other * slopes[1][group]).sum(axis=1)
    good = (along * slopes[2][group] + other * slopes[3][group]).sum(axis=1)
    runs = len(group)
    parts = np.where(design.failed, bad, good)
    error = sqrt(runs / max(runs - 1, 1) * float((parts**2).sum()))
    middle, half = log(up / down), float(student.ppf(0.975, max(runs - 1, 1))) * error
    return up / down, (exp(middle - half), exp(min(middle + half, 700))), information
