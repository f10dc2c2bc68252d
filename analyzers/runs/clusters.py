"""Standard errors by runs: what each run, or block of runs, adds to a measured quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr
from scipy.stats import t

from detailed_balance.analyzers.runs._bootstrap import (
    AT_ONCE,
    cluster_runs,
    draw,
    sum_clusters,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from detailed_balance.analyzers.runs.table import RunTable

__all__ = [
    "FEWEST_CLUSTERS",
    "FEWEST_REDRAWN",
    "ClusterErrors",
    "MoveClusters",
    "bootstrap_tails",
    "cluster_codes",
    "cluster_errors",
    "sum_clusters",
]

FEWEST_CLUSTERS = 10
"""Fewer runs or blocks say too little about how far the next ones will differ."""

FEWEST_REDRAWN = 20
"""Fewer, drawn again, say too little about the distribution of a quantity with a bias."""


def cluster_codes(table: RunTable) -> tuple[NDArray[np.int64], int]:
    """Return the cluster of each run, its block or (where it is of none) itself, and how many.

    They are numbered by block, then by `RunTable.order`.

    Examples
    --------
    >>> from detailed_balance.analyzers import RunTable, Trajectory
    >>> runs = [Trajectory((("a", "b"),), context=(("task", task),)) for task in "xyx"]
    >>> codes, number = cluster_codes(RunTable.of(runs).with_blocks("task"))
    >>> codes.tolist(), number
    ([0, 1, 0], 2)
    """
    return cluster_runs(table.block_codes(), table.order())


def bootstrap_tails(level: float, clusters: int) -> tuple[float, float]:
    """Return the quantiles of a bootstrap of so many clusters that make an interval.

    The plain ones, 2.5% and 97.5% for a level of 95%, make it too narrow where clusters are few:
    the replicates vary as the sample does, which is less than the clusters do, and their
    distribution has no tails for an error that is estimated. These make it as wide as Student's t
    would.

    References
    ----------
    Hesterberg, The American Statistician 69 (2015) 371, "expanded percentiles".

    Examples
    --------
    >>> [round(tail, 4) for tail in bootstrap_tails(0.95, 20)]
    [0.0159, 0.9841]
    """
    most = max(clusters, 2)
    low = float(ndtr(np.sqrt(most / (most - 1)) * t.ppf(0.5 - level / 2, most - 1)))
    return low, 1 - low


@dataclass(frozen=True, slots=True, eq=False)
class ClusterErrors:
    """Standard errors of m quantities, where only runs, or blocks of them, are independent.

    Parameters
    ----------
    covariance : (m, m) array of float
        Of the m estimates; NaN where fewer than 10 clusters say anything about one of the two.
    clusters : (m,) array of int
        How many runs or blocks say something about each: those that made a move it depends on.
    degrees_of_freedom : (m,) array of float
        Of Student's t for each: clusters less 1, fewer where a few clusters say most.
    """

    covariance: NDArray[np.float64]
    clusters: NDArray[np.int64]
    degrees_of_freedom: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """(m,) array: the standard errors; NaN where there are fewer than 10 clusters."""
        return np.sqrt(np.diagonal(self.covariance))

    def half_widths(self, level: float = 0.95) -> NDArray[np.float64]:
        """(m,) array: how far the interval reaches, at a confidence level, to each side.

        Examples
        --------
        >>> found = ClusterErrors(np.eye(1), np.array([30]), np.array([29.0]))
        >>> found.half_widths().round(3).tolist()  # Student's t; 1.96 for a normal distribution
        [2.045]
        """
        quantiles = t.ppf(0.5 + level / 2, np.maximum(self.degrees_of_freedom, 1.0))
        return np.asarray(quantiles * self.errors)


@dataclass(frozen=True, slots=True, eq=False)
class MoveClusters:
    """How often each of g clusters made each of k moves.

    Parameters
    ----------
    source, target : (k,) arrays of int
        The moves, as places in `RunTable.states`; the target -1 is an escape.
    counts : (g, k) csr_array of float
        The moves of each run, or of each block where the runs are in blocks.
    totals : (k,) array of float
        How often each move was made.
    unit : {"run", "block"}
        What a cluster is.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    counts: csr_array[Any, tuple[int, int]]
    totals: NDArray[np.float64]
    unit: str
    _left_out: csr_array[Any, tuple[int, int]]
    _alone: NDArray[np.bool_]

    @classmethod
    def from_runs(cls, table: RunTable, moves: ArrayLike | None = None) -> MoveClusters:
        """Count the moves of each cluster; `moves`, a (k,) mask of `distinct_moves`, takes some.

        Examples
        --------
        >>> from detailed_balance.analyzers import RunTable, Trajectory
        >>> runs = [Trajectory((("a", "b"),), "x"), Trajectory((("a", "c"),) * 2, "y")]
        >>> clusters = MoveClusters.from_runs(RunTable.of(runs))
        >>> clusters.unit, clusters.counts.toarray().tolist()
        ('run', [[1.0, 0.0], [0.0, 2.0]])
        """
        made = table.distinct_moves()
        kept = np.ones(len(made.source), dtype=bool) if moves is None else np.asarray(moves, bool)
        blocks = table.block_codes()
        made_by = table.by_run() if kept.all() else table.by_run()[:, np.flatnonzero(kept)]
        counts = sum_clusters(made_by, *cluster_codes(table)).astype(np.float64)
        counts = counts[np.flatnonzero(np.diff(counts.indptr)), :].tocsr()
        counts.sort_indices()
        source, n = made.source[kept], len(table.states)
        totals = np.asarray(counts.sum(axis=0), dtype=np.float64)
        attempts = np.bincount(source, totals, minlength=n)
        # The share of the moves from its source that are of the same cluster; moves are sorted.
        row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        group = np.cumsum(np.diff(row * n + source[counts.indices], prepend=-1) != 0) - 1
        shared = np.bincount(group, counts.data)[group]
        rest = 1 - shared / attempts[source[counts.indices]]
        alone = np.zeros(n, dtype=bool)
        alone[source[counts.indices[rest <= 0]]] = True
        left = np.divide(counts.data, rest, out=np.zeros(counts.nnz), where=rest > 0)
        left_out = csr_array((left, counts.indices, counts.indptr), shape=counts.shape)
        unit = "block" if (blocks >= 0).any() else "run"
        return cls(source, made.target[kept], counts, totals, unit, left_out, alone[source])

    def __len__(self) -> int:
        return self.counts.shape[0]

    @property
    def enough(self) -> bool:
        """Whether there are clusters enough for an error."""
        return len(self) >= FEWEST_CLUSTERS

    def errors(self, slopes: ArrayLike) -> ClusterErrors:
        """Return the errors of quantities of transition probabilities; as `cluster_errors`."""
        weights = self._weights(np.asarray(slopes, dtype=np.float64))
        scores = np.asarray(self._left_out @ weights)
        scores[np.abs(scores) <= 1e-12 * self._largest(np.abs(slopes))] = 0.0  # rounding
        g, m = scores.shape
        said = np.count_nonzero(scores, axis=0)
        own = self._alone[:, None] * weights
        centred = scores - scores.mean(axis=0) if g else scores
        covariance = (1 - 1 / max(g, 1)) * (centred.T @ centred)
        covariance += own.T @ (self.totals[:, None] * own)
        squares = centred**2
        spread = ((squares - squares.mean(axis=0)) ** 2).sum(axis=0) if g else np.zeros(m)
        total = squares.sum(axis=0)
        freedom = np.minimum(2 * total**2 / np.maximum(spread, 1e-300), np.maximum(said - 1, 0))
        few = (said < FEWEST_CLUSTERS) & np.any(slopes, axis=0)  # else it is a constant
        covariance[few, :] = covariance[:, few] = np.nan
        return ClusterErrors(covariance, said, freedom)

    def redraw(
        self, slopes: NDArray[np.float64], rng: np.random.Generator, replicates: int
    ) -> NDArray[np.float64]:
        """(replicates,) array: changes of a quantity of (k,) slopes, clusters drawn again."""
        expected, found = slopes * self.totals / self._attempts, []
        at_once = max(1, AT_ONCE // max(len(slopes), len(self), 1))
        for begin in range(0, replicates, at_once):
            drawn = draw(rng, min(at_once, replicates - begin), len(self)) @ self.counts
            into = csr_array((np.ones(len(slopes)), (np.arange(len(slopes)), self.source)))
            made = (drawn @ into)[:, self.source]
            found.append((slopes * drawn / np.maximum(made, 1) - expected * (made > 0)).sum(axis=1))
        return np.concatenate([np.empty(0), *found])

    def noise(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """(k,) array: one normal deviation of the transition probabilities, by clusters."""
        g = len(self)
        drawn = self._left_out.T @ rng.standard_normal(g) * np.sqrt(1 - 1 / max(g, 1))
        drawn += np.where(self._alone, np.sqrt(self.totals) * rng.standard_normal(len(drawn)), 0)
        summed = np.bincount(self.source, drawn)[self.source]
        return np.asarray((drawn - self.totals / self._attempts * summed) / self._attempts)

    @property
    def _attempts(self) -> NDArray[np.float64]:
        """(k,) array: the moves from the source of each move."""
        return np.asarray(np.bincount(self.source, self.totals)[self.source], dtype=np.float64)

    def _largest(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) array: the most that the moves of one cluster could add, none against another."""
        most = np.asarray(self._left_out @ (slopes / self._attempts[:, None]), dtype=np.float64)
        return np.asarray(most.max(axis=0, initial=0.0))

    def _weights(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, m) array: what one more of each move adds, given that shares of moves sum to 1."""
        moves, attempts = np.arange(len(self.source)), self._attempts[:, None]
        add = csr_array((self.totals, (self.source, moves)))
        mean = np.asarray(add @ slopes)[self.source] / attempts
        return np.asarray((slopes - mean) / attempts)


def cluster_errors(table: RunTable, slopes: ArrayLike) -> ClusterErrors:
    """Return the standard errors of quantities of transition probabilities, clustered by run.

    Moves of one run depend on each other, and runs differ; only runs, or blocks of runs where the
    table has them (`RunTable.with_blocks`), are taken for independent. The error is that of the
    jackknife: each cluster is left out once, and the quantity, taken as linear, is measured
    without it. It needs at least 10 clusters. The moves of a state that one cluster alone has left
    count as independent.

    Parameters
    ----------
    table : RunTable
        The runs.
    slopes : (k, m) array of float
        The derivative of each of m quantities by the probability of each of the k
        `RunTable.distinct_moves`. For the affinity of a loop, the log of a product of
        probabilities one way over the other, it is 1 / T for its moves and -1 / T for those back.

    Returns
    -------
    ClusterErrors
        Covariance, number of clusters and degrees of freedom.

    References
    ----------
    Cameron and Miller, Journal of Human Resources 50 (2015) 317, for the jackknife by clusters;
    Pan and Wall, Statistics in Medicine 21 (2002) 1429, for the degrees of freedom.

    Examples
    --------
    >>> from detailed_balance.analyzers import RunTable, Trajectory
    >>> runs = [Trajectory((("a", goal),)) for goal in "bbbbbbbbcccc"]
    >>> moves = RunTable.of(runs).distinct_moves()
    >>> slopes = (moves.target == 1)[:, None]  # the probability of a to b
    >>> cluster_errors(RunTable.of(runs), slopes).errors.round(4).tolist()  # sqrt(2/3 1/3 / 11)
    [0.1421]
    """
    return MoveClusters.from_runs(table).errors(slopes)
