"""`LoopErasedPath`: the first loop of states that a walk closes, found step by step."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SHORTEST_LOOP", "LoopErasedPath", "orient_loop"]

SHORTEST_LOOP = 3
"""The fewest states of a loop that has two ways round; going back and forth has only one."""


class LoopErasedPath:
    """A walk, with what it undid left out, up to the first loop that has two ways round.

    A step to a state that is not on the path is put on it. A step to a state that is on the path
    closes a loop: the path is cut back to that state, and a loop of three states or more is
    *completed*. Then the path begins anew where it stands, and the walk up to there is past.

    Parameters
    ----------
    state : str
        Where the walk begins.

    Attributes
    ----------
    walk : list of str
        All states since the path began, in order, without stays.

    Notes
    -----
    In a chain that obeys detailed balance, the loop that is completed next was walked either way
    round with the same probability, given where the path began, which states it has, and how often
    each pair was walked. The walk that is left after cutting out the loop goes back and forth on a
    tree of paths, and the weight of such walks depends only on the set of states they must keep
    off, not on its order (Godsil's theorem on the matching polynomial and the path tree). This
    needs a path that begins anew after each loop. On a path that is kept, loops that use states
    from before the last one lean to one side although nothing drives them.

    References
    ----------
    C. D. Godsil, Matchings and walks in graphs, J. Graph Theory 5 (1981) 285.

    Examples
    --------
    >>> path = LoopErasedPath("a")
    >>> [path.step(state) for state in "bcbd"]  # b -> c -> b is undone
    [None, None, None, None]
    >>> path.step("a")
    ['a', 'b', 'd']
    >>> path.walk
    ['a']
    """

    __slots__ = ("_path", "_places", "walk", "walked")

    def __init__(self, state: str) -> None:
        self.walked: list[str] = []
        self._begin(state)

    def step(self, state: str) -> list[str] | None:
        """Take a step to another state; return the loop it completed, in the order walked.

        The loop begins where it was closed. Afterwards `walked` is the walk that led up to it.
        """
        self.walk.append(state)
        place = self._places.get(state)
        if place is None:
            self._places[state] = len(self._path)
            self._path.append(state)
            return None
        loop = self._path[place:]
        if len(loop) >= SHORTEST_LOOP:
            self.begin_anew()
            return loop
        for undone in loop[1:]:
            del self._places[undone]
        del self._path[place + 1 :]
        return None

    def begin_anew(self) -> None:
        """Begin the path again where it stands; `walked` is the walk up to here."""
        self.walked = self.walk
        self._begin(self.walk[-1])

    def _begin(self, state: str) -> None:
        self.walk = [state]
        self._path = [state]
        self._places = {state: 0}


def orient_loop(loop: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return the name of a loop's class, and whether it was walked in that order.

    Both ways round, and from wherever it began, a loop has one name: from its first state in the
    alphabet towards the smaller neighbour.

    Examples
    --------
    >>> orient_loop(["c", "a", "b"]), orient_loop(["c", "b", "a"])
    ((('a', 'b', 'c'), True), (('a', 'b', 'c'), False))
    """
    first = loop.index(min(loop))
    turned = (*loop[first:], *loop[:first])
    if turned[1] < turned[-1]:
        return turned, True
    return (turned[0], *turned[:0:-1]), False
