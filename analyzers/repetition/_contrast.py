"""Do failed runs go beyond what good runs do? Tolerance bounds against permuted outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import binom

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 4_000_000
"""So many outcomes of runs are permuted at a time."""


class Contrast(NamedTuple):
    """What q measures of failed runs say against the bounds of good ones.

    Parameters
    ----------
    bound : (q,) array of float
        The upper tolerance bound of good runs; infinite where there are none.
    content : float
        The share of good runs that are not beyond it, with the confidence asked for.
    units : int
        The good runs that this rests on, or their blocks.
    good, failed : (q,) arrays of int64
        The good and the failed runs beyond the bound.
    pvalue : (q,) array of float
        How often permuted outcomes put as many failed runs beyond, adjusted for all measures.
    """

    bound: NDArray[np.float64]
    content: float
    units: int
    good: NDArray[np.int64]
    failed: NDArray[np.int64]
    pvalue: NDArray[np.float64]


def contrast_failed(
    values: NDArray[np.int64],
    failed: NDArray[np.bool_],
    block: NDArray[np.int64],
    *,
    content: float,
    confidence: float,
    replicates: int,
    rng: np.random.Generator,
) -> Contrast:
    """Count the failed runs beyond the bound of good runs, and hold that against permutations.

    The bound is made anew for each permutation, so that the p-value is exact whatever the values,
    their ties and the numbers of runs are. Outcomes are permuted inside blocks.

    Parameters
    ----------
    values : (q, u) array of int64
        What each of u runs did, by q measures, 0 or more.
    failed : (u,) array of bool
        Whether it failed; the others are good.
    block : (u,) array of int64
        Its block, -1 where it is of none; the runs of no block are permuted among each other, and
        each counts by itself for the bound.
    content, confidence : float
        Of the bound.
    replicates : int
        How many permutations.
    rng : Generator
        What to draw them with.
    """
    order = np.argsort(block, kind="stable")
    values, failed, block = values[:, order], failed[order], block[order]
    new = (block < 0) | (np.diff(block, prepend=-1) != 0)
    bounds = _Bounds(values, np.flatnonzero(new), content, confidence)
    observed = bounds.beyond(failed[None])
    n, chunk = len(failed), max(1, CELLS // max(len(failed), 1))
    counts = [observed]
    for start in range(0, replicates, chunk):
        number = min(chunk, replicates - start)
        keys = rng.integers(2**32, size=(number, n))
        drawn = np.argsort(keys + ((block + 1) << 32), axis=1)
        counts.append(bounds.beyond(failed[drawn]))
    bound, units = bounds.of(failed[None])
    return Contrast(
        bound[:, 0],
        _find_rank(int(units[0]), content, confidence)[1],
        int(units[0]),
        (~failed & (values > bound)).sum(axis=1),
        observed[0],
        _adjust(np.concatenate(counts)),
    )


class _Bounds:
    """The bounds of good runs, for any outcomes.

    Parameters
    ----------
    values : (q, u) array of int64
        The values, the runs of a block one after the other.
    first : array of int
        Where each block begins.
    content, confidence : float
        Of the bound.
    """

    def __init__(
        self,
        values: NDArray[np.int64],
        first: NDArray[np.int64],
        content: float,
        confidence: float,
    ) -> None:
        self._values, self._first = values, first
        self._asked = content, confidence

    def of(self, failed: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the (q, k) bounds for (k, u) outcomes, and how many blocks have good runs."""
        found = np.full((len(self._values), len(failed)), np.inf)
        units = np.zeros(len(failed), dtype=np.int64)
        for measure, values in enumerate(self._values):
            good = np.where(failed, -1, values)
            most = good if len(self._first) == len(values) else self._most(good)
            units = (most >= 0).sum(axis=1)
            for n in np.unique(units[units > 0]).tolist():
                rows, place = units == n, most.shape[1] - _find_rank(n, *self._asked)[0]
                found[measure, rows] = np.partition(most[rows], place, axis=1)[:, place]
        return found, units

    def _most(self, good: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.maximum.reduceat(good, self._first, axis=1)

    def beyond(self, failed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(k, q) array: how many failed runs are beyond the bound, for (k, u) outcomes."""
        bounds, _ = self.of(failed)
        pairs = zip(self._values, bounds[:, :, None], strict=True)
        return np.stack([(failed & (each > bound)).sum(axis=1) for each, bound in pairs], axis=1)


def _find_rank(n: int, content: float, confidence: float) -> tuple[int, float]:
    """Return which of n values, from the largest on, is the bound, and the content that it has."""
    if not n:
        return 1, 0.0
    if 1 - content**n < confidence:
        return 1, float((1 - confidence) ** (1 / n))
    return n - min(int(binom.ppf(confidence, n, content)), n - 1), content


def _adjust(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the p-values of the first row of (k, q) counts, by the least p of each row."""
    ordered = np.sort(counts, axis=0)
    as_many = [len(c) - np.searchsorted(o, c) for o, c in zip(ordered.T, counts.T, strict=True)]
    least = np.min(as_many, axis=0)
    return np.array([(least <= each[0]).mean() for each in as_many])
