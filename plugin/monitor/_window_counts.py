"""`WindowCounts`: the counts of all that was recorded, and of the last moves of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers import START, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states.cardinality import OTHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

Edge: TypeAlias = tuple[str, str | None]
"""Source and target, None for an escape."""

_ROOM = 1024
"""Edges that fit before the arrays grow for the first time; from then on they double."""


class WindowCounts:
    """Count moves, all of them and the last `window`, at a cost that does not grow with the record.

    Each different move has a place in arrays that grow by doubling; the window is a circular buffer
    of such places. The matrices for the analyzers are made only when they are asked for.

    Parameters
    ----------
    window : int
        How many moves, escapes included, are recent.
    max_states : int
        Later states are counted as one, ``__other__``, so that the memory has a bound.

    Attributes
    ----------
    total : int
        Moves and escapes counted.
    transitions, escapes, runs : int
        Moves, attempts that reached no state, and moves out of START.

    Examples
    --------
    >>> counter = WindowCounts(window=2)
    >>> counter.add([("a", "b"), ("b", "a"), ("a", None)])
    >>> counter.counts().attempts.tolist(), counter.counts(recent=True).attempts.tolist()
    ([2, 1], [1, 1])
    """

    def __init__(self, window: int, *, max_states: int = 1_000_000) -> None:
        if type(window) is not int or window < 1:
            raise InvalidInputError(f"window is a number of moves, 1 or more; got {window!r}")
        self.window, self.max_states = window, max_states
        self.total = self.transitions = self.escapes = self.runs = 0
        self._states: dict[str, int] = {}
        self._slots: dict[Edge, int] = {}
        # One column for each edge: source, target (-1 for an escape).
        self._ends = np.zeros((2, _ROOM), dtype=np.int32)
        self._counts = np.zeros((2, _ROOM), dtype=np.int64)  # of all, and of the recent ones
        self._buffer = np.zeros(window, dtype=np.int32)
        self._recent = 0  # how many places of the buffer are in use
        self._next = 0

    @property
    def states(self) -> int:
        """How many different states."""
        return len(self._states)

    @property
    def edges(self) -> int:
        """How many different moves, escapes not included."""
        return int((self._ends[1, : len(self._slots)] >= 0).sum())

    @property
    def recent(self) -> int:
        """How many moves the window holds now."""
        return self._recent

    def start(self, counts: TransitionCounts) -> None:
        """Add what was counted before; it is in no window."""
        edges = counts.counts.tocoo()
        names = counts.states
        moves: list[tuple[Edge, int]] = [
            ((names[i], names[j]), n)
            for i, j, n in zip(
                edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True
            )
        ]
        moves += [((f, None), n) for f, n in zip(names, counts.escapes.tolist(), strict=True) if n]
        for state in names:
            self._index(state)
        self._count(moves)

    def add(self, moves: Sequence[Edge]) -> None:
        """Count moves, in the order in which they came."""
        slots = self._count([(move, 1) for move in moves])
        self._slide(slots[-self.window :])

    def add_counted(self, moves: Iterable[tuple[Edge, int]]) -> None:
        """Count moves that stand for several; they are in no window, where order is needed."""
        self._count(list(moves))

    def counts(self, *, recent: bool = False) -> TransitionCounts:
        """Return all that was counted, or only the last moves and the states they touch."""
        m = len(self._slots)
        source, target = self._ends[:, :m].copy()
        counts = self._counts[int(recent), :m].copy()
        states = tuple(self._states)
        if not recent:
            return TransitionCounts.from_arrays(states, source, target, counts)
        kept = counts > 0
        source, target, counts = source[kept], target[kept], counts[kept]
        touched = np.union1d(source, target[target >= 0])
        place = np.full(len(states) + 1, -1)
        place[touched] = np.arange(len(touched))  # that of -1, an escape, stays -1
        names = tuple(states[i] for i in touched.tolist())
        return TransitionCounts.from_arrays(names, place[source], place[target], counts)

    def window_moves(self) -> list[Edge]:
        """Return the moves in the window, the oldest first."""
        order = np.arange(self._next - self._recent, self._next) % self.window
        edges = list(self._slots)
        return [edges[slot] for slot in self._buffer[order].tolist()]

    def fill_window(self, moves: Sequence[Edge]) -> None:
        """Put moves in the window that are counted already; unknown ones are left out."""
        known = [self._slots[move] for move in moves if move in self._slots]
        self._slide(np.array(known[-self.window :], dtype=np.int32))

    def first_seen(self, after: int) -> tuple[str, ...]:
        """Return the states beyond the first `after`, in the order in which they came."""
        return tuple(self._states)[after:]

    def _count(self, moves: list[tuple[Edge, int]]) -> NDArray[np.int32]:
        """Add the counts, and return the place of each move."""
        slots = np.fromiter((self._slot(edge) for edge, _ in moves), np.int32, len(moves))
        counts = np.fromiter((n for _, n in moves), np.int64, len(moves))
        np.add.at(self._counts[0], slots, counts)
        source, target = self._ends[:, slots]
        self.total += int(counts.sum())
        self.escapes += int(counts[target < 0].sum())
        self.transitions = self.total - self.escapes
        if (start := self._states.get(START)) is not None:
            self.runs += int(counts[(source == start) & (target >= 0)].sum())
        return slots

    def _slide(self, slots: NDArray[np.int32]) -> None:
        """Put moves, at most a window of them, in the buffer in place of the oldest."""
        places = (self._next + np.arange(len(slots))) % self.window
        expired = places[max(0, self.window - self._recent) :]
        np.subtract.at(self._counts[1], self._buffer[expired], 1)
        self._buffer[places] = slots
        np.add.at(self._counts[1], slots, 1)
        self._recent = min(self.window, self._recent + len(slots))
        self._next = (self._next + len(slots)) % self.window

    def _slot(self, edge: Edge) -> int:
        slot = self._slots.get(edge)
        return self._new_slot(edge) if slot is None else slot

    def _new_slot(self, edge: Edge) -> int:
        source, target = edge
        i, j = self._index(source), -1 if target is None else self._index(target)
        if i == -2 or j == -2:  # beyond the limit of states
            return self._slot((OTHER if i == -2 else source, OTHER if j == -2 else target))
        slot = self._slots[edge] = len(self._slots)
        if slot == self._ends.shape[1]:
            self._ends, self._counts = _doubled(self._ends), _doubled(self._counts)
        self._ends[:, slot] = i, j
        return slot

    def _index(self, state: str) -> int:
        """Return the place of a state, -2 where it has none and may get none."""
        index = self._states.get(state)
        if index is None:
            if len(self._states) >= self.max_states and state != OTHER:
                return -2
            index = self._states[state] = len(self._states)
        return index


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)], axis=1)
