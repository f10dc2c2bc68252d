"""`RunScorer`: what is unusual about a finished run, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Trajectory

SCORES: Mapping[str, str] = {
    "surprise": "how unlikely its moves are, in nats per move",
    "states": "how far its use of states is from the usual one, in nats per move",
    "returns": "the share of its moves that go straight back",
    "repeats": "the share of its moves that stay or escape",
    "length": "its number of moves",
    "failure": "whether it failed",
}
"""The scores of a run, and what each of them is."""

SurprisingMove = tuple[str, str | None, float]
"""Source, target, and -log of the probability of the move, in nats."""

_BACK_OFF = 2.0
"""A row of the kernel counts as so many moves that followed the coarser one."""

_UNSEEN = 0.5
"""So much is added to the count of each target, and kept for all those never seen."""

_Move = tuple[str | None, str, str | None]
"""The source of the move before (None for the first), the source, the target."""


class RunScorer:
    """Scores of a run, under kernels fitted to other runs.

    The probability of a move is that of its target given its source and the source of the move
    before it. Where that pair was seen seldom it leans on the target given its source alone, and
    this on how often the target was reached at all. Whatever was never seen, a state or an
    escape, gets a small probability, so every score is finite.

    Parameters
    ----------
    runs : iterable of Trajectory
        The runs that say what is usual.

    Examples
    --------
    >>> usual = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", "__end__")))
    >>> scorer = RunScorer([usual] * 10)
    >>> run = Trajectory((("__start__", "plan"), ("plan", "plan"), ("plan", "__end__")))
    >>> {name: round(value, 2) for name, value in scorer.score(run).items() if value is not None}
    {'surprise': 2.54, 'states': 0.48, 'returns': 0.0, 'repeats': 0.33, 'length': 3.0}
    >>> [(source, target) for source, target, _ in scorer.surprising_moves(run, 1)]
    [('plan', 'plan')]
    """

    def __init__(self, runs: Iterable[Trajectory]) -> None:
        self._count(Counter(move for run in runs for move in _with_previous(run)))

    def _count(self, triples: Counter[_Move]) -> None:
        self._triples = triples
        self._pairs: Counter[tuple[str, str | None]] = Counter()
        self._targets: Counter[str | None] = Counter()
        self._from_pairs: Counter[tuple[str | None, str]] = Counter()
        self._from: Counter[str] = Counter()
        for (before, source, target), count in triples.items():
            self._pairs[source, target] += count
            self._targets[target] += count
            self._from_pairs[before, source] += count
            self._from[source] += count
        self._total = triples.total() + _UNSEEN * (len(self._targets) + 1)

    def score(self, run: Trajectory) -> dict[str, float | None]:
        """Return each of `SCORES`; None where the run does not determine it."""
        known = None if run.success is None else float(not run.success)
        scores = dict.fromkeys(SCORES, None) | {"length": float(len(run)), "failure": known}
        if run.moves:
            scores["surprise"] = sum(self._surprises(run)) / len(run)
            scores["states"] = self._divergence(run)
            scores["returns"] = sum(_returns(run.moves)) / len(run)
            scores["repeats"] = sum(g is None or f == g for f, g in run.moves) / len(run)
        return scores

    def surprising_moves(self, run: Trajectory, count: int) -> tuple[SurprisingMove, ...]:
        """Return up to `count` moves of the run, the most surprising first, each kind once."""
        worst: dict[tuple[str, str | None], float] = {}
        for move, nats in zip(run.moves, self._surprises(run), strict=True):
            worst[move] = max(nats, worst.get(move, 0.0))
        order = sorted(worst.items(), key=lambda item: -item[1])[:count]
        return tuple((source, target, nats) for (source, target), nats in order)

    def _surprises(self, run: Trajectory) -> Iterator[float]:
        return (-log(self._probability(*move)) for move in _with_previous(run))

    def _probability(self, before: str | None, source: str, target: str | None) -> float:
        pair, row = self._pairs[source, target], self._from[source]
        coarse = (pair + _BACK_OFF * self._share(target)) / (row + _BACK_OFF)
        triple, rows = self._triples[before, source, target], self._from_pairs[before, source]
        return (triple + _BACK_OFF * coarse) / (rows + _BACK_OFF)

    def _share(self, target: str | None) -> float:
        return (self._targets[target] + _UNSEEN) / self._total

    def _divergence(self, run: Trajectory) -> float:
        """Return the Kullback-Leibler divergence of the run's targets from the usual ones."""
        targets, n = Counter(target for _, target in run.moves), len(run)
        return sum(c / n * log(c / n / self._share(target)) for target, c in targets.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the counts behind the kernels, in types that JSON has."""
        return {"moves": [[*move, count] for move, count in self._triples.items()]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RunScorer:
        """Restore what `to_dict` returned.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        scorer = cls(())
        try:
            scorer._count(Counter({(b, f, g): int(c) for b, f, g, c in state["moves"]}))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"this is no state of a RunScorer: {error!r}") from None
        return scorer


def _with_previous(run: Trajectory) -> Iterator[_Move]:
    before = None
    for source, target in run.moves:
        yield before, source, target
        before = source


def _returns(moves: Sequence[tuple[str, str | None]]) -> Iterator[bool]:
    """Say of each move but the first whether it undoes the one before."""
    for (first, second), (source, target) in pairwise(moves):
        yield first == target and second == source and source != target
