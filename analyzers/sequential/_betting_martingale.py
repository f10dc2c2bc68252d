"""Bets on the way round that a walk closes its loops, and the loops that it closes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, log, log1p, pi, sqrt

SHORTEST_LOOP = 3
"""The fewest states of a loop that has two ways round; going back and forth has only one."""

SPREADS = (0.1, 0.3, 1.0, 3.0)
"""How far the log ratio of a pair may lie from what a potential allows, in nats, by guess."""

LOG2 = log(2)
NEVER: dict[str, int] = {}


class LoopErasedPath:
    """A walk, with what it undid left out, up to the first loop that has two ways round.

    A step to a state that is not on the path is put on it. A step to a state that is on the path
    closes a loop: the path is cut back to that state, and a loop of three states or more is
    *completed*. Then the path starts again where it stands, and the walk up to there is past.

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
    In a chain that obeys detailed balance, the loop that is completed next was taken either way
    round with the same probability, given where the path began, which states it has, and how often
    each pair was taken. The walk that is left after cutting out the loop goes back and forth on a
    tree of paths, and the weight of such walks depends only on the set of states they must keep
    off, not on its order (Godsil's theorem on the matching polynomial and the path tree). This
    needs a path that starts again after each loop. On a path that is kept, loops that use states
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
        """Go to another state; return the loop that this completed, in the order visited.

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


class MoveCounts:
    """How often each move was seen, for a bounded number of moves.

    Parameters
    ----------
    limit : int
        The most different moves that are counted. Beyond it a new move is counted only where its
        reverse is, so that no pair is known in one direction by the limit alone.

    Examples
    --------
    >>> counts = MoveCounts(limit=100)
    >>> counts.add(["a", "b", "c", "a", "b"])
    0
    >>> list(counts)
    [('a', 'b', 2), ('b', 'c', 1), ('c', 'a', 1)]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._size = 0
        self._counts: dict[str, dict[str, int]] = {}

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """Yield (source, target, count)."""
        for source, row in self._counts.items():
            yield from ((source, target, count) for target, count in row.items())

    def __len__(self) -> int:
        return self._size

    def add(self, walk: Sequence[str]) -> int:
        """Count the moves of a walk; return how many found no room."""
        counts, lost = self._counts, 0
        for source, target in pairwise(walk):
            row = counts.get(source, NEVER)
            if target in row:
                row[target] += 1
            elif self._has_room(source, target):
                self.put(source, target, 1)
            else:
                lost += 1
        return lost

    def put(self, source: str, target: str, count: int) -> None:
        """Set the count of a move that is not counted yet."""
        self._counts.setdefault(source, {})[target] = count
        self._size += 1

    def affinity(self, loop: Sequence[str]) -> tuple[float, float]:
        """Return the affinity of a loop in the order given, and the variance of its error.

        With n + 1/2 in the place of each count n, as zeros are common.
        """
        affinity, variance = 0.0, 0.0
        counts, source = self._counts, loop[-1]
        row = counts.get(source, NEVER)
        for target in loop:
            row_of_target = counts.get(target, NEVER)
            there = row.get(target, 0) + 0.5
            back = row_of_target.get(source, 0) + 0.5
            affinity += log(there / back)
            variance += 1 / there + 1 / back
            source, row = target, row_of_target
        return affinity, variance

    def _has_room(self, source: str, target: str) -> bool:
        return self._size < self.limit or source in self._counts.get(target, NEVER)


class AffinityBet:
    """Bet that loops are taken the way that the counts of their moves point.

    In any chain a loop with affinity A is taken forward with odds exp(A). The counted A is drawn
    towards 0 by its error, as if the true one were normal around 0 with `spread` nats for each pair
    of the loop; the bet is the mean of one bettor for each of `SPREADS`.

    Attributes
    ----------
    log_wealth : list of float
        The log wealth of each bettor, who began with 1, in nats.

    Examples
    --------
    >>> bet = AffinityBet()
    >>> bet.update(affinity=2.0, variance=0.1, length=3)
    >>> round(bet.log_e_value, 3)  # at best log 2
    0.46
    """

    def __init__(self) -> None:
        self.log_wealth = [0.0] * len(SPREADS)

    def update(self, affinity: float, variance: float, length: int) -> None:
        """Add a loop of `length` states, taken in the order that `affinity` refers to."""
        for bettor, spread in enumerate(SPREADS):
            prior = spread * spread * length
            kept = prior / (prior + variance)
            # Close to the mean of the logistic function under a normal distribution (MacKay's
            # formula).
            lean = affinity * kept / sqrt(1 + pi / 8 * variance * kept)
            self.log_wealth[bettor] += LOG2 + min(lean, 0.0) - log1p(exp(-abs(lean)))

    @property
    def log_e_value(self) -> float:
        """The log of the mean wealth, in nats."""
        return log_mean_exp(self.log_wealth)


def kt_bet(same: int, other: int) -> float:
    """Return the log of the Krichevsky-Trofimov factor, in nats.

    Parameters
    ----------
    same, other : int
        How often the loop was taken before, in this direction and in reverse.

    Examples
    --------
    >>> kt_bet(0, 0), round(exp(kt_bet(3, 0)), 3)
    (0.0, 1.75)
    """
    return log(2 * (same + 0.5) / (same + other + 1))


def log_mean_exp(values: Sequence[float]) -> float:
    """Return the log of the mean of exp(values), without overflow.

    Examples
    --------
    >>> log_mean_exp([1000.0, 1000.0])
    1000.0
    """
    top = max(values)
    return top + log(sum([exp(value - top) for value in values]) / len(values))
