"""Whether failed runs exceed the tolerance bounds of good runs more often than by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.stats import binom

from detailed_balance.analyzers.permutation import permute_inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 4_000_000
"""So many outcomes of runs are permuted at a time."""


class Contrast(NamedTuple):
    """What q measures of failed runs say against the bounds of good ones.

    Parameters
    ----------
    bound : (q,) array of float
        The upper tolerance bound of good runs, at least `least`; infinite where there are none.
    content : float
        The share of good runs that are not beyond it, with the confidence asked for.
    units : int
        The good runs that this rests on, or their blocks.
    good, failed : (q,) arrays of int64
        The good and the failed runs beyond the bound.
    pvalue : (q,) array of float
        How often so many failed runs would be beyond it with permuted outcomes, or where long runs
        are beyond it as often as their lengths say, whichever is more; adjusted for all measures.
    """

    bound: NDArray[np.float64]
    content: float
    units: int
    good: NDArray[np.int64]
    failed: NDArray[np.int64]
    pvalue: NDArray[np.float64]


class _Outcomes(NamedTuple):
    """What bounds are made of: the runs of a block stand one after the other.

    Parameters
    ----------
    first : array of int64
        Where each block begins.
    content, confidence : float
        Of a bound.
    """

    first: NDArray[np.int64]
    content: float
    confidence: float

    def bound(
        self, values: NDArray[Any], failed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the bounds of good runs for (k, u) outcomes, and how many blocks have good runs.

        The values are (u,), or (k, u), and 0 or more.
        """
        most = np.where(failed, -1, values)
        if len(self.first) < most.shape[1]:
            most = np.maximum.reduceat(most, self.first, axis=1)
        found = np.full(len(most), np.inf)
        units = (most >= 0).sum(axis=1)
        for n in np.unique(units[units > 0]).tolist():
            rows, place = units == n, most.shape[1] - self.rank(n)[0]
            found[rows] = np.partition(most[rows], place, axis=1)[:, place]
        return found, units

    def beyond(
        self, values: NDArray[Any], failed: NDArray[np.bool_], least: float = 0.0
    ) -> NDArray[np.int64]:
        """(k,) array: how many failed runs are beyond the bound."""
        bound = np.maximum(self.bound(values, failed)[0], least)
        return np.asarray((failed & (values > bound[:, None])).sum(axis=1))

    def rank(self, n: int) -> tuple[int, float]:
        """Return which of n values, from the largest on, is the bound, and its content."""
        if not n:
            return 1, 0.0
        if 1 - self.content**n < self.confidence:
            return 1, float((1 - self.confidence) ** (1 / n))
        return n - min(int(binom.ppf(self.confidence, n, self.content)), n - 1), self.content


def contrast_failed(
    values: NDArray[np.int64],
    visits: NDArray[np.int64],
    lengths: NDArray[np.int64],
    failed: NDArray[np.bool_],
    block: NDArray[np.int64],
    least: NDArray[np.int64],
    adds_up: NDArray[np.bool_],
    *,
    content: float,
    confidence: float,
    replicates: int,
    rng: np.random.Generator,
) -> Contrast:
    """Count the failed runs beyond the bound of good runs, and hold that against chance.

    There are two null distributions, and the larger p-value counts. In the first, outcomes are
    permuted inside blocks, with a new bound for each permutation; it is exact for any values, ties
    and numbers of runs. In the second, failed runs exceed the bound only because they are longer:
    the runs beyond it are drawn without replacement, with probabilities proportional to the moves
    of a run that are left over. These are its moves less the visits of what it repeats most, or
    less the visits that good runs at the bound take, if these are more.

    Parameters
    ----------
    values, visits : (q, u) arrays of int64
        What each of u runs did, by q measures, 0 or more; and the visits that it took.
    lengths : (u,) array of int64
        The moves of each.
    failed : (u,) array of bool
        Whether it failed; the others are good.
    block : (u,) array of int64
        Its block, -1 where it is of none; the runs of no block are permuted among each other, and
        each counts by itself for the bound.
    least : (q,) array of int64
        Bounds are at least this.
    adds_up : (q,) array of bool
        Whether a measure is a count over the whole run, and not the longest of its stretches. The
        probability that chance makes a count of k grows as the k-th power of the moves.
    content, confidence : float
        Of the bound.
    replicates : int
        How many permutations, and how many draws.
    rng : Generator
        What to draw them with.
    """
    order = np.argsort(block, kind="stable")
    values, visits, lengths = values[:, order], visits[:, order], lengths[order]
    failed, block = failed[order], block[order]
    new = (block < 0) | (np.diff(block, prepend=-1) != 0)
    runs = _Outcomes(np.flatnonzero(new), content, confidence)
    bounds = [runs.bound(each, failed[None]) for each in values]
    units = int(bounds[0][1][0])
    bound = np.maximum([each[0] for each, _ in bounds], least)
    power = np.where(adds_up & np.isfinite(bound), bound + 1, 1)
    others = _left_over(values, visits, lengths, failed, bound) ** power[:, None]
    measures = list(zip(values, others, least.tolist(), strict=True))
    observed = (failed & (values > bound[:, None])).sum(axis=1)
    permuted, drawn = [observed[None]], [observed[None]]
    at_once = max(1, CELLS // max(len(failed), 1))
    for begin in range(0, replicates, at_once):
        outcomes = permute_inside(failed, block, min(at_once, replicates - begin), rng)
        permuted.append(
            np.stack([runs.beyond(each, outcomes, low) for each, _, low in measures], axis=1)
        )
        waits = rng.exponential(size=outcomes.shape)
        same = np.broadcast_to(failed, outcomes.shape)
        drawn.append(np.stack([runs.beyond(each / waits, same) for _, each, _ in measures], axis=1))
    return Contrast(
        bound,
        runs.rank(units)[1],
        units,
        (~failed & (values > bound[:, None])).sum(axis=1),
        observed,
        np.maximum(_adjust(np.concatenate(permuted)), _adjust(np.concatenate(drawn))),
    )


def _left_over(
    values: NDArray[np.int64],
    visits: NDArray[np.int64],
    lengths: NDArray[np.int64],
    failed: NDArray[np.bool_],
    bound: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(q, u) array: the moves of runs, less what they repeat, or the bound takes; at least 1."""
    there = ~failed & (values >= np.minimum(bound, values.max(axis=1, initial=0))[:, None])
    taken = (visits * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.asarray(np.maximum(lengths - np.maximum(visits.max(axis=0), taken[:, None]), 1.0))


def _adjust(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the p-values of the first row of (k, q) counts, by the least p of each row."""
    ordered = np.sort(counts, axis=0)
    as_many = [len(c) - np.searchsorted(o, c) for o, c in zip(ordered.T, counts.T, strict=True)]
    least = np.min(as_many, axis=0)
    return np.array([(least <= each[0]).mean() for each in as_many])
