"""The p-values of statistics of runs, by permutations of whole runs between two sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.comparison._run_statistics import RunStatistics

REPLICATES = 9_999
"""So many permutations are drawn."""

FEWEST_SHIFTED = 10_000
"""From so many runs on they are shifted instead."""

_LABELS = 5_000_000
"""So many labels are drawn at a time, at most, and at most 250 permutations."""

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
    label: NDArray[np.bool_],
    replicates: int | None,
    rng: np.random.Generator,
) -> PermutationPvalues:
    """Rank the statistics of two sets of runs among those of other divisions into two sets.

    Which of u runs are of the second set, (u,) `label`, is permuted `replicates` times. Without a
    number of replicates, and for many runs, the labels of runs in a random order are shifted round
    by 1, 2, ... u - 1 runs instead. The runs must come in a random order, then. Shifts are a group
    of permutations as all permutations are, so that the ranks are as exact, and their statistics
    are correlations, which the fast Fourier transform gives for all shifts at once. Where u has
    large prime factors, some of the runs (less than 1 in 100) keep their labels.

    References
    ----------
    J. Hemerik and J. J. Goeman, *Exact testing with random permutations*, TEST 27 (2018), 811-825:
    any subgroup of permutations, chosen without looking at the data, gives an exact test.
    """
    if replicates is None and len(label) >= FEWEST_SHIFTED:
        totals, beyond = _shift(families, label)
    else:
        draws = REPLICATES if replicates is None else replicates
        totals, beyond = _draw(families, label, draws, rng)
    ranks = _rank(totals)
    # Of each question: how often is the smallest p-value of a permutation as small?
    smallest = np.sort(ranks.min(axis=1))
    adjusted = np.searchsorted(smallest, ranks[0] + 1e-12, "right") / len(smallest)
    each = tuple(count / len(totals) for count in beyond)
    return PermutationPvalues(ranks[0], adjusted, each, len(totals) - 1)


def _shift(
    families: Sequence[RunStatistics], label: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the (n, q) statistics of questions, and how often each of theirs is as large."""
    n = next(m for m in range(len(label), 0, -1) if next_fast_len(m, real=True) == m)
    spectrum: Any = rfft(label[:n].astype(np.float64))
    kept = label[n:].astype(np.float64)
    totals = np.zeros((n, len(families)))
    beyond = []
    for i, family in enumerate(families):
        counts = []
        for part in family.parts():
            rows = family.scores(part)
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
    label: NDArray[np.bool_],
    replicates: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the same of permutations drawn at random, what was observed first."""
    unit = [family.scores() for family in families]
    found = [(part @ label) ** 2 for part in unit]
    beyond = [np.ones(len(part)) for part in unit]
    totals = [np.array([[z.sum() for z in found]])]
    for labels in _draw_labels(label, replicates, rng):
        drawn = [(labels @ part.T) ** 2 for part in unit]
        totals.append(np.column_stack([z.sum(axis=1) for z in drawn]))
        for count, z, z0 in zip(beyond, drawn, found, strict=True):
            count += (z >= z0 - _TIE).sum(axis=0)
    return np.vstack(totals), beyond


def _draw_labels(
    label: NDArray[np.bool_], replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    chunk = min(250, max(1, _LABELS // len(label)))
    for start in range(0, replicates, chunk):
        rows = np.tile(label.astype(np.float64), (min(chunk, replicates - start), 1))
        yield rng.permuted(rows, axis=1)


def _rank(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each entry the share of its column that is as large."""
    n = len(totals)
    columns = [
        (n - np.searchsorted(np.sort(column), column - _TIE, "left")) / n for column in totals.T
    ]
    return np.column_stack(columns)
