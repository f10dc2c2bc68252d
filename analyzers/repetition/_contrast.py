"""Whether failed runs exceed the tolerance bounds of successful runs more often than by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
        The upper tolerance bound of successful runs, at least `least`; infinite where there are
        none.
    content : float
        The share of successful runs that are not beyond it, with the confidence asked for.
    units : int
        The successful runs that this rests on, or their blocks.
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


class _Bound(NamedTuple):
    """Which value of successful runs is their bound.

    Parameters
    ----------
    units : int
        How many successful runs there are, or blocks that have some.
    rank : int
        Which of their values it is, from the largest on.
    content : float
        The share of them that is not beyond it.
    """

    units: int
    rank: int
    content: float

    @classmethod
    def of(cls, units: int, content: float, confidence: float) -> _Bound:
        """Return the bound of so many successful runs."""
        if not units:
            return cls(0, 1, 0.0)
        if 1 - content**units < confidence:
            return cls(units, 1, float((1 - confidence) ** (1 / units)))
        least = min(int(binom.ppf(confidence, units, content)), units - 1)
        return cls(units, units - least, content)

    def count_beyond(
        self, failed: NDArray[np.float64], good: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """(k,) array: how many of (k, f) values of failed runs are beyond (k, units) good ones.

        The good ones are put in another order.
        """
        if not self.units:
            return np.zeros(len(failed), dtype=np.int64)
        place = self.units - self.rank
        good.partition(place, axis=1)
        return np.asarray(np.count_nonzero(failed > good[:, [place]], axis=1))


class _Levels:
    """One measure of u runs: its l different values, and which of them each run has.

    Parameters
    ----------
    values : (u,) array of int64
        What runs did.
    least : int
        The bound is at least this.
    first : array of int64
        Where each block of runs begins.
    bound : _Bound
        Of successful runs: outcomes are only permuted inside blocks.
    """

    def __init__(
        self, values: NDArray[np.int64], least: int, first: NDArray[np.int64], bound: _Bound
    ) -> None:
        self._least, self._first, self._bound = least, first, bound
        self._different, self._level, self._runs = np.unique(
            values, return_inverse=True, return_counts=True
        )

    def bounds(self, failed: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the bounds for k outcomes, and how many failed runs are beyond them.

        `failed` is a (k, f) array: the places of the failed runs.
        """
        k = len(failed)
        bad = self._count(self._level[failed])
        if not self._bound.units:
            return np.full(k, np.inf), np.zeros(k, dtype=np.int64)
        good = self._runs - bad
        if len(self._first) < len(self._level):
            most = np.tile(self._level, (k, 1))
            np.put_along_axis(most, failed, -1, axis=1)
            good = self._count(np.maximum.reduceat(most, self._first, axis=1))
        as_large = np.cumsum(good[:, ::-1], axis=1)[:, ::-1]
        level = np.count_nonzero(as_large >= self._bound.rank, axis=1) - 1
        bound = np.maximum(self._different[level], self._least)
        upto = np.searchsorted(self._different, bound, side="right")
        beyond = np.arange(len(self._different)) >= upto[:, None]
        return bound.astype(np.float64), (bad * beyond).sum(axis=1)

    def _count(self, levels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(k, l) array: how often each of the l values is in each row; -1 is none of them."""
        k, size = len(levels), len(self._different) + 1
        keys = levels + 1 + size * np.arange(k)[:, None]
        return np.bincount(keys.ravel(), minlength=k * size).reshape(k, size)[:, 1:]


def _find_first(block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each block begins; runs of no block are one each."""
    return np.flatnonzero((block < 0) | (np.diff(block, prepend=-1) != 0))


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
    """Count the failed runs beyond the bound of successful runs, and hold that against chance.

    There are two null distributions, and the larger p-value counts. In the first, outcomes are
    permuted inside blocks, with a new bound for each permutation; it is exact for any values, ties
    and numbers of runs. In the second, failed runs exceed the bound only because they are longer:
    the runs beyond it are drawn without replacement, with probabilities proportional to the moves
    of a run that are left over. These are its moves less the visits of what it repeats most, or
    less the visits that successful runs at the bound take, if these are more.

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
    good, bad = np.flatnonzero(~failed), np.flatnonzero(failed)
    first, first_good = _find_first(block), _find_first(block[good])
    of_good = _Bound.of(len(first_good), content, confidence)
    measures = [_Levels(*each, first, of_good) for each in zip(values, least.tolist(), strict=True)]
    found = [each.bounds(bad[None]) for each in measures]
    bound, observed = (np.concatenate(part) for part in zip(*found, strict=True))
    beyond = (~failed & (values > bound[:, None])).sum(axis=1)
    if not observed.any():  # any outcomes do as much
        one = np.ones(len(values))
        return Contrast(bound, of_good.content, of_good.units, beyond, observed, one)
    power = np.where(adds_up & np.isfinite(bound), bound + 1, 1)
    others = _left_over(values, visits, lengths, failed, bound) ** power[:, None]
    permuted, drawn = [observed[None]], [observed[None]]
    at_once = max(1, CELLS // max(len(failed), 1))
    for begin in range(0, replicates, at_once):
        outcomes = permute_inside(failed, block, min(at_once, replicates - begin), rng)
        places = np.nonzero(outcomes.ravel())[0].reshape(len(outcomes), -1)
        places -= len(failed) * np.arange(len(outcomes))[:, None]
        permuted.append(np.stack([each.bounds(places)[1] for each in measures], axis=1))
        waits = rng.exponential(size=outcomes.shape)
        of_bad, waits = waits[:, bad], waits[:, good]
        numbers = []
        for each in others:
            most = each[good] / waits
            if len(first_good) < len(good):
                most = np.maximum.reduceat(most, first_good, axis=1)
            numbers.append(of_good.count_beyond(each[bad] / of_bad, most))
        drawn.append(np.stack(numbers, axis=1))
    return Contrast(
        bound,
        of_good.content,
        of_good.units,
        beyond,
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
