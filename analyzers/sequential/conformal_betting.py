"""Conformal betting: runs get exact p-values by the ranks of their scores, and these are bet on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, log1p
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy.special import betaln

from detailed_balance.analyzers.results import Result, safe_name
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential._run_scores import RunScorer, SurprisingMove

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RunEvidence", "ScoreTest"]

BETS = ((0.5, 1), (1, 2), (1, 4), (1, 0.5), (2, 1), (4, 1), (0.6, 0.6), (2, 2))
"""The densities that are bet on, as (a, b) of beta distributions: low, high, extreme, middling
p-values."""

_A, _B = np.array(BETS, dtype=np.float64).T
_NORMALISER = betaln(_A, _B)

_EDGE = 1e-12
"""P-values this close to 0 or 1 are moved in, where some of the densities are infinite."""

_KEPT = 10
"""So many runs are kept as evidence, with so many moves of each:"""
_MOVES = 3


Bets: TypeAlias = list[list[tuple[int, float]]]
"""Bets one after the other, each on the p-values of some new runs, with their places."""


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

    def rank(self, block: str | None, values: Sequence[float], rng: np.random.Generator) -> Bets:
        """Add the scores of runs of no block, and return each p-value as a bet."""
        return [[(place, self.add(value, rng))] for place, value in enumerate(values)]

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that restore these scores."""
        return {"values": list(self.values), "limit": self.limit}


