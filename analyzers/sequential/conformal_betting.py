"""Conformal betting: runs get exact p-values by the ranks of their scores, and these are bet on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, log1p
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaln

from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential._run_scores import RunScorer, SurprisingMove

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RunEvidence", "ScoreTest"]

BETS = ((0.5, 1), (1, 2), (1, 4), (1, 0.5), (2, 1), (4, 1), (0.6, 0.6), (2, 2))
"""The densities that are bet on, as (a, b) of beta laws: low, high, extreme, middling p-values."""

_A, _B = np.array(BETS, dtype=np.float64).T
_NORMALISER = betaln(_A, _B)

_EDGE = 1e-12
"""P-values this close to 0 or 1 are moved in, where some of the densities are infinite."""

_KEPT = 10
"""So many runs are kept as evidence, with so many moves of each:"""
_MOVES = 3


class RankedScores:
    """Scores in order; each new one gets the p-value of its rank among all before it.

    If the scores are exchangeable, the p-values are uniform and independent of each other,
    exactly, ties included: a tie is broken by chance.

    Parameters
    ----------
    values : iterable of float
        The scores to begin with.
    limit : int
        So many are kept. Beyond that, each time one of them is drawn by chance and forgotten, old
        and new alike: those that are left are a random sample, so the p-values stay exact.
        (Forgetting the oldest ones would make them dependent.)

    Examples
    --------
    >>> ranks = RankedScores([1.0, 2.0, 3.0])
    >>> rng = np.random.default_rng(1)
    >>> ranks.add(10.0, rng) < 1 / 4, ranks.add(0.0, rng) > 4 / 5
    (True, True)
    """

    def __init__(self, values: Iterable[float] = (), limit: int = 10_000) -> None:
        self.values = sorted(values)
        self.limit = limit

    def add(self, value: float, rng: np.random.Generator) -> float:
        """Add a score, and return the share of all scores above it; p is small if it is large."""
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        total = len(self.values) + 1
        self.values.insert(high, value)
        equal = high - low + 1
        pvalue = (total - low - equal + rng.random() * equal) / total
        while len(self.values) > self.limit:
            del self.values[int(rng.integers(len(self.values)))]
        return pvalue


class ConformalMartingale:
    """A capital E that stays small, at all times, while p-values are uniform.

    The capital starts at 1 and is put, bit by bit, on a few densities of the p-value; what stays
    in reserve after n of them is 1 / (n + 1), so that a change after a long quiet time is still
    found. While the p-values are uniform and independent, the probability that E ever reaches
    1 / alpha is at most alpha (Ville).

    Parameters
    ----------
    count : int
        The p-values so far.
    log_shares : sequence of float, one for each of `BETS`, optional
        The log of the capital on each density.

    Examples
    --------
    >>> martingale = ConformalMartingale()
    >>> gains = [martingale.update(0.05) for _ in range(10)]
    >>> round(martingale.log_e_value, 2)
    9.68
    """

    def __init__(self, count: int = 0, log_shares: Iterable[float] | None = None) -> None:
        self.count = count
        empty = [-np.inf] * len(BETS)
        self.log_shares: NDArray[np.float64] = np.array(
            empty if log_shares is None else [float(share) for share in log_shares]
        )
        self._log_e_value = self._log_sum()

    @property
    def log_e_value(self) -> float:
        """The log of the capital E, in nats."""
        return self._log_e_value

    def update(self, pvalue: float) -> float:
        """Bet on a p-value, and return what this added to the log of the capital, in nats."""
        before, p = self._log_e_value, min(max(pvalue, _EDGE), 1 - _EDGE)
        self.count += 1
        fresh = -log(self.count * (self.count + 1) * len(BETS))  # out of the reserve
        densities = (_A - 1) * log(p) + (_B - 1) * log1p(-p) - _NORMALISER
        self.log_shares = np.logaddexp(self.log_shares, fresh) + densities
        self._log_e_value = self._log_sum()
        return self._log_e_value - before

    def _log_sum(self) -> float:
        reserve = -log(self.count + 1)
        return float(np.logaddexp(np.logaddexp.reduce(self.log_shares), reserve))

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that restore this martingale."""
        return {"count": self.count, "log_shares": self.log_shares.tolist() if self.count else None}


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """What one new run added to the evidence of one score.

    Parameters
    ----------
    run : str or None
        The key of the run.
    number : int
        It was the so manyth new run, from 1.
    score : str
        One of `SCORES`.
    value, usual : float
        The score of the run, and the median of the calibration runs.
    pvalue : float
        Share of the calibration runs and the new runs before it that score higher, ties broken by
        chance: small where the score is large, near 1 where it is small.
    gain : float
        What it added to the log of the capital of this score, in nats.
    moves : tuple of (str, str or None, float)
        Its most surprising moves: source, target, -log of the probability in nats.

    Examples
    --------
    >>> RunEvidence("r-7", 3, "length", 40.0, 8.0, 0.01, 1.5, (("a", None, 4.2),)).describe()
    'run r-7: length 40 (usually 8), most surprising move a -> nowhere (4.2 nats)'
    """

    run: str | None
    number: int
    score: str
    value: float
    usual: float
    pvalue: float
    gain: float
    moves: tuple[SurprisingMove, ...]

    def describe(self) -> str:
        """Say in a part of a sentence what the run is like; state keys are made safe to print."""
        name = f"new run {self.number}" if self.run is None else f"run {safe_name(self.run)}"
        text = f"{name}: {self.score} {self.value:.3g} (usually {self.usual:.3g})"
        if not self.moves:
            return text
        source, target, nats = self.moves[0]
        move = f"{safe_name(source)} -> {'nowhere' if target is None else safe_name(target)}"
        return f"{text}, most surprising move {move} ({nats:.1f} nats)"


