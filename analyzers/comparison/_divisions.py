"""`Divisions`: which ways to divide runs into sets are equally probable where nothing differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import gammaln

from detailed_balance.analyzers.permutation import permute_inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS = 5_000_000
"""So many labels are drawn at a time, at most, and at most 250 permutations."""


@dataclass(frozen=True, slots=True, eq=False)
class Divisions:
    """What is permuted between k sets of u runs: single runs, runs inside a block, whole blocks.

    Runs of a block that stands in several sets are permuted inside it. Blocks that stand in one
    set are permuted as wholes among each other. A run of no block is a block by itself, so that
    without blocks all runs are permuted.

    Parameters
    ----------
    unit : (u,) array of int64
        The unit of each run, numbered as they come.
    stratum : (n,) array of int64
        Units of one stratum are permuted among each other; 0 are whole blocks.
    label : (n,) array of int64
        The set of each unit.
    blocks : (int, int, int) or None
        How many blocks stand in several sets, and how many of the first alone, and of others, are
        permuted as wholes; None where no run has a block.
    """

    unit: NDArray[np.int64]
    stratum: NDArray[np.int64]
    label: NDArray[np.int64]
    blocks: tuple[int, int, int] | None

    @classmethod
    def of(
        cls, block: NDArray[np.int64], side: NDArray[np.int64], *, whole: bool = True
    ) -> Divisions:
        """Find the divisions of runs, by the block and the set of each.

        Parameters
        ----------
        block, side : (u,) arrays of int64
            The block of each run, -1 for none, and its set.
        whole : bool
            Whether whole blocks are permuted. Else those of several runs stay where they are.
        """
        codes = number_blocks(block)
        number = int(codes.max(initial=-1)) + 1
        low, high = np.full(number, side.max(initial=0)), np.zeros(number, dtype=np.int64)
        np.minimum.at(low, codes, side)
        np.maximum.at(high, codes, side)
        shared = low < high
        unit = _number(np.where(shared[codes], number + np.arange(len(codes)), codes))
        first = np.unique(unit, return_index=True)[1]
        of_unit = codes[first]
        stratum = np.where(shared[of_unit], 1 + of_unit, 0)
        if not whole:
            fixed = (np.bincount(codes, minlength=number) > 1) & ~shared
            stratum = np.where(fixed[of_unit], 1 + of_unit, stratum)
        label = side[first]
        whole_label = label[stratum == 0]
        first_alone = int((whole_label == 0).sum())
        blocks = (int(shared.sum()), first_alone, len(whole_label) - first_alone)
        return cls(unit, stratum, label, blocks if (block >= 0).any() else None)

    @property
    def plain(self) -> bool:
        """Whether all units are permuted with all others."""
        return not self.stratum.any()

    @property
    def smallest_pvalue(self) -> float:
        """One over the number of divisions; two, where each has a mirror image; 1 for a single."""
        strata, place = np.unique(self.stratum, return_inverse=True)
        sides = int(self.label.max(initial=0)) + 1
        table = np.bincount(place * sides + self.label, minlength=len(strata) * sides)
        table = table.reshape(len(strata), sides)
        logs = gammaln(table.sum(axis=1) + 1).sum() - gammaln(table + 1).sum()
        mixed = table[table.min(axis=1) > 0]
        mirrored = sides == 2 and bool((mixed[:, 0] == mixed[:, -1]).all())
        return min(1.0, (1 + mirrored) * exp(-float(logs)))

    def draw(self, replicates: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Yield (c, n) labels of c divisions at a time, `replicates` in all."""
        n = len(self.label)
        chunk = min(250, max(1, _LABELS // max(n, 1)))
        for start in range(0, replicates, chunk):
            copies = min(chunk, replicates - start)
            if self.plain:
                yield rng.permuted(np.tile(self.label, (copies, 1)), axis=1)
                continue
            yield permute_inside(self.label, self.stratum, copies, rng)

    def gather(self, values: Any) -> Any:
        """(n, k) sparse array: the sums of (u, k) numbers of runs over the runs of each unit."""
        runs = len(self.unit)
        if len(self.label) == runs:
            return values
        ones = np.ones(runs, dtype=values.dtype)
        return (
            csr_array((ones, (self.unit, np.arange(runs))), shape=(len(self.label), runs)) @ values
        )

    def project(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(w, n) array: what units add to the sums of (w, u) scores over the second of two sets.

        The mean is 0 in each stratum, so that what runs of one block have in common cancels. Runs
        inside blocks and whole blocks each count by what they tell of a shift that is the same for
        all runs; then all rows have the same variance over the divisions.
        """
        if self.plain and len(self.label) == len(self.unit):
            return scores
        n = len(self.label)
        _, place = np.unique(self.stratum, return_inverse=True)
        size = np.bincount(place)
        inside = csr_array((np.ones(n), (np.arange(n), place)), shape=(n, len(size)))
        rows = np.asarray(self.gather(np.ascontiguousarray(scores.T)))
        rows = rows - (inside @ ((inside.T @ rows) / size[:, None]))
        later = np.bincount(place, self.label)
        share = later * (size - later) / size
        squares = inside.T @ rows**2
        spread = squares * (share / np.maximum(size - 1, 1))[:, None]
        runs = np.bincount(place[self.unit]) / size
        whole = np.zeros(len(size), dtype=bool)
        whole[place[self.stratum == 0]] = True
        weights = np.zeros_like(spread)
        for part in (whole, ~whole):
            variance, told = spread[part].sum(axis=0), (share * runs)[part].sum()
            weight = np.divide(told, variance, out=np.zeros_like(variance), where=variance > 1e-18)
            weights[part] = weight
        variance = (weights**2 * spread).sum(axis=0)
        weights /= np.sqrt(np.where(variance > 0, variance, 1.0))
        return np.ascontiguousarray((rows * (inside @ weights)).T)


def number_blocks(block: NDArray[np.int64]) -> NDArray[np.int64]:
    """(u,) array of int64: the block of each run as they come; a run of none is one by itself."""
    codes = block.copy()
    alone = np.flatnonzero(block < 0)
    codes[alone] = block.max(initial=-1) + 1 + np.arange(len(alone))
    return _number(codes)


def _number(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes numbered as they come."""
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[place], dtype=np.int64)
