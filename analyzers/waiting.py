"""States on their way into a potential: named, but with too few attempts so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from detailed_balance.analyzers.counts import TransitionCounts

__all__ = ["Growth", "Move", "WaitingStates"]

Move: TypeAlias = tuple[str, str | None]
"""Source and target; the target None is an escape."""


@dataclass(slots=True)
class Growth:
    """What new moves add to a kernel, in places of its states, the new ones behind the others."""

    states: list[str] = field(default_factory=list)
    """States that now have enough attempts."""
    components: list[int] = field(default_factory=list)
    """Their components."""
    attempts: list[tuple[int, int]] = field(default_factory=list)
    """More attempts: the state, how many."""
    moves: list[tuple[int, int, int]] = field(default_factory=list)
    """More moves between states of the kernel: source, target, how many."""


class WaitingStates:
    """States with too few attempts, and all moves that begin or end there.

    Parameters
    ----------
    counts : TransitionCounts
        What was recorded so far.
    dropped : iterable of str
        The states of it that have too few attempts.
    """

    def __init__(self, counts: TransitionCounts, dropped: Iterable[str]) -> None:
        self.attempts = {state: int(counts.attempts[counts.index(state)]) for state in dropped}
        self._moves: dict[str, dict[Move, int]] = {state: {} for state in self.attempts}
        if self.attempts:
            waits, edges = np.zeros(len(counts), dtype=bool), counts.counts.tocoo()
            waits[[counts.index(state) for state in self.attempts]] = True
            for k in np.flatnonzero(waits[edges.row] | waits[edges.col]):
                move = counts.states[edges.row[k]], counts.states[edges.col[k]]
                self._keep(move, int(edges.data[k]))

    def add(self, move: Move, count: int, kept: Collection[str]) -> None:
        """Count a move with an end that is not among the states `kept`."""
        for state in move:
            if state is not None and state not in kept and state not in self.attempts:
                self.attempts[state], self._moves[state] = 0, {}
        if move[0] in self.attempts:
            self.attempts[move[0]] += count
        self._keep(move, count)

    def _keep(self, move: Move, count: int) -> None:
        for state in dict.fromkeys(move):
            if move[1] is not None and state in self.attempts:
                moves = self._moves[str(state)]
                moves[move] = moves.get(move, 0) + count

    def release(self, state: str) -> tuple[int, dict[Move, int]]:
        """Return the attempts of a state that waits no more, and its moves, but those to others."""
        attempts, moves = self.attempts.pop(state), self._moves.pop(state)
        return attempts, {
            move: count for move, count in moves.items() if self.attempts.keys().isdisjoint(move)
        }
