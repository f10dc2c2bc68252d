"""Runs drawn anew with the same moves: uniform among all that a chain of order 1 makes alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.runs.arrays import Paths, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Reshuffle"]


class Reshuffle:
    """Draw runs that begin where the recorded ones began and make the same moves equally often.

    A chain of order 1 makes all such sets of runs with the same probability, whatever its kernel:
    compared with them a test is exact, however sparse the counts. Each state keeps its exits in a
    random order, and runs take them one after the other. They use up all exits where the last
    ones form a tree that leads to the ends (the BEST theorem), so these are drawn first, by
    popping cycles (Wilson's algorithm). Where an open run stopped is an exit as well.

    Parameters
    ----------
    paths : Paths
        The recorded runs.

    References
    ----------
    Propp and Wilson, Journal of Algorithms 27 (1998) 170.
    """

    def __init__(self, paths: Paths) -> None:
        n, open_end = len(paths.states), len(paths.states) + paths.n_ends
        last = np.cumsum(paths.length) - 1
        is_open = paths.end < 0
        where = paths.steps.after[last[is_open]]
        source = np.concatenate([paths.steps.here, where])
        order = np.argsort(source, kind="stable")
        stops = np.full(len(where), open_end)
        self.exits = np.concatenate([paths.steps.after, stops])[order]
        self.degree = np.bincount(source, minlength=n)
        self.begin = np.cumsum(self.degree) - self.degree
        self.first, self.n, self.open_end = paths.first, n, open_end

    def draw(self, copies: int, rng: np.random.Generator) -> Steps:
        """Return the moves of so many sets of runs; `Steps.run` is the number of the set."""
        stacks = self._stacks(copies, rng)
        copy, moves = np.arange(copies), len(self.exits)
        run, fresh = np.zeros(copies, dtype=np.int64), np.full(copies, -1)
        here, before = np.full(copies, self.first[0]), fresh
        taken = np.tile(self.begin, (copies, 1))
        found = np.empty((3, moves, copies), dtype=np.int64)
        for i in range(moves):
            place = taken[copy, here]
            taken[copy, here] += 1
            after = stacks[copy, place]
            found[:, i] = before, here, after
            ended = after >= self.n
            run += ended
            begins = self.first[np.minimum(run, len(self.first) - 1)]
            before, here = np.where(ended, -1, here), np.where(ended, begins, after)
        owner = np.broadcast_to(copy, (moves, copies))
        kept = found[2] < self.open_end
        return Steps(owner[kept], *(part[kept] for part in found))

    def _stacks(self, copies: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return (copies, m) exits, those of each state together and in its order."""
        final = self._last_exits(copies, rng)
        stacks = np.empty((copies, len(self.exits)), dtype=np.int64)
        rows = np.arange(copies)
        for state in np.flatnonzero(self.degree):
            size = int(self.degree[state])
            places = np.tile(np.arange(size), (copies, 1))
            places[rows, final[:, state]], places[:, -1] = size - 1, final[:, state]
            places[:, :-1] = rng.permuted(places[:, :-1], axis=1)
            begin = self.begin[state]
            stacks[:, begin : begin + size] = self.exits[begin + places]
        return stacks

    def _last_exits(self, copies: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return (copies, n) numbers of the exit each state takes last; none make a cycle."""
        chosen = np.zeros((copies, self.n), dtype=np.int64)
        redraw = np.broadcast_to(self.degree > 0, chosen.shape)
        while redraw.any():
            rows, states = np.nonzero(redraw)
            chosen[rows, states] = rng.integers(self.degree[states])
            redraw = self._on_cycles(chosen)
        return chosen

    def _on_cycles(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell, (copies, n), the states that their chosen exits lead back to."""
        copies, n = chosen.shape
        ahead = np.full((copies, n + 1), n)
        used = np.flatnonzero(self.degree)
        ahead[:, used] = np.minimum(self.exits[self.begin[used] + chosen[:, used]], n)
        for _ in range(int(n).bit_length()):
            ahead = np.take_along_axis(ahead, ahead, axis=1)
        # After n steps and more, a path is at an end or on a cycle, and all of a cycle is hit.
        on_cycle = np.zeros((copies, n + 1), dtype=bool)
        on_cycle[np.arange(copies)[:, None], ahead] = True
        return on_cycle[:, :n]
