"""`KernelRatio`: how much more a move is at home in failed runs than in successful ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from detailed_balance.analyzers.counts import END

__all__ = ["KernelRatio"]

_Move = tuple[str, str | None]


@dataclass(frozen=True)
class KernelRatio:
    """log of the kernel of failed runs over that of successful ones, per move.

    Each of the two kernels is shrunk to the pooled kernel, as if `prior` moves from each state had
    gone as that says, and the pooled kernel in the same way to the pooled share of each target.
    An escape is a target like any other; a move never seen says what its source says.

    Parameters
    ----------
    moves : dict of (str, str or None) to float
        The log ratio of each move that was seen, in nats.
    unseen : dict of str to float
        The log ratio of any other move, by its source; 0 from a source never seen.

    Examples
    --------
    >>> failed, worked = [[("a", "b"), ("b", "a")]], [[("a", "c")]]
    >>> ratio = KernelRatio.fit(failed, worked)
    >>> ratio("a", "b") > 0 > ratio("a", "c"), ratio("z", "a")
    (True, 0.0)
    """

    moves: Mapping[_Move, float]
    unseen: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        failed: Iterable[Iterable[_Move]],
        worked: Iterable[Iterable[_Move]],
        prior: float = 2.0,
    ) -> KernelRatio:
        """Count the moves of both kinds of runs; moves to END are left out."""
        bad, good = Counter(_inner(failed)), Counter(_inner(worked))
        both = bad + good
        from_bad, from_good, from_both = (_by_end(moves, 0) for moves in (bad, good, both))
        into, total = _by_end(both, 1), both.total()

        def log_ratio(source: str, target: str | None) -> float:
            share = into[target] / total
            pooled = (both[source, target] + prior * share) / (from_both[source] + prior)
            return math.log(
                (bad[source, target] + prior * pooled) * (from_good[source] + prior)
            ) - math.log((good[source, target] + prior * pooled) * (from_bad[source] + prior))

        moves = {move: log_ratio(*move) for move in sorted(both, key=str)}
        unseen = {
            str(source): math.log((from_good[source] + prior) / (from_bad[source] + prior))
            for source in sorted(from_both, key=str)
        }
        return cls(moves, unseen)

    def __call__(self, source: str, target: str | None) -> float:
        """Return the log ratio of one move."""
        known = self.moves.get((source, target))
        return self.unseen.get(source, 0.0) if known is None else known


def _inner(runs: Iterable[Iterable[_Move]]) -> Iterator[_Move]:
    return (move for moves in runs for move in moves if move[1] != END)


def _by_end(moves: Counter[_Move], end: int) -> Counter[str | None]:
    sums: Counter[str | None] = Counter()
    for move, count in moves.items():
        sums[move[end]] += count
    return sums
