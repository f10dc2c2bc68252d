"""`Subscription`, the moves that a live graph hands on to somebody who watches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from detailed_balance.callbacks.transition import Context

if TYPE_CHECKING:
    from types import TracebackType

    from detailed_balance.analyzers.counts import TransitionCounts

__all__ = ["Move", "Subscription"]

Move: TypeAlias = tuple[str, str | None, str | None, Context, int]
"""Source, target (None for an escape), trajectory, context and count."""


class Subscription:
    """The moves of a `TransitionGraph` since somebody asked; see `TransitionGraph.subscribe`.

    Parameters
    ----------
    before : TransitionCounts
        What was counted before the first of them.
    capacity : int
        How many are kept until they are taken.
    lock : RLock
        That of the graph, under which it puts them.
    leave : callable
        Called to get no more of them.
    """

    def __init__(
        self,
        before: TransitionCounts,
        capacity: int,
        lock: threading.RLock,
        leave: Callable[[Subscription], object],
    ) -> None:
        self.before = before
        self._moves: deque[Move] = deque(maxlen=capacity)
        self._put = self._taken = 0
        self._lock, self._leave = lock, leave

    def put(self, move: Move) -> None:
        """Keep a move; the graph, which calls this, holds its lock."""
        self._moves.append(move)
        self._put += 1

    def take(self) -> Sequence[Move]:
        """Return the moves that came since the last call."""
        fresh: deque[Move] = deque(maxlen=self._moves.maxlen)
        with self._lock:
            moves, self._moves = self._moves, fresh
            self._taken += len(moves)
        return moves

    @property
    def lost(self) -> int:
        """How many moves were pushed out by later ones before anybody took them."""
        with self._lock:
            return self._put - self._taken - len(self._moves)

    def close(self) -> None:
        """Get no more moves."""
        self._leave(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
