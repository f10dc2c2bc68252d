"""Balance inside runs, and whether the runs differ: tests that do not pool runs as one chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.stats import norm

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.multiplicity import adjust_holm, check_level, check_replicates
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.results import Result, times
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.sparse import count_distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopOrientation", "MixtureTest", "mixture_test", "orientation_test"]

SHORTEST = 3
"""A loop of two states has no direction."""

DRAWN_AT_ONCE, MOST_DRAWN = 2_000_000, 4_000_000
"""So many drawn directions are held in memory at a time; more are drawn from the normal
distribution instead."""

MOST_PERMUTED = 50_000
"""With more moves the normal distribution replaces permutations of them."""

HALVES = "first and second half"
"""What the division of runs by the median of their beginnings is called."""

MOST_PARTS = 20
"""A label with more values divides runs too finely to say what differs."""


@dataclass(frozen=True, slots=True)
class LoopOrientation(Result):
    """In which direction runs close loops that share moves with one loop.

    Parameters
    ----------
    loop : Loop
        The loop.
    forward, backward : int
        Closed loops of three states or more that hold more moves of it than of its reverse, and
        the other way round.
    pvalue : float
        Of as many loops in each direction; adjusted for the number of loops that were asked about.
    alpha : float
        The level.
    replicates, seed : int
        Of the draws.
    """

    loop: Loop[str]
    forward: int
    backward: int
    pvalue: float
    alpha: float
    replicates: int
    seed: int

    @property
    def rejected(self) -> bool:
        """Whether runs go round the loop in one direction more than in the other."""
        return self.pvalue <= self.alpha

    def describe(self) -> str:
        """Say in one sentence what was found."""
        return (
            f"single runs went round it {times(self.forward)} in this direction and "
            f"{times(self.backward)} in reverse, adjusted p = {self.pvalue:.2g}"
        )


def orientation_test(
    runs: Runs | MeasuredRuns,
    loops: Sequence[Sequence[str]],
    *,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> tuple[LoopOrientation, ...]:
    """Test of each loop whether single runs go round it in one direction more than in the other.

    Null hypothesis: each run is a reversible Markov chain with a kernel of its own, which does not
    change during the run. Runs may differ from each other in any way, and may end in any way that
    depends on where they are and on how long they are. Under it, the loops that the loop-erased
    path of a run closes point in either direction with probability 1/2, independently of each
    other, given all that is known of them but their directions. Directions are drawn again, and the
    largest standardised excess over all loops is the statistic, so that all loops together keep
    alpha.

    Parameters
    ----------
    runs : RunTable, iterable of Trajectory, or MeasuredRuns
        The runs.
    loops : sequence of sequence of str
        The states of each loop, in either direction. They must not have been chosen by looking at
        the direction of moves.
    alpha : float
        The level of the verdict.
    replicates : int
        How often directions are drawn.
    seed : int
        Of the draws.

    Notes
    -----
    A run is a path without loops, and a heap of loops on top of it (Viennot). A loop of the heap
    that is turned round gives another run with the same start, end, visits and length, and in a
    reversible chain the two are equally likely. What rejects is a push inside runs, or a kernel
    that changes as runs go on (first plan, then execute).

    References
    ----------
    X. G. Viennot, *Heaps of pieces I*, Lecture Notes in Mathematics 1234 (1986) 321.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> one_way = [Trajectory(tuple(zip("abcabcabca", "bcabcabcab")))] * 5
    >>> found = orientation_test(one_way, [("a", "b", "c")])[0]
    >>> found.forward, found.backward, found.rejected
    (15, 0, True)
    """
    check_level(alpha)
    check_replicates(replicates)
    measured = MeasuredRuns.of(runs)
    named = [Loop(loop) for loop in loops]
    signs, there, back = _orient_closed(measured, named)
    excess = np.asarray(signs.T @ (there - back))
    total = np.asarray(abs(signs).T @ (there + back))
    forward, backward = (total + excess) // 2, (total - excess) // 2
    scale = np.where(total > 0, np.sqrt(total), np.inf)
    z = np.abs(excess) / scale
    beyond = np.ones(len(named))
    for drawn in _draw_excesses(signs, there + back, replicates, np.random.default_rng(seed)):
        largest = (np.abs(drawn) / scale).max(axis=1, initial=0.0)
        beyond += (largest[:, None] >= z - 1e-9).sum(axis=0)
    pvalues = beyond / (replicates + 1)
    return tuple(
        LoopOrientation(loop, int(f), int(b), float(p), alpha, replicates, seed)
        for loop, f, b, p in zip(named, forward, backward, pvalues, strict=True)
    )


def _orient_closed(
    measured: MeasuredRuns, loops: Sequence[Loop[str]]
) -> tuple[csr_array[Any, tuple[int, int]], NDArray[np.int64], NDArray[np.int64]]:
    """Return how often runs closed c loops, in both directions, and what that says of m others.

    The first is a (c, m) array: 1 where the closed loop holds more moves of the other than of its
    reverse, -1 where fewer. The two (c,) arrays count the closings in either direction.
    """
    closed, n = measured.loops, len(measured.table.states)
    rounds = np.bincount(closed.loop, closed.rounds, len(closed)).astype(np.int64)
    reverse = closed.reverse()
    loop, source, target = closed.edges()
    walked = coo_array(
        (np.ones(len(loop), dtype=np.int64), (loop, source * n + target)),
        shape=(len(closed), n * n),
    ).tocsr()
    code = {state: i for i, state in enumerate(measured.table.states)}
    coded = [[code.get(state, -1) for state in loop] for loop in loops]
    signed = _edge_matrix(coded, n) - _edge_matrix([loop[::-1] for loop in coded], n)
    signs = csr_array(walked @ signed.T).sign()
    signs.eliminate_zeros()
    once = (closed.lengths >= SHORTEST) & (reverse < np.arange(len(closed)))
    used = np.flatnonzero(once & (np.diff(signs.indptr) > 0))
    back = np.where(reverse[used] >= 0, rounds[reverse[used]], 0)
    return signs[used], rounds[used], back


def _edge_matrix(loops: Sequence[Sequence[int]], n: int) -> csr_array[Any, tuple[int, int]]:
    """(m, n * n) array: 1 for each move of each loop; none for a loop with an unknown state."""
    known = [loop if min(loop, default=-1) >= 0 else () for loop in loops]
    lengths = np.array([len(loop) for loop in known], dtype=np.int64)
    source = np.array([state for loop in known for state in loop], dtype=np.int64)
    target = np.array([s for loop in known for s in (*loop[1:], *loop[:1])], dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    ones = np.ones(len(source), dtype=np.int64)
    return csr_array((ones, source * n + target, indptr), shape=(len(loops), n * n))


def _draw_excesses(
    signs: csr_array[Any, tuple[int, int]],
    closings: NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Yield (b, m) arrays: forward less backward closings, where each direction is a fair coin."""
    if replicates * len(closings) > MOST_DRAWN:  # sums of so many coins are normal
        at_once = max(1, DRAWN_AT_ONCE // max(signs.shape[1], 1))
        covariance = np.zeros((signs.shape[1], signs.shape[1]))
        for begin in range(0, len(closings), at_once):
            part = slice(begin, begin + at_once)
            root = signs[part].toarray() * np.sqrt(closings[part])[:, None]
            covariance += root.T @ root
        yield rng.multivariate_normal(
            np.zeros(len(covariance)), covariance, replicates, method="eigh"
        )
        return
    at_once = max(1, DRAWN_AT_ONCE // max(len(closings), 1))
    for begin in range(0, replicates, at_once):
        rows = min(at_once, replicates - begin)
        heads = rng.binomial(closings, 0.5, size=(rows, len(closings)))
        yield np.asarray((2 * heads - closings) @ signs, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MixtureTest(Result):
    """Whether runs differ from each other, as chains.

    Parameters
    ----------
    excess : float
        How much more often two steps of one run from one state lead to the same target than two
        steps of any runs do: 0 where all runs are one chain, 0.1 for a tenth more.
    pvalue : float
        That it is so large where all runs are one chain.
    explained_by : mapping of str to float
        For each label (and ``"block"``, ``"first and second half"`` in time) the p-value of no
        difference between the runs that it divides; adjusted for their number (Holm).
    runs, moves : int
        What was tested.
    method : {"permutation", "normal"}
        Where the first p-value comes from.
    alpha : float
        The level.
    replicates, seed : int
        Of the permutations.
    """

    excess: float
    pvalue: float
    explained_by: Mapping[str, float]
    runs: int
    moves: int
    method: str
    alpha: float
    replicates: int
    seed: int

    @property
    def rejected(self) -> bool:
        """Whether the runs are not copies of one chain."""
        return self.pvalue <= self.alpha or bool(self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """What divides the runs into parts that differ, the clearest first."""
        found = [(p, name) for name, p in self.explained_by.items() if p <= self.alpha]
        return tuple(name for _, name in sorted(found))

    def describe(self) -> str:
        """Say in one sentence what was found."""
        if not self.rejected:
            return f"the runs do not differ more than copies of one chain (p = {self.pvalue:.2g})"
        by = f"; they differ by {', '.join(self.labels)}" if self.labels else ""
        return (
            f"the runs differ from each other, or their moves depend on more than the state: two "
            f"steps of one run agree {self.excess:.0%} more often (p = {self.pvalue:.2g}){by}"
        )


def mixture_test(
    runs: Runs,
    *,
    alpha: float = 0.05,
    replicates: int = 199,
    seed: int = 0,
) -> MixtureTest:
    """Test whether all runs are copies of one Markov chain, or differ from each other.

    Null hypothesis: the next state depends on the state alone, by one kernel for all runs. The
    statistic counts pairs of steps of one run from one state with the same target, each weighted
    by 1 / T(target <- state); it is compared with that of targets permuted between all runs among
    the steps from each state. A mixture of tasks, users or versions rejects it, and so does a
    chain with memory. For each label of the runs, for their blocks and for the two halves of the
    record in time, whole runs are permuted in a test of whether the parts differ.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        The runs; START, END, escapes and steps from a state to itself do not enter.
    alpha : float
        The level of the verdict.
    replicates : int
        How many permutations. For more than 50,000 moves the normal distribution replaces those of
        moves.
    seed : int
        Of the permutations.

    Raises
    ------
    InsufficientDataError
        Where there are fewer than two runs, or none leaves a state twice.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> one = Trajectory(tuple(zip("abababab", "babababa")))
    >>> other = Trajectory(tuple(zip("acacacac", "cacacaca")))
    >>> result = mixture_test([one, other] * 10)
    >>> result.rejected, round(result.excess, 2)  # from a to b, or from a to c
    (True, 0.5)
    """
    check_level(alpha)
    check_replicates(replicates)
    table = RunTable.of(runs)
    table = table.select(table.order())
    steps = _Steps.of(table)
    pairs = steps.pairs()
    if len(table) < 2 or not pairs:
        raise InsufficientDataError(
            f"{len(table):,} runs, and {int(pairs):,} pairs of steps of one run from the same "
            "state; whether runs differ takes two runs and some such pairs. Record more runs"
        )
    rng = np.random.default_rng(seed)
    found, per_run = steps.agreement(steps.move)
    many = len(steps.move) > MOST_PERMUTED
    if many:
        excess = per_run - steps.pairs_by_run()
        pvalue = float(norm.sf(excess.sum() / np.sqrt((excess**2).sum())))
    else:
        drawn = [steps.agreement(steps.permute(rng))[0] for _ in range(replicates)]
        pvalue = (1 + sum(value >= found - 1e-9 for value in drawn)) / (replicates + 1)
    settings = (len(table), len(steps.move), "normal" if many else "permutation")
    divided = adjust_holm(
        {
            name: _test_division(steps, parts, replicates, rng)
            for name, parts in _divisions(table).items()
        }
    )
    return MixtureTest(found / pairs - 1, pvalue, divided, *settings, alpha, replicates, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """The m steps from one state to another, sorted by source; k different ones.

    Parameters
    ----------
    run, source, move : (m,) arrays
        The run of each, its source, and which of the different steps it is.
    weight : (k,) array
        1 / T(target <- source) of each different step, T as pooled.
    begin : array
        Where the steps of each source begin.
    runs : int
        How many runs there are.
    """

    run: NDArray[np.int64]
    source: NDArray[np.int64]
    move: NDArray[np.int64]
    weight: NDArray[np.float64]
    begin: NDArray[np.int64]
    runs: int

    @classmethod
    def of(cls, table: RunTable) -> _Steps:
        n = len(table.states)
        inner = np.array([state not in BOUNDARIES for state in table.states] + [False])
        used = inner[table.source] & inner[table.target] & (table.source != table.target)
        used = np.flatnonzero(used)
        used = used[np.argsort(table.source[used], kind="stable")]
        source, target = table.source[used].astype(np.int64), table.target[used]
        keys, move, count = np.unique(source * n + target, return_inverse=True, return_counts=True)
        visits = np.bincount(source, minlength=n)
        weight = visits[keys // n] / count
        begin = np.flatnonzero(np.append(True, np.diff(source) > 0)[: len(source)])
        return cls(table.run_of_move[used], source, move, weight, begin, len(table))

    def agreement(self, move: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
        """Return the weighted pairs of steps of one run that agree: in all, and of each run."""
        k = len(self.weight)
        keys, count = count_distinct(self.run * k + move, self.runs * k)
        parts = (count * (count - 1.0)) * self.weight[keys % k]
        return float(parts.sum()), np.bincount(keys // k, parts, self.runs).astype(np.float64)

    def pairs_by_run(self) -> NDArray[np.float64]:
        """(r,) array: the pairs of steps of each run from one state."""
        n = int(self.source.max(initial=0)) + 1
        keys, count = count_distinct(self.run * n + self.source, self.runs * n)
        return np.bincount(keys // n, count * (count - 1.0), self.runs).astype(np.float64)

    def pairs(self) -> float:
        return float(self.pairs_by_run().sum())

    def permute(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the moves, permuted among the steps from each source."""
        return self.move[np.argsort(self.source + rng.random(len(self.source)), kind="stable")]

    def by_run(self) -> csr_array[Any, tuple[int, int]]:
        """(r, k) array: how often each run made each different step."""
        ones = np.ones(len(self.move))
        shape = (self.runs, len(self.weight))
        return csr_array(coo_array((ones, (self.run, self.move)), shape=shape))


def _divisions(table: RunTable) -> dict[str, NDArray[np.int64]]:
    """Return what divides runs into a few parts: (r,) arrays, -1 for a run of none."""
    found: dict[str, NDArray[np.int64]] = {}
    names = sorted({name for context in table.contexts for name, _ in context})
    for name in names:
        values = [dict(context).get(name) for context in table.contexts]
        known = sorted({str(value) for value in values if value is not None})
        code = [-1 if value is None else known.index(str(value)) for value in values]
        found[name] = np.array(code, dtype=np.int64)[table.runs.context]
    found["block"] = table.runs.block.astype(np.int64)
    started = table.runs.started
    if len(table) and not np.isnan(started).any() and started.min() < started.max():
        found[HALVES] = (started > np.median(started)).astype(np.int64)
    return {
        name: np.unique(parts, return_inverse=True)[1] - int((parts < 0).any())
        for name, parts in found.items()
        if 2 <= len(np.unique(parts[parts >= 0])) <= MOST_PARTS
    }


def _test_division(
    steps: _Steps, parts: NDArray[np.int64], replicates: int, rng: np.random.Generator
) -> float:
    """Return the p-value that the parts of the runs are of one chain, by permuting whole runs."""
    known = np.flatnonzero(parts >= 0)
    counts, label = steps.by_run()[known], parts[known]
    source = np.zeros(len(steps.weight), dtype=np.int64)
    source[steps.move] = np.unique(steps.source, return_inverse=True)[1]

    def measure(label: NDArray[np.int64]) -> float:
        ones = csr_array((np.ones(len(label)), (label, np.arange(len(label)))))
        seen = np.asarray((ones @ counts).toarray())
        visits = np.zeros((len(seen), int(source.max()) + 1))
        np.add.at(visits.T, source, seen.T)
        expected = visits[:, source] / steps.weight
        return float(((seen - expected) ** 2 / np.where(expected > 0, expected, 1)).sum())

    found = measure(label)
    drawn = [measure(rng.permutation(label)) for _ in range(replicates)]
    return float((1 + sum(value >= found - 1e-9 for value in drawn)) / (replicates + 1))
