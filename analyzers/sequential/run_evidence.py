"""`RunEvidence`, what one run showed, and `ScoreTest`, the ranks and bets of one score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential._conformal_betting import Bettor, RankedScores
from detailed_balance.analyzers.sequential._run_scores import RunScorer, SurprisingMove

__all__ = ["RunEvidence", "ScoreTest"]

_KEPT = 10
"""So many runs are kept as evidence, with so many moves of each:"""
_MOVES = 3

_LONGEST_NAME = 60


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
        name = f"new run {self.number}" if self.run is None else f"run {_name(self.run)}"
        text = f"{name}: {self.score} {self.value:.3g} (usually {self.usual:.3g})"
        if not self.moves:
            return text
        source, target, nats = self.moves[0]
        move = f"{_name(source)} -> {'nowhere' if target is None else _name(target)}"
        return f"{text}, most surprising move {move} ({nats:.1f} nats)"


@dataclass(slots=True)
class ScoreTest:
    """One score: its ranks, its gambler, and the runs that he gained most by.

    Parameters
    ----------
    score : str
        One of `SCORES`.
    usual : float
        The median of the calibration runs.
    ranks : RankedScores
        The scores so far.
    bettor : Bettor
        The gambler.
    evidence : tuple of RunEvidence
        The runs that added most, at most 10, the most first.

    Examples
    --------
    >>> test = ScoreTest.start("length", [2.0, 3.0, 4.0] * 20, max_runs=100)
    >>> run = Trajectory((("a", "b"),) * 50)
    >>> pvalue = test.update(run, 50.0, 1, RunScorer([]), np.random.default_rng(0))
    >>> pvalue < 1 / 61, test.usual, [found.value for found in test.evidence]
    (True, 3.0, [50.0])
    """

    score: str
    usual: float
    ranks: RankedScores
    bettor: Bettor
    evidence: tuple[RunEvidence, ...] = ()

    @classmethod
    def start(cls, score: str, values: Sequence[float], max_runs: int) -> ScoreTest:
        """Begin with the scores of the calibration runs."""
        return cls(score, median(values), RankedScores(values, max_runs), Bettor())

    def update(
        self,
        run: Trajectory,
        value: float,
        number: int,
        scorer: RunScorer,
        rng: np.random.Generator,
    ) -> float:
        """Take the score of a new run, and return its p-value."""
        pvalue = self.ranks.add(value, rng)
        gain = self.bettor.bet(pvalue)
        least = self.evidence[-1].gain if len(self.evidence) == _KEPT else 0.0
        if gain > least:
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
            "bettor": self.bettor.to_dict(),
            "evidence": [asdict(found) for found in self.evidence],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScoreTest:
        """Take what `to_dict` returned."""
        ranks, bettor = RankedScores(**state["ranks"]), Bettor(**state["bettor"])
        evidence = tuple(_read_evidence(found) for found in state["evidence"])
        return cls(state["score"], state["usual"], ranks, bettor, evidence)


def _read_evidence(state: Mapping[str, Any]) -> RunEvidence:
    moves = tuple((source, target, nats) for source, target, nats in state["moves"])
    return RunEvidence(**{**state, "moves": moves})


def _name(key: str) -> str:
    """Write a key in a sentence: keys come from language models, so they are hostile."""
    name = key if key and key.isprintable() else repr(key)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."
