"""Loops of states: finding them, and the affinity that drives an agent round them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control, norm

from detailed_balance.analyzers.balance._besag_clifford import sample_reversible_tables
from detailed_balance.analyzers.balance.cycle_search import (
    find_triangles,
    fundamental_cycles,
    search_driven_loops,
    split_moves,
)
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.balance.reversible_mle import fit_reversible
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_counts
from detailed_balance.analyzers.kernel import Attempts, resolve_attempts
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.multiplicity import check_replicates
from detailed_balance.analyzers.results import Result, Table, TableResult, times
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SMALL_COUNT",
    "Z95",
    "Correction",
    "LoopTable",
    "TripletNull",
    "TripletTable",
    "calibrate_triplets",
    "find_loops",
    "loop_shares",
    "measure_triplets",
]

Correction: TypeAlias = Literal["bh", "by"]
"""How p-values are adjusted for their number: Benjamini and Hochberg, or Benjamini and Yekutieli,
which holds under any dependence and finds less."""

MIN_PAIR_COUNT = 5
"""Loops with a pair taken fewer times (both ways together) are not tested."""

SMALL_COUNT = 10
"""Loops with a smaller count on some edge get 1/2 added to all their counts."""

SWEEPS = 10
"""Steps between drawn tables, for each degree of freedom."""

SPLITS = 5
"""The moves are split into halves so many times."""

Z95 = 1.959964
"""Standard errors on each side of a 95% interval."""

_Moves: TypeAlias = "csr_array[Any, tuple[int, int]]"


@dataclass(frozen=True, slots=True, eq=False)
class LoopTable(TableResult):
    """The m tested loops, each in the direction in which it is driven, strongest first.

    Strongest means the most affinity per step, by the lower end of its 95% interval.

    Parameters
    ----------
    states : tuple of str
        The states that the members index, sorted.
    members : tuple of Loop, length m
        The states of each loop as places in `states`.
    affinity : (m,) array of float, 0 or more
        A = log of the product of forward over the product of backward counts, in nats
        (paper eq. 7; the attempts N0 cancel).
    error : (m,) array of float
        Its standard error: the root of the sum of 1/n over the loop's counts.
    pvalue, adjusted : (m,) arrays of float
        P-value of A = 0, two-sided where the loop was not searched for, and the same adjusted for
        the number of loops.
    forward, backward : (m,) arrays of int
        The smallest count along the loop, in its direction and in reverse.
    searched : (m,) array of bool
        True where the loop was found by its excess in halves of the moves; then `affinity` and
        `error` are means over the other halves, which did not choose it, and `pvalue` is twice
        the median of theirs.
    untested : int
        Loops left out because a pair of theirs was taken fewer than 5 times.

    Notes
    -----
    A loop that could not be taken in either direction (some edge missing in each direction) is no
    loop of the agent and is not listed.
    """

    states: tuple[str, ...]
    members: tuple[Loop[int], ...]
    affinity: NDArray[np.float64]
    error: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    searched: NDArray[np.bool_]
    untested: int

    def __len__(self) -> int:
        return len(self.members)

    def names(self, loop: int) -> Loop[str]:
        """Return loop number `loop`, in the driven direction."""
        return Loop(self.states[i] for i in self.members[loop])

    def to_table(self) -> Table:
        """Return the fields as columns, the loops by their names."""
        return {
            "loop": [self.names(i) for i in range(len(self))],
            "affinity": self.affinity.tolist(),
            "error": self.error.tolist(),
            "pvalue": self.pvalue.tolist(),
            "adjusted": self.adjusted.tolist(),
            "forward": self.forward.tolist(),
            "backward": self.backward.tolist(),
            "searched": self.searched.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class TripletTable(TableResult):
    """The m triplets of states of which all six moves were counted (paper Fig. 3 and 8).

    Parameters
    ----------
    loops : tuple of Loop, length m
        The three states in their sorted order, which does not depend on the counts.
    forward, backward : (m,) arrays of float
        The sum of log T along the loop and in reverse, in nats.
    forward_error, backward_error : (m,) arrays of float
        Their standard errors.
    error : (m,) array of float
        That of `affinity`, in which N0 cancels.
    min_count : int
        The least count of a move.
    errors : {"multinomial", "paper"}
        The error formula.
    """

    loops: tuple[Loop[str], ...]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    forward_error: NDArray[np.float64]
    backward_error: NDArray[np.float64]
    error: NDArray[np.float64]
    min_count: int
    errors: Errors

    def __len__(self) -> int:
        return len(self.loops)

    @property
    def affinity(self) -> NDArray[np.float64]:
        """(m,) array: forward less backward, in nats; 0 under detailed balance."""
        return self.forward - self.backward

    @property
    def mean_square(self) -> float:
        """The mean of (affinity / error)^2, the paper's chi-square / ndf; NaN without triplets.

        It is not a test, and 1 is not what detailed balance gives: a triplet enters only where all
        six moves were seen, which leaves out those that happened to be far from balance, and
        triplets share moves. `calibrate_triplets` says what balance gives.
        """
        return float(np.mean((self.affinity / self.error) ** 2)) if len(self) else float("nan")

    def to_table(self) -> Table:
        """Return the fields of the triplets as columns, and `affinity`."""
        return {
            "loop": list(self.loops),
            "forward": self.forward.tolist(),
            "backward": self.backward.tolist(),
            "forward_error": self.forward_error.tolist(),
            "backward_error": self.backward_error.tolist(),
            "affinity": self.affinity.tolist(),
            "error": self.error.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        settings = self._values("min_count", "errors")
        found = {"triplets": self.to_table(), "mean_square": self.mean_square}
        return {**found, "settings": settings}


def measure_triplets(
    counts: CountsLike,
    *,
    min_count: int = 1,
    errors: Errors = "multinomial",
    attempts: Attempts = "observed",
) -> TripletTable:
    """Multiply up the rates round every triplet of states, both ways, however few the counts.

    `find_loops` tests only loops whose pairs were taken five times. Here is what the paper shows
    of sparse data: each triplet with all six counts at least `min_count`.

    Parameters
    ----------
    counts : CountsLike
        What was recorded; START and END are left out.
    min_count : int
        The least count of each of the six moves: the paper takes 1 and 2.
    errors : {"multinomial", "paper"}
        Variance of log T: 1/n - 1/N0, and 1/n for each move of the affinity, in which N0
        cancels; or the paper's, 1/n + 1/N0 throughout, which is too large.
    attempts : {"observed", "transitions"}, float or (n,) array_like
        N0, as for `estimate_kernel`.

    Returns
    -------
    TripletTable
        Sorted by the names of the states; empty where no triplet has all six counts.

    Raises
    ------
    InvalidInputError
        Where `min_count` is under 1, or an argument is none of those allowed.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7, Fig. 3 and 8.

    Examples
    --------
    >>> edges = [("a", "b", 3), ("b", "c", 2), ("c", "a", 2), ("b", "a", 1), ("c", "b", 1)]
    >>> counts = TransitionCounts.from_edges([*edges, ("a", "c", 1)])
    >>> triplets = measure_triplets(counts)
    >>> triplets.loops[0].name(), round(float(triplets.affinity[0]), 3)  # log 12
    ('a -> b -> c -> a', 2.485)
    >>> len(measure_triplets(counts, min_count=2))
    0
    """
    if min_count < 1:
        raise InvalidInputError(f"min_count={min_count!r}; it is 1 or more: a log needs a count")
    if errors not in get_args(Errors):
        raise InvalidInputError(f"errors={errors!r}; allowed are {', '.join(get_args(Errors))}")
    given = read_counts(counts).without_boundaries()
    bare = given.sorted()
    made = resolve_attempts(given, attempts)[0][[given.index(state) for state in bare.states]]
    places = np.array(sorted(_counted_triplets(bare, min_count)), np.int64).reshape(-1, 3)
    after = np.roll(places, -1, axis=1)
    sides = []
    for source, target in ((places, after), (after, places)):
        n = lookup(bare.counts, source.ravel(), target.ravel()).reshape(-1, 3)
        tried = np.maximum(made[source], n)
        sign = 1.0 if errors == "paper" else -1.0
        sides.append((np.log(n / tried).sum(1), (1 / n + sign / tried).sum(1), (1 / n).sum(1)))
    (there, there_variance, there_counts), (back, back_variance, back_counts) = sides
    paper = errors == "paper"
    variance = there_variance + back_variance if paper else there_counts + back_counts
    return TripletTable(
        tuple(Loop(bare.states[i] for i in triplet) for triplet in places.tolist()),
        there,
        back,
        np.sqrt(there_variance),
        np.sqrt(back_variance),
        np.sqrt(variance),
        min_count,
        errors,
    )


@dataclass(frozen=True, slots=True, eq=False)
class TripletNull(Result):
    """What the mean square of triplets would be under detailed balance.

    Parameters
    ----------
    observed, triplets : float, int
        `TripletTable.mean_square` of what was recorded, and of how many triplets it is.
    mean, interval : float, (float, float)
        Its mean under detailed balance, and where 95% of the draws lie.
    pvalue : float
        How often balance gives as much or more.
    mean_triplets, empty : float, int
        How many triplets a draw has on average; draws without any, which are left out.
    min_count, errors, replicates, seed
        As for `calibrate_triplets`.
    """

    observed: float
    triplets: int
    mean: float
    interval: tuple[float, float]
    pvalue: float
    mean_triplets: float
    empty: int
    min_count: int
    errors: Errors
    replicates: int
    seed: int

    def describe(self) -> str:
        """Say in one sentence what was observed, and what balance gives."""
        low, high = self.interval
        return (
            f"{self.triplets:,} triplets: {self.observed:.2f} observed; detailed balance gives "
            f"{self.mean:.2f} ({low:.2f} to {high:.2f}) on this graph, p = {self.pvalue:.2g}"
        )


def calibrate_triplets(
    counts: CountsLike,
    *,
    min_count: int = 1,
    errors: Errors = "multinomial",
    attempts: Attempts = "observed",
    replicates: int = 199,
    seed: int = 0,
) -> TripletNull:
    """Simulate `TripletTable.mean_square` under detailed balance, at the size of the record.

    Its null: the moves are those of some reversible chain. Tables are drawn as by
    `reversibility_test`, given how often each pair was taken and each state left, so that the
    graph, the attempts and the choice of triplets, which bend the statistic, stay the same.

    Parameters
    ----------
    counts : CountsLike
        What was recorded; START and END are left out.
    min_count, errors, attempts
        As for `measure_triplets`.
    replicates, seed : int
        Of the simulation; the smallest p-value is 1 / (replicates + 1).

    Raises
    ------
    InsufficientDataError
        Where no triplet has all six counts, in the record or in any draw.
    InvalidInputError
        Where an argument is none of those allowed.

    Examples
    --------
    >>> moves = [[0, 30, 10], [10, 0, 30], [30, 10, 0]]
    >>> null = calibrate_triplets(moves)
    >>> null.triplets, round(null.observed, 1), null.pvalue
    (1, 27.2, 0.005)
    """
    check_replicates(replicates)
    counts = read_counts(counts)
    seen = measure_triplets(counts, min_count=min_count, errors=errors, attempts=attempts)
    if not len(seen):
        raise InsufficientDataError(
            f"no triplet of states has all six moves {times(min_count)} or more; record more"
        )
    given = counts.without_boundaries()
    fit = fit_reversible(given.sorted())
    states = fit.counts.states
    made = resolve_attempts(given, attempts)[0][[given.index(state) for state in states]]
    pairs, rng, drawn, sizes = fit.pairs, np.random.default_rng(seed), [], []
    ends = np.r_[pairs.first, pairs.second], np.r_[pairs.second, pairs.first]
    shape = (len(states), len(states))
    for tables in sample_reversible_tables(fit, replicates=replicates, sweeps=SWEEPS, rng=rng):
        for there in tables.T:
            matrix = csr_array((np.r_[there, fit.totals - there], ends), shape=shape)
            moves = TransitionCounts(states, matrix, np.asarray(matrix.sum(axis=1)))
            found = measure_triplets(moves, min_count=min_count, errors=errors, attempts=made)
            drawn.append(found.mean_square)
            sizes.append(len(found))
    squares = np.array(drawn)[np.isfinite(drawn)]
    if not len(squares):
        raise InsufficientDataError("no draw has a triplet with all six moves; record more")
    low, high = np.quantile(squares, [0.025, 0.975]).tolist()
    reached = np.count_nonzero(squares >= seen.mean_square * (1 - 1e-12))
    return TripletNull(
        seen.mean_square,
        len(seen),
        float(squares.mean()),
        (low, high),
        float((1 + reached) / (1 + len(squares))),
        float(np.mean(sizes)),
        replicates - len(squares),
        min_count,
        errors,
        replicates,
        seed,
    )


def _counted_triplets(counts: TransitionCounts, min_count: int) -> list[tuple[int, ...]]:
    """Return the triplets whose six moves were each counted so often, their places sorted."""
    often = counts.counts.minimum(counts.counts.T).tocsr()
    often.setdiag(0)
    often.data[often.data < min_count] = 0
    often.eliminate_zeros()
    return [tuple(sorted(triplet)) for triplet in find_triangles(often)]


def find_loops(
    counts: TransitionCounts,
    *,
    min_pair_count: int = MIN_PAIR_COUNT,
    correction: Correction = "bh",
) -> LoopTable:
    """Test the triangles, a basis of the longer cycles, and the longer loops most driven.

    The last are searched in a random half of the moves and tested in the other, one-sided in the
    direction found, because a loop that was chosen for its excess would otherwise always show it.
    That is done with five splits, and twice the median of the p-values is taken, so that no single
    split decides.

    Parameters
    ----------
    counts : TransitionCounts
        Without START and END.
    min_pair_count : int
        Pairs taken fewer times, both ways together, carry no test. The choice does not look at
        the direction of a move, so it does not bend the tests.
    correction : {"bh", "by"}
        How the p-values are adjusted for their number.

    Returns
    -------
    LoopTable
        Sorted by affinity per step, by the lower end of its 95% interval.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7 and Fig. 3; N. Meinshausen, L. Meier and P. Bühlmann, JASA
    104 (2009) 1671, for p-values of several splits.

    Examples
    --------
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> loops = find_loops(TransitionCounts.from_edges(edges))
    >>> loops.names(0), round(float(loops.affinity[0]), 3)  # 3 log 9
    (Loop('a', 'b', 'c'), 6.592)
    """
    counts = counts.sorted()
    moves = counts.counts.astype(np.int64)
    moves.data[moves.tocoo().row == moves.indices] = 0  # nothing from a state to itself
    moves.eliminate_zeros()
    totals = (moves + moves.T).tocsr()
    fixed = [Loop(loop) for loop in (*find_triangles(totals), *fundamental_cycles(totals))]
    known = {loop.unoriented() for loop in fixed}
    measured = _measure(moves, fixed, min_pair_count)
    kept = np.flatnonzero(measured.walkable & measured.enough)
    fixed_ones = measured.select(kept)
    searched, pvalue = _search(moves, known, min_pair_count)
    z = np.abs(fixed_ones.affinity / fixed_ones.error)
    untested = int(np.count_nonzero(measured.walkable & ~measured.enough))
    return _make_table(
        counts.states,
        fixed_ones.join(searched),
        np.concatenate([2 * norm.sf(z), pvalue]),
        np.arange(len(z) + len(pvalue)) >= len(z),
        untested,
        correction,
    )


def loop_shares(counts: TransitionCounts, loops: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the share of the net moves, sum |n_fg - n_gf|, that each loop can account for.

    A loop carries at most the smallest net count along it, once for each of its steps.

    Examples
    --------
    >>> edges = [("a", "b", 9), ("b", "c", 7), ("c", "a", 7), ("b", "a", 1), ("b", "d", 3)]
    >>> loop_shares(TransitionCounts.from_edges(edges), [(0, 1, 2)])  # 3 * 7 / (8 + 7 + 7 + 3)
    [0.84]
    """
    net = (counts.counts - counts.counts.T).tocsr()
    total = float(np.abs(net.data).sum()) / 2
    if not loops or not total:
        return [0.0] * len(loops)
    source, target, starts, lengths = _edges_of(loops)
    least = np.maximum(_reduce(np.minimum, lookup(net, source, target), starts), 0)
    shares: list[float] = (least * lengths / total).tolist()
    return shares