@dataclass(slots=True)
class ScoreTest:
    """One score: its ranks, its martingale, and the runs that raised it most.

    Parameters
    ----------
    score : str
        One of `SCORES`.
    usual : float
        The median of the calibration runs.
    ranks : RankedScores
        The scores so far.
    martingale : ConformalMartingale
        The bets on its p-values.
    evidence : tuple of RunEvidence
        The runs that added most, at most 10, the most first.

    Examples
    --------
    >>> test = ScoreTest.start("length", [2.0, 3.0, 4.0] * 20, max_runs=100)
    >>> run = Trajectory((("a", "b"),) * 50)
    >>> pvalue = test.update([run], 0, 50.0, 1, RunScorer([]), np.random.default_rng(0))
    >>> pvalue < 1 / 61, test.usual, [found.value for found in test.evidence]
    (True, 3.0, [50.0])
    """

    score: str
    usual: float
    ranks: RankedScores
    martingale: ConformalMartingale
    evidence: tuple[RunEvidence, ...] = ()

    @classmethod
    def start(cls, score: str, values: Sequence[float], max_runs: int) -> ScoreTest:
        """Begin with the scores of the calibration runs."""
        return cls(score, median(values), RankedScores(values, max_runs), ConformalMartingale())

    def update(
        self,
        runs: Sequence[Trajectory],
        place: int,
        value: float,
        number: int,
        scorer: RunScorer,
        rng: np.random.Generator,
    ) -> float:
        """Add the score of a new run, which is ``runs[place]``, and return its p-value."""
        pvalue = self.ranks.add(value, rng)
        gain = self.martingale.update(pvalue)
        least = self.evidence[-1].gain if len(self.evidence) == _KEPT else 0.0
        if gain > least:
            run = runs[place]
            moves = scorer.surprising_moves(run, _MOVES)
            about = (self.score, value, self.usual, pvalue, gain, moves)
            found = [*self.evidence, RunEvidence(run.name, number, *about)]
            self.evidence = tuple(sorted(found, key=lambda e: -e.gain)[:_KEPT])
        return pvalue

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {
            "score": self.score,
            "usual": self.usual,
            "ranks": {"values": list(self.ranks.values), "limit": self.ranks.limit},
            "martingale": self.martingale.to_dict(),
            "evidence": [asdict(found) for found in self.evidence],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScoreTest:
        """Restore what `to_dict` returned."""
        ranks, martingale = (
            RankedScores(**state["ranks"]),
            ConformalMartingale(**state["martingale"]),
        )
        evidence = tuple(_read_evidence(found) for found in state["evidence"])
        return cls(state["score"], state["usual"], ranks, martingale, evidence)


def _read_evidence(state: Mapping[str, Any]) -> RunEvidence:
    moves = tuple((source, target, nats) for source, target, nats in state["moves"])
    return RunEvidence(**{**state, "moves": moves})
