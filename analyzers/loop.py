"""`Loop`: a closed walk through different states, the same value wherever it begins."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Generic, TypeVar

from detailed_balance.analyzers.results import safe_name

__all__ = ["Loop"]

_State = TypeVar("_State", bound=str | int)


class Loop(tuple[_State, ...], Generic[_State]):
    """The states of a loop in the order visited, from the least one on.

    It is a tuple, so that loops compare, sort and hash by their states; the direction counts.

    Examples
    --------
    >>> loop = Loop(["search", "critic", "plan"])
    >>> loop, loop == Loop(["plan", "search", "critic"])
    (Loop('critic', 'plan', 'search'), True)
    >>> loop.reversed().edges()
    (('critic', 'search'), ('search', 'plan'), ('plan', 'critic'))
    """

    __slots__ = ()

    def __new__(cls, states: Iterable[_State]) -> Loop[_State]:
        """Return the loop through these states, which lead back to the first.

        Parameters
        ----------
        states : iterable of str or int
            The states in the order visited, from any of them on.
        """
        walked = tuple(states)
        first = walked.index(min(walked)) if walked else 0
        return super().__new__(cls, walked[first:] + walked[:first])

    def __repr__(self) -> str:
        return f"Loop({', '.join(map(repr, self))})"

    def edges(self) -> tuple[tuple[_State, _State], ...]:
        """Return the moves, the one that closes the loop last."""
        return tuple(pairwise((*self, *self[:1])))

    def reversed(self) -> Loop[_State]:
        """Return the loop taken in the other direction."""
        return Loop((*self[:1], *self[:0:-1]))

    def unoriented(self) -> Loop[_State]:
        """Return the same loop for both directions: the lesser of the two.

        Examples
        --------
        >>> Loop("cba").unoriented() == Loop("abc").unoriented() == Loop("abc")
        True
        """
        return self if self[1:2] <= self[-1:] else self.reversed()

    def name(self) -> str:
        """Return it in one line, with the first state again at the end; safe to print.

        Examples
        --------
        >>> Loop(["b", "c", "a"]).name()
        'a -> b -> c -> a'
        """
        return " -> ".join(safe_name(str(state)) for state in (*self, *self[:1]))
