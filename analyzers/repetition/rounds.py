"""How often runs walk round given loops without leaving them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sparse import find_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopRounds", "count_rounds"]


class LoopRounds(NamedTuple):
    """The rounds of loops in runs, (k,) arrays of int64, by loop and by run.

    Parameters
    ----------
    loop, run : array
        Which loop, and which run.
    rounds : array
        How often that run took that loop, 1 or more.
    """

    loop: NDArray[np.int64]
    run: NDArray[np.int64]
    rounds: NDArray[np.int64]


def count_rounds(table: RunTable, loops: Sequence[Sequence[str]]) -> LoopRounds:
    """Count how often runs walk round loops without leaving them.

    Steps that stay where they are, and escapes, leave nothing. The cost grows with the moves and
    with the number of different lengths of loops: the moves of a round, in whatever order, are
    known by the sum of random numbers of 64 bits, one for each different move.

    Parameters
    ----------
    table : RunTable
        The runs.
    loops : sequence of sequence of str
        Different loops, the states of each in the order visited.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> table = RunTable.of([Trajectory(tuple(zip("xabcabca", "abcabcax")))])
    >>> count_rounds(table, ["abc", "cba"])
    LoopRounds(loop=array([0]), run=array([0]), rounds=array([2]))
    """
    place = {state: i for i, state in enumerate(table.states)}
    edges = [_edges([place.get(state, -1) for state in loop], len(place)) for loop in loops]
    known = np.unique(np.concatenate([*edges, np.zeros(0, dtype=np.int64)]))
    if not len(known):
        return LoopRounds(*np.zeros((3, 0), dtype=np.int64))
    random = np.random.default_rng(0).integers(2**63, size=len(known), dtype=np.uint64) * 2 + 1
    sums = np.array(
        [random[np.searchsorted(known, each)].sum(dtype=np.uint64) for each in edges], np.uint64
    )
    lengths = np.array([len(each) for each in edges])
    run, source, target, edge = _moves_of_loops(table, known)
    stretch = np.ones(len(run), dtype=np.int64)
    stretch[1:] = (run[1:] != run[:-1]) | (source[1:] != target[:-1]) | (edge[1:] < 0)
    stretch = np.cumsum(stretch)
    total = np.zeros(len(run) + 1, dtype=np.uint64)
    np.cumsum(np.append(random, random[:1])[edge], out=total[1:])  # of other moves anything
    found = [np.zeros((3, 0), dtype=np.int64)]
    for length in np.unique(lengths[lengths > 1]).tolist():
        these = np.flatnonzero(lengths == length)
        these = these[np.argsort(sums[these])]
        last = slice(length - 1, None)
        n = max(len(run) - length + 1, 0)
        closes = (stretch[:n] == stretch[last]) & (source[:n] == target[last]) & (edge[:n] >= 0)
        start = np.flatnonzero(closes)
        walked = total[start + length] - total[start]
        place = np.minimum(np.searchsorted(sums[these], walked), len(these) - 1)
        right = sums[these][place] == walked
        found.append(_count_streaks(start[right], these[place[right]], length, run))
    loop, runs, rounds = np.concatenate(found, axis=1)
    keys, which = np.unique(loop * max(len(table), 1) + runs, return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, which, rounds)
    return LoopRounds(*np.divmod(keys, max(len(table), 1)), counts)


def _edges(loop: Sequence[int], n: int) -> NDArray[np.int64]:
    """Return the moves of a loop as numbers; none where a state of it is not there, as -1 says."""
    codes = np.array(loop, dtype=np.int64)
    known = len(codes) > 1 and (codes >= 0).all()
    return codes * n + np.roll(codes, -1) if known else codes[:0]


def _moves_of_loops(
    table: RunTable, known: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return run, source, target and place in `known` of the moves; -1 where it is of no loop."""
    moves = np.flatnonzero((table.target >= 0) & (table.target != table.source))
    source, target = (part[moves].astype(np.int64) for part in (table.source, table.target))
    n = len(table.states)
    edge = find_places(source * n + target, known, n**2)
    return table.run_of_move[moves], source, target, edge


def _count_streaks(
    start: NDArray[np.int64], loop: NDArray[np.int64], length: int, run: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(3, k) array: loop, run and rounds of the streaks of moves that begin a round."""
    new = np.ones(len(start), dtype=bool)
    new[1:] = (np.diff(start) != 1) | (loop[1:] != loop[:-1])
    first = np.flatnonzero(new)
    rounds = (np.diff(np.append(first, len(start))) + length - 1) // length
    return np.stack([loop[first], run[start[first]], rounds])
