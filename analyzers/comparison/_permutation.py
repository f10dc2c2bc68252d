"""The p-values of statistics of runs, by permutations of whole runs between two sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.comparison._divisions import Divisions
    from detailed_balance.analyzers.comparison._run_statistics import RunStatistics

REPLICATES = 9_999
"""So many permutations are drawn."""

FEWEST_SHIFTED = 10_000
"""From so many runs on they are shifted instead."""

FEWER = 1_999
"""So many of that many, where they cannot be shifted."""

_TIE = 1e-9
"""Values that differ by less are equal: they were only added up in another order."""


class PermutationPvalues(NamedTuple):
    """What permutations say of q questions.

    Parameters
    ----------
    omnibus, adjusted : (q,) arrays of float
        The p-value of each question, by itself and adjusted for their number.
    each : tuple of (m,) arrays of float
        The p-values of the statistics of each question.
    replicates : int
        How many permutations there were, besides what was observed.
    """

    omnibus: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    each: tuple[NDArray[np.float64], ...]
    replicates: int


def permute_runs(
    families: Sequence[RunStatistics],
    divisions: Divisions,
    replicates: int | None,
    rng: np.random.Generator,
) -> PermutationPvalues:
    """Rank the statistics of two sets of runs among those of other divisions into two sets.

    `replicates` divisions are drawn. Without a number of replicates, and for many units that are
    all permuted with each other, the labels of units in a random order are shifted round by 1, 2,
    ... u - 1 units instead. The runs must come in a random order, then. Shifts are a group of
    permutations as all permutations are, so that the ranks are as exact, and their statistics are
    correlations, which the fast Fourier transform gives for all shifts at once. Where u has large
    prime factors, some of the units (less than 1 in 100) keep their labels.

    References
    ----------
    J. Hemerik and J. J. Goeman, *Exact testing with random permutations*, TEST 27 (2018), 811-825:
    any subgroup of permutations, chosen without looking at the data, gives an exact test.
    """
    many = len(divisions.label) >= FEWEST_SHIFTED
    if replicates is None and many and divisions.plain:
        totals, beyond = _shift(families, divisions)
    else:
        default = FEWER if many else REPLICATES
        draws = default if replicates is None else replicates
        totals, beyond = _draw(families, divisions, draws, rng)
    ranks = _rank(totals)
    # Of each question: how often is the smallest p-value of a permutation as small?
    smallest = np.sort(ranks.min(axis=1))
    adjusted = np.searchsorted(smallest, ranks[0] + 1e-12, "right") / len(smallest)
    each = tuple(count / len(totals) for count in beyond)
    return PermutationPvalues(ranks[0], adjusted, each, len(totals) - 1)


def _shift(
    families: Sequence[RunStatistics], divisions: Divisions
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the (n, q) statistics of questions, and how often each of theirs is as large."""
    label = divisions.label
    n = next(m for m in range(len(label), 0, -1) if next_fast_len(m, real=True) == m)
    spectrum: Any = rfft(label[:n].astype(np.float64))
    kept = label[n:].astype(np.float64)
    totals = np.zeros((n, len(families)))
    beyond = []
    for i, family in enumerate(families):
        counts = []
        for part in family.parts():
            rows = divisions.project(family.scores(part))
            products: Any = rfft(rows[:, :n])
            products *= spectrum.conj()
            found: Any = irfft(products, n)
            found += (rows[:, n:] @ kept)[:, None]
            np.square(found, out=found)
            counts.append(np.count_nonzero(found >= found[:, :1] - _TIE, axis=1))
            totals[:, i] += found.sum(axis=0)
        beyond.append(np.concatenate(counts).astype(np.float64))
    return totals, beyond


def _draw(
    families: Sequence[RunStatistics],
    divisions: Divisions,
    replicates: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the same of permutations drawn at random, what was observed first."""
    unit = [
        np.vstack([divisions.project(family.scores(part)) for part in family.parts()])
        for family in families
    ]
    found = [(part @ divisions.label.astype(np.float64)) ** 2 for part in unit]
    beyond = [np.ones(len(part)) for part in unit]
    totals = [np.array([[z.sum() for z in found]])]
    for labels in divisions.draw(replicates, rng):
        drawn = [(labels.astype(np.float64) @ part.T) ** 2 for part in unit]
        totals.append(np.column_stack([z.sum(axis=1) for z in drawn]))
        for count, z, z0 in zip(beyond, drawn, found, strict=True):
            count += (z >= z0 - _TIE).sum(axis=0)
    return np.vstack(totals), beyond


def _rank(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each entry the share of its column that is as large."""
    n = len(totals)
    columns = [
        (n - np.searchsorted(np.sort(column), column - _TIE, "left")) / n for column in totals.T
    ]
    return np.column_stack(columns)
