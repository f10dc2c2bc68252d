"""The loops that a running test has seen, the evidence of each, and of several tests together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import Result, times
from detailed_balance.analyzers.sequential._betting_martingale import log_mean_exp

__all__ = [
    "LoopEvidence",
    "LoopRecord",
    "LoopRegistry",
    "MergedEvidence",
    "merge_evidence",
    "sort_evidence",
]

LONGEST_CLASS = 100
"""Loops of more states are not remembered: as loops they hardly ever come again."""


@dataclass(frozen=True, slots=True)
class LoopEvidence(Result):
    """How often a loop was taken each way round, and what that is worth.

    Parameters
    ----------
    loop : tuple of str
        Its states in the direction in which it was taken more, the first in the alphabet first.
    counts : (int, int)
        How often it was taken that way round, and the other.
    log_evidence : float
        The log e-value of a bettor who bets on this loop alone, in nats.
    share : float
        What its laps added to the log e-value of the test, in nats. It shows weak pushes that
        many loops share; the shares of all loops add up to the log e-value.

    Examples
    --------
    >>> print(LoopEvidence(("a", "b", "c"), (53, 2), 28.1, 30.2).describe())
    a -> b -> c -> a: 53 times in this direction and 2 times in reverse
    """

    loop: tuple[str, ...]
    counts: tuple[int, int]
    log_evidence: float
    share: float

    @classmethod
    def from_counts(
        cls, loop: Loop[str], named: int, other: int, log_evidence: float, share: float
    ) -> LoopEvidence:
        """Turn a loop into the direction in which it was taken more."""
        if other > named:
            loop, named, other = loop.reversed(), other, named
        return cls(loop, (named, other), log_evidence, share)

    def describe(self) -> str:
        """Return one sentence."""
        forward, backward = map(times, self.counts)
        return f"{Loop(self.loop).name()}: {forward} in this direction and {backward} in reverse"


@dataclass(frozen=True, slots=True)
class MergedEvidence(Result):
    """The evidence of several tests together.

    Parameters
    ----------
    log_e_value : float
        In nats.
    alarm : bool
        Whether the e-value is at least 1/alpha now; it is not latched.
    loops : tuple of LoopEvidence
        Their counts added up, each loop's log evidence merged by the same rule, strongest first.
        The shares are those of the single tests, added up.
    rule : str
        ``"product"``, for independent agents, or ``"mean"``, for any.
    alpha : float
        As given.
    tests : int
        How many were merged.
    """

    log_e_value: float
    alarm: bool
    loops: tuple[LoopEvidence, ...]
    rule: str
    alpha: float
    tests: int


@dataclass(slots=True)
class LoopRecord:
    """Counts of one loop: taken as named, the other way, its log evidence, its share.

    Examples
    --------
    >>> row = LoopRecord()
    >>> row.add(named=False, won=0.0, share=0.1)
    >>> row
    LoopRecord(named=0, other=1, log_evidence=0.0, share=0.1)
    """

    named: int = 0
    other: int = 0
    log_evidence: float = 0.0
    share: float = 0.0

    def add(self, named: bool, won: float, share: float) -> None:
        """Count one more lap."""
        self.named += named
        self.other += not named
        self.log_evidence += won
        self.share += share


class LoopRegistry:
    """The counts of the loops seen, at most `limit` of them.

    At the limit the loops taken once are forgotten, whose log evidence is 0. Where this frees
    less than a tenth, no new loops are remembered.

    Parameters
    ----------
    limit : int
        The most loops that are remembered.

    Examples
    --------
    >>> registry = LoopRegistry(limit=10)
    >>> row, named, lost = registry.find(["c", "b", "a"])
    >>> row.add(named, won=0.0, share=0.0)
    >>> registry.to_list(), lost
    ([(Loop('a', 'b', 'c'), 0, 1, 0.0, 0.0)], 0)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed = False
        self.rows: dict[Loop[str], LoopRecord] = {}

    def find(self, loop: Sequence[str]) -> tuple[LoopRecord, bool, int]:
        """Return the row of a loop, whether it was taken as named, and how many loops were lost.

        A loop that finds no room gets a row that is not kept.
        """
        walked = Loop(loop)
        name = walked.unoriented()
        row, lost = self.rows.get(name), 0
        if row is None:
            row = LoopRecord()
            short = len(loop) <= LONGEST_CLASS
            lost = self._make_room() if short else 0
            if short and len(self.rows) < self.limit:
                self.rows[name] = row
            else:
                lost += 1
        return row, walked == name, lost

    def to_list(self) -> list[tuple[Loop[str], int, int, float, float]]:
        """Return (loop, named, other, log_evidence, share) for each."""
        return [
            (loop, row.named, row.other, row.log_evidence, row.share)
            for loop, row in self.rows.items()
        ]

    def _make_room(self) -> int:
        """Forget, at the limit, the loops taken once; return how many."""
        if self.closed or len(self.rows) < self.limit:
            return 0
        before = len(self.rows)
        self.rows = {loop: row for loop, row in self.rows.items() if row.named + row.other > 1}
        self.closed = 10 * len(self.rows) > 9 * self.limit
        return before - len(self.rows)


def sort_evidence(loops: Iterable[LoopEvidence]) -> tuple[LoopEvidence, ...]:
    """Return the loops with the strongest evidence first.

    Examples
    --------
    >>> weak, strong = (LoopEvidence(("a", "b", "c"), (9, 1), x, x) for x in (0.5, 2.0))
    >>> sort_evidence([weak, strong]) == (strong, weak)
    True
    """
    return tuple(sorted(loops, key=lambda loop: (-loop.log_evidence, -loop.share, loop.loop)))


def merge_evidence(
    tests: Sequence[tuple[float, Iterable[LoopEvidence]]], *, alpha: float, independent: bool
) -> MergedEvidence:
    """Merge the log e-values and the loops of several tests; see `BalanceMartingale.merge`."""
    combine: Callable[[Sequence[float]], float] = sum if independent else log_mean_exp
    log_e_value = combine([value for value, _ in tests])
    return MergedEvidence(
        log_e_value,
        log_e_value >= -log(alpha),
        _merge_loops([loop for _, loops in tests for loop in loops], len(tests), combine),
        "product" if independent else "mean",
        alpha,
        len(tests),
    )


def _merge_loops(
    loops: Sequence[LoopEvidence], tests: int, combine: Callable[[Sequence[float]], float]
) -> tuple[LoopEvidence, ...]:
    same: dict[Loop[str], list[LoopEvidence]] = {}
    for loop in loops:
        same.setdefault(Loop(loop.loop).unoriented(), []).append(loop)
    merged = []
    for name, parts in same.items():
        ways = [part.counts if part.loop == name else part.counts[::-1] for part in parts]
        # A test that never saw the loop has the e-value 1 for it.
        logs = [part.log_evidence for part in parts] + [0.0] * (tests - len(parts))
        share = sum(part.share for part in parts)
        named, other = sum(way[0] for way in ways), sum(way[1] for way in ways)
        merged.append(LoopEvidence.from_counts(name, named, other, combine(logs), share))
    return sort_evidence(merged)
