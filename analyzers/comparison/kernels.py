"""`compare_kernels`: whether agents move alike in two contexts or more, and where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2, false_discovery_control, random_table

from detailed_balance.analyzers.comparison._contexts import (
    Sample,
    Unit,
    collect_sample,
    distance_table,
    named_contexts,
    pairwise_distances,
)
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.inputs import CountsLike
from detailed_balance.analyzers.multiplicity import check_replicates
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KernelComparison", "compare_kernels"]

SPARSE = 5.0
"""Rows with a smaller expected count are tested by permutation."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelComparison(TableResult):
    """Whether k contexts share one kernel, for each of m states and over all.

    Parameters
    ----------
    contexts : tuple of str, length k
        Their names.
    states : tuple of str, length m
        The states that could be tested: left in two contexts or more, and in two ways or more.
    moves : (k, m) array of int
        The moves from each.
    statistic : (m,) array of float
        Likelihood ratio G of different rows against one row.
    degrees_of_freedom : (m,) array of int
        Of G where it is chi-square.
    permuted : (m,) array of bool
        Whether the p-value comes from permutations, and not from the chi-square distribution.
    pvalue, adjusted : (m,) arrays of float
        The second controls the false discovery rate over states.
    target : tuple of (str or None), length m
        The target whose probability differs most; None is an escape.
    change : (m,) array of float
        By how much: in the last context less the first for two contexts; for more, the range.
    total_statistic, total_pvalue : float
        Of the sum of G over the states: one kernel, or not.
    distances : (k, k) array of float
        Mutual information of a move and the context it was made in, in nats for each move of a
        pair of contexts, less what it seems to be where the kernel is one; 0 or more.
    distance_pvalues : (k, k) array of float
        Of each pair by itself, adjusted for the number of pairs.
    unit : {"runs", "exits"}
        What was permuted.
    replicates, seed : int
        Of the permutations.
    alpha : float
        The level of the verdict.
    """

    contexts: tuple[str, ...]
    states: tuple[str, ...]
    moves: NDArray[np.int64]
    statistic: NDArray[np.float64]
    degrees_of_freedom: NDArray[np.int64]
    permuted: NDArray[np.bool_]
    pvalue: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    target: tuple[str | None, ...]
    change: NDArray[np.float64]
    total_statistic: float
    total_pvalue: float
    distances: NDArray[np.float64]
    distance_pvalues: NDArray[np.float64]
    unit: Unit
    replicates: int
    seed: int
    alpha: float

    @property
    def rejected(self) -> bool:
        """Whether one kernel for all contexts is rejected; False is not proof of one."""
        return self.total_pvalue <= self.alpha

    @property
    def different(self) -> tuple[str, ...]:
        """The states whose rows differ, at a false discovery rate of alpha."""
        return tuple(s for s, p in zip(self.states, self.adjusted, strict=True) if p <= self.alpha)

    def describe(self) -> str:
        """Say in one sentence what was found."""
        number = f"{len(self.different)} of {len(self.states)} states, p = {self.total_pvalue:.3g}"
        verb = "differ" if self.rejected else "show no difference"
        return f"the kernels of {', '.join(self.contexts)} {verb} ({number})"

    def to_table(self) -> Table:
        """Return the columns of the states, the smallest p-value first."""
        place = np.lexsort((-self.statistic, self.pvalue))
        names = ("statistic", "degrees_of_freedom", "permuted", "pvalue", "adjusted", "change")
        table: Table = {"state": [self.states[i] for i in place]}
        for name, row in zip(self.contexts, self.moves, strict=True):
            table[f"moves in {name}"] = row[place].tolist()
        table |= {name: getattr(self, name)[place].tolist() for name in names}
        table["target"] = [self.target[i] for i in place]
        return table

    def distance_table(self) -> Table:
        """Return the columns first, second, distance and pvalue, one row for each pair."""
        return distance_table(self.contexts, self.distances, self.distance_pvalues)

    def _content(self) -> dict[str, Any]:
        names = ("contexts", "total_statistic", "total_pvalue", "rejected", "different")
        result = self._values(*names, "distances", "distance_pvalues")
        settings = self._values("unit", "replicates", "seed", "alpha")
        return {**result, "states": self.to_table(), "settings": settings}


