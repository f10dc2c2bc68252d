"""How many successful runs set the threshold of a guard, and which threshold they set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard.scores import RunScore, RunState
from detailed_balance.analyzers.guard.watch import run_maxima, run_risks
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.guard._texts import Texts
    from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = ["JackknifeScore", "calibration_size", "conformal_threshold", "fewest_runs"]


def conformal_threshold(maxima: Sequence[float], alpha: float) -> float | None:
    """Return the ceil((m + 1)(1 - alpha))-th smallest of m run maxima, None where m is too small.

    One more run, exchangeable with those, has a greater maximum with probability at most alpha.

    Examples
    --------
    >>> conformal_threshold([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 9.0, 7.0, 8.0], 0.1)
    9.0
    >>> conformal_threshold([1.0, 2.0, 3.0], 0.1) is None
    True
    """
    above = _allowed_above(len(maxima), alpha)
    return float(sorted(maxima, reverse=True)[above - 1]) if above else None


def fewest_runs(alpha: float) -> int:
    """Return the fewest run maxima that give a threshold.

    Examples
    --------
    >>> fewest_runs(0.1), fewest_runs(0.05)
    (9, 19)
    """
    return math.ceil(1 / _exactly(alpha)) - 1


def calibration_size(available: int, alpha: float, most: int) -> int | None:
    """Return how many run maxima set the threshold; None where too few are available.

    The share of successful runs stopped is floor((m + 1) alpha) / (m + 1) on average, so the
    numbers m at which the floor jumps up waste none of alpha. This is the largest of these that is
    no more than `most`, or the smallest of all.

    Examples
    --------
    >>> [calibration_size(n, 0.1, most=n // 2) for n in (8, 9, 30, 40, 100)]
    [None, 9, 9, 19, 49]
    """
    above = max(1, _allowed_above(min(most, available), alpha))
    m = math.ceil(above / _exactly(alpha)) - 1
    return m if m <= available else None


@dataclass(frozen=True)
class JackknifeScore:
    """By how much a run is above the limits of several scores, each of which left out one.

    `RunGuard.fit` makes it where few runs, or tasks, are there. The limit of each score is the
    highest risk of the successful run that it left out, alone or with all runs of its task. The
    risk of a run is the lowest of its risks over the limits, so it is above 0 where every score
    has the run above its limit.

    Parameters
    ----------
    scores : tuple of RunScore
        The fitted scores.
    limits : tuple of float
        The limit of each.

    References
    ----------
    R. F. Barber, E. J. Candes, A. Ramdas and R. J. Tibshirani, *Predictive inference with the
    jackknife+*, Annals of Statistics 49 (2021) 486.

    Examples
    --------
    >>> from detailed_balance.analyzers import StepCount
    >>> state = JackknifeScore((StepCount(), StepCount()), (1.0, 2.0)).start()
    >>> [state.update("a", "a") for _ in range(3)]
    [-1.0, 0.0, 1.0]
    """

    scores: tuple[RunScore, ...]
    limits: tuple[float, ...]

    reads_steps = True
    """That `update` takes the facts and the text of each move."""

    @property
    def weighs_facts(self) -> bool:
        """Whether the facts of steps have a weight in any of the scores."""
        return any(getattr(score, "weighs_facts", False) for score in self.scores)

    @property
    def text(self) -> Any:
        """How the scores read texts; None where they do not."""
        return getattr(self.scores[0], "text", None)

    def fit(self, runs: Runs, seed: int = 0, *, texts: Texts | None = None) -> JackknifeScore:
        """Refuse: each score is fitted to other runs, which `RunGuard.fit` knows.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise InvalidInputError(
            f"a JackknifeScore is fitted by RunGuard.fit: give it the score of which there are "
            f"{len(self.scores)} here, such as OutcomeScore()"
        )

    def start(self) -> RunState:
        """Begin a run."""
        return _Margins(self)

    def risks(self, runs: Runs, *, texts: Texts | None = None) -> NDArray[np.float64]:
        """(m,) array: the risk after each of the m moves of runs, as live."""
        table = RunTable.of(runs)
        each = zip(self.scores, self.limits, strict=True)
        margins = [run_risks(score, table, texts) - limit for score, limit in each]
        return np.asarray(np.min(margins, axis=0))


class _Margins:
    """One run under a `JackknifeScore`."""

    def __init__(self, score: JackknifeScore) -> None:
        self._states = [
            (each.start(), limit, getattr(each, "reads_steps", False))
            for each, limit in zip(score.scores, score.limits, strict=True)
        ]

    def update(
        self,
        source: str,
        target: str | None,
        facts: StepFacts | None = None,
        text: str | None = None,
    ) -> float:
        """Add one move, and return the lowest risk over a limit."""
        margins = []
        for state, limit, reads_steps in self._states:
            known: dict[str, Any] = {"facts": facts, "text": text} if reads_steps else {}
            margins.append(float(state.update(source, target, **known)) - limit)
        return min(margins)


def fit_jackknife(
    score: RunScore,
    table: RunTable,
    unit: NDArray[np.int64],
    held: NDArray[np.int64],
    seed: int,
    texts: Texts | None,
) -> JackknifeScore:
    """Fit a score without the unit of each held run, whose highest risk is its limit.

    The promise: of the m held runs and a new one, exchangeable, each pair has a score that was
    fitted without both of them. A run that is above the other of each pair is one of the m + 1, or
    none is, since of two such runs each would be above the other. So the new run is that one with
    probability at most 1 / (m + 1).
    """
    more: dict[str, Any] = {"texts": texts} if getattr(score, "reads_steps", False) else {}
    scores, limits = [], []
    for run in held.tolist():
        others = table.select(unit != unit[run]).merge({})  # without states of this unit alone
        scores.append(score.fit(others, seed, **more))
        limits += run_maxima(scores[-1], table.select(np.array([run])), texts)
    return JackknifeScore(tuple(scores), tuple(limits))


def _allowed_above(m: int, alpha: float) -> int:
    return math.floor((m + 1) * _exactly(alpha))


def _exactly(alpha: float) -> Fraction:
    """Return alpha as the decimal that it was written as: 30 * 0.1 is over 3, as floats go."""
    return Fraction(str(float(alpha)))
