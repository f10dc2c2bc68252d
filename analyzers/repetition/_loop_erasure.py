"""The loops of the loop-erased paths of many runs, all runs one step at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition._stretches import Blocks
from detailed_balance.analyzers.repetition.walk import LoopErasure
from detailed_balance.analyzers.sparse import count_distinct, find_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FEWEST_AT_ONCE = 50
"""Where fewer runs go on, one after the other is faster than all at once."""

CELLS = 2_000_000
"""So many places of the tables of paths are held at a time."""

FEW_STATES = 64
"""With more states in all, those of each run are numbered again, which keeps the tables small."""


@dataclass(frozen=True, slots=True, eq=False)
class LoopColumns:
    """The loops of two states or more that runs went round, detours cut out.

    Parameters
    ----------
    states : tuple of str
        What loops consist of.
    rows : mapping of int to (u, L) array of int
        For each length L the u different loops of that length, sorted: places in `states` in the
        order taken, from the least on. Loops are numbered in this order, the shorter first.
    run, loop, onset, end, rounds : (k,) arrays of int64
        Run, number of the loop, moves before it was first begun and up to when it was last closed,
        and how often it was closed; by run, and in each in the order in which loops were first
        closed. Where a run comes in several parts, each of them has rows of its own.
    """

    states: tuple[str, ...]
    rows: dict[int, NDArray[Any]]
    run: NDArray[np.int64]
    loop: NDArray[np.int64]
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    rounds: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many different loops there are."""
        return sum(map(len, self.rows.values()))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(u,) array of int64: the number of states of each loop."""
        lengths = np.array(list(self.rows), dtype=np.int64)
        return np.repeat(lengths, [len(rows) for rows in self.rows.values()])

    def name(self, loop: int) -> Loop[str]:
        """Return the states of a loop."""
        for rows in self.rows.values():
            if loop < len(rows):
                return Loop(self.states[code] for code in rows[loop].tolist())
            loop -= len(rows)
        raise IndexError(loop)

    def reverse(self) -> NDArray[np.int64]:
        """(u,) array of int64: the number of each loop in the other direction, -1 where none is."""
        turned = [np.hstack([rows[:, :1], rows[:, :0:-1]]) for rows in self.rows.values()]
        return np.concatenate([*map(self._find_rows, turned), np.zeros(0, dtype=np.int64)])

    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the moves of all loops: (e,) arrays of the loop, the source and the target."""
        source = [rows.ravel() for rows in self.rows.values()]
        target = [np.roll(rows, -1, axis=1).ravel() for rows in self.rows.values()]
        nothing = np.zeros(0, dtype=np.int64)
        return (
            np.repeat(np.arange(len(self)), self.lengths),
            np.concatenate([*source, nothing]).astype(np.int64),
            np.concatenate([*target, nothing]).astype(np.int64),
        )

    def find(self, loops: Sequence[Loop[str]]) -> NDArray[np.int64]:
        """Return the numbers of loops; -1 for one that nobody made."""
        place = {state: i for i, state in enumerate(self.states)}
        found = np.full(len(loops), -1)
        for length in {len(loop) for loop in loops}:
            these = [
                i
                for i, loop in enumerate(loops)
                if len(loop) == length and set(loop) <= place.keys()
            ]
            codes = [[place[state] for state in loops[i]] for i in these]
            found[these] = self._find_rows(np.array(codes, dtype=np.int64).reshape(-1, length))
        return found

    def _find_rows(self, wanted: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of each of some loops of one length, -1 where it is not there."""
        rows = self.rows.get(wanted.shape[1])
        if rows is None:
            return np.full(len(wanted), -1)
        before = sum(len(those) for length, those in self.rows.items() if length < wanted.shape[1])
        known, asked = (_row_keys(part, len(self.states)) for part in (rows, wanted))
        place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return np.where(known[place] == asked, place + before, -1)


class Closings(NamedTuple):
    """Each time that a run closed a loop, part by part and in each in that order.

    Parameters
    ----------
    first, last : (c,) arrays of int64
        The blocks in which the run began the loop, and with which it closed it.
    loop : (c,) array of int64
        The number of the loop.
    rows : mapping of int to array
        As in `LoopColumns`.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    loop: NDArray[np.int64]
    rows: dict[int, NDArray[Any]]


def find_closings(blocks: Blocks, n: int) -> Closings:
    """Return the loops that runs close, in n states: they come back to a state on their path."""
    members, lengths = _erase_loops(blocks, n)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    closing = np.full(len(lengths), -1)
    rows: dict[int, NDArray[Any]] = {}
    before = 0
    for length in np.unique(lengths).tolist():
        these = np.flatnonzero(lengths == length)
        walked = blocks.state[members[starts[these][:, None] + np.arange(length)]]
        rows[length], number = _number_rows(_rotate_to_least(walked), n)
        closing[these] = number + before
        before += len(rows[length])
    # The last block on the path is the one before the block that closes the loop.
    return Closings(members[starts[:-1]], members[starts[1:] - 1] + 1, closing, rows)


def close_loops(blocks: Blocks, states: tuple[str, ...]) -> LoopColumns:
    """Return the loops that runs close: they come back to a state that is on their path."""
    found = find_closings(blocks, len(states))
    different = sum(map(len, found.rows.values()))
    return LoopColumns(states, found.rows, *_count_rounds(blocks, found, different))


def _rotate_to_least(loops: NDArray[Any]) -> NDArray[Any]:
    """Return loops of one length, an (u, L) array of states, each from its least state on."""
    places = loops.argmin(axis=1)[:, None] + np.arange(loops.shape[1])
    return np.take_along_axis(loops, places % loops.shape[1], axis=1)


def _number_rows(rows: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the different rows, sorted, and the number of each row among them."""
    keys, width = _row_keys(rows, n), rows.shape[1]
    if keys.dtype == np.int64:
        distinct, _ = count_distinct(keys, n**width)
        digits = distinct[:, None] // n ** np.arange(width - 1, -1, -1) % n
        return digits, find_places(keys, distinct, n**width)
    _, example, number = np.unique(keys, return_index=True, return_inverse=True)
    return rows[example], number


def _row_keys(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Return one number or one string of bytes for each row of states, which sorts as it does."""
    width = rows.shape[1]
    if n**width < 2**62:
        return np.asarray(rows.astype(np.int64) @ n ** np.arange(width - 1, -1, -1))
    return np.ascontiguousarray(rows, dtype=">i4").view(f"S{4 * width}")[:, 0]


def _count_rounds(
    blocks: Blocks, closings: Closings, n_loops: int
) -> tuple[NDArray[np.int64], ...]:
    """Return run, loop, onset, end and rounds of loops, in the order of first closing."""
    loop, part = closings.loop, blocks.part[closings.first]
    keys, place, which, rounds = np.unique(
        part * n_loops + loop, return_index=True, return_inverse=True, return_counts=True
    )
    end = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(end, which, blocks.onset[closings.last])
    order = np.lexsort((place, keys // max(n_loops, 1)))
    place = place[order]
    onset = blocks.onset[closings.first[place]]
    return blocks.run_of_part[part[place]], loop[place], onset, end[order], rounds[order]


def _erase_loops(blocks: Blocks, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the blocks of each loop, in the order visited, loop after loop, and their number.

    The loops of a part come in the order in which they were closed; each is walked as a run.
    """
    sizes = np.diff(blocks.offsets)
    runs = np.argsort(-sizes, kind="stable")
    runs = runs[: np.searchsorted(-sizes[runs], -3, side="right")]  # a, b and a at least
    code, widths = _number_states(blocks, n)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    start = 0
    while start < len(runs):
        # The widths of shorter runs are not bounded by those of longer ones: look at all of them.
        width = np.maximum.accumulate(widths[runs[start : start + CELLS]])
        number = max(1, int(np.searchsorted(width * np.arange(1, len(width) + 1), CELLS, "right")))
        chunk = runs[start : start + number]
        found += _walk(code, blocks.offsets[chunk], sizes[chunk], int(width[number - 1]))
        start += number
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    members, lengths = zip(*found, strict=True)
    return np.concatenate(members), np.concatenate(lengths)


def _number_states(blocks: Blocks, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the state of each block as a number, and the bound of these numbers in each part."""
    if n <= FEW_STATES:
        return blocks.state, np.full(len(blocks.offsets) - 1, n)
    part = blocks.part
    keys, number = np.unique(part * n + blocks.state, return_inverse=True)
    widths = np.bincount(keys // n, minlength=len(blocks.offsets) - 1)
    return number - (np.cumsum(widths) - widths)[part], widths


def _walk(
    code: NDArray[Any], first: NDArray[np.int64], sizes: NDArray[np.int64], width: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Walk runs, the longest first, and yield the loops that they close at each step."""
    row = np.arange(len(first)) * width
    path = np.zeros(len(first) * width, dtype=np.int64)  # the block at each place of the path
    place = np.zeros(len(first) * width, dtype=np.int32)  # where a state was put last
    depth = np.full(len(first), -1, dtype=np.int32)
    going = np.searchsorted(-sizes, -np.arange(sizes[0]), side="left")  # runs with more blocks
    for step, n in enumerate(going.tolist()):
        if n < FEWEST_AT_ONCE:
            rest = (path[row[i] : row[i] + depth[i] + 1].tolist() for i in range(n))
            for known, begin, size in zip(
                rest, first[:n].tolist(), sizes[:n].tolist(), strict=True
            ):
                yield from _walk_one(code, known, begin + step, begin + size)
            return
        block = first[:n] + step
        here, top, start = code[block], depth[:n], row[:n]
        cell = start + here
        at = place[cell]
        closes = (at <= top) & (code[path[start + at]] == here)
        closing = np.flatnonzero(closes)
        if len(closing):
            lengths = top[closing] - at[closing] + 1
            begin = (start + at)[closing]
            before = np.cumsum(lengths) - lengths
            places = np.arange(lengths.sum()) + np.repeat(begin - before, lengths)
            yield path[places], lengths
        top = np.where(closes, at, top + 1)
        depth[:n] = place[cell] = top
        path[start + top] = block


def _walk_one(
    code: NDArray[Any], path: list[int], begin: int, end: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Walk one run on from where its path is known, and yield the loops that it closes."""
    walk: LoopErasure[int] = LoopErasure(zip(code[path].tolist(), path, strict=True))
    members: list[int] = []
    lengths: list[int] = []
    for block, state in enumerate(code[begin:end].tolist(), begin):
        if loop := walk.visit(state, block):
            members += [at for _, at in loop]
            lengths.append(len(loop))
    yield np.array(members, dtype=np.int64), np.array(lengths, dtype=np.int64)
