"""`RunScorer`: what is unusual about a finished run, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

_UNIT = 2.0**-36
"""Logarithms are whole numbers of so many nats: in whatever order, they add up to the same."""

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
    runs : RunTable, or iterable of Trajectory
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

    def __init__(self, runs: Runs) -> None:
        triples, number = _number_moves(RunTable.of(runs))
        self._count(Counter(dict(zip(triples, np.bincount(number).tolist(), strict=True))))

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
        n, known = len(run), None if run.success is None else float(not run.success)
        scores = dict.fromkeys(SCORES, None) | {"length": float(n), "failure": known}
        if run.moves:
            scores["surprise"] = sum(self._surprises(run)) * _UNIT / n
            scores["states"] = self._divergence(run) * _UNIT / n
            scores["returns"] = sum(_returns(run.moves)) / n
            scores["repeats"] = sum(g is None or f == g for f, g in run.moves) / n
        return scores

    def score_runs(self, runs: Runs) -> dict[str, NDArray[np.float64]]:
        """Return each of `SCORES` of r runs, (r,) arrays, as `score` does; NaN for None.

        Examples
        --------
        >>> run = Trajectory((("plan", "search"), ("search", "plan")))
        >>> RunScorer([run]).score_runs([run, Trajectory(())])["returns"].tolist()
        [0.5, nan]
        """
        table = RunTable.of(runs)
        success, lengths, run = table.success, table.lengths, table.run_of_move
        source, target = table.source, table.target
        back = np.zeros(table.total, dtype=bool)
        back[1:] = (source[:-1] == target[1:]) & (target[:-1] == source[1:]) & (run[1:] == run[:-1])
        stays = source == target
        triples, number = _number_moves(table)
        surprises = np.array([self._surprise(*move) for move in triples], dtype=np.int64)
        sums = (surprises[number], back & ~stays, stays | (target < 0))
        surprise, returns, repeats = (_sum_by_run(values, table.offsets) for values in sums)
        divergence = self._divergences(table)
        with np.errstate(invalid="ignore"):
            return {
                "surprise": surprise * _UNIT / lengths,
                "states": divergence * _UNIT / lengths,
                "returns": returns / lengths,
                "repeats": repeats / lengths,
                "length": lengths.astype(np.float64),
                "failure": np.where(success < 0, np.nan, success == 0),
            }

    def surprising_moves(self, run: Trajectory, count: int) -> tuple[SurprisingMove, ...]:
        """Return up to `count` moves of the run, the most surprising first, each kind once."""
        worst: dict[tuple[str, str | None], float] = {}
        for move, units in zip(run.moves, self._surprises(run), strict=True):
            worst[move] = max(units * _UNIT, worst.get(move, 0.0))
        order = sorted(worst.items(), key=lambda item: -item[1])[:count]
        return tuple((source, target, nats) for (source, target), nats in order)

    def _surprises(self, run: Trajectory) -> Iterator[int]:
        return (self._surprise(*move) for move in _with_previous(run))

    def _surprise(self, before: str | None, source: str, target: str | None) -> int:
        """Return -log of the probability of a move, in units."""
        return -_log(self._probability(before, source, target))

    def _probability(self, before: str | None, source: str, target: str | None) -> float:
        pair, row = self._pairs[source, target], self._from[source]
        coarse = (pair + _BACK_OFF * self._share(target)) / (row + _BACK_OFF)
        triple, rows = self._triples[before, source, target], self._from_pairs[before, source]
        return (triple + _BACK_OFF * coarse) / (rows + _BACK_OFF)

    def _share(self, target: str | None) -> float:
        return (self._targets[target] + _UNSEEN) / self._total

    def _divergence(self, run: Trajectory) -> int:
        """Return the moves times the Kullback-Leibler divergence of their targets, in units."""
        targets, all_moves = Counter(target for _, target in run.moves), _log(len(run))
        return sum(
            c * (_log(c) - all_moves - _log(self._share(target))) for target, c in targets.items()
        )

    def _divergences(self, table: RunTable) -> NDArray[np.int64]:
        """(r,) array: the same of each run."""
        names, width = (*table.states, None), len(table.states) + 1
        keys, count = np.unique(
            table.run_of_move * width + table.target % width, return_counts=True
        )
        run, target = np.divmod(keys, width)
        shares = np.array([_log(self._share(name)) for name in names], dtype=np.int64)
        longest = int(table.lengths.max(initial=0))
        logs = np.array([0, *(_log(n) for n in range(1, longest + 1))], dtype=np.int64)
        each = count * (logs[count] - logs[table.lengths[run]] - shares[target])
        cuts = np.searchsorted(run, np.arange(len(table) + 1))
        return _sum_by_run(each, cuts)

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
            raise InvalidInputError(f"this is not a state of a RunScorer: {error!r}") from None
        return scorer


def _log(value: float) -> int:
    return round(log(value) / _UNIT)


def _sum_by_run(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return np.asarray(total[offsets[1:]] - total[offsets[:-1]])


def _number_moves(table: RunTable) -> tuple[list[_Move], NDArray[np.int64]]:
    """Return the different moves with the source before, and which of them each move is."""
    names, n = (*table.states, None), len(table.states) + 1
    before = np.full(table.total, n - 1, dtype=np.int64)
    before[1:] = np.where(np.diff(table.run_of_move) == 0, table.source[:-1], n - 1)
    keys = (before * n + table.source) * n + table.target % n
    distinct, number = np.unique(keys, return_inverse=True)
    rest, target = np.divmod(distinct, n)
    moves = zip(*(part.tolist() for part in (*np.divmod(rest, n), target)), strict=True)
    return [(names[b], table.states[f], names[g]) for b, f, g in moves], number


def _with_previous(run: Trajectory) -> Iterator[_Move]:
    before = None
    for source, target in run.moves:
        yield before, source, target
        before = source


def _returns(moves: Sequence[tuple[str, str | None]]) -> Iterator[bool]:
    """Say of each move but the first whether it undoes the one before."""
    for (first, second), (source, target) in pairwise(moves):
        yield first == target and second == source and source != target
