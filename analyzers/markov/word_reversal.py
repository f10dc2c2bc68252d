"""`compare_reversals`: words of keys against the same words backwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.context_tree import NOTHING, count_contexts
from detailed_balance.analyzers.multiplicity import check_replicates
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.clusters import cluster_codes, sum_clusters
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WordReversals", "compare_reversals"]


@dataclass(frozen=True, slots=True, eq=False)
class WordReversals(TableResult):
    """How often words of keys came, and the same words backwards.

    Parameters
    ----------
    words : tuple of tuple of str, length k
        Each with the keys in their order, the more frequent way round first.
    forward, backward : (k,) arrays of int
        How often each came, and backwards.
    adjusted : (k,) array of float
        p-values, adjusted for all words.
    pvalue : float
        The smallest of them.
    length : int
        Keys in a word.
    unit : str
        What is turned round as a whole: "run", or "block".
    replicates, seed : int
        Of the reversals drawn.
    """

    words: tuple[tuple[str, ...], ...]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    adjusted: NDArray[np.float64]
    pvalue: float
    length: int
    unit: str
    replicates: int
    seed: int

    def to_table(self) -> Table:
        """Return the columns word, forward, backward, adjusted; the smallest p-values first."""
        order = np.lexsort((-self.forward, self.adjusted))
        return {
            "word": [list(self.words[i]) for i in order],
            "forward": self.forward[order].tolist(),
            "backward": self.backward[order].tolist(),
            "adjusted": self.adjusted[order].tolist(),
        }

    def _content(self) -> dict[str, Any]:
        settings = self._values("length", "unit", "replicates", "seed")
        return {"pvalue": self.pvalue, "words": self.to_table(), "settings": settings}


def compare_reversals(
    runs: Runs, length: int = 3, *, replicates: int = 999, seed: int = 0
) -> WordReversals:
    """Count words of keys against the same words backwards.

    With memory, a move between states has no way back, and detailed balance is a question about
    words: is a, b, c as frequent as c, b, a? Null hypothesis: each run is as probable backwards as
    it is forwards. Whole runs (or blocks) are turned round at random, and the largest difference of
    any word, in standard errors, is compared.

    A run that begins where agents seldom are goes away from there: that counts against the null
    hypothesis too, though it is not a push. It is small in long runs.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        With keys for states, not contexts; START and END are left out.
    length : int
        Keys in a word, 2 or more.
    replicates, seed : int
        Of the reversals drawn.

    Raises
    ------
    InsufficientDataError
        Where no word is another one backwards.
    InvalidInputError
        Where `length` is below 2, or there are too few replicates.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> ring = Trajectory((("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("b", "c")))
    >>> found = compare_reversals([ring] * 20)
    >>> found.words[0], int(found.forward[0]), int(found.backward[0]), found.pvalue
    (('a', 'b', 'c'), 40, 0, 0.001)
    """
    check_replicates(replicates)
    if length < 2:
        raise InvalidInputError(f"length={length!r}; a word has 2 keys or more")
    table = RunTable.of(runs)
    inner = np.array([*(state not in BOUNDARIES for state in table.states), True])
    table = table.keep_moves(inner[table.source] & inner[table.target])
    units, number = cluster_codes(table)
    found, by_run = _count_words(table, length)
    signs = [1 if word <= word[::-1] else -1 for word in found]
    pairs = [min(word, word[::-1]) for word in found]
    place = {word: i for i, word in enumerate(sorted({w for w in pairs if w != w[::-1]}))}
    if not place:
        raise InsufficientDataError(
            f"no word of {length} keys came that is another one backwards: record more runs, or "
            "take shorter words"
        )
    kept = [i for i, word in enumerate(pairs) if word in place]
    ways = np.array([signs[i] for i in kept])
    into = csr_array(
        (ways, (np.arange(len(kept)), np.array([place[pairs[i]] for i in kept]))),
        shape=(len(kept), len(place)),
    )
    differences = sum_clusters(csr_array(by_run[:, kept] @ into), units, number).toarray()
    totals = np.asarray(by_run[:, kept].sum(axis=0)).ravel()
    both = np.asarray(abs(into).T @ totals)
    spread = np.sqrt((differences**2).sum(axis=0).astype(np.float64))
    spread[spread == 0] = np.inf
    observed = np.abs(differences.sum(axis=0)) / spread
    flips = 2 * np.random.default_rng(seed).integers(0, 2, (replicates, number)) - 1
    largest = np.abs(flips @ differences / spread).max(axis=1)
    more = (largest[:, None] >= observed - 1e-9).sum(axis=0)
    adjusted = (1 + more) / (replicates + 1)
    forward = (both + differences.sum(axis=0)) // 2
    turned = forward < both - forward
    return WordReversals(
        tuple(w[::-1] if t else w for w, t in zip(place, turned.tolist(), strict=True)),
        np.where(turned, both - forward, forward),
        np.where(turned, forward, both - forward),
        adjusted,
        float(adjusted.min()),
        length,
        "block" if (table.block_codes() >= 0).any() else "run",
        replicates,
        seed,
    )


def _count_words(
    table: RunTable, length: int
) -> tuple[list[tuple[str, ...]], csr_array[Any, tuple[int, int]]]:
    """Return the words that came, and (r, k) how often each run has each."""
    counts, n = count_contexts(table, length - 1), len(table.states)
    level = counts.levels[length - 1]
    there = (level >= 0) & (table.target >= 0) & (counts.key[level] != NOTHING)
    cells = level[there] * n + table.target[there]
    distinct, place = np.unique(cells, return_inverse=True)
    words = []
    for node, target in zip((distinct // n).tolist(), (distinct % n).tolist(), strict=True):
        keys = [target]
        while node > 0:
            keys.append(int(counts.key[node]))
            node = int(counts.parent[node])
        # From the context the newest key comes last, as its parents are shorter by the oldest.
        words.append(tuple(table.states[key] for key in (*keys[1:], target)))
    ones, shape = np.ones(len(place), dtype=np.int64), (len(table), len(distinct))
    return words, csr_array((ones, (table.run_of_move[there], place)), shape=shape)
