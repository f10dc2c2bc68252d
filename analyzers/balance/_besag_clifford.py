"""Tables of counts that a reversible chain makes as likely as the one observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import gammaln

from detailed_balance.analyzers.balance.cycle_search import find_triangles, fundamental_cycles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.balance.reversible_mle import ReversibleFit
    from detailed_balance.analyzers.convergence import StepsCallback

AT_ONCE = 50_000_000
"""How many counts of replicates are held in memory at a time."""

REPORTS = 100
"""How often progress is reported."""


def sample_reversible_tables(
    fit: ReversibleFit,
    *,
    replicates: int,
    sweeps: int,
    rng: np.random.Generator,
    progress: StepsCallback | None = None,
) -> Iterator[NDArray[np.int64]]:
    """Yield (m, b) arrays of forward counts, `replicates` columns in all.

    Under a reversible chain the totals of the pairs and the exits of the states are sufficient:
    given them, how often a pair of total t was taken forward, k times, has weight 1 / (k! (t -
    k)!) whatever the kernel, so nothing has to be estimated. Loops are pushed one way or the
    other by Metropolis steps, which keeps both. The observed table is first walked back to a
    common ancestor and all replicates start there, which makes them and the observed table
    exchangeable, however short the walk.

    The weight is exact where each state's moves are independent draws. For the count table of
    one walk it lacks a factor, the number of trees that lead to the walk's end (the BEST
    theorem), which hardly differs between tables; see docs/explanation/statistics-measured.md for
    the false alarms.

    References
    ----------
    Besag and Clifford, Biometrika 76, 633 (1989); Besag and Mondal, Biometrics 69, 488 (2013).
    """
    steps = sweeps * fit.degrees_of_freedom
    walk = _Walk(fit, steps, rng)
    at_once = max(1, min(replicates, AT_ONCE // max(1, len(fit.pairs))))
    blocks = [min(at_once, replicates - i) for i in range(0, replicates, at_once)]
    report = _reporter(progress, steps * (1 + len(blocks)))
    ancestor = walk.go(fit.forward[:, None].copy(), report, back=True)
    for size in blocks:
        yield walk.go(np.repeat(ancestor, size, axis=1), report)


class _Walk:
    """A random walk on the tables; its steps are as likely forth as back.

    The loops to push are drawn once: the way back must take them in the reverse order, or the
    observed table would have come another way than its replicates, and stand out by that.
    """

    def __init__(self, fit: ReversibleFit, steps: int, rng: np.random.Generator) -> None:
        self.rng, self.totals = rng, fit.totals
        self.weight = gammaln(np.arange(int(self.totals.max(initial=0)) + 1) + 1.0)
        pairs, n = fit.pairs, fit.pairs.n_states
        self.n = n
        self.keys = pairs.first.astype(np.int64) * n + pairs.second
        graph = csr_array((self.totals, pairs.second, pairs.starts), shape=(n, n))
        totals = csr_array(graph + graph.T)
        kinds = (find_triangles(totals), fundamental_cycles(totals))
        self.loops = [loop for loops in kinds for loop in loops]
        # Triangles and longer loops in turn, however many there are of each.
        sizes = np.array([len(loops) for loops in kinds if loops])
        kind = rng.integers(len(sizes), size=steps)
        self.chosen = rng.integers(sizes[kind]) + (np.cumsum(sizes) - sizes)[kind]

    def go(
        self, tables: NDArray[np.int64], report: Callable[[], None], *, back: bool = False
    ) -> NDArray[np.int64]:
        """Take (m, b) tables all steps on, or back, in place."""
        for place in self.chosen[::-1] if back else self.chosen:
            self._push(tables, *self._edges(self.loops[place]))
            report()
        return tables

    def _edges(self, loop: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the pairs of a loop, and +1 where it walks them forward and -1 where back."""
        source, target = np.array(loop), np.array((*loop[1:], loop[0]))
        keys = np.minimum(source, target) * self.n + np.maximum(source, target)
        return np.searchsorted(self.keys, keys), np.where(source < target, 1, -1)

    def _push(self, tables: NDArray[np.int64], edges: NDArray[Any], signs: NDArray[Any]) -> None:
        """Push one loop round in every table, by a few walks or none."""
        top, replicates = self.totals[edges][:, None], tables.shape[1]
        # About two standard deviations of what the loop can carry.
        reach = max(1, int(1 / np.sqrt((1 / top).sum())))
        push = self.rng.integers(-reach, reach + 1, replicates)
        old = tables[edges]
        new = old + signs[:, None] * push
        new = np.where(((new >= 0) & (new <= top)).all(axis=0), new, old)
        weight = self.weight
        gain = (weight[old] + weight[top - old] - weight[new] - weight[top - new]).sum(axis=0)
        tables[edges] = np.where(self.rng.standard_exponential(replicates) > -gain, new, old)


def _reporter(progress: StepsCallback | None, total: int) -> Callable[[], None]:
    """Return what counts a step, and reports every hundredth part."""
    if progress is None:
        return lambda: None
    done, part = 0, max(1, total // REPORTS)

    def report() -> None:
        nonlocal done
        done += 1
        if done % part == 0 or done == total:
            progress(done, total)

    return report