def _edges_of(loops: Sequence[tuple[int, ...]]) -> tuple[NDArray[np.int64], ...]:
    """Return source and target of all edges laid end to end, and each loop's start and length."""
    lengths = np.fromiter(map(len, loops), np.int64, len(loops))
    starts = np.cumsum(lengths) - lengths
    source = np.fromiter(chain.from_iterable(loops), np.int64, int(lengths.sum()))
    following = np.arange(len(source)) + 1
    following[starts + lengths - 1] = starts
    return source, source[following], starts, lengths


class _Measured(NamedTuple):
    """Loops with their affinities and smallest counts, and whether they can be tested."""

    loops: list[Loop[int]]
    affinity: NDArray[np.float64]
    error: NDArray[np.float64]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    enough: NDArray[np.bool_]

    @property
    def walkable(self) -> NDArray[np.bool_]:
        """(m,) array: whether each could be taken, in one direction or the other."""
        return np.maximum(self.forward, self.backward) > 0

    def select(self, kept: NDArray[np.int64]) -> _Measured:
        columns: Any = (column[kept] for column in self[1:])
        return _Measured([self.loops[i] for i in kept.tolist()], *columns)

    def join(self, other: _Measured) -> _Measured:
        columns: Any = map(np.concatenate, zip(self[1:], other[1:], strict=True))
        return _Measured(self.loops + other.loops, *columns)