def compare_kernels(
    a: CountsLike | Mapping[str, CountsLike],
    b: CountsLike | None = None,
    *,
    unit: Unit | None = None,
    block: str | None = None,
    replicates: int = 999,
    alpha: float = 0.05,
    seed: int = 0,
) -> KernelComparison:
    """Test whether agents move alike in two contexts or more.

    Null hypothesis: from each state the next move has the same distribution in all contexts.

    Parameters
    ----------
    a, b : CountsLike
        What was recorded in each context; or `a` alone, a mapping from their names.
    unit : {"runs", "exits"}, optional
        What is exchangeable under the null hypothesis. "runs", the default for trajectories:
        whole runs are permuted among the contexts, which is exact whatever a run is like inside.
        "exits", all that counts allow: the moves out of each state are independent of each
        other. Then a row whose expected counts are all 5 or more has the chi-square distribution
        of G, and a sparser one is permuted with both margins fixed. Where runs are not of order 1,
        or of several kinds, "exits" finds differences that are none.
    block : str, optional
        What tells the block of a run: ``"thread"``, or a label; by default the blocks of the
        tables, where they have any. Runs of a block that several contexts have are permuted inside
        it, and blocks of one context as wholes.
    replicates : int
        How many permutations; the smallest possible p-value is 1 / (replicates + 1).
    alpha : float
        Level of the verdict and false discovery rate of the states.
    seed : int
        Of the permutations.

    Returns
    -------
    KernelComparison
        Pairs of contexts included.

    Raises
    ------
    InsufficientDataError
        Where no state was left in two contexts and in two ways.
    InvalidInputError
        Where an argument has a value that is not allowed.

    References
    ----------
    Anderson and Goodman, Annals of Mathematical Statistics 28 (1957) 89.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> old = TransitionCounts.from_edges([("plan", "search", 90), ("plan", "answer", 10)])
    >>> new = TransitionCounts.from_edges([("plan", "search", 60), ("plan", "answer", 40)])
    >>> comparison = compare_kernels(old, new)
    >>> comparison.target, comparison.change.round(2).tolist(), comparison.different
    (('search',), [-0.3], ('plan',))
    """
    check_replicates(replicates)
    sample = collect_sample(named_contexts(a, b), unit, block)
    test = _Test(sample, replicates, seed)
    if not len(test.tested):
        raise InsufficientDataError(
            "no state was left in two contexts and in two ways: there is nothing to compare"
        )

    def measure(i: int, j: int) -> tuple[float, float]:
        pair = _Test(sample.only((i, j)), replicates, seed)
        return pair.distance, pair.total_pvalue

    distances, pvalues = pairwise_distances(len(sample.names), measure)
    return KernelComparison(
        sample.names,
        tuple(sample.states[i] for i in test.tested),
        test.rows[:, test.tested].astype(np.int64),
        test.found,
        test.freedom,
        test.permuted,
        test.pvalue,
        np.asarray(false_discovery_control(test.pvalue)),
        *test.largest_changes(),
        float(test.found.sum()),
        test.total_pvalue,
        distances,
        pvalues,
        sample.unit,
        replicates,
        seed,
        alpha,
    )


class _Test:
    """The likelihood ratios of a sample against those of one kernel."""

    def __init__(self, sample: Sample, replicates: int, seed: int) -> None:
        self.sample, self.counts = sample, sample.counts(sample.label)
        self.rows = sample.per_state(self.counts)
        ways = np.bincount(sample.source, self.counts.sum(axis=0) > 0, len(sample.states))
        seen = (self.rows > 0).sum(axis=0)
        freedom = np.maximum(seen - 1, 0) * np.maximum(ways.astype(np.int64) - 1, 0)
        self.tested = np.flatnonzero(freedom > 0)
        self.freedom = freedom[self.tested]
        self.found = sample.ratios(self.counts)[self.tested]
        rng = np.random.default_rng(seed)
        self.null, self.permuted = self._draw(replicates, rng)

    @property
    def pvalue(self) -> NDArray[np.float64]:
        beyond = (self.null >= self.found - 1e-9).sum(axis=0)
        permuted = (1 + beyond) / (len(self.null) + 1)
        return np.asarray(np.where(self.permuted, permuted, chi2.sf(self.found, self.freedom)))

    @property
    def total_pvalue(self) -> float:
        beyond = int((self.null.sum(axis=1) >= self.found.sum() - 1e-9).sum())
        return (1 + beyond) / (len(self.null) + 1)

    @property
    def distance(self) -> float:
        """The excess of G for each move; NaN where nothing is shared."""
        if not len(self.tested):
            return float("nan")
        excess = self.found.sum() - self.null.sum(axis=1).mean()
        return float(max(excess, 0.0) / 2 / self.rows[:, self.tested].sum())

    def largest_changes(self) -> tuple[tuple[str | None, ...], NDArray[np.float64]]:
        """Return the target of each tested state whose probability differs most, and how much."""
        targets, changes = [], []
        for state in self.tested:
            here = np.flatnonzero(self.sample.source == state)
            seen = self.rows[:, state] > 0
            share = self.counts[seen][:, here] / self.rows[seen, state][:, None]
            change = share[-1] - share[0] if len(share) == 2 else np.ptp(share, axis=0)
            most = int(np.argmax(np.abs(change)))
            targets.append(self.sample.targets[self.sample.target[here[most]]])
            changes.append(float(change[most]))
        return tuple(targets), np.array(changes)

    def _draw(
        self, replicates: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Draw (replicates, m) likelihood ratios under one kernel; say which are permuted."""
        sample, tested = self.sample, self.tested
        if sample.unit == "runs" or not len(tested):
            shuffled = sample.shuffled_counts(replicates, rng)
            null = [sample.ratios(counts)[tested] for counts in shuffled]
            return np.array(null), np.ones(len(tested), dtype=bool)
        tables = [self.counts[:, sample.source == i] for i in tested]
        drawn = [
            _permute_row(table, df, replicates, rng)
            for table, df in zip(tables, self.freedom, strict=True)
        ]
        return np.column_stack([row for row, _ in drawn]), np.array([few for _, few in drawn])


def _permute_row(
    table: NDArray[np.float64], freedom: float, replicates: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], bool]:
    """Draw G of one state: from chi-square, or from tables with the same margins."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if np.outer(rows, columns).min() >= SPARSE * table.sum():
        return rng.chisquare(freedom, replicates), False
    drawn = random_table(rows.astype(int), columns.astype(int)).rvs(replicates, random_state=rng)
    fixed = (
        xlogy(rows, rows).sum() + xlogy(columns, columns).sum() - xlogy(table.sum(), table.sum())
    )
    return 2 * (xlogy(drawn, drawn).sum(axis=(1, 2)) - fixed), True