class BlockRanks:
    """Scores of blocks of runs; those of a new block get the p-values of their ranks among all.

    Each block counts once, and each of its scores for an equal part of it. If blocks are
    exchangeable, whatever their runs have in common, the p-value of a score that is drawn from a
    new block is uniform, exactly, and so is the mean of any bets on those of the whole block fair.

    Parameters
    ----------
    blocks : iterable of sequences of float
        The scores of the blocks to begin with.
    limit : int
        So many scores are kept. Beyond that, a block drawn by chance is forgotten at a time.

    Examples
    --------
    >>> ranks = BlockRanks([[1.0, 2.0], [3.0] * 40])
    >>> ((_, middle), (_, high)), = ranks.rank("new", [2.5, 9.0], np.random.default_rng(1))
    >>> 1 / 3 < middle < 2 / 3, high < 1 / 3
    (True, True)
    """

    def __init__(self, blocks: Iterable[Sequence[float]] = (), limit: int = 10_000) -> None:
        self.blocks = [list(block) for block in blocks]
        self.limit = limit

    def rank(self, block: str | None, values: Sequence[float], rng: np.random.Generator) -> Bets:
        """Add a new block, and return the p-values of its scores as one bet."""
        self.blocks.append(list(values))
        sizes = np.array([len(each) for each in self.blocks])
        known = np.concatenate([np.asarray(each, dtype=np.float64) for each in self.blocks])
        weights, number = np.repeat(1 / sizes, sizes), len(self.blocks)
        bet = []
        for place, value in enumerate(values):
            equal = weights[known == value].sum()
            bet.append((place, float(weights[known > value].sum() + rng.random() * equal) / number))
        total = int(sizes.sum())
        while total > self.limit and len(self.blocks) > 1:
            total -= len(self.blocks.pop(int(rng.integers(len(self.blocks)))))
        return [bet]

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that restore these scores."""
        return {"blocks": [list(block) for block in self.blocks], "limit": self.limit}


class InsideRanks:
    """Scores of blocks of runs; a later run of a block gets the p-value of its rank inside it.

    If the runs of a block are exchangeable, these p-values are uniform and independent, exactly,
    however blocks differ.

    Parameters
    ----------
    inside : mapping of str to sequence of float
        The scores of each block to begin with.
    limit : int
        So many scores are kept of a block.

    Examples
    --------
    >>> ranks = InsideRanks({"easy": [1.0, 2.0], "hard": [50.0, 60.0]})
    >>> [[(_, pvalue)]] = ranks.rank("easy", [9.0], np.random.default_rng(0))
    >>> pvalue < 1 / 3
    True
    """

    def __init__(self, inside: Mapping[str, Sequence[float]] | None = None, limit: int = 200):
        self.inside = {name: list(values) for name, values in (inside or {}).items()}
        self.limit = limit

    def rank(self, block: str | None, values: Sequence[float], rng: np.random.Generator) -> Bets:
        """Add runs in a random order, and return the p-value of each as a bet of its own.

        The first run of a block that was never seen is ranked against nothing, and not bet on.
        """
        ranks = RankedScores(self.inside.get(str(block), ()), self.limit)
        bets = []
        for place in rng.permutation(len(values)).tolist():
            alone = not ranks.values
            pvalue = ranks.add(values[place], rng)
            bets += [] if alone else [[(place, pvalue)]]
        self.inside[str(block)] = ranks.values
        return bets

    def remember(self, block: str, values: Sequence[float]) -> None:
        """Add the scores of a block without a bet."""
        self.inside[block] = list(values)[: self.limit]

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that restore these scores."""
        inside = {name: list(values) for name, values in self.inside.items()}
        return {"inside": inside, "limit": self.limit}


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

    Attributes
    ----------
    leading : int
        Which of the last p-values, where there were several, the bets gained most by.

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
        self.leading = 0

    @property
    def log_e_value(self) -> float:
        """The log of the capital E, in nats."""
        return self._log_e_value

    def update(self, *pvalues: float) -> float:
        """Bet on a p-value, and return what this added to the log of the capital, in nats.

        Of several, which may depend on each other, the mean of the bets counts.
        """
        before = self._log_e_value
        self.count += 1
        fresh = -log(self.count * (self.count + 1) * len(BETS))  # out of the reserve
        shares = np.logaddexp(self.log_shares, fresh)
        densities = np.array([_log_densities(pvalue) for pvalue in pvalues])
        self.leading = int(np.argmax(np.logaddexp.reduce(shares + densities, axis=1)))
        self.log_shares = shares + (np.logaddexp.reduce(densities, axis=0) - log(len(pvalues)))
        self._log_e_value = self._log_sum()
        return self._log_e_value - before

    def _log_sum(self) -> float:
        reserve = -log(self.count + 1)
        return float(np.logaddexp(np.logaddexp.reduce(self.log_shares), reserve))

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that restore this martingale."""
        return {"count": self.count, "log_shares": self.log_shares.tolist() if self.count else None}


def _log_densities(pvalue: float) -> NDArray[np.float64]:
    p = min(max(pvalue, _EDGE), 1 - _EDGE)
    return np.asarray((_A - 1) * log(p) + (_B - 1) * log1p(-p) - _NORMALISER)


@dataclass(frozen=True, slots=True)
class RunEvidence(Result):
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


class NewRun(NamedTuple):
    """A new run, as far as evidence shows it: its key, its number, its most surprising moves."""

    name: str | None
    number: int
    moves: tuple[SurprisingMove, ...]

    @classmethod
    def of(cls, run: Trajectory, number: int, scorer: RunScorer) -> NewRun:
        """Find the most surprising moves."""
        return cls(run.name, number, scorer.surprising_moves(run, _MOVES))


@dataclass(slots=True)
class ScoreTest:
    """One score: its ranks, its martingale, and the runs that raised it most.

    Parameters
    ----------
    score : str
        One of `SCORES`.
    usual : float
        The median of the calibration runs.
    ranks : RankedScores, BlockRanks or InsideRanks
        The scores so far.
    martingale : ConformalMartingale
        The bets on its p-values.
    evidence : tuple of RunEvidence
        The runs that added most, at most 10, the most first.

    Examples
    --------
    >>> test = ScoreTest("length", 3.0, RankedScores([2.0, 3.0, 4.0] * 20), ConformalMartingale())
    >>> pvalue = test.update(None, [50.0], [lambda: NewRun("r-7", 1, ())], np.random.default_rng(0))
    >>> pvalue < 1 / 61, [found.value for found in test.evidence]
    (True, [50.0])
    """

    score: str
    usual: float
    ranks: RankedScores | BlockRanks | InsideRanks
    martingale: ConformalMartingale
    evidence: tuple[RunEvidence, ...] = ()

    def update(
        self,
        block: str | None,
        values: Sequence[float],
        runs: Sequence[Callable[[], NewRun]],
        rng: np.random.Generator,
    ) -> float | None:
        """Add the scores of new runs of one block, and return the p-value that showed most."""
        shown: tuple[float, float | None] = (-np.inf, None)
        for bet in self.ranks.rank(block, values, rng):
            gain = self.martingale.update(*(pvalue for _, pvalue in bet))
            place, pvalue = bet[self.martingale.leading]
            shown = max(shown, (gain, pvalue))
            least = self.evidence[-1].gain if len(self.evidence) == _KEPT else 0.0
            if gain > least:
                run = runs[place]()
                about = (self.score, values[place], self.usual, pvalue, gain, run.moves)
                found = [*self.evidence, RunEvidence(run.name, run.number, *about)]
                self.evidence = tuple(sorted(found, key=lambda e: -e.gain)[:_KEPT])
        return shown[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {
            "score": self.score,
            "usual": self.usual,
            "ranks": self.ranks.to_dict(),
            "martingale": self.martingale.to_dict(),
            "evidence": [asdict(found) for found in self.evidence],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScoreTest:
        """Restore what `to_dict` returned."""
        kinds = {"values": RankedScores, "blocks": BlockRanks, "inside": InsideRanks}
        kind = next(kind for key, kind in kinds.items() if key in state["ranks"])
        ranks = kind(**state["ranks"])
        martingale = ConformalMartingale(**state["martingale"])
        evidence = tuple(_read_evidence(found) for found in state["evidence"])
        return cls(state["score"], state["usual"], ranks, martingale, evidence)


def _read_evidence(state: Mapping[str, Any]) -> RunEvidence:
    moves = tuple((source, target, nats) for source, target, nats in state["moves"])
    return RunEvidence(**{**state, "moves": moves})