def _measure(moves: _Moves, loops: list[Loop[int]], min_pair_count: int) -> _Measured:
    """Measure all loops at once, their edges laid end to end."""
    source, target, starts, lengths = _edges_of(loops)
    there, back = lookup(moves, source, target), lookup(moves, target, source)
    forward, backward = _reduce(np.minimum, there, starts), _reduce(np.minimum, back, starts)
    half = np.repeat(np.where(np.minimum(forward, backward) < SMALL_COUNT, 0.5, 0.0), lengths)
    with np.errstate(divide="ignore", invalid="ignore"):
        affinity = _reduce(np.add, np.log(there + half) - np.log(back + half), starts)
        error = np.sqrt(_reduce(np.add, 1 / (there + half) + 1 / (back + half), starts))
    enough = _reduce(np.minimum, there + back, starts) >= min_pair_count
    return _Measured(loops, affinity, error, forward, backward, enough)


def _search(
    moves: _Moves, known: set[Loop[int]], min_pair_count: int
) -> tuple[_Measured, NDArray[np.float64]]:
    """Look for driven loops in halves of the moves, and test them in the other halves.

    Those that most splits find are returned, with their p-values: twice the median of the others
    would be 1.
    """
    seen: dict[Loop[int], list[tuple[float, float, float]]] = {}
    for seed in range(SPLITS):
        half, other = split_moves(moves, seed)
        found = [loop for loop in search_driven_loops(half) if loop.unoriented() not in known]
        part = _measure(other, found, min_pair_count)
        for i in np.flatnonzero(part.walkable & part.enough).tolist():
            affinity, error = float(part.affinity[i]), float(part.error[i])
            row = (affinity, error, float(norm.sf(affinity / error)))
            seen.setdefault(part.loops[i], []).append(row)
    often = {loop: rows for loop, rows in sorted(seen.items()) if 2 * len(rows) > SPLITS}
    means = np.array([np.mean(rows, axis=0) for rows in often.values()]).reshape(-1, 3)
    measured = _measure(moves, list(often), min_pair_count)
    return (
        measured._replace(affinity=means[:, 0], error=means[:, 1]),
        np.array([_twice_median([p for _, _, p in rows]) for rows in often.values()]),
    )


