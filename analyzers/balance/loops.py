"""Loops of states: finding them, and the affinity that drives an agent round them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control, norm

from detailed_balance.analyzers.balance.cycle_search import (
    find_triangles,
    fundamental_cycles,
    search_driven_loops,
    split_moves,
)
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SMALL_COUNT", "Correction", "LoopTable", "find_loops", "loop_shares"]

Correction: TypeAlias = Literal["bh", "by"]
"""How p-values are adjusted for their number: Benjamini and Hochberg, or Benjamini and Yekutieli,
which holds under any dependence and finds less."""

MIN_PAIR_COUNT = 5
"""Loops with a pair walked fewer times (both ways together) are not tested."""

SMALL_COUNT = 10
"""Loops with a smaller count on some edge get 1/2 added to all their counts."""

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
    members : tuple of tuple of int, length m
        The states of each loop, in order, starting with the lowest index.
    affinity : (m,) array of float, 0 or more
        A = log of the product of forward over the product of backward counts, in nats
        (paper eq. 7; the attempts N0 cancel).
    error : (m,) array of float
        Its standard error: the root of the sum of 1/n over the loop's counts.
    pvalue, adjusted : (m,) arrays of float
        P-value of A = 0, two-sided where the loop was not searched for, and the same adjusted for
        the number of loops.
    forward, backward : (m,) arrays of int
        The smallest count along the loop, each way round: it was walked at most so often.
    searched : (m,) array of bool
        True where the loop was found by its excess in one half of the moves; then `affinity`,
        `error` and `pvalue` are those of the other half, which did not choose it.
    untested : int
        Loops left out because a pair of theirs was walked fewer than 5 times.

    Notes
    -----
    A loop that could not be walked either way round (some edge missing in each direction) is no
    loop of the agent and is not listed.
    """

    states: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
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

    def names(self, loop: int) -> tuple[str, ...]:
        """Return the states of loop number `loop`, in the driven order."""
        return tuple(self.states[i] for i in self.members[loop])

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


def find_loops(
    counts: TransitionCounts,
    *,
    min_pair_count: int = MIN_PAIR_COUNT,
    correction: Correction = "bh",
) -> LoopTable:
    """Test the triangles, a basis of the longer cycles, and the longer loops most driven.

    The last are searched in a random half of the moves and tested in the other, one-sided in the
    direction found, because a loop that was chosen for its excess would otherwise always show it.

    Parameters
    ----------
    counts : TransitionCounts
        Without START and END.
    min_pair_count : int
        Pairs walked fewer times, both ways together, carry no test. The choice does not look at
        the direction of a move, so it does not bend the tests.
    correction : {"bh", "by"}
        How the p-values are adjusted for their number.

    Returns
    -------
    LoopTable
        Sorted by affinity per step, by the lower end of its 95% interval.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7 and Fig. 3.

    Examples
    --------
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> loops = find_loops(TransitionCounts.from_edges(edges))
    >>> loops.names(0), round(float(loops.affinity[0]), 3)  # 3 log 9
    (('a', 'b', 'c'), 6.592)
    """
    counts = counts.sorted()
    moves = counts.counts.astype(np.int64)
    moves.data[moves.tocoo().row == moves.indices] = 0  # nothing from a state to itself
    moves.eliminate_zeros()
    totals = (moves + moves.T).tocsr()
    triangles, basis = find_triangles(totals), fundamental_cycles(totals)
    known = set(map(_either_way, basis))
    seen, unseen = split_moves(moves)
    found = [loop for loop in search_driven_loops(seen) if _either_way(loop) not in known]
    fixed, searched, walked = (
        _measure(part, loops, min_pair_count)
        for part, loops in ((moves, triangles + basis), (unseen, found), (moves, found))
    )
    return _make_table(counts.states, fixed, searched, walked, correction)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Loops with their affinities and smallest counts, and whether they can be tested."""

    loops: list[tuple[int, ...]]
    affinity: NDArray[np.float64]
    error: NDArray[np.float64]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    enough: NDArray[np.bool_]

    @property
    def walkable(self) -> NDArray[np.bool_]:
        """(m,) array: whether each could be walked round, one way or the other."""
        return np.maximum(self.forward, self.backward) > 0


def _measure(moves: _Moves, loops: list[tuple[int, ...]], min_pair_count: int) -> _Measured:
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


def _make_table(
    states: tuple[str, ...],
    fixed: _Measured,
    searched: _Measured,
    walked: _Measured,
    correction: Correction,
) -> LoopTable:
    """Test the fixed loops both ways, the searched ones in the direction that was found."""
    parts = (fixed, searched)
    kept = [np.flatnonzero(part.walkable & part.enough) for part in parts]
    loops = [part.loops[i] for part, use in zip(parts, kept, strict=True) for i in use]
    affinity, error = (
        np.concatenate([getattr(part, name)[use] for part, use in zip(parts, kept, strict=True)])
        for name in ("affinity", "error")
    )
    # The counts shown are those of all moves; the searched loops were tested in half of them.
    forward, backward = (
        np.concatenate([getattr(fixed, name)[kept[0]], getattr(walked, name)[kept[1]]])
        for name in ("forward", "backward")
    )
    one_sided = np.arange(len(loops)) >= len(kept[0])
    z = affinity / error
    pvalue = np.where(one_sided, norm.sf(z), 2 * norm.sf(np.abs(z)))
    # A longer loop through a driven one shares its push, but less of it for each of its steps.
    push = (np.abs(affinity) - Z95 * error) / np.fromiter(map(len, loops), float, len(loops))
    order = np.argsort(-push, kind="stable")
    turned = affinity < 0
    return LoopTable(
        states,
        tuple(_oriented(loops[i], bool(turned[i])) for i in order),
        np.abs(affinity[order]),
        error[order],
        pvalue[order],
        false_discovery_control(pvalue[order], method=correction) if len(loops) else pvalue,
        np.where(turned, backward, forward)[order],
        np.where(turned, forward, backward)[order],
        one_sided[order],
        int(np.count_nonzero(fixed.walkable & ~fixed.enough)),
    )


def _either_way(loop: tuple[int, ...]) -> tuple[int, ...]:
    """Return the same tuple for a loop and its reverse, wherever they begin."""
    return min(_oriented(loop, False), _oriented(loop, True))


def _reduce(ufunc: np.ufunc, values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    return ufunc.reduceat(values, starts) if len(starts) else values


def _oriented(loop: tuple[int, ...], turned: bool) -> tuple[int, ...]:
    loop = loop[::-1] if turned else loop
    first = loop.index(min(loop))
    return loop[first:] + loop[:first]
