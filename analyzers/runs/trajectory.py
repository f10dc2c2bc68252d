"""`Trajectory`, one finished or unfinished agent run, and its `Outcome`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts

__all__ = ["Outcome", "Trajectory", "count_transitions"]


class Outcome(StrEnum):
    """The outcome of a run.

    Examples
    --------
    >>> Outcome("failed").success, Outcome.ENDED.success, Outcome.INTERRUPTED.success
    (False, True, None)
    """

    ENDED = "ended"
    """It returned, or handed control to the graph above."""

    INTERRUPTED = "interrupted"
    """It stopped on purpose, and is open: it may be resumed."""

    FAILED = "failed"
    """It raised an error of its own."""

    RECURSION_LIMIT = "recursion_limit"
    """It was still going when it had used up the steps allowed."""

    CANCELLED = "cancelled"
    """It was stopped from outside."""

    ABANDONED = "abandoned"
    """Nobody listened any more: a stream was dropped, or its end was never seen."""

    @property
    def success(self) -> bool | None:
        """Whether it counts as a success where the run was not judged; None where it is open."""
        return None if self is Outcome.INTERRUPTED else self is Outcome.ENDED


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The ordered moves of one agent run, and its outcome.

    Parameters
    ----------
    moves : tuple of (str, str or None)
        Its moves source -> target in order, START and END included where they were seen; the
        target None is an escape, after which the run stands where it stood.
    name : str or None
        Its key.
    outcome : Outcome or None
        Its outcome; None where that is not known.
    success : bool or None
        Whether it did its work: as it was judged, or else as its outcome says; None where
        neither is known.
    error : str or None
        The type of the error that a failed run raised.
    context : tuple of (str, str)
        Its labels, sorted by name.
    costs : tuple of float
        What each move cost (tokens, money), as many as there are moves; empty where not known.
    limit_steps : int or None
        The least recursion limit that lets it through, where the record says: LangGraph counts
        supersteps, of which a move may take several.

    Examples
    --------
    >>> run = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", None)))
    >>> run.states, len(run)
    (('plan', 'search'), 3)
    """

    moves: tuple[tuple[str, str | None], ...]
    name: str | None = None
    outcome: Outcome | None = None
    success: bool | None = None
    error: str | None = None
    context: tuple[tuple[str, str], ...] = ()
    costs: tuple[float, ...] = field(default=(), repr=False)
    limit_steps: int | None = field(default=None, repr=False)

    @property
    def states(self) -> tuple[str, ...]:
        """The states it visited, in order, without boundaries and escapes."""
        first = self.moves[:1]
        visited = [source for source, _ in first] + [target for _, target in self.moves if target]
        return tuple(state for state in visited if state not in BOUNDARIES)

    def __len__(self) -> int:
        """Return the number of moves."""
        return len(self.moves)


def count_transitions(runs: Iterable[Trajectory]) -> TransitionCounts:
    """Return the counts of runs, START, END and escapes included.

    Examples
    --------
    >>> count_transitions([Trajectory((("a", "b"), ("b", None)))]).attempts.tolist()
    [1, 1]
    """
    moves = Counter(move for run in runs for move in run.moves)
    return TransitionCounts.from_edges((*move, count) for move, count in moves.items())