def _twice_median(pvalues: Sequence[float]) -> float:
    """Return twice the median over all splits, 1 where a split did not find the loop."""
    return min(1.0, 2 * sorted([*pvalues, *[1.0] * (SPLITS - len(pvalues))])[SPLITS // 2])


def _make_table(
    states: tuple[str, ...],
    tested: _Measured,
    pvalue: NDArray[np.float64],
    searched: NDArray[np.bool_],
    untested: int,
    correction: Correction,
) -> LoopTable:
    # A longer loop through a driven one shares its push, but less of it for each of its steps.
    lengths = np.fromiter(map(len, tested.loops), float, len(tested.loops))
    push = (np.abs(tested.affinity) - Z95 * tested.error) / lengths
    order = np.argsort(-push, kind="stable")
    turned = tested.affinity < 0
    pvalue = pvalue[order]
    return LoopTable(
        states,
        tuple(tested.loops[i].reversed() if turned[i] else tested.loops[i] for i in order),
        np.abs(tested.affinity[order]),
        tested.error[order],
        pvalue,
        false_discovery_control(pvalue, method=correction) if len(order) else pvalue,
        np.where(turned, tested.backward, tested.forward)[order],
        np.where(turned, tested.forward, tested.backward)[order],
        searched[order],
        untested,
    )


def _reduce(ufunc: np.ufunc, values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    return ufunc.reduceat(values, starts) if len(starts) else values
